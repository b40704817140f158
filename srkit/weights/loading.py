"""From a word, a model's name or a checkpoint, to a network with trained weights."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srkit.checkpoint import load_tensors, read_about, read_mappings, read_tensors
from srkit.components import Weights
from srkit.errors import CheckpointError, NoWeights, PluginError, SrkitError, UnknownName, UsageError, one_line
from srkit.nets import Loaded, build_net, check_scales
from srkit.plugins import Choice, Registry
from srkit.weights.find import (
    CHECKPOINTS,
    Downloads,
    find_checkpoint,
    is_own,
    is_path,
    matches,
    missing,
    quietly,
    registered,
    registered_file,
    trained_runs,
)
from srkit.weights.layouts import Known, recognise_all, recognise_by
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
    """The model that `word` means: a checkpoint file, a run's folder, a repository of the hub, or a name.

    A name's weights are those its plugin registers, else those of the newest run of it below `runs/`; `name@tag` means
    the registered ones of that tag, a name alone those for clean pictures where there are several.
    scale: None is the checkpoint's own, or 2. A file that does not say its scale is read as of `scale`, unless
    `scale_said` is False: then nobody said that it is. Raises UnknownName, UsageError, CheckpointError or FetchError,
    and NoWeights where a network has no trained weights: random weights are never used.
    """
    if is_path(word):
        return load_checkpoint(registry, find_checkpoint(word, downloads), scale, device, scale_said=scale_said)
    name, tag = split_tag(registry, word)
    model = registry.choose("model", name)
    wanted = scale or next(s for s in (2, *model.component.scales) if s in model.component.scales)
    check_scales(model, [wanted])
    if not model.component.trainable:
        return Loaded(build_net(model, [wanted], device), model, wanted)
    if offered := registered(model, wanted, tag):
        return load_registered(registry, model, offered[0], wanted, device, downloads)
    if model.component.from_file is not None:
        raise NoWeights(f"'{model.label}' has no weights of its own; name a weight file: --model FILE")
    for path, about in () if tag else trained_runs():
        if matches(about, model, word) and wanted in about["scales"]:
            return load_checkpoint(registry, path, wanted, device)
    raise NoWeights(missing(model, name, tag, wanted))


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


def load_checkpoint(
    registry: Registry, path: Path, scale: int | None, device: torch.device | str, *, scale_said: bool = True
) -> Loaded:
    """A network as its checkpoint describes it, or as a plugin that knows the foreign file does."""
    try:
        about = read_about(path)
    except CheckpointError:
        if foreign := load_foreign(registry, path, scale, device, scale_said=scale_said):
            return foreign
        raise
    return assembled(
        model_of(registry, path, about), about["scales"], read_tensors(path), path, scale=scale, device=device
    )


def assembled(
    model: Choice,
    scales: Sequence[int],
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    scale: int | None,
    device: torch.device | str,
    note: str = "",
) -> Loaded:
    """A network built for `scales` with these weights. UsageError for a `scale` that is none of them."""
    if scale is not None and scale not in scales:
        raise UsageError(f"'{path}' upscales x{', x'.join(map(str, scales))}, not x{scale}")
    net = build_net(model, scales)
    load_tensors(net, tensors, path)
    return Loaded(net.to(device), model, scale or scales[0], str(path), note)


def load_foreign(
    registry: Registry, path: Path, scale: int | None, device: torch.device | str, *, scale_said: bool = True
) -> Loaded | None:
    """A weight file srkit did not write: by the first model that knows its layout, else the first plugin that reads it.

    None where none does. CheckpointError where one knows it and cannot use it, or it is unsafe to read.
    """
    known, unreadable = recognise_file(registry, path, {"scale": scale} if scale and scale_said else {})
    if known:
        reading = known.reading
        return assembled(
            known.model, reading.scales, reading.tensors, path, scale=scale, device=device, note=known.note
        )
    objections: list[SrkitError] = []
    for entry in [entry for entry in registry.of("model") if entry.component.from_file is not None]:
        try:
            read = entry.component.from_file(path)
        except SrkitError as error:
            objections.append(error)
            continue
        except Exception as error:
            objections.append(CheckpointError(f"'{path}' cannot be read by '{entry.qualified}': {one_line(error)}"))
            continue
        if read is not None:
            net, own = read
            if scale not in (None, own):
                raise UsageError(f"'{path}' upscales x{own}, not x{scale}")
            return Loaded(net.to(device), Choice(entry, {}, path.stem), own, str(path))
    for objection in (*objections, unreadable):
        if objection:
            raise objection
    return None


def recognise_file(
    registry: Registry, path: Path, settings: Mapping[str, Any]
) -> tuple[Known | None, SrkitError | None]:
    """What a file is by its layout; and why it cannot be read, for a file that says so nowhere else."""
    try:
        mappings = read_mappings(path)
    except SrkitError as error:
        return None, None if path.suffix == ".safetensors" else error  # its header was tried, and says more
    try:
        return recognise_all(registry, mappings, path, settings), None
    except PluginError as error:
        return None, error


def model_of(registry: Registry, path: Path, about: dict[str, Any]) -> Choice:
    """The model a checkpoint was made with; its plugin may have moved to another package."""
    said = model_said(path, about)
    package, _, name = said["name"].rpartition(":")
    entries = {e.qualified for e in registry.of("model")}
    try:
        return registry.choose("model", said["name"] if said["name"] in entries else name, said["options"])
    except UnknownName as error:
        raise CheckpointError(
            f"'{path}' was made with '{said['name']}' {said['version']} and needs the plugin '{package}': {error}"
        ) from None


def model_said(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Name, version and options of a checkpoint's model. CheckpointError for a training state, which holds more."""
    if "model" not in about:
        raise CheckpointError(
            f"'{path}' is a training state; the weights beside it are {' and '.join(CHECKPOINTS[:2])}"
        )
    said: dict[str, Any] = about["model"]
    return said


def load_registered(
    registry: Registry,
    model: Choice,
    weights: Weights,
    scale: int,
    device: torch.device | str,
    downloads: Downloads = quietly,
) -> Loaded:
    """Weights a plugin offers, their checksum compared, to upscale by `scale`, one of theirs."""
    path = registered_file(model, weights, downloads)
    tensors: Mapping[str, Tensor] = read_tensors(path)
    said, reads = None, ""
    if is_own(path):
        said, reads = read_about(path)["scales"], "the file says"
    elif known := recognise_by(registry, model.entry, tensors, {**model.options, "scale": scale}):
        tensors, said, reads = known.reading.tensors, known.reading.scales, f"its layout '{known.layout}' reads"
    if said is not None and (words := disagreement(weights, said)):
        raise CheckpointError(f"'{model.entry.qualified}' registers '{path.name}' {words[0]}, and {reads} {words[1]}")
    return replace(assembled(model, weights.scales, tensors, path, scale=scale, device=device), weights=weights)


def disagreement(weights: Weights, said: Sequence[int]) -> tuple[str, str] | None:
    """The scales that weights are registered for and those of their file, in words, where the file lacks one."""
    if set(weights.scales) <= set(said):
        return None
    declared, found = (", ".join(f"x{each}" for each in scales) for scales in (weights.scales, said))
    return f"for {declared}", found
