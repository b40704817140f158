"""EDSR's and MDSR's weights as two other programs keep them: the authors' EDSR-PyTorch, and BasicSR.

EDSR-PyTorch (https://github.com/sanghyun-son/EDSR-PyTorch, src/model) has srkit's own names. BasicSR
(https://github.com/XPixelGroup/BasicSR, basicsr/archs/edsr_arch.py) has others and no mean shift in its
files: it computes `net((x - mean) * img_range) / img_range + mean` on x in [0, 1]. srkit's mean shifts are
tensors, 1x1 convolutions around the trunk on pixels in 0..255, so any range and mean go into them and every
trained tensor stays what it is, bit for bit.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Gt, Len
from torch import Tensor, nn

from srkit import CheckpointError, Reading
from srkit_builtin.edsr import DIV2K_MEAN, EDSR, PIXEL_RANGE, factors
from srkit_builtin.mdsr import MDSR

Tensors = Mapping[str, Tensor]
ResScale = Annotated[float | None, Gt(0), "factor on each residual, which no weight file says"]
ImgRange = Annotated[float | None, Gt(0), "BasicSR's img_range: what pixels in [0, 1] are multiplied by"]
RgbMean = Annotated[list[float] | None, Len(3, 3), "BasicSR's rgb_mean"]

WIDE = 256  # the paper's large model, which the authors train with residual scaling
WIDE_RES_SCALE = 0.1


def read_edsr(tensors: Tensors, *, res_scale: ResScale = None) -> Reading | None:
    """EDSR as the authors' code saves it."""
    found = authors_names(tensors)
    body = blocks(found, r"body\.(\d+)\.body\.0\.weight")
    scale = scale_of(found, "tail.0")
    n_feats = width(found, "head.0")
    if not scale or not fits(EDSR, scale, found, n_resblocks=body, n_feats=n_feats):
        return None
    found, notes = in_pixels(found)
    options, assumed = edsr_options(body, n_feats, res_scale)
    return Reading(scales=(scale,), options=options, tensors=found, assumed=assumed, notes=notes)


def write_edsr(
    tensors: Tensors, scales: Sequence[int], options: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As the authors' code reads it with these options on its command line."""
    return dict(tensors), {"model": "EDSR", "scale": scales[0], **options, "rgb_range": PIXEL_RANGE}


def read_mdsr(tensors: Tensors) -> Reading | None:
    """MDSR as the authors' code saves it."""
    found = authors_names(tensors)
    body = blocks(found, r"body\.(\d+)\.body\.0\.weight")
    ways = blocks(found, r"upsample\.(\d+)\.0\.weight")
    scales = tuple(scale_of(found, f"upsample.{i}") for i in range(ways))
    n_feats = width(found, "head.0")
    if not all(scales) or not fits(MDSR, scales, found, n_resblocks=body, n_feats=n_feats):
        return None
    found, notes = in_pixels(found)
    return Reading(scales=scales, options={"n_resblocks": body, "n_feats": n_feats}, tensors=found, notes=notes)


def write_mdsr(
    tensors: Tensors, scales: Sequence[int], options: Mapping[str, Any]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As the authors' code reads it with these options on its command line."""
    return dict(tensors), {"model": "MDSR", "scale": "+".join(map(str, scales)), **options, "rgb_range": PIXEL_RANGE}


def read_basicsr(
    tensors: Tensors, *, res_scale: ResScale = None, img_range: ImgRange = None, rgb_mean: RgbMean = None
) -> Reading | None:
    """EDSR as BasicSR saves it. Range and mean are of its network_g: 255 and DIV2K's mean unless the user says."""
    body = blocks(tensors, r"body\.(\d+)\.conv1\.weight")
    scale = scale_of(tensors, "upsample")
    n_feats = width(tensors, "conv_first")
    ours = {theirs: mine for mine, theirs in basicsr_names(body, scale).items()}
    if not scale or tensors.keys() != ours.keys():
        return None
    chosen = float(PIXEL_RANGE if img_range is None else img_range)
    mean = tuple(rgb_mean or DIV2K_MEAN)
    found = {**mean_shifts(chosen, mean), **{ours[name]: tensor for name, tensor in tensors.items()}}
    if not fits(EDSR, scale, found, n_resblocks=body, n_feats=n_feats):
        return None
    options, assumed = edsr_options(body, n_feats, res_scale)
    assumed |= {} if img_range else {"img_range": chosen}
    assumed |= {} if rgb_mean else {"rgb_mean": list(mean)}
    return Reading(scales=(scale,), options=options, tensors=found, assumed=assumed)


def write_basicsr(
    tensors: Tensors, scales: Sequence[int], options: Mapping[str, Any], *, img_range: ImgRange = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """As BasicSR reads it with these settings as its network_g.

    Without `img_range` it is that of the mean shifts, and no trained tensor changes. Another one rescales the
    first and the last convolution: with own range R and wanted range r, f(R z) / R = g(r z) / r holds for
    g(v) = f(v R / r) r / R, so conv_first.weight is multiplied by R / r (its bias is added after that and
    stays) and conv_last.weight and conv_last.bias by r / R.
    """
    own, mean = range_and_mean(tensors)
    names = basicsr_names(options["n_resblocks"], scales[0])
    written = {theirs: tensors[mine] for mine, theirs in names.items()}
    wanted = own if img_range is None else float(img_range)
    if wanted != own:
        for name, factor in (
            ("conv_first.weight", own / wanted),
            ("conv_last.weight", wanted / own),
            ("conv_last.bias", wanted / own),
        ):
            written[name] = (written[name].double() * factor).to(written[name].dtype)  # rounded once
    settings = {
        "type": "EDSR",
        "num_in_ch": 3,
        "num_out_ch": 3,
        "num_feat": options["n_feats"],
        "num_block": options["n_resblocks"],
        "upscale": scales[0],
        "res_scale": options["res_scale"],
        "img_range": wanted,
        "rgb_mean": list(mean),
    }
    return written, settings


def authors_names(tensors: Tensors) -> dict[str, Tensor]:
    """With the mean shift of older code by its new name."""
    return {name.replace("_mean.shifter.", "_mean."): tensor for name, tensor in tensors.items()}


def basicsr_names(n_resblocks: int, scale: int) -> dict[str, str]:
    """srkit's name -> BasicSR's, for every tensor both have."""
    steps = range(0, 2 * len(factors(scale)), 2) if scale else ()
    modules = {
        "head.0": "conv_first",
        **{f"body.{i}.body.{2 * k}": f"body.{i}.conv{k + 1}" for i in range(n_resblocks) for k in range(2)},
        f"body.{n_resblocks}": "conv_after_body",
        **{f"tail.0.{k}": f"upsample.{k}" for k in steps},
        "tail.1": "conv_last",
    }
    return {f"{mine}.{part}": f"{theirs}.{part}" for mine, theirs in modules.items() for part in ("weight", "bias")}


def blocks(tensors: Tensors, pattern: str) -> int:
    """How many numbers, from 0 on, `pattern` finds in the names."""
    numbers = {int(match[1]) for name in tensors if (match := re.fullmatch(pattern, name))}
    return next(n for n in range(len(numbers) + 1) if n not in numbers)


def width(tensors: Tensors, module: str) -> int:
    first = tensors.get(f"{module}.weight")
    return first.shape[0] if first is not None and first.ndim == 4 else 0


def scale_of(tensors: Tensors, module: str) -> int:
    """The scale of an upsampler: the product of its steps, each of which makes s*s times the channels; 1 without steps.

    0 where it is none.
    """
    scale = 1
    for k in range(0, 16, 2):
        step = tensors.get(f"{module}.{k}.weight")
        if step is None:
            break
        if step.ndim != 4 or not step.shape[1]:
            return 0
        scale *= math.isqrt(step.shape[0] // step.shape[1])
    return scale if scale == 3 or scale & (scale - 1) == 0 else 0


def fits(build: type[nn.Module], scale: Any, tensors: Tensors, **options: int) -> bool:
    """Has `tensors` the very names and shapes of this network? No memory is taken for it."""
    if not all(options.values()):
        return False
    with torch.device("meta"):
        own = build(scale, **options).state_dict()
    return {name: tensor.shape for name, tensor in own.items()} == {name: t.shape for name, t in tensors.items()}


def edsr_options(n_resblocks: int, n_feats: int, res_scale: float | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(options, assumed): residual scaling leaves no trace in weights; the authors use it for wide networks alone."""
    usual = WIDE_RES_SCALE if n_feats >= WIDE else 1.0
    options = {"n_resblocks": n_resblocks, "n_feats": n_feats, "res_scale": res_scale or usual}
    return options, {} if res_scale else {"res_scale": usual}


def mean_shifts(img_range: float, mean: Sequence[float]) -> dict[str, Tensor]:
    """The two 1x1 convolutions that turn pixels in 0..255 into `(x - mean) * img_range`, x in [0, 1], and back."""
    eye, offset = torch.eye(3).view(3, 3, 1, 1), torch.tensor(mean)
    return {
        "sub_mean.weight": eye * (img_range / PIXEL_RANGE),
        "sub_mean.bias": -img_range * offset,
        "add_mean.weight": eye * (PIXEL_RANGE / img_range),
        "add_mean.bias": PIXEL_RANGE * offset,
    }


def range_and_mean(tensors: Tensors) -> tuple[float, tuple[float, ...]]:
    """The inverse of `mean_shifts`, to six digits. CheckpointError where the shifts are none that it makes."""
    img_range = float(f"{PIXEL_RANGE * float(tensors['sub_mean.weight'][0, 0]):.6g}")
    if img_range > 0:
        mean = tuple(float(f"{-float(value) / img_range:.6g}") for value in tensors["sub_mean.bias"])
        if all(torch.allclose(tensors[name].float(), made) for name, made in mean_shifts(img_range, mean).items()):
            return img_range, mean
    raise CheckpointError("its mean shift was changed in training; BasicSR has only one img_range and one rgb_mean")


def in_pixels(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """(tensors, notes) for pixels in 0..255. The authors' `--rgb_range 1` shows in a mean shift of at most 1."""
    bias = tensors["sub_mean.bias"].float()
    plain = torch.equal(tensors["sub_mean.weight"].float().flatten(1), torch.eye(3))
    if not plain or not bias.any() or bias.abs().max() > 1:
        return tensors, "its mean shift is for pixels in 0..255"
    notes = "trained with rgb_range 1, by its mean shift, which is scaled to pixels in 0..255"
    return {**tensors, **mean_shifts(1.0, (-bias).tolist())}, notes
