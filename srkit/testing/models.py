"""Checks of a model: sizes, batches, gradients, types, memory formats, weights, tiles, export."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from srkit.plugins import Choice, Entry, Registry
from srkit.testing.kit import Check, Fault, Note
from srkit.upscale.size import crop_to, pad_to_multiple
from srkit.upscale.wrap import make_upscaler

SIZES = ((1, 1), (3, 5), (17, 13), (24, 32))
LARGE = 5_000_000  # parameters from which the costly checks are left to the smaller presets
WORK = 1.35e10  # parameters times pixels, beyond which measuring by gradient takes minutes on a CPU


def checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    record = entry.component
    choices = [registry.choose("model", f"{entry.package}:{name}") for name in (record.name, *record.presets)]
    different = {repr(choice.options): choice for choice in choices}.values()
    if record.from_file is not None:
        yield Check("its networks come from weight files", lambda: from_file_only(choices[0]))
        return
    for choice in different:
        yield Check(f"exact output size at every scale and size ({choice.label})", partial(sizes, choice))
    first = choices[0]
    scale = record.scales[0]
    yield Check("a batch equals its pictures one by one", lambda: batches(first, scale))
    yield Check("the same picture gives the same result", lambda: repeatable(first, scale))
    yield Check("gradients are finite and reach every parameter", lambda: gradients(first, scale))
    yield Check("bfloat16 works and stays near float32", lambda: half(first, scale))
    yield Check("channels_last gives the same result", lambda: memory_formats(first, scale))
    yield Check("a state dict makes the round trip", lambda: round_trip(first, scale))
    yield Check("the receptive field is the declared one", lambda: receptive_field(first))
    yield Check("tiles give the whole picture, bit for bit", lambda: tiles(first, scale))
    yield Check("torch.export takes it", lambda: exports(first, scale))
    for name in record.layouts:
        yield Check(f"layout '{name}' reads what it writes, bit for bit", partial(layout, first, scale, name))


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
    return net.eval()


def call(choice: Choice, net: nn.Module, scale: int) -> Callable[[Tensor], Tensor]:
    """The network as srkit calls it, input padded to its size_multiple and the result cropped."""

    def forward(lr: Tensor) -> Tensor:
        padded = pad_to_multiple(lr, choice.component.size_multiple)
        sr = net(padded, scale) if choice.component.multi_scale else net(padded)
        return crop_to(sr, lr.shape[-2] * scale, lr.shape[-1] * scale)

    return forward


def picture(*size: int, seed: int = 1) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed))


def sizes(choice: Choice) -> None:
    for scale in choice.component.scales:
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
        1e-4,
        "a picture's result depends on the others in its batch",
        "in evaluation mode nothing may be shared across the batch",
    )


def repeatable(choice: Choice, scale: int) -> None:
    forward = call(choice, built(choice, scale), scale)
    with torch.inference_mode():
        near(
            forward(picture(1, 3, 16, 16)),
            forward(picture(1, 3, 16, 16)),
            0,
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
    for seed in range(2):
        sr = forward(picture(2, 3, 24, 24, seed=seed))
        (sr - picture(*sr.shape, seed=9)).abs().mean().backward()
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
            other = call(choice, net.to(memory_format=torch.channels_last), scale)(
                lr.contiguous(memory_format=torch.channels_last)
            )
        except Exception as error:
            raise Fault(
                f"channels_last raised {type(error).__name__}: {error}", "use reshape or flatten instead of view"
            ) from error
    near(
        plain,
        other,
        1e-4,
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
            0,
            "the same state dict in another network gives other pixels",
            "what decides the result must be a parameter or a buffer",
        )


def declared_field(choice: Choice, scale: int) -> int:
    field = choice.component.receptive_field
    if field is None:
        raise Note("no receptive_field is declared, so pictures are upscaled whole, not in tiles")
    return int(field(scale, **choice.options)) if callable(field) else field


def receptive_field(choice: Choice) -> None:
    """Measure by gradient which input pixels can change one output pixel, and compare with the declaration.

    A scale that would take minutes is left out where another one was measured.
    """
    for number, scale in enumerate(choice.component.scales):
        declared = declared_field(choice, scale)
        net = built(choice, scale).double()
        multiple = choice.component.size_multiple
        centre = (declared + 8) // multiple * multiple + multiple
        side = 2 * centre + 2 * multiple
        count = sum(p.numel() for p in net.parameters())
        if count * side**2 * multiple > WORK:
            if number:
                continue
            raise Note(f"not measured: {count:,} parameters that see {declared} pixels; check a smaller preset")
        reach = 0
        # every place on the grid of windows and of sub-pixels, along the diagonal
        for k in range(scale * choice.component.size_multiple):
            lr = torch.rand(
                1, 3, side, side, dtype=torch.double, generator=torch.Generator().manual_seed(3)
            ).requires_grad_()
            sr = call(choice, net, scale)(lr)
            if not sr.requires_grad:
                raise Note("it has no gradient to measure by")
            (gradient,) = torch.autograd.grad(sr[..., centre * scale + k, centre * scale + k].sum(), lr)
            seen = gradient.abs().sum((0, 1)).nonzero() - (centre + k // scale)
            reach = max(reach, int(seen.abs().max()))
        if reach > declared:
            raise Fault(
                f"at x{scale} it sees {reach} pixels or more to each side and declares {declared}",
                f"declare receptive_field={reach} or more, else tiles have visible seams; None where it has no bound",
            )
        if reach < declared - 1:
            raise Note(
                f"at x{scale} it sees {reach} pixels and declares {declared}: tiles overlap more than they need to"
            )


def tiles(choice: Choice, scale: int) -> None:
    field = declared_field(choice, scale)
    net = built(choice, scale)
    if sum(p.numel() for p in net.parameters()) > LARGE:
        raise Note("not tried: a large network; use a small preset")
    lr = picture(1, 3, field + 45, field + 61)
    whole = make_upscaler(net, choice, scale, tile=0, in_range=False)(lr)  # its weights are random
    tiled = make_upscaler(net, choice, scale, tile=32, in_range=False)(lr)
    near(
        whole,
        tiled,
        0,
        "tiles differ from the whole picture",
        "declare a larger receptive_field, or None where it has no bound",
    )


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
            1e-4,
            "the exported program gives other pixels",
            "avoid state that changes inside forward",
        )


def layout(choice: Choice, scale: int, name: str) -> None:
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


def near(one: Tensor, other: Tensor, tolerance: float, text: str, advice: str) -> None:
    difference = float((one.float() - other.float()).abs().max())
    if not difference <= tolerance:
        raise Fault(f"{text} (by {difference:.3g})", advice)
