"""From a word, a model's name or a checkpoint, to a network with trained weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srkit.checkpoint import load_tensors, read_mappings, read_tensors
from srkit.components import Weights
from srkit.errors import CheckpointError, NoWeights, PluginError, SrkitError, UsageError, one_line
from srkit.nets import Loaded, build_net
from srkit.plugins import Choice, Entry, Registry
from srkit.weights.find import Downloads, find_checkpoint, is_own, is_path, quietly
from srkit.weights.layouts import Known, recognise_all, recognise_by
from srkit.weights.locate import Foreign, Located, locate, scale_of
from srkit.weights.offered import split_tag


def load_model(
    registry: Registry,
    word: str,
    scale: int | None,
    device: torch.device | str = "cpu",
    downloads: Downloads = quietly,
    *,
    scale_said: bool = True,
) -> Loaded:
    """The model that `word` means, as `srkit.weights.locate.locate` finds it, with its weights, on `device`.

    A file that does not say its scale is read as of `scale`, unless `scale_said` is False: then nobody said that it is.
    Raises what `locate` raises, and CheckpointError where the weights do not fit their model.
    """
    found = locate(registry, word, scale, downloads)
    if isinstance(found, Foreign):
        return load_foreign(registry, found, device, scale_said=scale_said)
    return load_located(registry, found, device)


def find_tensors(
    registry: Registry, word: str, scale: int, downloads: Downloads = quietly
) -> tuple[Mapping[str, Tensor], str]:
    """(tensors, where): the weights `word` means, as `load_model` finds them, for a training of `scale` to start from.

    Those of a known layout come by srkit's names, any other file's as they are. A name that has none for `scale`
    gives those of its next scale (x3 and x4 are trained from x2). Errors as `load_model`, and UsageError for a
    model without parameters.
    """
    if is_path(word):
        path = find_checkpoint(word, downloads)
        known = None if is_own(path) else recognise_all(registry, read_mappings(path), path)
        return (known.reading.tensors if known else read_tensors(path)), str(path)
    model = registry.choose("model", split_tag(registry, word)[0])
    if not model.component.trainable:
        raise UsageError(f"'{model.label}' has no weights to start from")
    failed: list[NoWeights] = []
    for each in sorted(model.component.scales, key=lambda s: (s != scale, s)):
        try:
            loaded = load_model(registry, word, each, downloads=downloads)
            return loaded.net.state_dict(), loaded.origin
        except NoWeights as error:
            failed.append(error)
    raise failed[0]


def load_located(registry: Registry, located: Located, device: torch.device | str) -> Loaded:
    """A network as its checkpoint describes it, or as its plugin registers it. Raises CheckpointError."""
    model, path, weights = located.model, located.path, located.weights
    if path is None:
        return Loaded(build_net(model, [located.scale], device), model, located.scale)
    tensors: Mapping[str, Tensor] = read_tensors(path)
    if weights is None:
        net = network(model, located.about["scales"], tensors, path)
    else:
        net = network(model, weights.scales, as_registered(registry, located, weights, tensors, path), path)
    licence = (weights.licence if weights else "") or str(located.about.get("licence") or "")
    return Loaded(net.to(device), model, located.scale, str(path), weights=weights, licence=licence)


def network(model: Choice, scales: Sequence[int], tensors: Mapping[str, Tensor], path: Path) -> torch.nn.Module:
    net = build_net(model, scales)
    load_tensors(net, tensors, path)
    return net


def as_registered(
    registry: Registry, located: Located, weights: Weights, tensors: Mapping[str, Tensor], path: Path
) -> Mapping[str, Tensor]:
    """The tensors by srkit's names. CheckpointError where the file is of other scales than its plugin says."""
    model, said, reads = located.model, located.about.get("scales"), "the file says"
    if not located.about:
        options = {**model.options, "scale": located.scale}
        if known := recognise_by(registry, model.entry, tensors, options):
            tensors, said, reads = known.reading.tensors, known.reading.scales, f"its layout '{known.layout}' reads"
    if said is not None and (words := disagreement(weights, said)):
        raise CheckpointError(f"'{model.entry.qualified}' registers '{path.name}' {words[0]}, and {reads} {words[1]}")
    return tensors


def load_foreign(registry: Registry, file: Foreign, device: torch.device | str, *, scale_said: bool = True) -> Loaded:
    """A weight file srkit did not write: by the first model that knows its layout, else the first plugin that reads it.

    CheckpointError where none does, where one knows it and cannot use it, or it is unsafe to read; PluginError where
    one fails on it and no other reads it.
    """
    path, scale = file.path, file.scale
    known, unreadable = recognise_file(registry, path, {"scale": scale} if scale and scale_said else {})
    if known:
        reading = known.reading
        used = scale_of(path, reading.scales, scale)
        net = network(known.model, reading.scales, reading.tensors, path)
        return Loaded(net.to(device), known.model, used, str(path), known.note)
    read, objections = read_by_plugin(registry, path)
    if read is None:
        raise next(error for error in (*objections.values(), unreadable, file.why) if error)
    entry, net, own = read
    return Loaded(net.to(device), Choice(entry, {}, path.stem), scale_of(path, [own], scale), str(path))


def read_by_plugin(
    registry: Registry, path: Path
) -> tuple[tuple[Entry, torch.nn.Module, int] | None, dict[str, SrkitError]]:
    """(model, network, scale) of a foreign file by the first `Model.from_file` that reads it; None where none does.

    And why the others do not, by model: those that know the file and refuse it, then those that fail on it.
    """
    refusals: dict[str, SrkitError] = {}
    failures: dict[str, SrkitError] = {}
    for entry in registry.of("model"):
        if entry.component.from_file is None:
            continue
        name = entry.qualified
        try:
            if read := entry.component.from_file(path):
                return (entry, *read), {}
        except SrkitError as error:
            refusals[name] = error
        except Exception as error:
            failures[name] = PluginError(f"'{path}' cannot be read by '{name}': {one_line(error)}")
    return None, refusals | failures


def recognise_file(
    registry: Registry, path: Path, settings: Mapping[str, Any]
) -> tuple[Known | None, SrkitError | None]:
    """What a file is by its layout; and why it cannot be read, for a file that says so nowhere else."""
    try:
        mappings = read_mappings(path)
    except SrkitError as error:
        if path.suffix == ".onnx":
            return None, CheckpointError(f"'{path}' is read by a plugin, srkit-onnx; none that is installed knows it")
        return None, None if path.suffix == ".safetensors" else error  # its header was tried, and says more
    try:
        return recognise_all(registry, mappings, path, settings), None
    except PluginError as error:
        return None, error


def disagreement(weights: Weights, said: Sequence[int]) -> tuple[str, str] | None:
    """The scales that weights are registered for and those of their file, in words, where the file lacks one."""
    if set(weights.scales) <= set(said):
        return None
    declared, found = (", ".join(f"x{each}" for each in scales) for scales in (weights.scales, said))
    return f"for {declared}", found
