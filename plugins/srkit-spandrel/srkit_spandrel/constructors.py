"""Read a model's options off the constructor of its network in spandrel, as the signature srkit checks them by."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, MultipleOf

from srkit import lazy
from srkit_spandrel.table import rows, toml

#: how a network is computed, not what it is
NO_OPTIONS = ("use_checkpoint", "use_chk", "fairscale_checkpoint", "offload_to_cpu")
#: they change a training and nothing else, so that no file says them
TRAINING = ("attn_drop_rate", "drop_path", "drop_path_rate", "drop_rate", "dropout")
TYPES = {"int": int, "float": float, "list[int]": list[int], "list[float]": list[float]}


def classes(name: str) -> dict[int, type]:
    """The network's class for each of the model's scales. Imports spandrel."""
    from srkit_spandrel import quiet  # noqa: F401 - before its parts

    row = rows()[name]
    said = row["class"]
    return {scale: lazy(said if isinstance(said, str) else said[str(scale)]).resolve() for scale in row["scales"]}


@cache
def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The constructor's parameters that are options of the model, by name."""
    row = rows()[name]
    taken = {row.get("scale"), *row.get("fixed", {}), *row.get("hidden", ()), *NO_OPTIONS}
    cls = next(iter(classes(name).values()))
    known = inspect.signature(inspect.unwrap(cls.__init__), eval_str=True).parameters  # type: ignore[misc]
    return {key: each for key, each in known.items() if key not in taken | {"self"} and holds_data(each.default)}


def holds_data(default: Any) -> bool:
    """Is it none of the classes and functions that some constructors take?"""
    return default is inspect.Parameter.empty or not callable(default)


@cache
def signature(name: str) -> inspect.Signature:
    """`(scale, *, option: Annotated[type, bounds, help] = default)` of the model `name`."""
    supplied = inspect.Parameter("scale", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([supplied, *(option(name, each) for each in parameters(name).values())])


def option(name: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """One option: its default is the published size's, where models.toml has one."""
    default = plain(rows()[name].get("defaults", {}).get(parameter.name, parameter.default))
    about = meaning(name, parameter.name)
    bare = type_of(about, parameter.annotation, default)
    if bare is float and isinstance(default, int):
        default = float(default)
    annotation: Any = Annotated[bare, *bounds(about, bare), about["help"]]
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def meaning(name: str, option: str) -> Mapping[str, Any]:
    """What options.toml says of an option, of this model before all."""
    said = toml("options.toml")
    found: Mapping[str, Any] = said.get(name, {}).get(option) or said["any"].get(option, {"help": ""})
    return found


def type_of(about: Mapping[str, Any], annotation: Any, default: Any) -> Any:
    """By options.toml, else the constructor's own words, else the default's type."""
    if "choices" in about:
        return Literal[tuple(about["choices"])]
    if "type" in about:
        return TYPES[about["type"]] | None if default is None else TYPES[about["type"]]
    if get_origin(annotation) is Literal:
        return annotation
    if isinstance(default, list):
        return list[type(default[0])] if default else list[int]  # type: ignore[misc]
    return type(default)


def bounds(about: Mapping[str, Any], bare: Any) -> Iterator[Any]:
    """The marks that pydantic checks, of the elements of a list where it is one."""
    if bare is bool or get_origin(bare) is Literal:
        return
    if get_origin(bare) is list:
        if "length" in about:
            yield Len(about["length"], about["length"])
        elif about.get("filled", True):
            yield Len(1)
        return
    for key, mark in (("gt", Gt), ("ge", Ge), ("le", Le), ("multiple_of", MultipleOf)):
        if key in about:
            yield mark(about[key])


def plain(value: Any) -> Any:
    """A tuple as a list, at any depth: what a run file gives back."""
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def choices(annotation: Any) -> Sequence[Any]:
    """The words of an option's Literal; empty for another type."""
    bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    return get_args(bare) if get_origin(bare) is Literal else ()


def with_signature(function: Callable[..., Any], said: inspect.Signature) -> Callable[..., Any]:
    """The function, of which srkit reads the options off `said`."""
    function.__signature__ = said  # type: ignore[attr-defined]
    return function
