"""What `srkit data select` finds of 40 spoiled pictures planted among photographs, and how many good ones it loses.

    python benchmarks/select_planted.py PHOTOGRAPHS [--seed 0] [--folder FOLDER] [--json FILE] [--sheet PNG]

Each planted picture is made from one of the photographs, which stays: blurred (Gaussian, out of focus, moved), saved as
a JPEG of quality 10 to 70 and then once more so that only the pixels tell, or a copy (saved again, smaller, cut out).
All are named by chance. `found` counts those that are dropped for any reason; `by its own` those whose blur or blocks
were seen in themselves, and copies that were seen as such. The command is run with its defaults. Exit code 1 where more
than a tenth is missed or more than five photographs are lost. With --folder the pictures stay there, and the same
command goes on after an interruption.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

OWN = {"blurred": "sharpness", "compressed": "jpeg", "copy": "duplicate"}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
Spoil = Callable[[Image.Image, np.random.Generator], tuple[Image.Image, str]]


def blurred(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    kind = rng.choice(["gaussian", "focus", "motion"])
    span = np.arange(-12, 13)
    y, x = np.meshgrid(span, span, indexing="ij")
    if kind == "gaussian":
        size = rng.uniform(1.5, 3)
        kernel = np.exp(-(x**2 + y**2) / (2 * size**2))
    elif kind == "focus":
        size = rng.uniform(2.5, 5)
        kernel = np.clip(size + 0.5 - np.hypot(x, y), 0, 1)
    else:
        size, angle = rng.uniform(9, 17), rng.uniform(0, np.pi)
        along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        kernel = np.clip(size / 2 + 0.5 - np.abs(along), 0, 1) * np.clip(1 - np.abs(across), 0, 1)
    kernel /= kernel.sum()
    wide = np.pad(np.asarray(image, float), ((12, 12), (12, 12), (0, 0)), mode="edge")
    turned = np.fft.rfft2(kernel, wide.shape[:2])[..., None]
    made = np.fft.irfft2(np.fft.rfft2(wide, axes=(0, 1)) * turned, wide.shape[:2], axes=(0, 1))[24:, 24:]
    return Image.fromarray(np.clip(made + 0.5, 0, 255).astype(np.uint8)), f"{kind} {size:.1f}"


def saved(image: Image.Image, quality: int) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=quality)
    return Image.open(data).convert("RGB")


def compressed(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    quality = int(rng.integers(10, 71))
    return saved(image, quality), f"quality {quality}"


def copied(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, str]:
    kind = rng.choice(["saved again", "smaller", "cut out"])
    if kind == "saved again":
        quality = int(rng.integers(82, 93))
        return saved(image, quality), f"{kind}, quality {quality}"
    if kind == "smaller":
        factor = rng.uniform(0.5, 0.9)
        return shrunk(image, factor), f"{kind}, {factor:.2f}"
    share, factor = rng.uniform(0.6, 0.95), rng.uniform(0.6, 1)  # of each side
    width, height = (int(side * share) for side in image.size)
    left, top = (int(rng.integers(n - m + 1)) for n, m in zip(image.size, (width, height), strict=True))
    part = image.crop((left, top, left + width, top + height))
    return shrunk(part, factor), f"{kind}, {share:.2f} of each side, then {factor:.2f}"


def shrunk(image: Image.Image, factor: float) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), Image.Resampling.LANCZOS)


def plant(photographs: list[Path], folder: Path, counts: dict[str, int], seed: int) -> dict[str, dict[str, str]]:
    """Fill `folder`; name -> what it is: `kind`, `of` and, of a planted one, `how`."""
    rng = np.random.default_rng(seed)
    spoil: dict[str, Spoil] = {"blurred": blurred, "compressed": compressed, "copy": copied}
    kinds = [kind for kind, count in counts.items() for _ in range(count)]
    chosen = rng.choice(len(photographs), len(kinds), replace=False)
    names = [f"{number:04d}" for number in rng.permutation(len(photographs) + len(kinds))]
    truth = {}
    for path in photographs:
        name = names.pop()
        shutil.copyfile(path, folder / f"{name}{path.suffix}")
        truth[name] = {"kind": "photograph", "of": path.name}
    for kind, index in zip(kinds, chosen, strict=True):
        name, source = names.pop(), photographs[index]
        with Image.open(source) as image:
            made, how = spoil[kind](image.convert("RGB"), rng)
        made.save(folder / f"{name}.jpg", quality=95, subsampling=0)
        truth[name] = {"kind": kind, "of": source.name, "how": how}
    return truth


def report(truth: dict[str, dict[str, str]], dropped: list[dict[str, str]]) -> dict[str, object]:
    """What was found, missed and lost."""
    reasons = {one["name"]: one for one in dropped}
    planted = {name: one for name, one in truth.items() if one["kind"] != "photograph"}
    lost = [{**truth[name], **one} for name, one in reasons.items() if name not in planted]
    return {
        "photographs": len(truth) - len(planted),
        "planted": dict(Counter(one["kind"] for one in planted.values())),
        "found": dict(Counter(one["kind"] for name, one in planted.items() if name in reasons)),
        "by its own": dict(
            Counter(o["kind"] for name, o in planted.items() if reasons.get(name, {}).get("reason") == OWN[o["kind"]])
        ),
        "missed": [one for name, one in planted.items() if name not in reasons],
        "otherwise": [
            {**one, **reasons[name]}
            for name, one in planted.items()
            if name in reasons and reasons[name]["reason"] != OWN[one["kind"]]
        ],
        "lost": lost,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    for kind, count in (("blurred", 14), ("compressed", 13), ("copies", 13)):
        parser.add_argument(f"--{kind}", type=int, default=count)
    parser.add_argument("--json", type=Path, help="a file for the report")
    parser.add_argument("--folder", type=Path, help="where the pictures are made; a temporary one if not given")
    parser.add_argument("--sheet", type=Path, help="the sheet of what was dropped")
    args = parser.parse_args()
    photographs = sorted(path for path in args.photographs.iterdir() if path.suffix.lower() in SUFFIXES)
    counts = {"blurred": args.blurred, "compressed": args.compressed, "copy": args.copies}
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        pictures, known = folder / "planted", folder / "truth.json"
        if not known.exists():
            shutil.rmtree(pictures, ignore_errors=True)
            pictures.mkdir(parents=True)
            known.write_text(json.dumps(plant(photographs, pictures, counts, args.seed), indent=2))
        truth = json.loads(known.read_text())
        words = ["data", "select", str(pictures), "--list", str(folder / "kept.txt"), "--json"]
        words += ["--sheet", str(args.sheet)] if args.sheet else []
        done = subprocess.run([sys.executable, "-m", "srkit", *words], check=True, stdout=subprocess.PIPE)
    found = report(truth, json.loads(done.stdout)["dropped"])
    text = json.dumps(found, indent=2)
    if args.json:
        args.json.write_text(text + "\n")
    print(text)
    hits, lost = sum(found["found"].values()), len(found["lost"])
    print(f"{hits} of {sum(counts.values())} planted pictures found, {lost} of {len(photographs)} photographs lost")
    return int(hits < 0.9 * sum(counts.values()) or lost > 5)


if __name__ == "__main__":
    sys.exit(main())
