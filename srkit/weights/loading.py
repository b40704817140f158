"""From a word, a model's name or a checkpoint, to a network with trained weights."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from srkit.components import Model, Weights
from srkit.data.store import cache_folder
from srkit.errors import CheckpointError, NoWeights, PluginError, SrkitError, UnknownName, UsageError, one_line
from srkit.fetch import Progress, fetch, file_sha256
from srkit.plugins import Choice, Registry
from srkit.train.checkpoint import load_tensors, read_about, read_tensors
from srkit.weights.layouts import Known, recognise, recognise_by

RUNS = Path("runs")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth")
CHECKPOINTS = ("best.safetensors", "last.safetensors", "model.safetensors")  # of a run; what the hub keeps
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")

#: `downloads("fetching x.safetensors")` gives what is told the bytes done and in all
Downloads = Callable[[str], Progress]


def quietly(what: str) -> Progress:
    return lambda done, total: None


@dataclass(frozen=True)
class Loaded:
    """A network ready to upscale by `scale`. origin: the weight file, empty for an interpolation.

    note: what a stranger's file does not say and was assumed: `res_scale=0.1`.
    """

    net: nn.Module
    model: Choice
    scale: int
    origin: str = ""
    note: str = ""

    @property
    def parameters(self) -> int:
        return parameter_count(self.net)


def parameter_count(net: nn.Module) -> int:
    """The trainable parameters, which is what tables count: EDSR's fixed mean shift is not one."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def pick_device(word: str = "auto") -> torch.device:
    """ "auto" is the accelerator where there is one, else the CPU. UsageError for one that is not there."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if word == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(word)
    except RuntimeError:
        raise UsageError(f"no device called '{word}'; there is auto, cpu, cuda, mps") from None
    if device.type != "cpu" and (accelerator is None or device.type != accelerator.type):
        raise UsageError(f"this machine has no '{word}'; there is {accelerator.type if accelerator else 'only cpu'}")
    return device


def build_net(model: Choice, scales: Sequence[int], device: torch.device | str = "cpu") -> nn.Module:
    """Build a model for `scales`; UsageError for a scale it does not offer, PluginError if its code fails."""
    check_scales(model, scales)
    try:
        net = model.build(tuple(scales) if model.component.multi_scale else scales[0])
    except SrkitError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise SrkitError(f"out of memory building '{model.label}' with {model.options}") from None
        raise PluginError(f"model '{model.entry.qualified}' cannot be built: {one_line(error)}") from error
    return net.to(device)


def out_of_memory(error: BaseException) -> bool:
    """Is that what it says? On a CPU torch has no type of error for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def check_scales(model: Choice, scales: Sequence[int]) -> None:
    """Raises UsageError for a scale the model does not offer, or several where it takes one."""
    record: Model = model.component
    for scale in scales:
        if scale not in record.scales:
            offered = ", ".join(f"x{s}" for s in record.scales)
            raise UsageError(f"'{model.label}' does not upscale x{scale}; it offers {offered}")
    if len(scales) > 1 and not record.multi_scale:
        raise UsageError(f"'{model.label}' is built for one scale, not {list(scales)}")


def load_model(
    registry: Registry, word: str, scale: int | None, device: torch.device | str = "cpu", downloads: Downloads = quietly
) -> Loaded:
    """The model that `word` means: a checkpoint file, a run's folder, a repository of the hub, or a name.

    A name's weights are those its plugin registers, else those of the newest run of it below `runs/`.
    scale: None is the checkpoint's own, or 2. Raises UnknownName, UsageError, CheckpointError or FetchError,
    and NoWeights where a network has no trained weights: it is never used with random ones.
    """
    if is_path(word):
        return load_checkpoint(registry, find_checkpoint(word, downloads), scale, device)
    model = registry.choose("model", word)
    wanted = scale or next(s for s in (2, *model.component.scales) if s in model.component.scales)
    check_scales(model, [wanted])
    if not model.component.trainable:
        return Loaded(build_net(model, [wanted], device), model, wanted)
    if offered := registered(model, wanted):
        return load_registered(registry, model, offered[0], device, downloads)
    if model.component.from_file is not None:
        raise NoWeights(f"'{model.label}' has no weights of its own; name a weight file: --model FILE")
    for path, about in trained_runs():
        if matches(about, model, word) and wanted in about["scales"]:
            return load_checkpoint(registry, path, wanted, device)
    raise NoWeights(
        f"'{model.label}' has no trained weights for x{wanted} here. Use --model bicubic, train it with "
        f"'srkit train --model {word} --scale {wanted}', or name a checkpoint: --model FILE.safetensors"
    )


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
        tensors = read_tensors(path)
        known = None if is_own(path) else recognise(registry, tensors)
        return (known.reading.tensors if known else tensors), str(path)
    model = registry.choose("model", word)
    if not model.component.trainable:
        raise UsageError(f"'{model.label}' has no weights to start from")
    missing: list[NoWeights] = []
    for each in sorted(model.component.scales, key=lambda s: (s != scale, s)):
        try:
            loaded = load_model(registry, word, each, downloads=downloads)
            return loaded.net.state_dict(), loaded.origin
        except NoWeights as error:
            missing.append(error)
    raise missing[0]


def load_checkpoint(registry: Registry, path: Path, scale: int | None, device: torch.device | str) -> Loaded:
    """A network as its checkpoint describes it, or as a plugin that knows the foreign file does."""
    try:
        about = read_about(path)
    except CheckpointError:
        if foreign := load_foreign(registry, path, scale, device):
            return foreign
        raise
    return assembled(model_of(registry, path, about), about["scales"], read_tensors(path), path, scale, device)


def assembled(
    model: Choice, scales: Sequence[int], tensors: Mapping[str, Tensor], path: Path, scale: int | None,
    device: torch.device | str, note: str = "",
) -> Loaded:  # fmt: skip
    """A network built for `scales` with these weights. UsageError for a `scale` that is none of them."""
    if scale is not None and scale not in scales:
        raise UsageError(f"'{path}' upscales x{', x'.join(map(str, scales))}, not x{scale}")
    net = build_net(model, scales)
    load_tensors(net, tensors, path)
    return Loaded(net.to(device), model, scale or scales[0], str(path), note)


def load_foreign(registry: Registry, path: Path, scale: int | None, device: torch.device | str) -> Loaded | None:
    """A weight file srkit did not write: by the first model that knows its layout, else the first plugin that reads it.

    None where none does. CheckpointError where one knows it and cannot use it, or it is unsafe to read.
    """
    known, unreadable = recognise_file(registry, path)
    if known:
        return assembled(known.model, known.reading.scales, known.reading.tensors, path, scale, device, known.note)
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


def recognise_file(registry: Registry, path: Path) -> tuple[Known | None, SrkitError | None]:
    """What a file is by its layout; and why it cannot be read, for a file that says so nowhere else."""
    try:
        return recognise(registry, read_tensors(path)), None
    except SrkitError as error:
        return None, None if path.suffix == ".safetensors" else error  # its header was tried, and says more


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
    return about["model"]


def registered(model: Choice, scale: int) -> list[Weights]:
    """The weights its plugin offers for this preset and scale."""
    return [w for w in model.component.weights if w.scale == scale and w.preset in ("", model.preset)]


def load_registered(
    registry: Registry, model: Choice, weights: Weights, device: torch.device | str, downloads: Downloads = quietly
) -> Loaded:
    """Weights a plugin offers, their checksum compared."""
    path = registered_file(model, weights, downloads)
    tensors: Mapping[str, Tensor] = read_tensors(path)
    if not is_own(path) and (known := recognise_by(registry, model.entry, tensors)):
        tensors = known.reading.tensors
    return assembled(model, [weights.scale], tensors, path, weights.scale, device)


def registered_file(model: Choice, weights: Weights, downloads: Downloads = quietly) -> Path:
    """Where a plugin's weights are: in its package, or in the cache, fetched now if they are not there."""
    if weights.url:
        path = cached_file(weights)
        fetch(weights.url, path, sha256=weights.sha256, progress=downloads(f"fetching {path.name}"))
        return path
    package, _, inside = weights.resource.partition(":")
    path = Path(str(files(package).joinpath(inside)))
    if not path.is_file():
        raise PluginError(f"'{model.entry.qualified}' names the weights '{weights.resource}', which are not there")
    if weights.sha256 and file_sha256(path) != weights.sha256:
        raise CheckpointError(f"'{path}' is not the file '{model.entry.qualified}' names: its SHA-256 differs")
    return path


def cached_file(weights: Weights) -> Path:
    """Where the file of a url is kept, fetched or not: two files of one name are kept apart by their checksum."""
    return cache_folder().parent / "weights" / weights.sha256[:12] / weights.url.rpartition("/")[2]


def is_own(path: Path) -> bool:
    """Does the file say of which model it is?"""
    try:
        return bool(read_about(path))
    except CheckpointError:
        return False


def is_path(word: str) -> bool:
    """A file, a folder or a repository, and no model's name?"""
    if word.startswith("hf:"):
        return True
    return Path(word).suffix in WEIGHT_SUFFIXES or "/" in word or "\\" in word or (Path(word) / "run.toml").is_file()


def find_checkpoint(word: str, downloads: Downloads = quietly) -> Path:
    """The checkpoint that a path or a repository means. What is here wins over the hub."""
    if repository := repository_of(word):
        from srkit.weights.hub import pull

        return pull(repository, downloads)
    return checkpoint_in(Path(word).expanduser())


def repository_of(word: str) -> str:
    """The repository of the hub that `hf:owner/name` means, or `owner/name` where there is no folder `owner`; or ""."""
    if word.startswith("hf:"):
        return word.removeprefix("hf:")
    path = Path(word)
    here = path.exists() or path.parent.exists() or path.suffix in WEIGHT_SUFFIXES
    return word if REPOSITORY.fullmatch(word) and not here else ""


def checkpoint_in(path: Path) -> Path:
    """The checkpoint itself, or the best (else the last) of a run's folder."""
    if path.is_dir():
        found = [path / name for name in CHECKPOINTS if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"no checkpoint in '{path}' ({' or '.join(CHECKPOINTS)})")
        return found[0]
    return path


def trained_runs() -> Iterator[tuple[Path, dict[str, Any]]]:
    """The best (else the last) checkpoint of each run below `runs/`, newest first, and what it says of itself."""
    found = []
    for folder in RUNS.glob("*/"):
        with suppress(SrkitError):
            path = checkpoint_in(folder)
            found.append((path.stat().st_mtime, path, read_about(path)))
    for _, path, about in sorted(found, key=lambda item: item[0], reverse=True):
        yield path, about


def matches(about: dict[str, Any], model: Choice, word: str) -> bool:
    """Is this checkpoint of the model asked for? A model's own name means it with any options, a preset exactly."""
    if about["model"]["name"] != model.entry.qualified:
        return False
    return word.rpartition(":")[2] == model.component.name or about["model"]["options"] == json.loads(
        json.dumps(model.options)
    )
