"""The formats that a network is written in: each is made into a file, and opened again as any user would."""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from srkit import Progress, SrkitError, UsageError
from srkit_onnx.compare import Difference, Upscale, compare, device_of, three_sizes
from srkit_onnx.convention import Convention, in_tiles
from srkit_onnx.convert import OPSET, Sizes, attempts, exported, first_line, onnx_of, quiet
from srkit_onnx.graph import read_graph, with_metadata
from srkit_onnx.pictures import calibration
from srkit_onnx.quantise import eight_bits, half

SUFFIXES = {"onnx": ".onnx", "torchscript": ".pt", "exported": ".pt2", "safetensors": ".safetensors"}
PRECISIONS = {
    "onnx": ("fp32", "fp16", "int8"), "torchscript": ("fp32",), "exported": ("fp32",), "safetensors": ("fp32", "fp16"),
}  # fmt: skip
LARGEST = 1e-3  # difference in fp32 above which a conversion is not used
BESIDE = "srkit.json"  # where TorchScript and torch.export files keep what srkit says of them
SIDE = 64  # of the pictures that int8 is calibrated with
CROPS = 24


@dataclass(frozen=True)
class Original:
    """A network to be written.

    net: called `net(lr)`, at `scale`. multiple: of both sides of what it takes. field: pixels to each side that can
    change a pixel; None where that has no bound. origin: its weight file, or "". multi_scale: `net` is one scale of a
    network that is `net.net`.
    """

    net: nn.Module
    scale: int
    multiple: int = 1
    field: int | None = None
    origin: str = ""
    multi_scale: bool = False


@dataclass(frozen=True)
class Wanted:
    """How it is written. tile: the side of the one size, where sizes shall not vary. opset: of ONNX."""

    form: str
    precision: str = "fp32"
    tile: int | None = None
    opset: int = OPSET
    calibrate: Path | None = None


@dataclass(frozen=True)
class Made:
    """A network in another form. save(path, about): write it, with what is said of it; open(path): run it.

    facts: what else is said of it.
    """

    sizes: Sizes
    save: Callable[[Path, Mapping[str, Any]], None]
    open: Callable[[Path], Upscale]
    facts: Mapping[str, Any] = field(default_factory=dict)


def check(wanted: Wanted) -> None:
    """UsageError for what a format has not."""
    offered = PRECISIONS[wanted.form]
    if wanted.precision not in offered:
        able = [form for form, each in PRECISIONS.items() if wanted.precision in each]
        other = f"; --format {' or '.join(able)} has it" if able else ""
        raise UsageError(f"--format {wanted.form} is written in {' or '.join(offered)}, not {wanted.precision}{other}")
    if wanted.calibrate is not None and wanted.precision != "int8":
        raise UsageError("--calibrate is for --precision int8")
    if wanted.calibrate is not None and not wanted.calibrate.is_dir():
        raise UsageError(f"--calibrate '{wanted.calibrate}' is no folder")


def write(original: Original, wanted: Wanted, folder: Path) -> tuple[Made, Difference]:
    """(what was made, how far its file, opened again, is from the original), for as many sizes as the network allows.

    folder: of the file. Raises SrkitError where it cannot be written, or gives other values.
    """
    failed: SrkitError | None = None
    path = folder / f"model{SUFFIXES[wanted.form]}"
    for sizes in attempts(original.multiple, wanted.tile):
        try:
            made = MAKERS[wanted.form](original, wanted, sizes)
            made.save(path, {})
            exact, difference = compared(original, made, path)
        except SrkitError as error:
            failed = error
            continue
        except Exception as error:  # torch and onnxruntime raise about anything
            failed = SrkitError(f"written as {wanted.form} it does not run: {first_line(error)}")
            continue
        if wanted.precision != "fp32" or exact.largest <= LARGEST:
            return made, difference
        failed = SrkitError(f"written as {wanted.form} it gives other values: {exact.words}")
    raise failed or SrkitError(f"it cannot be written as {wanted.form}")


def compared(original: Original, made: Made, path: Path) -> tuple[Difference, Difference]:
    """(of what the file computes, of what a user gets at three sizes): of one size, tiles may show in the second."""
    device, tile = device_of(original.net), made.sizes.tile
    upscale = made.open(path)

    def call(lr: Tensor) -> Tensor:
        return upscale(lr.cpu()).to(device)

    found = compare(call, original.net, three_sizes(original.multiple, tile[0] if tile else 0), device)
    return (compare(call, original.net, [tile], device) if tile else found), found


def tiled(upscale: Upscale, original: Original, sizes: Sizes) -> Upscale:
    """Of any size, where the network takes one."""
    if sizes.tile is None:
        return upscale
    how = Convention(original.scale, size=sizes.tile, receptive_field=original.field)
    return lambda lr: in_tiles(upscale, lr, how)


def as_onnx(original: Original, wanted: Wanted, sizes: Sizes) -> Made:
    from srkit_onnx.file import OnnxNet, opened

    model = onnx_of(exported(original.net, sizes), wanted.opset)
    if wanted.precision == "fp16":
        model = half(model)
    if wanted.precision == "int8":
        model = eight_bits(model, calibrated(original, wanted, sizes))
    how = Convention(original.scale, multiple=sizes.multiple, size=sizes.tile, receptive_field=original.field)

    def save(path: Path, about: Mapping[str, Any]) -> None:
        said = {**about, "precision": wanted.precision, "io": how.to_dict()}
        path.write_bytes(with_metadata(model, said).SerializeToString())

    def open_again(path: Path) -> Upscale:
        graph = read_graph(path)
        return OnnxNet(graph, how, opened(graph, torch.device("cpu")))

    return Made(sizes, save, open_again, {"opset": wanted.opset})


def calibrated(original: Original, wanted: Wanted, sizes: Sizes) -> Iterator[np.ndarray]:
    """The pictures that int8 is calibrated with, shown as they are used."""
    height, width = sizes.tile or (-(-SIDE // original.multiple) * original.multiple,) * 2
    pictures = list(calibration(wanted.calibrate, original.scale, height, width, CROPS))
    with Progress("calibrating", len(pictures)) as progress:
        for picture in pictures:
            progress.one_more()
            yield picture.numpy()


def as_torchscript(original: Original, wanted: Wanted, sizes: Sizes) -> Made:
    """Traced: what depends on the size in Python is then that of the size it was traced with, which is seen below."""
    side = -(-40 // sizes.multiple) * sizes.multiple
    lr = torch.rand(1, 3, *(sizes.tile or (side + sizes.multiple, side)), device=device_of(original.net))
    with quiet(), torch.no_grad():
        traced = torch.jit.trace(original.net, lr, check_trace=False)

    def save(path: Path, about: Mapping[str, Any]) -> None:
        with quiet():
            torch.jit.save(traced, path, _extra_files={BESIDE: json.dumps(about)})

    def open_again(path: Path) -> Upscale:
        with quiet():
            return tiled(torch.jit.load(path, map_location="cpu"), original, sizes)

    return Made(sizes, save, open_again)


def as_exported(original: Original, wanted: Wanted, sizes: Sizes) -> Made:
    program = exported(original.net, sizes).program

    def save(path: Path, about: Mapping[str, Any]) -> None:
        with quiet():
            torch.export.save(program, path, extra_files={BESIDE: json.dumps(about)})

    def open_again(path: Path) -> Upscale:
        with quiet():
            return tiled(torch.export.load(path).module(), original, sizes)

    return Made(sizes, save, open_again)


def as_safetensors(original: Original, wanted: Wanted, sizes: Sizes) -> Made:
    """The weights alone, by the network's names; with the header of srkit's checkpoint where they are of one."""
    net = weights_of(original.net, original)
    kind = {"fp16": torch.float16}.get(wanted.precision)
    tensors = {
        name: tensor.detach().cpu().to(kind if tensor.is_floating_point() else None).contiguous().clone()
        for name, tensor in net.state_dict().items()
    }

    def save(path: Path, about: Mapping[str, Any]) -> None:
        header = header_of(original.origin) | {"srkit_export": json.dumps(about)}
        save_file(tensors, path, metadata=header)

    def open_again(path: Path) -> Upscale:
        other = copy.deepcopy(original.net).cpu()
        weights_of(other, original).load_state_dict(load_file(path))
        return other

    return Made(replace(sizes, tile=None), save, open_again)


def weights_of(net: nn.Module, original: Original) -> nn.Module:
    """The module that holds them: of one scale of several that below it."""
    return net.get_submodule("net") if original.multi_scale else net


def header_of(origin: str) -> dict[str, str]:
    """What a checkpoint of srkit's says of itself; nothing for another file."""
    with suppress(Exception), safe_open(origin, "numpy") as file:
        return {key: value for key, value in (file.metadata() or {}).items() if key == "srkit"}
    return {}


MAKERS: dict[str, Callable[[Original, Wanted, Sizes], Made]] = {
    "onnx": as_onnx, "torchscript": as_torchscript, "exported": as_exported, "safetensors": as_safetensors,
}  # fmt: skip
