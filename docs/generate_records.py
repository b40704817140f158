"""Write the tables of docs/records.md from the records' own declarations: python docs/generate_records.py"""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

from srkit import components
from srkit.components import KINDS, Component, Lazy

PAGE = Path(__file__).with_name("records.md")
BEGIN, END = "<!-- from here on: python docs/generate_records.py -->\n", "<!-- to here -->\n"
HEAD = "| field | type | default | meaning |\n| --- | --- | --- | --- |\n"


def records() -> list[type[Any]]:
    """Every record of the contract: what all components share first, then in the order of their declaration."""
    found = (getattr(components, name) for name in components.__all__)
    kept = [each for each in found if dataclasses.is_dataclass(each) and each not in (Component, Lazy)]
    return [Component, *sorted(kept, key=lambda each: inspect.getsourcelines(each)[1])]


def parts(record: type[Any]) -> tuple[str, dict[str, str]]:
    """A record's docstring: the text before `Attributes:`, and what it says of each field."""
    text, _, listed = (inspect.getdoc(record) or "").partition("Attributes:\n")
    meanings: dict[str, str] = {}
    for item in re.split(r"\n(?= {4}\S)", listed.rstrip()):
        name, _, meaning = " ".join(item.split()).partition(": ")
        meanings[name] = meaning
    return text.strip(), meanings


def meaning_of(record: type[Any], field: str) -> str:
    found = [text for each in record.__mro__ for name, text in parts(each)[1].items() if name == field]
    if not found:
        raise SystemExit(f"srkit/components.py: the docstring of {record.__name__} does not say what '{field}' is")
    return found[0][:1].upper() + found[0][1:]


def type_of(field: "dataclasses.Field[Any]") -> str:
    """The type as a reader writes it: `Mapping[str, Layout]`."""
    text = field.type if isinstance(field.type, str) else repr(field.type)
    text = re.sub(r"<class '(.*?)'>", r"\1", text).replace('"', "").replace("'", "")
    return re.sub(r"\b(collections\.abc|srkit\.components|typing|pathlib)\.", "", text)


def default_of(field: "dataclasses.Field[Any]") -> str:
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()!r}`"
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{field.default!r}`" if not isinstance(field.default, str) else f'`"{field.default}"`'


def cell(text: str) -> str:
    return text.replace("|", r"\|")


def section(record: type[Any]) -> str:
    """One record: what it is, the hook that returns it, its own fields as a table."""
    shared = {each.name for each in dataclasses.fields(Component)} if record is not Component else set()
    own = [each for each in dataclasses.fields(record) if each.name not in shared or not issubclass(record, Component)]
    rows = [
        f"| `{f.name}` | `{cell(type_of(f))}` | {cell(default_of(f))} | {cell(meaning_of(record, f.name))} |\n"
        for f in own
    ]
    lines = [f"## {record.__name__}\n\n{parts(record)[0]}\n"]
    hooks = [hook for kind, hook in KINDS.values() if kind is record]
    lines += [f"Returned by [{hook}](hooks/{hook}.md).\n" for hook in hooks]
    return "\n".join([*lines, HEAD + "".join(rows) if rows else "It has the shared fields only.\n"])


def page() -> str:
    """The page with its tables as the code has them."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + "\n".join(section(each) for each in records()) + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
