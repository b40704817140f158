"""Checkpoints: weights that say what they are.

A `.safetensors` file holds a network's weights and, as JSON in its header under `srkit`, what it is: qualified
name, version, options, scales, run, step, scores, licence. Every file is written beside its place, flushed, and
renamed.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from srkit.errors import CheckpointError, missing_path, one_line
from srkit.files import write_atomically

FORMAT = 1


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
    foreign = CheckpointError(
        f"'{path}' holds weights, but not of which model: srkit did not write it. "
        "A plugin may know it (srkit-spandrel knows many), and it can start a training with --init-from"
    )
    try:
        if path.is_file() and path.stat().st_size == 0:
            raise CheckpointError(f"'{path}' is empty")
        if path.is_file() and path.suffix != ".safetensors":
            raise foreign
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["srkit"])
    except FileNotFoundError:
        raise missing_path(path, "checkpoint") from None
    except KeyError:
        raise foreign from None
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


def group_of(name: str) -> str:
    """The key by which tensors are grouped: the module's name with `*` for each number, weight or bias left out."""
    module = re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
    return re.sub(r"\.(weight|bias|running_mean|running_var|num_batches_tracked)$", "", module)
