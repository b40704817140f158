"""Checkpoints: weights that say what they are.

A `.safetensors` file holds a network's weights and, as JSON in its header under `srkit`, what it is: qualified
name, version, options, scales, run, step, scores, licence. Every file is written beside its place, flushed, and
renamed.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from srkit.errors import CheckpointError, missing_path, one_line
from srkit.files import write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 1
USUAL = ("params_ema", "params", "state_dict")  # where programs of this field keep the weights to use
AVERAGE = re.compile(r"(^|[._])ema([._]|$)")  # in the key of a moving average: params_ema, ema_state_dict
WRAPPERS = ("module", "_orig_mod")


class HeaderError(CheckpointError):
    """A file of srkit's, by its header, which says what this srkit cannot use."""


def save_tensors(path: Path, tensors: "Mapping[str, Tensor]", about: Mapping[str, Any]) -> None:
    """Write a safetensors file atomically. Raises CheckpointError where it cannot (disk full, read-only)."""
    from safetensors.torch import save

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
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {})["srkit"])
    except FileNotFoundError:
        raise missing_path(path, "checkpoint") from None
    except KeyError:
        raise foreign from None
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {one_line(error)}") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise HeaderError(f"'{path}' is of a checkpoint format this srkit does not read ({FORMAT})")
    for key, right in SAID.items():
        if (key in about or (key == "scales" and "model" in about)) and not right(about.get(key)):
            raise HeaderError(f"'{path}' says of itself what srkit never writes: {key} = {about.get(key)!r:.80}")
    return about


def is_model(said: object) -> bool:
    """Name, version and options of a model, as a header says them."""
    return (
        isinstance(said, dict)
        and all(isinstance(said.get(key), str) for key in ("name", "version"))
        and isinstance(said.get("options"), dict)
    )


def are_scales(said: object) -> bool:
    return isinstance(said, list) and bool(said) and all(type(scale) is int and scale > 0 for scale in said)


#: what a header may say, where it says it: a stranger's file is asked here, once, and not wherever it is read
SAID: dict[str, Callable[[object], bool]] = {
    "model": is_model,
    "scales": are_scales,
    "scores": lambda said: isinstance(said, dict),
    "run": lambda said: said is None or isinstance(said, dict),
    "step": lambda said: said is None or type(said) is int,
    "licence": lambda said: said is None or isinstance(said, str),
    "training_lr": lambda said: said is None or isinstance(said, str),
}


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """The tensors of a file, wherever it keeps them: `read_mappings` of one mapping, or of the usual one of several.

    Of those of one network it is the moving average, where there is one.

    Raises CheckpointError as `read_mappings`, and where it is not clear which mapping is meant.
    """
    found = read_mappings(path)
    if len(found) == 1:
        return next(iter(found.values()))
    averages = [key for key in found if AVERAGE.search(key)]
    alike = len({frozenset((name, t.shape) for name, t in each.items()) for each in found.values()}) == 1
    for key in (*(averages if alike and len(averages) == 1 else ()), *USUAL):
        if key in found:
            return found[key]
    raise CheckpointError(f"'{path}' keeps tensors under several keys: {', '.join(found)}; save one of them alone")


def read_mappings(path: Path) -> "dict[str, dict[str, Tensor]]":
    """Every mapping of names to tensors in a file, by the keys that lead to it, joined by dots; "" for the file itself.

    A pickle is never executed: it is read with `weights_only=True`, and refused if it holds more. What holds no weights
    of a convolution (an optimizer's state, statistics) does not count where something else does.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {"": {name: file.get_tensor(name) for name in file.keys()}}  # noqa: SIM118
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise missing_path(path, "checkpoint") from None
    except Exception as error:  # a hostile or broken pickle can fail in any way
        reason = one_line(error).split(". ")[0]
        raise CheckpointError(f"'{path}' holds no tensors that can be read safely: {reason}") from None
    found = dict(mappings_in(loaded))
    weighty = {key: each for key, each in found.items() if any(t.ndim > 1 for t in each.values())}
    if loaded == {}:
        return {"": {}}
    if not found:
        raise CheckpointError(f"'{path}' is not a state dict: tensors by name are wanted")
    return weighty or found


def mappings_in(value: object, key: str = "", depth: int = 4) -> "Iterator[tuple[str, dict[str, Tensor]]]":
    """(keys, tensors) of each dict that has tensors by name. An optimizer's state has numbers for names, or says it."""
    from torch import Tensor

    if not isinstance(value, Mapping) or not depth or key.rpartition(".")[2].startswith(("optim", "sched")):
        return
    named = {name: each for name, each in value.items() if isinstance(name, str)}
    tensors = {name: each for name, each in named.items() if isinstance(each, Tensor)}
    # A count beside the weights (AveragedModel's n_averaged, an epoch) is none of them.
    tensors = {name: t for name, t in tensors.items() if t.ndim or "." in name} or tensors
    if tensors:
        yield key, tensors
    for name, each in named.items():
        yield from mappings_in(each, f"{key}.{name}" if key else name, depth - 1)


def unwrapped(tensors: "Mapping[str, Tensor]") -> "Iterator[Mapping[str, Tensor]]":
    """The tensors as they are, then without each prefix that all names share: what wrapping a network puts before them.

    At last without what `DataParallel` and `torch.compile` put inside a name.
    """
    yield tensors
    while len({name.partition(".")[0] for name in tensors}) == 1 and all("." in name for name in tensors):
        tensors = {name.partition(".")[2]: tensor for name, tensor in tensors.items()}
        yield tensors
    bare = {".".join(p for p in name.split(".") if p not in WRAPPERS): t for name, t in tensors.items()}
    if bare.keys() != tensors.keys() and len(bare) == len(tensors):
        yield bare


def load_tensors(net: "nn.Module", tensors: "Mapping[str, Tensor]", path: Path) -> None:
    """Load weights, those of `path`, that must fit exactly. CheckpointError names the first that does not."""
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"'{path}' does not fit its model: {one_line(error)}") from None


def group_of(name: str) -> str:
    """The key by which tensors are grouped: the module's name with `*` for each number, weight or bias left out."""
    module = re.sub(r"(?<![^.])\d+(?![^.])", "*", name)
    return re.sub(r"\.(weight|bias|running_mean|running_var|num_batches_tracked)$", "", module)
