"""Checks of a model: sizes, batches, gradients, types, memory formats, weights, tiles, export."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from srkit.checkpoint import read_about, read_tensors
from srkit.components import Weights
from srkit.errors import SrkitError, did_you_mean, one_line
from srkit.nets import in_memory_format
from srkit.plugins import Choice, Entry, Registry
from srkit.testing.kit import Check, Fault, Note, near, rounding
from srkit.upscale.size import crop_to, pad_to_multiple
from srkit.upscale.wrap import make_upscaler
from srkit.weights.find import cached_file, is_own, registered_file
from srkit.weights.layouts import recognise_by
from srkit.weights.loading import load_located
from srkit.weights.locate import located_offer

SIZES = ((1, 1), (3, 5), (17, 13), (24, 32))
SECONDS = 60.0  # after which a model's further scales and presets are left out, and named
LARGE = 5_000_000  # parameters from which the costly checks are left to the smaller presets
PASSES = 10  # backward, until every parameter has had a gradient
WORK = 1.35e10  # parameters times pixels, beyond which measuring by gradient takes minutes on a CPU


@dataclass
class Trials:
    """Every preset at every scale; `each` calls a check for all of them, while there is time."""

    pairs: list[tuple[Choice, int]]
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    left_out: dict[str, None] = field(default_factory=dict)  # in order

    def each(self, test: Callable[[Choice, int], None]) -> None:
        """Raises the first Fault with preset and scale before it, or else a Note of what was not tried."""
        notes = []
        for i, (choice, scale) in enumerate(self.pairs):
            what = f"{choice.label} x{scale}"
            if i and time.monotonic() > self.until:
                self.left_out[what] = None
                continue
            try:
                test(choice, scale)
            except Fault as fault:
                raise Fault(f"{what}: {fault}", fault.advice) from fault
            except Note as note:
                notes.append(f"{what}: {note}")
        if notes:
            raise Note("; ".join(notes[:3]) + (f"; and {len(notes) - 3} more" if len(notes) > 3 else ""))

    def all_tried(self) -> None:
        if self.left_out:
            raise Note(f"after {SECONDS:g} s not every check was made of {', '.join(self.left_out)}")


def checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    record = entry.component
    choices = [registry.choose("model", f"{entry.package}:{name}") for name in (record.name, *record.presets)]
    different = {repr(choice.options): choice for choice in choices}.values()
    if record.from_file is not None:
        yield Check("its networks come from weight files", lambda: from_file_only(choices[0]))
        return
    trials = Trials([(choice, scale) for choice in different for scale in record.scales])
    for weights in record.weights:
        name = f"{weights.preset or record.name} x{', x'.join(map(str, weights.scales))}"
        yield Check(f"the weights of {name} {weights.tag}".rstrip(), partial(opened, registry, entry, weights))
    yield Check(
        "finite values of exactly the right size, at every scale, preset and size",
        partial(trials.each, sizes),
        essential=True,
    )
    for name, test in {
        "a batch equals its pictures one by one": batches,
        "the same picture gives the same result": repeatable,
        "gradients are finite and reach every parameter": gradients,
        "bfloat16 works and stays near float32": half,
        "channels_last gives the same result": memory_formats,
        "a state dict makes the round trip": round_trip,
        "the receptive field is the declared one": receptive_field,
        "tiles give the whole picture": tiles,
        "torch.export takes it": exports,
    }.items():
        yield Check(name, partial(trials.each, test))
    for name in record.layouts:
        test = partial(layout, name=name)
        yield Check(f"layout '{name}' reads what it writes, bit for bit", partial(trials.each, test))
    yield Check("every scale and preset was tried", trials.all_tried)


def opened(registry: Registry, entry: Entry, weights: Weights) -> None:
    """A registered file: there, the one that is named, of this model, and of the scales and options that are said."""
    record = entry.component
    if weights.preset not in ("", record.name, *record.presets):
        raise Fault(
            f"there is no preset '{weights.preset}'{did_you_mean(weights.preset, record.presets)}",
            "name a preset, or none",
        )
    if odd := [scale for scale in weights.scales if scale not in record.scales]:
        raise Fault(
            f"they are of x{odd[0]}, which the model does not offer",
            "add it to the scales of the model, or take it out",
        )
    if weights.url and not cached_file(weights).is_file():
        raise Note(f"not opened, since they are not fetched: {weights.url}")
    choice = registry.choose("model", f"{entry.package}:{weights.preset or record.name}")
    try:
        for scale in weights.scales:
            load_located(registry, located_offer(choice, weights, scale), "cpu")
        path = registered_file(choice, weights)
        options, other = said_by(registry, choice, weights.scales[0], path)
    except (SrkitError, ModuleNotFoundError, RuntimeError) as error:
        advice = "ship the file in the wheel, and let the record say its sha256, preset and scale"
        raise Fault(one_line(error), advice) from None
    if other:
        raise Fault(f"the file is of '{other}'", "name the file of this model")
    wrong = [key for key, value in options.items() if choice.options.get(key, value) != value]
    if weights.preset and wrong:
        raise Fault(
            f"the file has {wrong[0]}={options[wrong[0]]!r}, the preset {choice.options[wrong[0]]!r}", "name its preset"
        )


def said_by(registry: Registry, choice: Choice, scale: int, path: Path) -> tuple[Mapping[str, Any], str]:
    """(options, another model's name) as a weight file says, in its header or by its layout; else nothing."""
    if is_own(path):
        said = read_about(path)["model"]
        name = said["name"].rpartition(":")[2]
        return said["options"], "" if name == choice.component.name else name
    if known := recognise_by(registry, choice.entry, read_tensors(path), {**choice.options, "scale": scale}):
        reading = known.reading
        return {key: value for key, value in reading.options.items() if key not in reading.assumed}, ""
    return {}, ""


def built(choice: Choice, scale: int, seed: int = 0) -> nn.Module:
    """The network of one scale, in evaluation mode, on the CPU."""
    torch.manual_seed(seed)
    try:
        net = choice.build((scale,) if choice.component.multi_scale else scale)
    except Exception as error:
        raise Fault(
            f"build({scale}) raised {type(error).__name__}: {error}", "build must work for every scale the record lists"
        ) from error
    if not isinstance(net, nn.Module):
        raise Fault(f"build({scale}) gave a {type(net).__name__}", "return a torch.nn.Module")
    return awake(net, seed).eval()


def awake(net: nn.Module, seed: int) -> nn.Module:
    """Parameters that begin as zero, as the last layer of a residual often does, hide what is before them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.is_floating_point() and not parameter.any():
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return net


def call(choice: Choice, net: nn.Module, scale: int) -> Callable[[Tensor], Tensor]:
    """The network as srkit calls it, input padded to its size_multiple and the result cropped."""

    def forward(lr: Tensor) -> Tensor:
        padded = pad_to_multiple(lr, choice.component.size_multiple)
        sr = net(padded, scale) if choice.component.multi_scale else net(padded)
        return crop_to(sr, lr.shape[-2] * scale, lr.shape[-1] * scale)

    return forward


def picture(*size: int, seed: int = 1) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def sizes(choice: Choice, scale: int) -> None:
    forward = call(choice, built(choice, scale), scale)
    for height, width in SIZES:
        with torch.inference_mode():
            try:
                sr = forward(picture(1, 3, height, width))
            except Exception as error:
                raise Fault(
                    f"x{scale} of a {width}x{height} picture raised {type(error).__name__}: {error}",
                    "any size must work: pad inside the network, or declare size_multiple=N and srkit pads",
                ) from error
        if sr.shape != (1, 3, height * scale, width * scale):
            wanted = (1, 3, height * scale, width * scale)
            raise Fault(
                f"x{scale} of a {width}x{height} picture is {tuple(sr.shape)}, not {wanted}",
                "give exactly scale times the input, odd sizes too: pad instead of cropping or striding, "
                "or declare size_multiple=N and srkit pads and crops",
            )
        if not sr.isfinite().all():
            raise Fault(
                f"x{scale} of a {width}x{height} picture has values that are not finite",
                "look for a division or a root of zero",
            )


def batches(choice: Choice, scale: int) -> None:
    forward = call(choice, built(choice, scale), scale)
    lr = picture(3, 3, 16, 16)
    with torch.inference_mode():
        together, alone = forward(lr), torch.cat([forward(one[None]) for one in lr])
    near(
        together,
        alone,
        "a picture's result depends on the others in its batch",
        "in evaluation mode nothing may be shared across the batch",
    )


def repeatable(choice: Choice, scale: int) -> None:
    forward = call(choice, built(choice, scale), scale)
    with torch.inference_mode():
        near(
            forward(picture(1, 3, 16, 16)),
            forward(picture(1, 3, 16, 16)),
            "two passes over one picture differ",
            "no randomness in evaluation mode",
        )


def gradients(choice: Choice, scale: int) -> None:
    net = built(choice, scale).train()
    trained = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trained:
        if choice.component.trainable:
            raise Fault("it has no parameters to train", "declare trainable=False in the record")
        raise Note("nothing to train")
    forward = call(choice, net, scale)
    for seed in range(PASSES):  # one more where a layer, such as stochastic depth, left parameters out by chance
        sr = forward(picture(2, 3, 24, 24, seed=seed))
        (sr - picture(*sr.shape, seed=PASSES)).abs().mean().backward()
        if all(p.grad is not None and p.grad.any() for p in trained.values()):
            break
    for name, parameter in trained.items():
        if parameter.grad is None or not parameter.grad.any():
            raise Fault(
                f"no gradient reaches the parameter '{name}'",
                "use it in forward, or remove it, or set requires_grad=False",
            )
        if not parameter.grad.isfinite().all():
            raise Fault(f"the gradient of '{name}' is not finite", "look for a division or a root of zero")


def half(choice: Choice, scale: int) -> None:
    net = built(choice, scale)
    lr = picture(1, 3, 16, 24)
    with torch.inference_mode():
        full = call(choice, net, scale)(lr)
        try:
            low = call(choice, net.bfloat16(), scale)(lr.bfloat16())
        except Exception as error:
            raise Fault(
                f"net.bfloat16() raised {type(error).__name__}: {error}",
                "make tensors inside forward with the input's type: torch.zeros(..., dtype=x.dtype, device=x.device)",
            ) from error
    if low.dtype != torch.bfloat16:
        raise Fault(
            f"bfloat16 went in and {low.dtype} came out",
            "a tensor made inside forward has its own dtype; give it the input's",
        )
    if not low.isfinite().all():
        raise Fault(
            "in bfloat16 the result has values that are not finite",
            "compute what overflows or divides in float32 and convert back",
        )
    scale_of = full.abs().max().clamp_min(1e-3)
    if (low.float() - full).abs().max() > 0.1 * scale_of:
        raise Fault(
            f"in bfloat16 the result is off by {float((low.float() - full).abs().max()):.3g}",
            "compute the step that needs precision in float32 and convert back",
        )


def memory_formats(choice: Choice, scale: int) -> None:
    net = built(choice, scale)
    lr = picture(1, 3, 16, 24)
    with torch.inference_mode():
        plain = call(choice, net, scale)(lr)
        try:
            other = call(choice, in_memory_format(net, torch.channels_last), scale)(
                lr.contiguous(memory_format=torch.channels_last)
            )
        except Exception as error:
            raise Fault(
                f"channels_last raised {type(error).__name__}: {error}", "use reshape or flatten instead of view"
            ) from error
    near(
        plain,
        other,
        "channels_last changes the result",
        "do not assume strides: use reshape, not view or as_strided",
    )


def round_trip(choice: Choice, scale: int) -> None:
    net, other = built(choice, scale, 0), built(choice, scale, 1)
    try:
        tensors = load(save({name: t.contiguous() for name, t in net.state_dict().items()}))
        other.load_state_dict(tensors)
    except Exception as error:
        raise Fault(
            f"its state dict cannot be saved and loaded: {error}",
            "two names for one tensor, or entries that are no tensors, cannot be saved: register one, derive the other",
        ) from error
    lr = picture(1, 3, 16, 16)
    with torch.inference_mode():
        near(
            call(choice, net, scale)(lr),
            call(choice, other, scale)(lr),
            "the same state dict in another network gives other pixels",
            "what decides the result must be a parameter or a buffer",
        )


def declared_field(choice: Choice, scale: int) -> int:
    field = choice.component.receptive_field
    if field is None:
        raise Note("no receptive_field is declared, so pictures are upscaled whole, not in tiles")
    seen = field(scale, **choice.options) if callable(field) else field
    if seen is None:
        raise Note("with these options it has no receptive_field, so pictures are upscaled whole, not in tiles")
    return int(seen)


def receptive_field(choice: Choice, scale: int) -> None:
    """Measure by gradient which input pixels can change one output pixel, and compare with the declaration."""
    declared = declared_field(choice, scale)
    net = built(choice, scale).double()
    multiple = choice.component.size_multiple
    centre = (declared + 8) // multiple * multiple + multiple
    side = 2 * centre + 2 * multiple
    count = sum(p.numel() for p in net.parameters())
    if count * side**2 * multiple > WORK:
        raise Note(f"not measured: {count:,} parameters that see {declared} pixels; check a smaller preset")
    lr = picture(1, 3, side, side, seed=3).double().requires_grad_()
    try:
        sr = call(choice, net, scale)(lr)
    except Exception as error:
        raise Note(f"not measured: in float64 it raised {one_line(error)}") from None
    if not sr.requires_grad:
        raise Note("it has no gradient to measure by")
    reach = 0
    for place in range(centre, centre + multiple):  # every place on the grid of windows, along the diagonal
        # All sub-pixels of an input pixel at once; weights, so that what they see does not cancel.
        square = sr[..., place * scale : (place + 1) * scale, place * scale : (place + 1) * scale]
        weighted = (square * picture(*square.shape, seed=4).double()).sum()
        (gradient,) = torch.autograd.grad(weighted, lr, retain_graph=place < centre + multiple - 1)
        seen = gradient.abs().sum((0, 1)).nonzero() - place
        reach = max(reach, int(seen.abs().max()) if len(seen) else 0)
    if reach > declared:
        raise Fault(
            f"at x{scale} it sees {reach} pixels or more to each side and declares {declared}",
            f"declare receptive_field={reach} or more, else tiles have visible seams; None where it has no bound",
        )
    if reach < declared - 1:
        raise Note(f"at x{scale} it sees {reach} pixels and declares {declared}: tiles overlap more than they need to")


def tiles(choice: Choice, scale: int) -> None:
    """Compare in float32 and, where that differs, in float64, which tells rounding from a field that is too small."""
    if choice.component.resize:
        raise Note("it resizes a picture at once, not in tiles")  # and rounds to 8 bits, which no tolerance explains
    field = declared_field(choice, scale)
    net = built(choice, scale)
    if sum(p.numel() for p in net.parameters()) > LARGE:
        raise Note("not tried: a large network; use a small preset")
    lr = picture(1, 3, field + 45, field + 61)
    difference, rounded = seams(net, choice, scale, lr)
    if difference == 0:
        return
    try:
        exact, exactly_rounded = seams(net.double(), choice, scale, lr.double())
    except Exception:  # a network may know float32 alone
        exact, exactly_rounded = difference, rounded
    if not exact <= exactly_rounded:
        raise Fault(
            f"tiles differ from the whole picture (by {difference:.3g})",
            "declare a larger receptive_field, or None where it has no bound",
        )
    if not difference <= rounded:
        raise Note(f"tiles differ from the whole picture by {difference:.3g}, by rounding: in float64 by {exact:.3g}")


def seams(net: nn.Module, choice: Choice, scale: int, lr: Tensor) -> tuple[float, float]:
    """The largest difference of a tiled result from the whole one, and that which rounding explains."""
    whole = make_upscaler(net, choice, scale, tile=0, in_range=False)(lr)
    tiled = make_upscaler(net, choice, scale, tile=32, in_range=False)(lr)
    return float((whole - tiled).abs().max()), rounding(whole)


def exports(choice: Choice, scale: int) -> None:
    net = built(choice, scale)
    if not choice.component.trainable or choice.component.multi_scale:
        raise Note("not tried for an interpolation or a multi-scale model")
    side = 16 + -16 % choice.component.size_multiple
    lr = picture(1, 3, side, side)
    try:
        program = torch.export.export(net, (lr,))
    except Exception as error:
        raise Fault(
            f"torch.export refused it: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "avoid .item(), numpy and decisions that depend on values inside forward",
        ) from error
    with torch.inference_mode():
        near(
            program.module()(lr),
            net(lr),
            "the exported program gives other pixels",
            "avoid state that changes inside forward",
        )


def layout(choice: Choice, scale: int, *, name: str) -> None:
    each = choice.component.layouts[name]
    own = dict(built(choice, scale).state_dict())
    written, _ = each.write(own, [scale], choice.options)
    reading = each.read({key: tensor.clone() for key, tensor in written.items()})
    if reading is None:
        raise Fault("it does not know what it wrote", "read must take every name and shape that write gives")
    said = {key: value for key, value in reading.options.items() if key not in reading.assumed}
    wrong = [key for key, value in said.items() if choice.options.get(key) != value]
    if wrong or list(reading.scales) != [scale]:
        raise Fault(
            f"it reads {wrong or 'the scale'} as {[said[key] for key in wrong] or list(reading.scales)}",
            "what the tensors do not say belongs into Reading.assumed",
        )
    changed = [key for key in own.keys() | reading.tensors.keys() if not same(own.get(key), reading.tensors.get(key))]
    if changed:
        raise Fault(f"'{sorted(changed)[0]}' comes back changed", "rename tensors; do not compute with them")
    if each.read({f"x.{key}": tensor for key, tensor in written.items()}) is not None:
        raise Fault("it takes tensors of other names for its own", "compare every name and every shape")


def same(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def from_file_only(choice: Choice) -> None:
    raise Note("it reads foreign weight files; its networks are as good as those")
