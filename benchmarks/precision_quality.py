"""What bf16 costs: two trainings of equal steps, fp32 and bf16, same seed and batches; loss at the end, validation.

    python benchmarks/precision_quality.py --data FOLDER [--steps 2000] [--valid DATASET] [--json]

EDSR of 8 blocks of 32 channels, x2, with the defaults of a run but for --lr and a cosine to zero. The loss is the mean
L1 of the last tenth of the steps, in levels of 255; the validation is that of the averaged weights after the last step,
computed in fp32. The batches are the same, so what differs is the arithmetic alone.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import srkit
from srkit.data.named import data_table
from srkit.nets import native_precision, pick_device
from srkit.train.keeper import LOG_EVERY

PRECISIONS = ("fp32", "bf16")


def measure(words: argparse.Namespace, precision: str) -> dict[str, Any]:
    """Train once in a folder that is then thrown away; what its log says of the end."""
    with tempfile.TemporaryDirectory() as place:
        values = {"data": str(words.data)} if words.data else {}
        values |= {"validation": data_table(srkit.load_plugins(), words.valid)} if words.valid else {}
        begin = time.perf_counter()
        result = srkit.fit(
            model={"name": "edsr", "n_resblocks": 8, "n_feats": 32}, scale=2, lr=words.lr, seed=words.seed,
            steps=words.steps, validate_every=words.steps, schedule={"name": "cosine"}, precision=precision,
            device=words.device, out=Path(place) / "run", **values,
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        log = [json.loads(line) for line in (result.folder / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line and line["step"] > 0.9 * words.steps]
    return {
        "precision": precision,
        "steps": words.steps,
        "last_steps": len(losses) * LOG_EVERY,
        "l1_levels": 255 * sum(losses) / len(losses),
        "psnr_y": next(line["psnr_y"] for line in reversed(log) if "psnr_y" in line),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of pictures; the shipped samples when not said")
    parser.add_argument("--valid", help="a dataset's name or a folder; that of the training when not said")
    parser.add_argument("--steps", type=int, default=2000, help=f"a multiple of {10 * LOG_EVERY}")
    parser.add_argument("--lr", type=float, default=4e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    if words.steps % (10 * LOG_EVERY):
        parser.error(f"--steps {words.steps}: the log has a line every {LOG_EVERY} steps, so take a multiple of "
                     f"{10 * LOG_EVERY}")  # fmt: skip
    rows = [measure(words, precision) for precision in PRECISIONS]
    if words.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['precision']}: L1 {row['l1_levels']:.4f} levels over the last {row['last_steps']} of {row['steps']} "
            f"steps, validation PSNR {row['psnr_y']:.4f} dB (protocol y), {row['seconds']:.0f} s"
        )
    loss, psnr = (rows[1][key] - rows[0][key] for key in ("l1_levels", "psnr_y"))
    native = native_precision(pick_device(words.device))
    print(f"bf16 less fp32: L1 {loss:+.4f} levels, PSNR {psnr:+.4f} dB; auto is {native} here")


if __name__ == "__main__":
    main()
