"""Recognise another program's weights, by the layouts that models bring."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from srkit.components import Reading
from srkit.errors import PluginError, SrkitError, one_line
from srkit.options import check, options_of
from srkit.plugins import Choice, Entry, Registry


@dataclass(frozen=True)
class Known:
    """Weights of another program, recognised. layout: its name among those of the model."""

    model: Choice
    layout: str
    reading: Reading

    @property
    def note(self) -> str:
        """What the file does not say and is assumed: `res_scale=0.1`; empty if nothing is."""
        return ", ".join(f"{name}={value}" for name, value in self.reading.assumed.items())


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
    """`recognise`, by the layouts of one model."""
    for name, layout in entry.component.layouts.items():
        try:
            declared = options_of(layout.read)
            mine = {key: value for key, value in (settings or {}).items() if key in declared}
            reading = layout.read(tensors, **check(f"layout '{name}'", declared, mine))
        except SrkitError:
            raise
        except Exception as error:
            raise PluginError(f"layout '{name}' of '{entry.qualified}' fails: {one_line(error)}") from error
        if reading is not None:
            return Known(registry.choose("model", entry.qualified, reading.options), name, reading)
    return None
