"""Find out how an unknown network wants its pictures, by running it on pictures whose result is known.

What runs and has the size of a picture `scale` times larger says layout, scale and sizes. By the right range the
result, made small again, is the picture that went in; where that holds of several ranges, the one counts by which the
result is nearer to the original of each photograph that was made small, and nearer than bicubic. The order of channels
shows where the file has a known mean of red, green and blue; quality does not tell it: the wrong order costs 0.01 to
0.05 dB in the mean, and gains on every third photograph (measured with edsr-small). What is not certain is an error.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

import numpy as np
import torch
from torch import Tensor

from srkit import CheckpointError, imresize_torch
from srkit_onnx.convention import LAYOUTS, LUMA, ORDERS, RANGES, WEIGHTS, Convention, Run, decode, encode
from srkit_onnx.graph import Graph
from srkit_onnx.pictures import sample
from srkit_onnx.session import in_short

SIZES = ((48, 64), (64, 64), (128, 128), (256, 256))  # (height, width): the first at which it runs
ODD = (37, 29)
MULTIPLES = (2, 4, 8, 16, 32, 64)
PHOTOGRAPHS = (0, 2, 3, 5, 6, 7)  # of the samples
NEAR = 0.08  # root mean square by which a result, made small, may differ from a photograph; of patches twice that
LEVEL = 1 / 255  # readings whose results differ by no more are one
MARGIN = 0.1  # dB by which the right range is nearer to the originals, in the mean; and on each of them at all
MEANS = ((0.4488, 0.4371, 0.4040), (0.485, 0.456, 0.406))  # of red, green and blue: DIV2K, ImageNet
REORDERING = ("Gather", "GatherElements", "GatherND", "ScatterND", "Slice", "Split", "Reverse", "ReverseSequence")


def measure(graph: Graph, run: Run, said: Mapping[str, str]) -> Convention:
    """The one reading of a file that its results agree with. said: what the user knows of it, by `Convention`'s names.

    Raises CheckpointError where it does not run, is no upscaling network, or where it is in doubt what it wants.
    """
    shaped = list(shapes(graph, run, said))
    if not shaped:
        raise CheckpointError(
            f"'{graph.path}' makes no picture, a whole number of times larger, of any that was tried "
            f"({' and '.join(LAYOUTS).upper()}, one and three channels): srkit cannot use it"
        )
    if len({(each.layout, each.channels == LUMA) for each in shaped}) > 1:
        raise in_doubt(graph.path, shaped, "layout", "")
    how = replace(sized(graph, run, shaped[0]), source="said" if said else "measured")
    return settled(graph, run, how, said)


def shapes(graph: Graph, run: Run, said: Mapping[str, str]) -> Iterator[Convention]:
    """Each layout in which the network runs and makes a picture a whole number of times larger.

    `size` is that which was tried; range and order are not known yet.
    """
    for layout in [said["layout"]] if "layout" in said else LAYOUTS:
        for channels in (3, 1):
            fixed = sides_of(graph, layout, channels)
            if fixed is None or ((said.get("channels", LUMA) == LUMA) != (channels == 1) and "channels" in said):
                continue
            for size in dict.fromkeys(partly(fixed, size) for size in SIZES):
                made = attempt(run, gray(layout, channels, size).astype(graph.input.dtype))
                if made is None or (found := enlarged(made.shape, channels, size)) is None:
                    continue
                word = LUMA if channels == 1 else ORDERS[0]
                layout_out, scale = found
                yield Convention(scale, layout, layout_out, word, word, size=size)
                break


def sides_of(graph: Graph, layout: str, channels: int) -> tuple[int | None, int | None] | None:
    """(height, width) as the file says, None for each that varies; None where it says that it is not so."""
    dims = graph.input.dims or (None,) * 4
    if (dims[1] is None) != (dims[3] is None) and (layout == "nchw") != (dims[1] is not None):
        return None  # where only one of the two is fixed, that is the number of channels
    batch, count, height, width = dims if layout == "nchw" else (dims[0], dims[3], dims[1], dims[2])
    return None if batch not in (None, 1) or count not in (None, channels) else (height, width)


def partly(fixed: tuple[int | None, int | None], size: tuple[int, int]) -> tuple[int, int]:
    return fixed[0] or size[0], fixed[1] or size[1]


def gray(layout: str, channels: int, size: tuple[int, int]) -> np.ndarray:
    return np.full((1, channels, *size) if layout == "nchw" else (1, *size, channels), 0.5)


def attempt(run: Run, values: np.ndarray) -> np.ndarray | None:
    """What is made of it; None where it does not run."""
    try:
        return run(values)
    except Exception:  # onnxruntime's own, of many types
        return None


def enlarged(shape: tuple[int, ...], channels: int, size: tuple[int, int]) -> tuple[str, int] | None:
    """(layout, scale) of a result of that shape; None where it is no picture a whole number of times larger."""
    for layout in LAYOUTS if len(shape) == 4 and shape[0] == 1 else ():
        _, count, height, width = shape if layout == "nchw" else (shape[0], shape[3], shape[1], shape[2])
        if count == channels and height % size[0] == 0 and height // size[0] == width / size[1] >= 1:
            return layout, height // size[0]
    return None


def sized(graph: Graph, run: Run, how: Convention) -> Convention:
    """With the sizes that the network takes: any, multiples of something, or only the one that was tried."""
    dims = graph.input.dims or (None,) * 4
    if None not in (dims[2], dims[3] if how.layout == "nchw" else dims[1]):
        return how
    channels = 1 if how.channels == LUMA else 3
    for multiple, size in ((1, ODD), *((each, (3 * each, 5 * each)) for each in MULTIPLES)):
        made = attempt(run, gray(how.layout, channels, size).astype(graph.input.dtype))
        if made is not None and enlarged(made.shape, channels, size) == (how.layout_out, how.scale):
            return replace(how, multiple=multiple, size=None)
    return how


@dataclass(frozen=True)
class Tried:
    """One reading: what it made of the photographs, and how near it and bicubic are to their originals, in dB."""

    how: Convention
    made: list[Tensor]
    psnr: list[float]
    bicubic: float

    @property
    def mean(self) -> float:
        return sum(self.psnr) / len(self.psnr)


def settled(graph: Graph, run: Run, how: Convention, said: Mapping[str, str]) -> Convention:
    """With the ranges and the channel order by which the results are right. Raises CheckpointError where in doubt."""
    tried = list(consistent(graph, run, how, said))
    if not tried:
        raise CheckpointError(
            f"'{graph.path}': what it makes is not the picture it is given, larger, whether its values are "
            f"{', '.join(RANGES)}: no upscaling network, or it is not trained"
        )
    orders = dict.fromkeys((each.how.channels, each.how.channels_out) for each in tried)
    found = [of_order(graph, [each for each in tried if order_of(each) == order]) for order in orders]
    first, others = found[0], [each for each in found[1:] if not alike(each, found[0])]
    if not others:
        return first.how
    hinted = [each for each in found if each.how.channels == known_order(graph)]
    if len(hinted) == 1:
        return hinted[0].how
    key = next(key for key in ("channels", "channels_out") if getattr(first.how, key) != getattr(others[0].how, key))
    raise in_doubt(graph.path, [each.how for each in found], key, "")


def order_of(tried: Tried) -> tuple[str, str]:
    return tried.how.channels, tried.how.channels_out


def of_order(graph: Graph, tried: list[Tried]) -> Tried:
    """Of readings that differ in their ranges alone the right one. Raises CheckpointError where that is in doubt."""
    best = max(tried, key=lambda each: each.mean)
    same = [each for each in tried if alike(each, best)]
    others = [each for each in tried if each not in same]
    unclear = [each for each in others if not clearly(best, each)] or (others if best.mean < best.bicubic else [])
    if unclear:
        key = "range" if best.how.range != unclear[0].how.range else "range_out"
        told = ", ".join(f"{each.how.range} to {each.how.range_out} {each.mean:.2f} dB" for each in (best, unclear[0]))
        why = f" ({told}, bicubic {best.bicubic:.2f} dB on photographs)"
        raise in_doubt(graph.path, [best.how, *(each.how for each in unclear)], key, why)
    return same[0]  # the plainest of those that are one


def known_order(graph: Graph) -> str:
    """The order of a mean of the three colours that the file has, as networks subtract it first; "" if there is none.

    Where the graph puts channels into another order itself, its constants do not tell that of the input.
    """
    found = set()
    if any(node.op_type in REORDERING for node in graph.model.graph.node):
        return ""
    for values in graph.constants(3, 9):
        if values.size == 9 and values.shape[:2] == (3, 3):  # a convolution of pixels
            square = values.reshape(3, 3)
            if np.abs(square - np.diag(np.diag(square))).max() > 0:
                return ""
        for mean in MEANS if values.size == 3 else ():
            for factor in (1, -1, 255, -255):
                for order, wanted in (("rgb", mean), ("bgr", mean[::-1])):
                    if np.allclose(values.ravel(), factor * np.array(wanted), rtol=2e-3, atol=0):
                        found.add(order)
    return found.pop() if len(found) == 1 else ""


def consistent(graph: Graph, run: Run, how: Convention, said: Mapping[str, str]) -> Iterator[Tried]:
    """Each reading by which a result, made small again, is the picture that went in."""
    height, width = how.size or tuple(-(-side // how.multiple) * how.multiple for side in SIZES[0])
    some = PHOTOGRAPHS if height * width <= 128**2 else PHOTOGRAPHS[:2]
    pairs = [sample(number, height, width, how.scale) for number in some]
    if how.channels == LUMA:
        pairs = [(luma(lr), luma(hr)) for lr, hr in pairs]
    floor = sum(psnr(imresize_torch(lr, how.scale).clamp(0, 1), hr) for lr, hr in pairs) / len(pairs)
    colours = patches(height, width, 1 if how.channels == LUMA else 3)
    for given in inputs(graph, how, said):
        patched = attempt(run, encode(colours, given, graph.input.dtype))
        fitting = [] if patched is None else list(outputs(graph, given, said))
        fitting = [reading for reading in fitting if away(decode(patched, reading), colours) <= 2 * NEAR]
        raw = [attempt(run, encode(lr, given, graph.input.dtype)) for lr, _ in pairs if fitting]
        if any(each is None for each in raw):
            continue
        for reading in fitting:
            made = [decode(each, reading) for each in raw if each is not None]
            far = [away(sr, lr) for sr, (lr, _) in zip(made, pairs, strict=True)]
            if max(far) <= NEAR:
                clipped = [sr.clamp(0, 1) for sr in made]
                yield Tried(reading, clipped, [psnr(sr, hr) for sr, (_, hr) in zip(clipped, pairs, strict=True)], floor)


def inputs(graph: Graph, how: Convention, said: Mapping[str, str]) -> Iterator[Convention]:
    whole = np.issubdtype(graph.input.dtype, np.integer)
    for values in [said["range"]] if "range" in said else ["0..255"] if whole else RANGES:
        for order in [said["channels"]] if "channels" in said else [LUMA] if how.channels == LUMA else ORDERS:
            yield replace(how, range=values, channels=order)


def outputs(graph: Graph, how: Convention, said: Mapping[str, str]) -> Iterator[Convention]:
    whole = np.issubdtype(graph.output.dtype, np.integer)
    for values in [said["range_out"]] if "range_out" in said else ["0..255"] if whole else RANGES:
        for order in [said["channels_out"]] if "channels_out" in said else [LUMA] if how.channels == LUMA else ORDERS:
            yield replace(how, range_out=values, channels_out=order)


def patches(height: int, width: int, channels: int) -> Tensor:
    """Full colours side by side, 1,C,H,W: another order or range cannot be taken for the right one."""
    rows = torch.arange(height)[:, None] * 4 // height
    columns = torch.arange(width)[None] * 2 // width
    number = rows * 2 + columns  # 0 to 7: a bit for each colour
    colours = torch.stack([(number >> bit) % 2 for bit in range(3)])[None].float() * 0.8 + 0.1
    return colours if channels == 3 else luma(colours)


def luma(rgb: Tensor) -> Tensor:
    return (rgb * rgb.new_tensor(WEIGHTS).view(1, 3, 1, 1)).sum(1, keepdim=True)


def away(sr: Tensor, lr: Tensor) -> float:
    """Root mean square difference of a result, made small by its mean, from what went in; infinite if not finite."""
    scale = sr.shape[-1] // lr.shape[-1]
    if not bool(sr.isfinite().all()):
        return math.inf
    return float((torch.nn.functional.avg_pool2d(sr, scale) - lr).square().mean().sqrt())


def psnr(sr: Tensor, hr: Tensor) -> float:
    return -10 * math.log10(max(float((sr - hr).square().mean()), 1e-12))


def alike(one: Tried, other: Tried) -> bool:
    return all(float((a - b).abs().max()) <= LEVEL for a, b in zip(one.made, other.made, strict=True))


def clearly(best: Tried, other: Tried) -> bool:
    """Is it nearer to every original, and enough in the mean?"""
    return best.mean - other.mean >= MARGIN and all(a > b for a, b in zip(best.psnr, other.psnr, strict=True))


def in_doubt(path: Path, readings: list[Convention], key: str, told: str) -> CheckpointError:
    """The error that names the option which settles it."""
    choices = list(dict.fromkeys(str(getattr(each, key)) for each in readings))
    name = {"layout": "layout", "channels": "channel order", "range": "range"}[key.removesuffix("_out")]
    side = " of the result" if key.endswith("_out") else ""
    option = f"--{key.replace('_', '-')}"
    return CheckpointError(
        f"'{path}': its {name}{side} is in doubt, {' or '.join(choices)}{told}; say it once: "
        f"srkit export {quote(str(path))} {option} {choices[0]} -o named.onnx"
    )


def confirmed(graph: Graph, run: Run, how: Convention) -> None:
    """What a file says of itself, held against one result. Raises CheckpointError where it is not so."""
    height, width = how.size or tuple(-(-side // how.multiple) * how.multiple for side in SIZES[0])
    lr, _ = sample(PHOTOGRAPHS[0], height, width, how.scale)
    lr = luma(lr) if how.channels == LUMA else lr
    try:
        made = decode(run(encode(lr, how, graph.input.dtype)), how)
    except Exception as error:
        raise CheckpointError(f"'{graph.path}' does not run as its metadata says: {in_short(error)}") from None
    right = tuple(made.shape[-2:]) == (height * how.scale, width * how.scale) and made.shape[1] == lr.shape[1]
    if not right or away(made, lr) > 2 * NEAR:
        raise CheckpointError(f"'{graph.path}' does not make what its metadata says ({how.words}); export it again")
