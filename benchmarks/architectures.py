"""spandrel's architectures as srkit models: each built, trained for a step, saved, read by spandrel, and checked.

    python benchmarks/architectures.py [NAME ...] [--check] [--sizes] [--no-step] [--out FOLDER]

Of each model a small one (`small` in models.toml) is trained by `srkit.fit` for one step on a crop of the shipped
photographs, and spandrel's own loader reads the run's best.safetensors and the .pth of `srkit weights convert`. Of a
picture of 128x128 pixels, which suits all of them without padding, both must make what the network of `srkit.load`
makes. After one step that is no picture yet, so its own range is spread over 256 levels: `differ` counts the values
that round to another level, `levels` is the largest difference of two.

--check makes the checks of `srkit plugins check` of the small one at that scale; with --sizes, also of a published
size of at most two million parameters, at all of its scales. --sizes builds every published size and counts its
parameters, which takes some minutes. --no-step leaves the training out.
Architectures of spandrel_extra_arches are measured where that is installed. --out keeps results.json.
"""

import argparse
import json
import logging
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import spandrel
import torch
from PIL import Image
from srkit_spandrel import record
from srkit_spandrel.constructors import signature, with_signature
from srkit_spandrel.networks import build
from srkit_spandrel.table import EXTRA, offered

import srkit
from srkit.nets import parameter_count
from srkit.testing.kit import check_entry
from srkit.weights.convert import convert

PHOTO = Path(__file__).parents[1] / "plugins/srkit_builtin/samples/chelsea.png"
PATCH = 32
SIDE = 128
CHECKED_WHOLE = 2_000_000  # parameters up to which a published size is checked too


def scale_of(row: Mapping[str, Any]) -> int:
    """x2 where the model has it."""
    return 2 if 2 in row["scales"] else int(row["scales"][0])


def small(row: Mapping[str, Any]) -> srkit.Model:
    """The model with its small size for a default, and no presets."""
    said = signature(row["name"])
    fewer = [each.replace(default=row["small"].get(key, each.default)) for key, each in said.parameters.items()]
    built = with_signature(partial(build, row["name"]), said.replace(parameters=fewer))
    return replace(record(row), build=built, presets={}, scales=[scale_of(row)])


def trained(row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One step, and what spandrel makes of the files. Raises whatever fails."""
    scale, pictures = scale_of(row), folder / "pictures"
    pictures.mkdir()
    with Image.open(PHOTO) as photo:
        photo.crop((100, 60, 100 + PATCH * scale, 60 + PATCH * scale)).save(pictures / "a.png")
        rgb = np.asarray(photo.convert("RGB"))[60 : 60 + SIDE, 100 : 100 + SIDE]
    result = srkit.fit(
        model={"name": row["name"], **row["small"]}, scale=scale, steps=1, batch=2, patch=PATCH, data=str(pictures),
        degradation=["noise"], validation=str(pictures), out=folder / "run", progress=False, device="cpu",
        precision="fp32",
    )  # fmt: skip
    best = result.folder / "best.safetensors"
    written = folder / "written.pth"
    convert(srkit.load_plugins(), best, written, "spandrel")
    lr = torch.from_numpy(rgb.copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        ours = srkit.load(best, device="cpu").net.to(memory_format=torch.contiguous_format).eval()(lr)
        black, white = ours.min(), ours.max()
        assert white - black > 1e-3, "a flat picture would show nothing"
        apart = []
        for path in (best, written):
            model = spandrel.ModelLoader(device="cpu").load_from_file(path)
            assert (model.architecture.id, model.scale) == (row["arch"], scale), f"read as {model.architecture.id}"
            theirs = model._call_fn(model.model.eval(), lr.clone())  # its call, before it clips
            levels = [(255 * (sr - black) / (white - black)).round() for sr in (ours, theirs)]
            apart.append((levels[0] - levels[1]).abs())
    return {
        "scale": scale, "small_parameters": sum(p.numel() for p in model.model.parameters()), "values": ours.numel(),
        "differ": max(int((each > 0).sum()) for each in apart), "levels": max(int(each.max()) for each in apart),
    }  # fmt: skip


def checked(component: srkit.Model) -> dict[str, Any]:
    """What the checks of `srkit plugins check` find that is not ok: faults, and notes."""
    registry = srkit.Registry()
    registry.add("model", component, "srkit-spandrel")
    findings = check_entry(registry, registry.entries[0])
    told: dict[str, Any] = {"checks": len(findings), "faults": [], "notes": []}
    for each in findings:
        if each.outcome != "ok":
            told[f"{each.outcome}s"].append(f"{each.check}: {' '.join(each.text.split())}")
    return told


def sizes(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The trainable parameters of each published size, at the scale the paper prints or else x2."""
    registry = srkit.load_plugins()
    for preset in [row["name"], *(each for each in row.get("presets", {}) if each != row["name"])]:
        published = {int(scale): text for scale, text in row.get("published", {}).get(preset, {}).items()}
        for scale in published or [scale_of(row)]:
            count = parameter_count(registry.choose("model", f"srkit-spandrel:{preset}").build(scale))
            text = published.get(scale, "")
            yield {"preset": preset, "scale": scale, "parameters": count, "published": text,
                   "as_published": prints_as(count, text) if text else None}  # fmt: skip


def prints_as(count: int, text: str) -> bool:
    """Is `count` printed as "16.70M" or "753K", rounded or cut off?"""
    unit, digits = (1e6 if text.endswith("M") else 1e3), len(text[:-1].partition(".")[2])
    return text[:-1] in {f"{cut(count / unit * 10**digits) / 10**digits:.{digits}f}" for cut in (round, math.floor)}


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result, or why there is none."""
    try:
        return work()
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def measure(row: Mapping[str, Any], words: argparse.Namespace) -> dict[str, Any]:
    begin = time.perf_counter()
    about: dict[str, Any] = {"name": row["name"], "arch": row["arch"], "licence": record(row).licence}
    if words.step:
        with tempfile.TemporaryDirectory() as place:
            about |= attempt(lambda: trained(row, Path(place)))
    if words.check:
        about |= attempt(lambda: checked(small(row)))
    if words.sizes:
        about["sizes"] = list(sizes(row))
        if words.check and about["sizes"][0]["parameters"] <= CHECKED_WHOLE:
            about["whole"] = attempt(lambda: checked(replace(record(row), presets={})))
    return about | {"seconds": round(time.perf_counter() - begin, 1)}


def line(about: Mapping[str, Any]) -> str:
    """What was measured of one model, in words."""
    said = [f"{about['name']:16} {about['licence']}"]
    if "values" in about:
        said.append(f"x{about['scale']}: {about['differ']} of {about['values']} values differ")
    if "checks" in about:
        said.append(f"{about['checks']} checks, {len(about['faults'])} faults")
    counts = [f"{each['preset']} x{each['scale']} {each['parameters']:,}" for each in about.get("sizes", ())]
    return "; ".join([*said, *counts, *([about["failed"]] if "failed" in about else [])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="models; all when none is said")
    parser.add_argument("--no-step", dest="step", action="store_false", help="leave the training out")
    parser.add_argument("--sizes", action="store_true", help="build and count every published size")
    parser.add_argument("--check", action="store_true", help="make the checks of srkit plugins check")
    parser.add_argument("--out", type=Path, help="folder of results.json, to which what is measured is added")
    words = parser.parse_args()
    logging.disable(logging.CRITICAL)  # what an export logs before it is refused
    warnings.simplefilter("ignore")
    rows = {row["name"]: row for row in offered()}
    if odd := [name for name in words.names if name not in rows]:
        parser.error(f"no model called '{odd[0]}'; there is {', '.join(rows)}")
    if any(row.get("extra") for row in rows.values()):
        __import__(EXTRA).install()
    file = words.out / "results.json" if words.out else None
    kept = json.loads(file.read_text())["models"] if file and file.exists() else []
    results = {each["name"]: each for each in kept}
    for name in words.names or rows:
        measured = measure(rows[name], words)
        print(line(measured), flush=True)
        results[name] = {**results.get(name, {}), **measured}
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            ordered = [results[each] for each in rows if each in results]
            about = {"spandrel": spandrel.__version__, "torch": torch.__version__, "models": ordered}
            file.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
