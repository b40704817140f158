"""Recognise another program's weights, by the layouts that models bring."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from srkit.checkpoint import AVERAGE, unwrapped
from srkit.components import Layout, Reading
from srkit.errors import CheckpointError, PluginError, SrkitError, UnknownName, did_you_mean, one_line
from srkit.options import check, options_of
from srkit.plugins import Choice, Entry, Registry


@dataclass(frozen=True)
class Known:
    """Weights of another program, recognised. layout: its name among those of the model."""

    model: Choice
    layout: str
    reading: Reading
    key: str = ""  # under which the file keeps them

    @property
    def note(self) -> str:
        """What the file does not say and is assumed: `res_scale=0.1`; empty if nothing is."""
        return ", ".join(f"{name}={value}" for name, value in self.reading.assumed.items())


def recognise_all(
    registry: Registry,
    mappings: Mapping[str, Mapping[str, Tensor]],
    path: Path,
    settings: Mapping[str, Any] | None = None,
) -> Known | None:
    """The one network among a file's mappings that a layout knows, by `settings["key"]` where the user says it.

    Of two alike, the moving average is taken, as programs of this field do. Raises CheckpointError where it is not
    clear which is meant, UnknownName for a key that is not there.
    """
    key = (settings or {}).get("key")
    parts = parts_of(mappings)
    if key is not None and key not in mappings and key not in parts:
        raise UnknownName(f"'{path}' keeps nothing under '{key}'{did_you_mean(str(key), [*mappings, *parts])}")
    found: list[Known] = []
    for candidates in (mappings, parts):  # the networks inside one mapping (Lightning's) only where it is none itself
        for name, tensors in candidates.items():
            known = recognise(registry, tensors, settings) if key in (None, name) else None
            found += [replace(known, key=name)] if known else []
        if found:
            break
    if len(found) > 1:
        alike = all((k.layout, k.reading.scales, k.reading.options) == (found[0].layout, found[0].reading.scales,
                    found[0].reading.options) for k in found)  # fmt: skip
        averages = [known for known in found if AVERAGE.search(known.key)]
        if not alike or len(averages) != 1:
            told = ", ".join(f"{k.key} ({k.model.label} x{', x'.join(map(str, k.reading.scales))})" for k in found)
            raise CheckpointError(
                f"'{path}' holds several networks: {told}; take one out: "
                f"srkit weights convert {path} -o model.safetensors --set key={found[0].key}"
            )
        found = averages
    return found[0] if found else None


def parts_of(mappings: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """The parts of each mapping by their first word: `generator.*` and `discriminator.*` of a Lightning checkpoint."""
    parts: dict[str, dict[str, Tensor]] = {}
    for key, whole in mappings.items():
        *_, tensors = (level for level in unwrapped(whole))
        for name, tensor in tensors.items():
            first, dot, rest = name.partition(".")
            if dot:
                parts.setdefault(f"{key}.{first}" if key else first, {})[rest] = tensor
    return parts


def recognise(
    registry: Registry, tensors: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None
) -> Known | None:
    """By the first layout that knows these tensors, built-in models first; None where none does.

    settings: what the user says about the file; each layout takes what it declares. Raises PluginError for a
    layout that fails, where no other knows the tensors.
    """
    failed = None
    for entry in registry.of("model"):
        try:
            if known := recognise_by(registry, entry, tensors, settings):
                return known
        except PluginError as error:
            failed = failed or error
    if failed:
        raise failed
    return None


def recognise_by(
    registry: Registry, entry: Entry, tensors: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None
) -> Known | None:
    """`recognise`, by the layouts of one model; without what wrapping a network puts before the names."""
    for name, layout in entry.component.layouts.items():
        for bare in unwrapped(tensors):
            if reading := read_by(entry, name, layout, bare, settings or {}):
                return Known(registry.choose("model", entry.qualified, reading.options), name, reading)
    return None


def read_by(
    entry: Entry, name: str, layout: Layout, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> Reading | None:
    try:
        declared = options_of(layout.read)
        mine = {key: value for key, value in settings.items() if key in declared}
        try:
            values = check(f"layout '{name}'", declared, mine)
        except SrkitError:
            if layout.read(tensors) is None:  # then what was said is of another file's layout
                return None
            raise
        return layout.read(tensors, **values)
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"layout '{name}' of '{entry.qualified}' fails: {one_line(error)}") from error
