"""Read a component's options off its build signature, and check what the user set.

`def build(scale, *, n_feats: Annotated[int, Gt(0), "channels in the trunk"] = 64)` declares the
option `n_feats`: its type, bound, help and default. Only keyword-only parameters are options.
What is set is written to run.toml and read again, so an option has a type that TOML can hold, and a
name that a run file does not need for itself.
"""

import enum
import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from srkit.components import Lazy
from srkit.errors import Mistakes, OptionError, PluginError, UnknownName, did_you_mean

REQUIRED = inspect.Parameter.empty
#: kind -> the words that its section of a run file needs for itself, so that no option may have such a name
RESERVED = {
    "loss": ("name", "weight", "adaptive"),
    "dataset": ("name", "root", "split", "weight", "metric", "protocol", "label", "degraded"),
    "degradation": ("name", "prob", "shuffle", "last"),
}
PLAIN = (bool, int, float, str)
TAKEN_AS_THEY_ARE = (Any, dict, list, tuple, Sequence, Mapping)  # bare, without a type of what they hold
INSTEAD = {
    PurePath: "take a str and make the path in build",
    complex: "take two floats",
    set: "take a list",
    frozenset: "take a list",
    enum.Enum: "take a Literal of its values",
}  # fmt: skip

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<=", "multiple_of": "multiple of",
          "min_length": "length >=", "max_length": "length <="}  # fmt: skip


@dataclass(frozen=True)
class Option:
    name: str
    annotation: Any
    default: Any
    help: str = ""

    @property
    def type(self) -> str:
        """The type as a reader writes it: `int`, `list[int]`, `'a' | 'b'`."""
        bare = get_args(self.annotation)[0] if get_origin(self.annotation) is Annotated else self.annotation
        if str(bare).startswith("typing.Literal"):
            return " | ".join(repr(value) for value in get_args(bare))
        return bare.__name__ if isinstance(bare, type) and not get_args(bare) else str(bare).removeprefix("typing.")

    @property
    def bound(self) -> str:
        """The bound as a reader writes it: `> 0`, `>= 0, <= 1`; empty without one."""
        if get_origin(self.annotation) is not Annotated:
            return ""
        return ", ".join(
            f"{sign} {getattr(mark, key)}"
            for mark in self.annotation.__metadata__
            for key, sign in BOUNDS.items()
            if not isinstance(mark, str) and getattr(mark, key, None) is not None
        )


def options_of(build: Callable[..., Any]) -> dict[str, Option]:
    """Every keyword-only parameter of `build`, by name. Imports a lazy build."""
    build = build.resolve() if isinstance(build, Lazy) else build
    options = {}
    for name, parameter in inspect.signature(build).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation = evaluated(parameter.annotation, build)
        if annotation is inspect.Parameter.empty:
            plain = parameter.default is REQUIRED or parameter.default is None
            annotation = Any if plain else type(parameter.default)
        marks = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
        text = next((mark for mark in marks if isinstance(mark, str)), "")
        options[name] = Option(name, annotation, parameter.default, text)
    return options


def evaluated(annotation: Any, build: Callable[..., Any]) -> Any:
    """An annotation that is text, by `from __future__ import annotations`, as what it means in the module of `build`.

    Only those of options are: what srkit supplies may be annotated by names that only a type checker imports.
    """
    if not isinstance(annotation, str):
        return annotation
    function: Any = getattr(build, "func", build)  # of functools.partial
    if isinstance(function, type):
        function = function.__init__  # type: ignore[misc]
    elif not hasattr(function, "__code__"):
        function = type(function).__call__
    function = inspect.unwrap(function)
    return eval(annotation, getattr(function, "__globals__", {}))


def faults_of(kind: str, options: Iterable[Option]) -> list[str]:
    """What keeps a run file from holding these options of a component, a line for each of them."""
    reserved = RESERVED.get(kind, ("name",))
    found = []
    for option in options:
        if option.name in reserved:
            words = ", ".join(reserved)
            found.append(f"option '{option.name}' has the name of a word that a run file needs itself ({words})")
        bare, may_be_none = without_none(option.annotation)
        if wrong := unfit(bare):
            found.append(f"option '{option.name}' is {wrong[0]}, which a run file cannot hold; {wrong[1]}")
        elif may_be_none and option.default not in (None, REQUIRED):
            found.append(
                f"option '{option.name}' may be None and is {option.default!r} by default; a run file leaves None out, "
                "so None must be the default"
            )
    return found


def without_none(annotation: Any) -> tuple[Any, bool]:
    """`int | None` as `int` and True; any other as it is and False."""
    bare = plain_type(annotation)
    if get_origin(bare) in (Union, types.UnionType) and type(None) in get_args(bare):
        rest = tuple(each for each in get_args(bare) if each is not type(None))
        return Union[rest], True  # noqa: UP007 - made from a tuple
    return bare, False


def plain_type(annotation: Any) -> Any:
    """The type without bounds and help, and behind its other name."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # `type Name = ...`, from Python 3.12
            annotation = annotation.__value__
        else:
            return annotation


def unfit(annotation: Any) -> tuple[str, str] | None:
    """The part of a type that TOML cannot hold and what to take instead; None where it holds all of it."""
    bare = plain_type(annotation)
    origin, inner = get_origin(bare), get_args(bare)
    if bare in PLAIN or bare in TAKEN_AS_THEY_ARE:
        return None
    if origin is Literal:
        odd = [each for each in inner if type(each) not in (bool, int, str)]
        return (f"a Literal of {odd[0]!r}", "take words or whole numbers") if odd else None
    if origin in (dict, Mapping) and plain_type(inner[0]) is not str:
        return f"a table whose keys are {name_of(inner[0])}", "take str for the keys"
    if origin in (dict, list, tuple, Mapping, Sequence, Union, types.UnionType):
        return next((wrong for each in inner if each is not ... and (wrong := unfit(each))), None)
    if bare in (None, type(None)):
        return "None inside another type", "take None only as `... | None` of the whole"
    kind = origin or bare
    advice = next((text for base, text in INSTEAD.items() if isinstance(kind, type) and issubclass(kind, base)), "")
    return name_of(bare), advice or "take bool, int, float, str, Literal, or a list, tuple or dict of them"


def name_of(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).removeprefix("typing.")


def check(
    owner: str, options: Mapping[str, Option], values: Mapping[str, Any], also: Iterable[str] = ()
) -> dict[str, Any]:
    """`values` checked and converted, laid over the defaults: every option has its value.

    also: words that may stand beside the options, offered where one is misspelt. All mistakes are told in one error.
    Raises UnknownName for an option that is not declared (with the nearest that is), OptionError for a missing
    one or a value of the wrong type or out of bounds, and PluginError for a default that is no such value.
    """
    mistakes = Mistakes()
    for name in values:
        if name not in options:
            there = did_you_mean(name, [*options, *also]) if options or also else "; it has no options"
            mistakes.found.append(UnknownName(f"{owner} has no option '{name}'{there}"))
    result = {}
    for name, option in options.items():
        with mistakes.noted():
            if name in values:
                result[name] = check_value(f"{owner}: {name}", option.annotation, values[name])
            elif option.default is REQUIRED:
                raise OptionError(f"{owner} needs a value for '{name}' ({option.type}): {option.help}".rstrip(": "))
            else:
                result[name] = checked_default(owner, option)
    mistakes.tell()
    return result


def checked_default(owner: str, option: Option) -> Any:
    """The default as it is read again from the run file that it is written to."""
    if option.default is None and (option.annotation is Any or without_none(option.annotation)[1]):
        return None
    try:
        return check_value(f"{owner}: {option.name}", option.annotation, option.default)
    except OptionError as error:
        advice = f"; write {option.type} | None" if option.default is None else ""
        raise PluginError(f"{error}, and it is the default: the plugin must change one of them{advice}") from None


def check_value(owner: str, annotation: Any, value: Any) -> Any:
    """`value` as `annotation` wants it, by pydantic's rules. OptionError names owner and value."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        adapter = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        checked = adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        hint = ""
        if first["type"] == "literal_error" and isinstance(value, str):
            bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
            hint = did_you_mean(value, [choice for choice in get_args(bare) if isinstance(choice, str)])
        text = first["msg"][:1].lower() + first["msg"][1:]
        raise OptionError(f"{owner} = {value!r}: {text}{hint}") from None
    if odd := [] if checked is None else list(not_storable(checked)):
        raise OptionError(f"{owner} = {value!r}: a run file cannot hold a {type(odd[0]).__name__}")
    return checked


def not_storable(value: Any) -> Iterable[Any]:
    """Whatever TOML cannot hold, at any depth of `value`."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from not_storable(each)
    elif isinstance(value, dict):
        yield from (key for key in value if not isinstance(key, str))
        yield from not_storable(list(value.values()))
    elif not isinstance(value, PLAIN):
        yield value
