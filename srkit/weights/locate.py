"""From a word to the model and the weight file that it means, found and not loaded: the one way of all commands.

Weights are told apart by their files' headers. Nothing here imports torch, so that a benchmark is planned at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from srkit.checkpoint import HeaderError, read_about
from srkit.components import Weights
from srkit.errors import CheckpointError, NoWeights, UnknownName, UsageError
from srkit.fetch import file_sha256
from srkit.plugins import Choice, Registry, check_scales, labelled
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
from srkit.weights.offered import split_tag

#: `choose("edsr", options)`: `Registry.choose` of a model, or one that remembers what it imported torch for
Choose = Callable[..., Choice]
Digest = Callable[[Path], str]


@dataclass(frozen=True)
class Located:
    """A model and its weights for one scale.

    path: None for an interpolation. weights: what its plugin says of the file, where it is a plugin's. about: what the
    file says of itself.
    """

    model: Choice
    scale: int
    path: Path | None = None
    weights: Weights | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As `srkit.nets.Loaded.label`."""
        return labelled(self.model.component, self.model.label, self.weights.tag if self.weights else "")


@dataclass(frozen=True)
class Foreign:
    """A file that srkit did not write: only loading it tells what it is.

    scale: asked for; None where nothing was. why: the error where no plugin knows the file either.
    """

    path: Path
    scale: int | None
    why: CheckpointError


def locate(
    registry: Registry,
    word: str,
    scale: int | None,
    downloads: Downloads = quietly,
    *,
    choose: Choose | None = None,
    digest: Digest = file_sha256,
) -> Located | Foreign:
    """What `word` means: a checkpoint file, a run's folder, a repository of the hub, or a name.

    A name's weights are those its plugin registers, else those of the newest run of it below `runs/`; `name@tag` means
    the registered ones of that tag, a name alone those for clean pictures where there are several. What is not on this
    machine is downloaded.
    scale: None is the file's own; of a name 2, or its first. Raises UnknownName, UsageError, CheckpointError or
    FetchError, and NoWeights where a network has no trained weights: random weights are never used.
    """
    choose = choose or partial(registry.choose, "model")
    if is_path(word):
        return located_file(registry, find_checkpoint(word, downloads), scale, choose)
    name, tag = split_tag(registry, word)
    model = choose(name)
    record = model.component
    wanted = scale or next(each for each in (2, *record.scales) if each in record.scales)
    check_scales(model, [wanted])
    if not record.trainable:
        return Located(model, wanted)
    for weights in registered(model, wanted, tag):
        return located_offer(model, weights, wanted, downloads, digest)
    if record.from_file is not None:
        raise NoWeights(f"'{model.label}' has no weights of its own; name a weight file: --model FILE")
    for path, about in () if tag else trained_runs():
        if matches(about, model, word) and wanted in about["scales"]:
            return located_file(registry, path, wanted, choose)
    raise NoWeights(missing(model, name, tag, wanted))


def located_offer(
    model: Choice, weights: Weights, scale: int, downloads: Downloads = quietly, digest: Digest = file_sha256
) -> Located:
    """Weights a plugin offers, their checksum compared, to upscale by `scale`, one of theirs."""
    path = registered_file(model, weights, downloads, digest=digest)
    return Located(model, scale, path, weights, read_about(path) if is_own(path) else {})


def located_file(registry: Registry, path: Path, scale: int | None, choose: Choose | None = None) -> Located | Foreign:
    """A weight file with the model it was made with, as its header says."""
    try:
        about = read_about(path)
    except HeaderError:
        raise
    except CheckpointError as error:
        return Foreign(path, scale, error)
    model = model_of(registry, path, about, choose)
    return Located(model, scale_of(path, about["scales"], scale), path, about=about)


def scale_of(path: Path, scales: Sequence[int], scale: int | None) -> int:
    """`scale`, or the first of a file's where it is None. UsageError for one that the file is not for."""
    if scale is not None and scale not in scales:
        raise UsageError(f"'{path}' upscales x{', x'.join(map(str, scales))}, not x{scale}")
    return scale or scales[0]


def model_of(registry: Registry, path: Path, about: Mapping[str, Any], choose: Choose | None = None) -> Choice:
    """The model a checkpoint was made with; its plugin may have moved to another package."""
    said = model_said(path, about)
    package, _, name = said["name"].rpartition(":")
    installed = {entry.qualified for entry in registry.of("model")}
    try:
        found = said["name"] if said["name"] in installed else name
        return (choose or partial(registry.choose, "model"))(found, said["options"])
    except UnknownName as error:
        made = f"'{path}' was made with '{said['name']}' {said['version']}"
        raise CheckpointError(f"{made} and needs the plugin '{package}': {error}") from None


def model_said(path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Name, version and options of a checkpoint's model. CheckpointError for a training state, which holds more."""
    if "model" not in about:
        raise CheckpointError(
            f"'{path}' is a training state; the weights beside it are {' and '.join(CHECKPOINTS[:2])}"
        )
    said: dict[str, Any] = about["model"]
    return said
