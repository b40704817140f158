"""Export a model: each scale a file, checked against the original before it gets its name."""

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from srkit import SrkitError, Upscaler, UsageError, load, write_atomically
from srkit_onnx.compare import Difference, compare, three_sizes
from srkit_onnx.convention import Convention, check_said
from srkit_onnx.convert import OPSET, Sizes
from srkit_onnx.file import OnnxNet, read
from srkit_onnx.forms import SUFFIXES, Original, Wanted, check, write
from srkit_onnx.graph import with_metadata
from srkit_onnx.quantise import half


@dataclass(frozen=True)
class Request:
    """The command's options, by their names there. said: how an ONNX file wants its pictures, as far as it is known."""

    model: str
    form: str = "onnx"
    scale: int | None = None
    out: Path | None = None
    precision: str = "fp32"
    calibrate: Path | None = None
    opset: int | None = None
    tile: int | None = None
    said: Mapping[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.form, self.precision, self.tile, self.opset or OPSET, self.calibrate)


def export_all(request: Request, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Write the files; what each says of itself, with `file`, `bytes` and `difference` in words.

    Raises SrkitError; a scale that was written before one that failed stays.
    """
    check(request.wanted)
    check_said(request.said)
    if request.opset and request.form != "onnx":
        raise UsageError(f"--opset is of ONNX, not of {request.form}")
    if Path(request.model).suffix.lower() == ".onnx":
        return [relabelled(request)]
    if request.said:
        options = ", ".join(f"--{key.replace('_', '-')}" for key in request.said)
        raise UsageError(f"{options}: of '{request.model}' srkit knows how it wants its pictures; it is for ONNX files")
    first = load(request.model, request.scale)
    if hasattr(first.net, "runtime"):
        raise UsageError(f"'{request.model}' is computed by {first.net.runtime}, not by PyTorch")
    several = first.model.component.multi_scale and request.scale is None and request.form != "safetensors"
    scales = first.scales if several else (first.scale,)
    targets = {scale: target_of(request, first.name, scale, len(scales)) for scale in scales}
    done = []
    for scale, target in targets.items():
        tell(f"exporting {first.name} x{scale} as {request.form}; with attention layers it takes a minute")
        upscaler = first if scale == first.scale else load(request.model, scale)
        done.append(one(request, upscaler, target))
    return done


def target_of(request: Request, name: str, scale: int, count: int) -> Path:
    """Raises UsageError for a place that cannot be written, or one file for several scales."""
    mark = "" if request.precision == "fp32" else f"_{request.precision}"
    default = f"{name.replace('/', '-')}_x{scale}{mark}{SUFFIXES[request.form]}"
    out = request.out
    if out is None:
        target = Path(default)
    elif out.is_dir() or not out.suffix:
        target = out / default
    else:
        if count > 1 and "{scale}" not in str(out):
            raise UsageError(f"-o '{out}' is one file for {count} scales; write {{scale}} in it, or --scale")
        target = Path(str(out).replace("{scale}", str(scale)))
    if not target.parent.is_dir() or not os.access(target.parent, os.W_OK):
        raise UsageError(f"'{target.parent}' is no folder that can be written")
    if target.is_dir():
        raise UsageError(f"'{target}' is a folder")
    return target


def one(request: Request, upscaler: Upscaler, target: Path) -> dict[str, Any]:
    """One scale, written, run, and written again with what the run showed."""
    record = upscaler.model.component
    reach = record.receptive_field
    original = Original(
        upscaler.single_scale(),
        upscaler.scale,
        record.size_multiple,
        reach(upscaler.scale, **upscaler.model.options) if callable(reach) else reach,
        upscaler.origin,
        record.multi_scale,
    )
    with scratch(target) as folder:
        made, difference = write(original, request.wanted, folder)
        about = {
            "format": 1,
            "model": upscaler.name,
            "component": upscaler.model.entry.qualified,
            "options": dict(upscaler.model.options),
            "scale": upscaler.scale,
            "parameters": upscaler.parameters,
            "licence": upscaler.licence,
            "weights_sha256": sha256(Path(upscaler.origin)) if upscaler.origin else "",
            "channels": "rgb",
            "range": "0..1",
            "takes": made.sizes.words,
            "precision": request.precision,
            **made.facts,
            **versions(),
            **measured(difference),
        }
        path = folder / f"final{SUFFIXES[request.form]}"
        made.save(path, about)
        return finished(path, target, request.form, about, difference)


def relabelled(request: Request) -> dict[str, Any]:
    """An ONNX file with what is known, said or measured of it in its metadata, in fp16 where that is asked."""
    source = Path(request.model).expanduser()
    if request.form != "onnx" or request.precision == "int8" or request.tile or request.opset:
        raise UsageError(
            f"'{source}' is an ONNX file: it is written again with what is said of it, in fp16 where that is asked; "
            "another format, int8, --tile and --opset are of networks that PyTorch has"
        )
    net, scale = read(source, request.said)
    if request.scale not in (None, scale):
        raise UsageError(f"'{source}' upscales x{scale}, not x{request.scale}")
    target = target_of(request, source.stem, scale, 1)
    model = half(net.graph.model) if request.precision == "fp16" else net.graph.model
    before = net.graph.metadata
    about = {
        "model": source.stem, **before, "scale": scale, "parameters": net.graph.parameters, "io": net.how.to_dict(),
        "takes": takes(net.how), "precision": before.get("precision", "fp32"), **versions(),
    }  # fmt: skip
    if request.precision == "fp16":
        about["precision"] = "fp16"
    with scratch(target) as folder:
        path = folder / "final.onnx"
        path.write_bytes(with_metadata(model, about).SerializeToString())
        difference = compare_files(net, read(path, {})[0])
        about |= measured(difference)
        path.write_bytes(with_metadata(model, about).SerializeToString())
        return finished(path, target, "onnx", about, difference)


def compare_files(original: OnnxNet, made: OnnxNet) -> Difference:
    import torch

    how = original.how
    sizes = three_sizes(how.multiple, max(how.size or (0,)))
    return compare(made, original, sizes, torch.device("cpu"))


def takes(how: Convention) -> str:
    return Sizes(how.multiple, how.size).words


def measured(difference: Difference) -> dict[str, Any]:
    """For metadata: a PSNR of equal results is None."""
    return {
        "largest_difference": difference.largest,
        "psnr": None if math.isinf(difference.psnr) else difference.psnr,
        "compared_at": [list(size) for size in difference.sizes],
    }


def versions() -> dict[str, str]:
    return {"srkit": version("srkit"), "srkit_onnx": version("srkit-onnx")}


def finished(path: Path, target: Path, form: str, about: Mapping[str, Any], difference: Difference) -> dict[str, Any]:
    """The file under its name, whole; and what is printed of it."""
    data = path.read_bytes()
    try:
        write_atomically(target, lambda file: file.write(data))
    except OSError as error:
        raise SrkitError(f"cannot write '{target}': {error.strerror or type(error).__name__}") from None
    return {
        **about, "file": str(target), "format": form, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(),
        "difference": difference.words,
    }  # fmt: skip


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A folder for what is not checked yet; SrkitError where there is no room."""
    try:
        with TemporaryDirectory(prefix="srkit-export-") as name:
            yield Path(name)
    except OSError as error:
        raise SrkitError(f"cannot write '{target}': {error.strerror or type(error).__name__}") from None


def sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
