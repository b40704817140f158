"""Whether the fields of a frozen record have the types that they are declared with, told in words."""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from types import SimpleNamespace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

#: what annotations name and only a type checker imports: any value fits it
UNIMPORTED = vars(
    SimpleNamespace(np=SimpleNamespace(ndarray=Any), torch=SimpleNamespace(Tensor=Any, nn=SimpleNamespace(Module=Any)))
)


def check_fields(record: Any, name: str) -> None:
    """Raises TypeError for a field of a dataclass that does not have its type, as `'name': scales wants ...`."""
    kind: Any = type(record)
    for field, hint in hints_of(kind).items():
        value = getattr(record, field)
        if not fits(value, hint):
            raise TypeError(f"{name}: {field} wants {told(hint)}, not {value!r}")


@cache
def hints_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind, localns=UNIMPORTED)
    return {field.name: hints[field.name] for field in fields(kind)}


def fits(value: Any, hint: Any) -> bool:
    """Is `value` of this type, at every depth? An int is a float too; True is no number, a text is no list."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if hint is None or origin is type(None):
        return value is None
    if origin is Literal:
        return value in inner
    if origin is Callable:
        return callable(value)
    if origin is Sequence:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and all(fits(each, inner[0]) for each in value)
        )
    if origin is Mapping or origin is dict:
        return isinstance(value, Mapping) and all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
    if origin is tuple:
        return (
            isinstance(value, tuple | list)
            and len(value) == len(inner)
            and all(fits(each, one) for each, one in zip(value, inner, strict=True))
        )
    if origin in (int, float):
        return isinstance(value, (int, float) if origin is float else int) and not isinstance(value, bool)
    return isinstance(value, origin)


def told(hint: Any) -> str:
    """A type in words: `a list of int`, `int, function or None`."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):
        words = [told(each) for each in inner]
        return " or ".join([", ".join(words[:-1]), words[-1]])
    if origin is type(None):
        return "None"
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if origin is Callable:
        return "a function"
    if origin is Sequence:
        return f"a list of {told(inner[0])}"
    if origin is tuple:
        return f"a tuple of {', '.join(told(each) for each in inner)}"
    if origin is Mapping or origin is dict:
        return f"a dict of {told(inner[0])} to {told(inner[1])}"
    return "anything" if origin is Any else origin.__name__
