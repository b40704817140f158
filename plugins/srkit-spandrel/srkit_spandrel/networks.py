"""spandrel's networks as srkit calls them: built by name, for pictures of any size, trainable.

`networks.span` is the build of the model `span`: `lazy("srkit_spandrel.networks:span")` names it without an import.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import UsageError
from srkit_spandrel.constructors import classes, signature, with_signature
from srkit_spandrel.quiet import spandrel
from srkit_spandrel.table import rows


def __getattr__(attribute: str) -> Callable[..., nn.Module]:
    """The build of the model whose name this is, `-` written as `_`."""
    name = next((name for name in rows() if name.replace("-", "_") == attribute), None)
    if name is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{attribute}'")
    return with_signature(partial(build, name), signature(name))


def build(name: str, scale: int, **options: Any) -> nn.Module:
    """The network of the model `name`: RGB B,3,H,W float in [0, 1] -> B,3,scale*H,scale*W, of any size.

    Its parameters and buffers have spandrel's names. Raises UsageError for an upsampler that another scale has.
    """
    row = rows()[name]
    word = options.get("upsampler")
    if (only := row.get("upsampler_only", {}).get(word, scale)) != scale:
        raise UsageError(f"'{name}': upsampler '{word}' is for x{only} alone, not x{scale}")
    net = called_by_srkit(classes(name)[scale], row)(**arguments(row, scale, options))
    prepare(net, row)
    return net


def arguments(row: Mapping[str, Any], scale: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the constructor is given: the options, the scale by its own name, what RGB decides."""
    given = {**row.get("fixed", {}), **options}
    if "scale" in row:
        given[row["scale"]] = scale
    if row["arch"] == "ESRGAN":  # an unshuffled picture has more channels, and is enlarged by as much more
        factor = options["shuffle_factor"] or 1
        given |= {"in_nc": 3 * factor**2, "scale": scale * factor}
    return given


def called_by_srkit(cls: type[nn.Module], row: Mapping[str, Any]) -> type[nn.Module]:
    """The class, or one whose forward pads to the sizes it wants, as spandrel's own call does, and gives one tensor.

    A subclass, so that the names of the parameters stay.
    """
    wanted = spandrel.SizeRequirements(**row.get("size", {}))
    output, copies, single = OUTPUTS[row.get("output", "")], row.get("copies", False), row.get("single", False)
    if wanted.none and not copies and not single and output is as_it_is:
        return cls

    def forward(self: nn.Module, lr: Tensor) -> Tensor:
        if single and not self.training and len(lr) > 1:
            return torch.cat([forward(self, picture) for picture in lr.split(1)])
        height, width = lr.shape[-2:]
        right, down = wanted.get_padding(width, height)
        padded = pad(lr, right, down) if right or down else lr.clone() if copies else lr
        sr = output(cls.forward(self, padded))
        return sr[..., : sr.shape[-2] // padded.shape[-2] * height, : sr.shape[-1] // padded.shape[-1] * width]

    return type(cls.__name__, (cls,), {"forward": forward})


def pad(lr: Tensor, right: int, down: int) -> Tensor:
    """By reflection as far as there are pixels, the rest by repeating the last, as spandrel pads."""
    x, y = min(right, lr.shape[-1] - 1), min(down, lr.shape[-2] - 1)
    reflected = F.pad(lr, (0, x, 0, y), "reflect")
    return F.pad(reflected, (0, right - x, 0, down - y), "replicate")


def as_it_is(output: Any) -> Tensor:
    return output


def first(output: Any) -> Tensor:
    """Of a picture and what else the network says of it."""
    return output[0]


def half(output: Any) -> Tensor:
    """-1..1 as 0..1."""
    return output * 0.5 + 0.5


OUTPUTS: dict[str, Callable[[Any], Tensor]] = {"": as_it_is, "first": first, "half": half}


def prepare(net: nn.Module, row: Mapping[str, Any]) -> None:
    """Mend what keeps the network from being trained, measured or run in bfloat16; its values stay."""
    unused = re.compile(row.get("unused", "(?!)"))
    for name, parameter in net.named_parameters():
        if unused.search(name):  # one that waits for a gradient stops a training on several GPUs
            parameter.requires_grad_(False)
    for module in net.modules():
        for kind, forward in FORWARDS.items():
            if type(module).__name__ == kind:
                module.forward = partial(forward, module)
        if hasattr(module, "calculate_mask"):
            module.calculate_mask = partial(mask, module, module.calculate_mask)
        if type(module).__name__ == "Conv3XC":
            module.register_state_dict_pre_hook(lambda module, *_: module.update_params())


def mask(module: nn.Module, calculate: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """A mask of attention in the type of the weights: float32 would make all that is added to it float32."""
    return calculate(*args, **kwargs).to(next(module.parameters()).dtype)


def merged(module: Any, x: Tensor) -> Tensor:
    """SPAN's three convolutions and their shortcut as one, in evaluation.

    spandrel writes it into `eval_conv` at each use, which an export cannot; here that is done where weights are saved.
    """
    if module.training:
        return type(module).forward(module, x)
    first, middle, last = module.conv
    one, three = first.weight[:, :, 0, 0], last.weight[:, :, 0, 0]
    weight = torch.einsum("om,mnhw,ni->oihw", three, middle.weight, one)
    weight = weight + F.pad(module.sk.weight, (1, 1, 1, 1))
    bias = three @ (middle.weight.sum((2, 3)) @ first.bias + middle.bias) + last.bias + module.sk.bias
    out = F.conv2d(x, weight, bias, padding=1)
    return F.leaky_relu(out, negative_slope=0.05) if module.has_relu else out


def joined(module: Any, x: Tensor) -> Tensor:
    """PLKSR's large convolution over a part of the channels, as it is computed in training, in evaluation too.

    There it overwrites its input, through which no gradient can be measured.
    """
    part, rest = x[:, : module.idx], x[:, module.idx :]
    if hasattr(module, "mn_conv"):
        changed = module.mn_conv(part) + module.nm_conv(part) + module.nn_conv(part)
    else:
        changed = module.conv(part) + part if getattr(module, "with_idt", False) else module.conv(part)
    return torch.cat([changed, rest], dim=1)


#: what is computed in place of a class's own forward, by its name; the same values
FORWARDS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "Conv3XC": merged, "PLKConv2d": joined, "RectSparsePLKConv2d": joined,
}  # fmt: skip
