"""Read a component's options off its build signature, and check what the user set.

`def build(scale, *, n_feats: Annotated[int, Gt(0), "channels in the trunk"] = 64)` declares the
option `n_feats`: its type, bound, help and default. Only keyword-only parameters are options.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from srkit.components import Lazy
from srkit.errors import OptionError, UnknownName, did_you_mean

REQUIRED = inspect.Parameter.empty

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
    for name, parameter in inspect.signature(build, eval_str=True).parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        annotation = parameter.annotation
        if annotation is inspect.Parameter.empty:
            plain = parameter.default is REQUIRED or parameter.default is None
            annotation = Any if plain else type(parameter.default)
        marks = annotation.__metadata__ if get_origin(annotation) is Annotated else ()
        text = next((mark for mark in marks if isinstance(mark, str)), "")
        options[name] = Option(name, annotation, parameter.default, text)
    return options


def check(owner: str, options: Mapping[str, Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` checked and converted, laid over the defaults: every option has its value.

    Raises UnknownName for an option that is not declared (with the nearest that is), and
    OptionError for a missing one or a value of the wrong type or out of bounds.
    """
    for name in values:
        if name not in options:
            there = did_you_mean(name, options) if options else "; it has no options"
            raise UnknownName(f"{owner} has no option '{name}'{there}")
    result = {}
    for name, option in options.items():
        if name in values:
            result[name] = check_value(f"{owner}: {name}", option.annotation, values[name])
        elif option.default is REQUIRED:
            raise OptionError(f"{owner} needs a value for '{name}' ({option.type}): {option.help}".rstrip(": "))
        else:
            result[name] = option.default
    return result


def check_value(owner: str, annotation: Any, value: Any) -> Any:
    """`value` as `annotation` wants it, by pydantic's rules. OptionError names owner and value."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        adapter = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        hint = ""
        if first["type"] == "literal_error" and isinstance(value, str):
            bare = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
            hint = did_you_mean(value, [choice for choice in get_args(bare) if isinstance(choice, str)])
        text = first["msg"][:1].lower() + first["msg"][1:]
        raise OptionError(f"{owner} = {value!r}: {text}{hint}") from None
