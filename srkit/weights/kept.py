"""A network as a runtime reads it: converted once, kept in srkit's cache folder, and found again."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any, TypeVar

from srkit.evaluate.identity import code_digest
from srkit.fetch import file_sha256
from srkit.files import cache_folder, locked

if TYPE_CHECKING:
    from torch import nn

Opened = TypeVar("Opened")

MANIFEST = "sha256.json"
UNUSED = 30 * 24 * 3600.0  # seconds after which what nobody read is removed
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
LIBRARIES = ("kornia", "timm", "torch", "torchvision")  # large; their versions tell
NO_SOURCE = hashlib.sha256().hexdigest()[:24]  # what `code_digest` gives of a class typed into a notebook
PLAIN = (type(None), bool, int, float, complex, str, bytes)


def converted(
    net: "nn.Module", versions: Mapping[str, Any], make: Callable[[Path], None], read: Callable[[Path], Opened]
) -> Opened:
    """What a runtime makes of a network: made once, kept in srkit's cache folder, and found again.

    net: what is converted; its weights, the code and the settings of its modules decide whether a kept one is of this
    network. versions: what else decides it, as plain values: the runtime's name and version, the scale, an option.
    make(folder): write the converted network into an empty folder. read(folder): open what is there.

    A kept folder is used if each file in it is as it was written and `read` can read it; else it is made anew. A
    network whose settings cannot be told apart, as one with hooks, is converted each time. Where the cache cannot be
    written it is converted into a temporary folder. Raises what `make`, or `read` of what was just made, raises.
    """
    mark = fingerprint(net)
    if mark is None:
        return converted_once(make, read)
    about = {"network": mark, "srkit": version("srkit"), "torch": version("torch"), **versions}
    key = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]
    folder = networks_folder() / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_suffix(".lock")):
            if is_whole(folder):
                with suppress(Exception):  # a file of another version, or damaged before its hash was taken
                    found = read(folder)
                    os.utime(folder)
                    return found
            fresh = Path(mkdtemp(prefix=f".{key}.", dir=folder.parent))
    except OSError:  # a cache that cannot be written costs no picture
        return converted_once(make, read)
    try:
        make(fresh)
        return kept(fresh, folder, read)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def converted_once(make: Callable[[Path], None], read: Callable[[Path], Opened]) -> Opened:
    """Converted into a folder that is gone when it has been read."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as name:
        make(Path(name))
        return read(Path(name))


def kept(fresh: Path, folder: Path, read: Callable[[Path], Opened]) -> Opened:
    """Move what was just made to where it is kept, and read it there; where it cannot be moved, where it is."""
    remove_unused(folder.parent)
    try:
        manifest = {path.name: file_sha256(path) for path in sorted(fresh.iterdir())}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        with locked(folder.with_suffix(".lock")):
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(fresh, folder)
    except OSError:
        return read(fresh)
    return read(folder)


def networks_folder() -> Path:
    """Beside the packs, below $SRKIT_CACHE or the user's cache folder."""
    return cache_folder() / "networks"


def is_whole(folder: Path) -> bool:
    """Is each file as it was written, and none missing?"""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        return all(file_sha256(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError, TypeError):
        return False


def remove_unused(folder: Path) -> None:
    """What nobody has read for thirty days, with its lock; what an interrupted conversion left."""
    with suppress(OSError):
        for path in folder.iterdir():
            if time.time() - path.stat().st_mtime > UNUSED:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif not path.with_suffix("").exists():
                    path.unlink(missing_ok=True)


def fingerprint(net: "nn.Module") -> str | None:
    """A digest of what a network computes: weights, code and settings of its modules; None where that cannot be told.

    Memory format, training mode and the device do not count.
    """
    import torch

    digest = hashlib.sha256()
    for name, module in net.named_modules(remove_duplicate=False):
        told = [code_of(type(module)), *settings_of(module)]
        if None in told:
            return None
        digest.update(json.dumps([name, *told]).encode())
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def code_of(kind: "type[nn.Module]") -> str | None:
    """A module's class, with its library's version or a digest of its source; None where there is no source."""
    name, package = f"{kind.__module__}.{kind.__qualname__}", kind.__module__.partition(".")[0]
    if package in LIBRARIES:
        return f"{name} {library_version(package)}"
    digest = source_digest(kind.__module__, package)
    return None if digest == NO_SOURCE or "<locals>" in name else f"{name} {digest}"


@lru_cache
def library_version(name: str) -> str:
    return version(name)


@lru_cache(maxsize=1024)
def source_digest(module: str, package: str) -> str:
    return code_digest(module, package)


def settings_of(module: "nn.Module") -> Iterator[str | None]:
    """Each attribute of a module as text, None for what is not told by a text: hooks, functions, objects."""
    from torch import nn

    of_every_module = vars(nn.Module())
    for key, value in sorted(vars(module).items()):
        if key not in of_every_module:
            yield f"{key}={told}" if (told := text_of(value)) is not None else None
        elif key in HOOKS and value:
            yield None


def text_of(value: Any) -> str | None:
    """A plain value, or a collection of such, as text; None for anything else."""
    import torch

    if isinstance(value, (*PLAIN, torch.dtype, torch.device, torch.Size)):
        return f"{type(value).__name__} {value!r}"
    if isinstance(value, list | tuple):
        parts = [text_of(each) for each in value]
    elif isinstance(value, Mapping):
        parts = [text_of(each) for pair in value.items() for each in pair]
    elif isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    else:
        return None
    known = [part for part in parts if part is not None]
    return f"{type(value).__name__} {known}" if len(known) == len(parts) else None
