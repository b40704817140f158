"""Checkpoints: weights that say what they are, and the training state that resumes bit for bit.

`best.safetensors` and `last.safetensors` hold a network's weights and, as JSON in the safetensors
header under `srkit`, what it is: qualified name, version, options, scales, run, step, scores, licence.
`state-<step>.safetensors` holds all that training needs to go on, in one file, so that it is either
there whole or not at all. Every file is written beside its place, flushed, and renamed.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srkit.errors import CheckpointError, missing_path, one_line
from srkit.images import write_atomically

FORMAT = 1
STATES_KEPT = 2


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically. Raises CheckpointError where it cannot (disk full, read-only)."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(plain, metadata={"srkit": json.dumps({"format": FORMAT, **about})})
    try:
        write_atomically(path, lambda file: file.write(data))
    except OSError as error:
        raise CheckpointError(f"cannot write '{path}': {one_line(error)}") from None


def read_about(path: Path) -> dict[str, Any]:
    """What a checkpoint says it is, from its header alone. CheckpointError if it is none of srkit's."""
    stranger = CheckpointError(
        f"'{path}' holds weights, but not of which model: srkit did not write it. "
        "A plugin may know it (srkit-spandrel knows many), and it can start a training with --init-from"
    )
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise CheckpointError(f"'{path}' is empty")
        if path.is_file() and path.suffix != ".safetensors":
            raise stranger
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["srkit"])
    except FileNotFoundError:
        raise missing_path(path, "checkpoint") from None
    except KeyError:
        raise stranger from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {one_line(error)}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise CheckpointError(f"'{path}' is of a checkpoint format this srkit does not read ({FORMAT})")
    return about


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, or of a .pt or .pth that holds nothing but tensors.

    A pickle is never executed: it is read with `weights_only=True`, and refused if it holds more.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise missing_path(path, "checkpoint") from None
    except Exception as error:  # a hostile or broken pickle can fail in any way
        reason = one_line(error).split(". ")[0]
        raise CheckpointError(f"'{path}' holds no tensors that can be read safely: {reason}") from None
    for key in ("params_ema", "params", "state_dict"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"'{path}' is not a state dict: tensors by name are wanted")
    return loaded


def load_tensors(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load weights, those of `path`, that must fit exactly. CheckpointError names the first that does not."""
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"'{path}' does not fit its model: {one_line(error)}") from None


@dataclass(frozen=True)
class InitReport:
    """What became of each tensor when a training started from other weights, by name.

    loaded: of the network, taken from the file. other_shape: in both, and not taken. missing: of the network
    alone. unused: of the file alone. where: the file.
    """

    where: str
    loaded: tuple[str, ...]
    other_shape: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        line = f"{len(self.loaded)} of {len(self.loaded + self.other_shape + self.missing)} tensors from '{self.where}'"
        for what, names in (("other shape", self.other_shape), ("not in it", self.missing), ("not used", self.unused)):
            if names:
                line += f"; {what}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
        return line

    def table(self) -> list[str]:
        """A line for each group of tensors: `body.*.body.*`, how many, and what became of them."""
        counts: dict[tuple[str, str], int] = {}
        for what, names in (
            ("loaded", self.loaded), ("other shape, not loaded", self.other_shape), ("not in the file", self.missing),
            ("in the file, not used", self.unused),
        ):  # fmt: skip
            for name in names:
                group = group_of(name)
                counts[group, what] = counts.get((group, what), 0) + 1
        wide = max(len(group) for group, _ in counts)
        return [f"{group:<{wide}}  {count:>5}  {what}" for (group, what), count in sorted(counts.items())]


def group_of(name: str) -> str:
    """What tensors are told together by: the module's name with `*` for each number, weight or bias left out."""
    module = re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
    return re.sub(r"\.(weight|bias|running_mean|running_var|num_batches_tracked)$", "", module)


def init_from(net: nn.Module, tensors: Mapping[str, Tensor], where: object) -> InitReport:
    """Load what fits by name and shape, and say what became of the rest. CheckpointError if nothing fits.

    tensors, where: what `srkit.weights.loading.find_tensors` gives for a path, a run, a repository or a name.
    """
    own = net.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and t.shape == own[name].shape}
    trained = {name: parameter.ndim for name, parameter in net.named_parameters() if parameter.requires_grad}
    least = min(2, max(trained.values(), default=0))  # the three values of a last bias fit any model, and are no start
    if not any(trained.get(name, -1) >= least for name in fitting):
        raise CheckpointError(f"nothing in '{where}' fits the model by name and shape")
    net.load_state_dict(fitting, strict=False)
    return InitReport(
        where=str(where),
        loaded=tuple(sorted(fitting)),
        other_shape=tuple(sorted(name for name in tensors if name in own and name not in fitting)),
        missing=tuple(sorted(set(own) - set(tensors))),
        unused=tuple(sorted(set(tensors) - set(own))),
    )


def save_state(folder: Path, step: int, about: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Write `state-<step>` and forget all but the newest few. parts: name -> module, loss or optimizer."""
    tensors: dict[str, Tensor] = {}
    extras: dict[str, Any] = {}
    for name, part in parts.items():
        extras[name] = flatten(part.state_dict(), name, tensors)
    save_tensors(folder / state_name(step), tensors, {**about, "step": step, "extras": extras})
    # The state before the first step is no newest-but-one to fall back on: that would be to begin again.
    for old in [path for path in states(folder)[:-1] if path.name == state_name(0)] + states(folder)[:-STATES_KEPT]:
        old.unlink(missing_ok=True)


def load_state(folder: Path, parts: Mapping[str, Any]) -> dict[str, Any] | None:
    """Restore the newest state that is whole, in place; what it says of itself, or None where there is none.

    Raises CheckpointError where there are states and none is whole, or one does not fit the run.
    """
    torn = None
    for path in reversed(states(folder)):
        try:
            about, tensors = read_about(path), read_tensors(path)
        except CheckpointError as error:
            torn = torn or error
            continue
        try:
            for name, part in parts.items():
                part.load_state_dict(unflatten(about["extras"][name], tensors))
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"'{path}' does not fit the run.toml beside it: {one_line(error)}") from None
        return about
    if torn:
        raise torn
    return None


def state_name(step: int) -> str:
    return f"state-{step:08d}.safetensors"


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.safetensors"))


def flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """A state dict as JSON, its tensors put into `tensors` and named in their place."""
    if isinstance(value, Tensor):
        # Two names for one storage are not for safetensors; a copy costs nothing that matters.
        tensors[name] = value.detach().clone()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"map": [[key, flatten(item, f"{name}.{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [flatten(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return {"value": value}
    raise CheckpointError(f"'{name}' is a {type(value).__name__}: a state dict may hold tensors, numbers and text only")


def unflatten(value: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of `flatten`."""
    (kind, content), = value.items()  # fmt: skip
    if kind == "tensor":
        return tensors[content]
    if kind == "map":
        return {key: unflatten(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [unflatten(item, tensors) for item in content]
        return items if kind == "list" else tuple(items)
    return content
