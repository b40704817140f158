"""Turn a weight file from one program's layout into another's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from srkit.checkpoint import load_tensors, read_about, read_mappings, read_tensors, save_tensors
from srkit.components import Layout
from srkit.errors import CheckpointError, UnknownName, UsageError, did_you_mean, missing_path, one_line
from srkit.files import write_atomically
from srkit.nets import build_net
from srkit.options import check, options_of
from srkit.plugins import Choice, Registry
from srkit.weights.find import checkpoint_in, is_own
from srkit.weights.layouts import Known, recognise_all
from srkit.weights.locate import model_of

OWN = "srkit"
OWN_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Converted:
    """source, target: the layouts. note: what was assumed of the source. settings: for the target's program."""

    model: Choice
    scales: Sequence[int]
    source: str
    target: str
    note: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)


def convert(
    registry: Registry, path: Path, out: Path, to: str = "", values: Mapping[str, Any] | None = None
) -> Converted:
    """Write the weights of `path` to `out`, whole or not at all: as srkit's own checkpoint, or in a model's layout.

    path: a weight file, or a run's folder. to: "srkit", a layout's name, or empty to go by the suffix of `out`.
    values: what the user says of the source or wants of the target, as the layouts declare it. Trained tensors go
    over bit for bit, unless a value asks for their change. Raises UsageError for what cannot be written, UnknownName
    for a value nobody declares, CheckpointError for a file that cannot be read or recognised.
    """
    values, path = values or {}, checkpoint_in(path)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"-o '{out}' is a folder; name a file") if out.is_dir() else missing_path(out.parent, "folder")
    if out.exists() and path.exists() and out.samefile(path):
        raise UsageError(f"-o '{out}' is the file itself; name another")
    known = None
    if is_own(path):
        about, tensors = read_about(path), read_tensors(path)
        source, model, scales = OWN, model_of(registry, path, about), about["scales"]
    else:
        known = recognised(registry, path, values)
        source, model, scales, tensors = known.layout, known.model, known.reading.scales, dict(known.reading.tensors)
        values = {key: value for key, value in values.items() if key != "key"}
    target = to or by_suffix(model, source, out)
    check_target(model, source, target, out)
    check_values(model, source, target, values)
    load_tensors(build_net(model, scales), tensors, path)  # do they fit?
    note = known.note if known else ""
    if target == OWN:
        described = {"name": model.entry.qualified, "version": model.entry.version, "options": model.options}
        origin = {"file": path.name, "layout": source, "assumed": dict(known.reading.assumed) if known else {}}
        about = {"model": described, "scales": list(scales), "scores": {}, "licence": "", "converted_from": origin}
        save_tensors(out, tensors, about)
        return Converted(model, scales, source, target, note)
    layout: Layout = model.component.layouts[target]
    declared = options_of(layout.write)
    mine = check(f"layout '{target}'", declared, {key: value for key, value in values.items() if key in declared})
    written, settings = layout.write(tensors, scales, model.options, **mine)
    state = {name: tensor.detach().cpu().clone() for name, tensor in written.items()}
    try:
        write_atomically(out, lambda file: torch.save({layout.key: state} if layout.key else state, file))
    except OSError as error:
        raise CheckpointError(f"cannot write '{out}': {one_line(error)}") from None
    return Converted(model, scales, source, target, note, settings)


def recognised(registry: Registry, path: Path, values: Mapping[str, Any]) -> Known:
    if known := recognise_all(registry, read_mappings(path), path, values):
        return known
    layouts = {name for entry in registry.of("model") for name in entry.component.layouts}
    raise CheckpointError(
        f"'{path}' is in no layout srkit knows ({', '.join(sorted(layouts))}); 'srkit weights show' says what is in it"
    )


def by_suffix(model: Choice, source: str, out: Path) -> str:
    """The layout `out` has by its suffix. UsageError where that is none, or not one."""
    if out.suffix == OWN_SUFFIX:
        return OWN
    layouts: Mapping[str, Layout] = model.component.layouts
    fitting = [n for n, layout in layouts.items() if out.suffix in layout.suffixes and n != source]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UsageError(f"'{out.name}' can be {' or '.join(fitting)}; say --to {fitting[0]}")
    suffixes = {OWN_SUFFIX: OWN} | {s: n for n, each in layouts.items() for s in each.suffixes}
    offered = ", ".join(f"{suffix} ({name})" for suffix, name in suffixes.items() if name != source)
    raise UsageError(f"'{out.name}': a file to write ends in {offered}")


def check_target(model: Choice, source: str, target: str, out: Path) -> None:
    """Can `model` be written as `target`, under this name? Raises UsageError or UnknownName."""
    layouts = model.component.layouts
    if target != OWN and target not in layouts:
        raise UnknownName(f"'{model.component.name}' has no layout '{target}'; there is {', '.join([OWN, *layouts])}")
    if target == source:
        raise UsageError(f"it is in the layout '{source}' already; --to names another: {', '.join([OWN, *layouts])}")
    suffixes = (OWN_SUFFIX,) if target == OWN else layouts[target].suffixes
    if out.suffix not in suffixes:
        raise UsageError(f"a file in the layout '{target}' ends in {' or '.join(suffixes)}, not '{out.name}'")


def check_values(model: Choice, source: str, target: str, values: Mapping[str, Any]) -> None:
    """UnknownName for a value that neither the reading nor the writing layout declares; UsageError if both do."""
    layouts = model.component.layouts
    reading = options_of(layouts[source].read) if source != OWN else {}
    writing = options_of(layouts[target].write) if target != OWN else {}
    for key in values:
        if key not in {**reading, **writing}:
            known = did_you_mean(key, {**reading, **writing}) or "; nothing can be set here"
            raise UnknownName(f"--set {key}: neither '{source}' nor '{target}' has it{known}")
        if key in reading and key in writing:
            raise UsageError(f"--set {key}: both '{source}' and '{target}' have it; convert to srkit's own in between")
