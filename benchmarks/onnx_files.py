"""What a model loses as an ONNX file: its values at three sizes, and the PSNR of shipped weights in fp16 and int8.

    python benchmarks/onnx_files.py difference [--models edsr-small,swinir-light] [--scales 2,3,4] [--json]
    python benchmarks/onnx_files.py precision --root FOLDER [--set set5] [--json]

difference: each model at each scale, with trained weights where there are some, else random ones, converted to
fp32 ONNX and run by onnxruntime on photographs of three sizes, other than those it was converted with. precision:
`srkit export` of all weights that ship, scored by `srkit.score` in the protocol y. It needs
srkit-onnx and srkit-swinir.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from srkit_onnx.export import Request, export_all
from srkit_onnx.forms import Original, Wanted, write

import srkit
from srkit.errors import NoWeights
from srkit.upscale.backend import AtScale

MODELS = "edsr-small,edsr-baseline,mdsr-baseline,srresnet,vdsr,swinir-light"


def differences(word: str, scale: int) -> dict[str, Any]:
    """One model at one scale: the largest difference and the PSNR from PyTorch, and the seconds of the conversion."""
    registry = srkit.load_plugins()
    choice = registry.choose("model", word)
    record = choice.component
    try:
        net = srkit.load(word, scale, device="cpu").single_scale()
        weights = "trained"
    except NoWeights:
        torch.manual_seed(0)
        built = choice.build(record.scales if record.multi_scale else scale).eval()
        net, weights = AtScale(built, scale) if record.multi_scale else built, "random"
    field = record.receptive_field
    reach = field(scale, **choice.options) if callable(field) else field
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        original = Original(net, scale, record.size_multiple, reach)
        made, difference = write(original, Wanted("onnx"), Path(name))
    return {
        "model": word, "scale": scale, "weights": weights, "takes": made.sizes.words,
        "largest_difference": difference.largest, "psnr": difference.psnr,
        "compared_at": [f"{width}x{height}" for height, width in difference.sizes],
        "seconds": time.perf_counter() - begin,
    }  # fmt: skip


def precisions(word: str, scale: int, root: Path, name: str) -> list[dict[str, Any]]:
    """Shipped weights in each precision: the file's size, and its PSNR on a set against that of PyTorch."""
    exact = srkit.score(word, name, scale=scale, root=root, metrics="psnr", progress=False)["psnr"]
    rows = [{"model": word, "scale": scale, "precision": "PyTorch fp32", "psnr": exact, "change": 0.0, "bytes": None}]
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("fp32", "fp16", "int8"):
            out = Path(folder) / f"{precision}.onnx"
            (done,) = export_all(Request(word, scale=scale, out=out, precision=precision), tell=lambda line: None)
            psnr = srkit.score(out, name, scale=scale, root=root, metrics="psnr", progress=False)["psnr"]
            rows.append({
                "model": word, "scale": scale, "precision": precision, "psnr": psnr, "change": psnr - exact,
                "bytes": done["bytes"], "largest_difference": done["largest_difference"],
            })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("difference", "precision"))
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--scales", default="2,3,4")
    parser.add_argument("--root", type=Path, help="folder that holds Set5/HR")
    parser.add_argument("--set", default="set5")
    parser.add_argument("--json", action="store_true")
    words = parser.parse_args()
    registry = srkit.load_plugins()
    rows: list[dict[str, Any]] = []
    if words.what == "difference":
        for word in words.models.split(","):
            offered = registry.choose("model", word).component.scales
            for scale in (each for each in map(int, words.scales.split(",")) if each in offered):
                rows.append(differences(word, scale))
                row = rows[-1]
                print(
                    f"{word} x{scale} ({row['weights']} weights): {row['largest_difference']:.2g}, {row['takes']}, "
                    f"at {', '.join(row['compared_at'])}; {row['seconds']:.0f} s",
                    file=sys.stderr if words.json else sys.stdout, flush=True,
                )  # fmt: skip
    else:
        for each in srkit.list_models(registry):
            for scale in each.scales if each.trainable else ():
                rows += precisions(each.name, scale, words.root, words.set)
        for row in rows if not words.json else ():
            size = f"{row['bytes']:,} bytes" if row["bytes"] else ""
            change = f"{row['change']:+.4f}"
            print(f"{row['model']} x{row['scale']}  {row['precision']:12}  {row['psnr']:.4f} dB  {change}  {size}")
    if words.json:
        print(json.dumps({"threads": torch.get_num_threads(), "cores": os.cpu_count(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
