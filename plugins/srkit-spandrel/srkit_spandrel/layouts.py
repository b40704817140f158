"""Weight files as spandrel reads them, in both directions: `layouts.read_span`, `layouts.write_span`, ...

A file is recognised by spandrel's own detection, and taken only where every name and shape fits.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Annotated, Any, get_args

from torch import Tensor, nn

from srkit import Reading, UsageError
from srkit_spandrel.constructors import TRAINING, classes, parameters, plain, signature, with_signature
from srkit_spandrel.quiet import spandrel
from srkit_spandrel.table import EXTRA, rows


def __getattr__(attribute: str) -> Callable[..., Any]:
    """`read_NAME` and `write_NAME` of the model NAME, `-` written as `_`."""
    verb, _, rest = attribute.partition("_")
    name = next((name for name in rows() if name.replace("-", "_") == rest), None)
    if name is None or verb not in ("read", "write"):
        raise AttributeError(f"module '{__name__}' has no attribute '{attribute}'")
    return with_signature(partial(read, name), read_signature(name)) if verb == "read" else partial(write, name)


def read_signature(name: str) -> inspect.Signature:
    """What a file does not say may be said: each such option, None to take what spandrel takes."""
    said = signature(name).parameters
    optional = [
        said[key].replace(default=None, annotation=Annotated[get_args(said[key].annotation)[0] | None, "of the file"])
        for key in rows()[name].get("unseen", ())
        if key in said
    ]
    tensors = inspect.Parameter("tensors", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([tensors, *optional])


def read(name: str, tensors: Mapping[str, Tensor], **said: Any) -> Reading | None:
    """What `name` makes of a file's tensors; None where spandrel does not take them for this network in RGB."""
    row = rows()[name]
    descriptor = described(row["arch"], tensors)
    if descriptor is None or descriptor.scale not in row["scales"]:
        return None
    if type(descriptor.model) is not classes(name)[descriptor.scale]:
        return None
    if (descriptor.input_channels, descriptor.output_channels) != (3, 3):
        return None
    made = {key: plain(value) for key, value in descriptor.model.hyperparameters.items()}
    if any(key in made and made[key] != plain(value) for key, value in row.get("fixed", {}).items()):
        return None
    seen = {key: made[key] for key in parameters(name) if key in made and key not in TRAINING}
    given = {key: value for key, value in said.items() if value is not None}
    guessed = {*row.get("unseen", ()), *row.get("neutral", ())} - set(given)
    return Reading(
        scales=[descriptor.scale],
        options=seen | given,
        tensors=descriptor.model.state_dict(),
        assumed={key: value for key, value in seen.items() if key in guessed and value is not None},
    )


def described(arch: str, tensors: Mapping[str, Tensor]) -> "spandrel.ImageModelDescriptor[nn.Module] | None":
    """The network that spandrel's architecture `arch` makes of the tensors; None where it does not."""
    known = architecture(arch)
    if not known.detect(dict(tensors)):
        return None
    try:
        found = known.load(dict(tensors))
    except Exception:  # a few names were enough for it; what `from_file` says of such a file is for the user
        return None
    return found if isinstance(found, spandrel.ImageModelDescriptor) else None


@cache
def architecture(arch: str) -> "spandrel.Architecture[nn.Module]":
    """Of spandrel's registry, or of the one with restrictive licences."""
    found = {each.architecture.id: each.architecture for each in spandrel.MAIN_REGISTRY}
    if arch not in found:
        extra = __import__(EXTRA).EXTRA_REGISTRY
        found = {each.architecture.id: each.architecture for each in extra}
    return found[arch]


def write(
    name: str, tensors: Mapping[str, Tensor], scales: Sequence[int], options: Mapping[str, Any]
) -> tuple[Mapping[str, Tensor], Mapping[str, Any]]:
    """The tensors, whose names are spandrel's already.

    Raises UsageError where spandrel would make another network of them, for what a file cannot say.
    """
    reading = read(name, tensors)
    if reading is None:
        raise UsageError(f"spandrel does not know these tensors as '{name}'; it reads networks of other sizes")
    neutral = rows()[name].get("neutral", ())
    for key, value in reading.options.items():
        if key not in neutral and value != plain(options[key]):
            raise UsageError(
                f"a file cannot tell spandrel {key}={options[key]}: it would take {value} and give other pictures; "
                f"train with --set model.{key}={value} for it"
            )
    if list(reading.scales) != list(scales):
        raise UsageError(f"spandrel would take it for x{reading.scales[0]}, not x{scales[0]}")
    return tensors, {}
