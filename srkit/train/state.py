"""Training states: all a resume needs in one file, so that it is there whole or not at all."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from srkit.checkpoint import read_about, read_tensors, save_tensors
from srkit.errors import CheckpointError, one_line
from srkit.train.sharding import loadable, whole

STATES_KEPT = 2
FRESH = "scaler"  # begins anew in a run that goes on in fp16, which it was not trained in before


def save_state(folder: Path, step: int, about: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
    """Write `state-<step>` and forget all but the newest few. parts: name -> module, loss or optimizer."""
    write_state(folder, step, *copied(about, parts))


def copied(
    about: Mapping[str, Any], parts: Mapping[str, Any], *, writes: bool = True
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(tensors, what the file says of itself): all that training goes on to change, whole, copied to the processor.

    writes: else this rank only gives its parts to the one that does, and keeps no tensors.
    """
    tensors: dict[str, Tensor] | None = {} if writes else None
    extras = {name: flatten(part.state_dict(), name, tensors) for name, part in parts.items()}
    return tensors or {}, {**about, "extras": extras}


def write_state(folder: Path, step: int, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write `state-<step>`, of what `copied` gave, and forget all but the newest few."""
    save_tensors(folder / state_name(step), tensors, {**about, "step": step})
    # The state before the first step is no newest-but-one to fall back on: that would be to begin again.
    for old in [path for path in states(folder)[:-1] if path.name == state_name(0)] + states(folder)[:-STATES_KEPT]:
        with suppress(OSError):  # on Windows, while it is copied; it goes with the next one
            old.unlink()


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
                if name == FRESH and name not in about["extras"]:
                    continue
                part.load_state_dict(loadable(part, unflatten(about["extras"][name], tensors)))
        except (RuntimeError, ValueError, KeyError) as error:
            raise CheckpointError(f"'{path}' does not fit the run.toml beside it: {one_line(error)}") from None
        return about
    if torn:
        raise torn
    return None


def newest(folder: Path) -> dict[str, Any] | None:
    """What the newest state that can be read says of itself; None where there is none."""
    for path in reversed(states(folder)):
        with suppress(CheckpointError):
            return read_about(path)
    return None


def state_name(step: int) -> str:
    return f"state-{step:08d}.safetensors"


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.safetensors"))


def flatten(value: Any, name: str, tensors: dict[str, Tensor] | None) -> Any:
    """A state dict as JSON, its tensors put into `tensors`, if there is one, and named in their place."""
    if isinstance(value, Tensor):
        gathered = whole(value.detach())
        if tensors is not None:
            # Two names for one storage are not for safetensors, and the training goes on while the copy is written.
            tensors[name] = gathered.to("cpu", copy=True)
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
