"""Checks of a backend: on a small network, in each precision it states, it gives what the network gives."""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn

from srkit.errors import SrkitError
from srkit.plugins import Entry, Registry, declared_options
from srkit.testing.kit import Check, Fault, Note
from srkit.testing.parts import pictures


def checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    for number, (precision, tolerance) in enumerate(entry.component.precisions.items()):
        scales = (2,) if number else (2, 3)  # to convert a network takes seconds
        yield Check(
            f"in {precision} it equals the network's own forward within {tolerance:g}",
            partial(equals, registry, entry, precision, tolerance, scales),
        )
    yield Check("the precision when none is chosen is one it states", lambda: stated_default(registry, entry))


def small_net(scale: int = 2) -> nn.Module:
    """Three convolutions with a shuffle: operations that every runtime for super-resolution has."""
    generator = torch.Generator().manual_seed(0)
    last = nn.Conv2d(16, 3 * scale**2, 3, padding=1)
    hidden = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*hidden, last, nn.PixelShuffle(scale))
    with torch.no_grad():
        for parameter in net.parameters():
            size = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator))
        last.weight *= 0.2  # so that the result lies about in [0, 1]
        last.get_parameter("bias").add_(0.5)
    return net.eval()


def equals(registry: Registry, entry: Entry, precision: str, tolerance: float, scales: Sequence[int]) -> None:
    choice = registry.choose("backend", entry.qualified, {"precision": precision})
    for scale in scales:
        net = small_net(scale)
        try:
            upscale = choice.build(net, scale)
        except SrkitError as error:
            raise Note(f"it cannot be built here: {error}") from None
        for height, width in ((24, 24), (17, 13), (1, 1)):
            lr = pictures(2, 24)[..., :height, :width]
            with torch.inference_mode():
                sr, own = upscale(lr), net(lr)
            if sr.shape != own.shape or sr.dtype != torch.float32 or sr.device != lr.device:
                raise Fault(
                    f"of a tile of {tuple(lr.shape)} it made {tuple(sr.shape)}, {sr.dtype} on {sr.device}",
                    f"return {tuple(own.shape)}, torch.float32, on the device of the tile",
                )
            difference = float((sr - own).abs().max())
            if not difference <= tolerance:
                raise Fault(
                    f"the result differs by {difference:.3g} from the network's own",
                    f"compute more exactly, or state it: precisions={{'{precision}': {difference * 2:.1g}}}",
                )


def stated_default(registry: Registry, entry: Entry) -> None:
    option = declared_options(entry).get("precision")
    stated = entry.component.precisions
    if option is None:
        raise Fault("its build has no option 'precision'", f"add *, precision: str = {next(iter(stated), 'fp32')!r}")
    if option.default not in stated:
        raise Fault(
            f"its default is {option.default!r}, and it states {', '.join(stated) or 'none'}",
            "name every precision, with its largest difference, in the record's precisions",
        )
