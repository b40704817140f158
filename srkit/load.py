"""From a word, a model's name or a checkpoint, to a network with trained weights."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srkit.components import Model, Weights
from srkit.errors import CheckpointError, NoWeights, PluginError, SrkitError, UnknownName, UsageError, one_line
from srkit.plugins import Choice, Registry
from srkit.train.checkpoint import load_weights, read_about

RUNS = Path("runs")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True)
class Loaded:
    """A network ready to upscale by `scale`. origin: the weight file, empty for an interpolation."""

    net: nn.Module
    model: Choice
    scale: int
    origin: str = ""

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


def load_model(registry: Registry, word: str, scale: int | None, device: torch.device | str = "cpu") -> Loaded:
    """The model that `word` means: a checkpoint file, a run's folder, or a name.

    A name's weights are those its plugin registers, else those of the newest run of it below `runs/`.
    scale: None is the checkpoint's own, or 2. Raises UnknownName, UsageError or CheckpointError, and
    NoWeights where a network has no trained weights: it is never used with random ones.
    """
    if is_path(word):
        return load_checkpoint(registry, checkpoint_in(Path(word)), scale, device)
    model = registry.choose("model", word)
    wanted = scale or next(s for s in (2, *model.component.scales) if s in model.component.scales)
    check_scales(model, [wanted])
    if not model.component.trainable:
        return Loaded(build_net(model, [wanted], device), model, wanted)
    for weights in model.component.weights:
        if weights.scale == wanted and weights.preset in ("", model.preset):
            return load_registered(model, weights, device)
    if model.component.from_file is not None:
        raise NoWeights(f"'{model.label}' has no weights of its own; name a weight file: --model FILE")
    for path, about in trained_runs():
        if matches(about, model, word) and wanted in about["scales"]:
            return load_checkpoint(registry, path, wanted, device)
    raise NoWeights(
        f"'{model.label}' has no trained weights for x{wanted} here. Use --model bicubic, train it with "
        f"'srkit train --model {word} --scale {wanted}', or name a checkpoint: --model FILE.safetensors"
    )


def load_checkpoint(registry: Registry, path: Path, scale: int | None, device: torch.device | str) -> Loaded:
    """A network as its checkpoint describes it, or as a plugin that knows the foreign file does."""
    try:
        about = read_about(path)
    except CheckpointError:
        if foreign := load_foreign(registry, path, scale, device):
            return foreign
        raise
    scales = about["scales"]
    if scale is not None and scale not in scales:
        raise UsageError(f"'{path}' upscales x{', x'.join(map(str, scales))}, not x{scale}")
    model = model_of(registry, path, about)
    net = build_net(model, scales)
    load_weights(net, path)
    return Loaded(net.to(device), model, scale or scales[0], str(path))


def load_foreign(registry: Registry, path: Path, scale: int | None, device: torch.device | str) -> Loaded | None:
    """A weight file srkit did not write, by the first plugin that knows it. Rows call it by the file's name."""
    objections: list[SrkitError] = []
    for entry in [entry for entry in registry.of("model") if entry.component.from_file is not None]:
        try:
            known = entry.component.from_file(path)
        except SrkitError as error:
            objections.append(error)
            continue
        except Exception as error:
            objections.append(CheckpointError(f"'{path}' cannot be read by '{entry.qualified}': {one_line(error)}"))
            continue
        if known is not None:
            net, own = known
            if scale not in (None, own):
                raise UsageError(f"'{path}' upscales x{own}, not x{scale}")
            return Loaded(net.to(device), Choice(entry, {}, path.stem), own, str(path))
    if objections:
        raise objections[0]
    return None


def model_of(registry: Registry, path: Path, about: dict[str, Any]) -> Choice:
    """The model a checkpoint was made with; its plugin may have moved to another package."""
    said = about["model"]
    package, _, name = said["name"].rpartition(":")
    entries = {e.qualified for e in registry.of("model")}
    try:
        return registry.choose("model", said["name"] if said["name"] in entries else name, said["options"])
    except UnknownName as error:
        raise CheckpointError(
            f"'{path}' was made with '{said['name']}' {said['version']} and needs the plugin '{package}': {error}"
        ) from None


def load_registered(model: Choice, weights: Weights, device: torch.device | str) -> Loaded:
    """Weights shipped in a plugin's package, their checksum compared."""
    package, _, inside = weights.resource.partition(":")
    path = Path(str(files(package).joinpath(inside)))
    if not path.is_file():
        raise PluginError(f"'{model.entry.qualified}' names the weights '{weights.resource}', which are not there")
    if weights.sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != weights.sha256:
        raise CheckpointError(f"'{path}' is not the file '{model.entry.qualified}' names: its SHA-256 differs")
    net = build_net(model, [weights.scale])
    load_weights(net, path)
    return Loaded(net.to(device), model, weights.scale, str(path))


def is_path(word: str) -> bool:
    return Path(word).suffix in WEIGHT_SUFFIXES or "/" in word or "\\" in word or (Path(word) / "run.toml").is_file()


def checkpoint_in(path: Path) -> Path:
    """The checkpoint itself, or the best (else the last) of a run's folder."""
    if path.is_dir():
        found = [path / name for name in ("best.safetensors", "last.safetensors") if (path / name).is_file()]
        if not found:
            raise CheckpointError(f"no checkpoint in '{path}' (best.safetensors or last.safetensors)")
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
