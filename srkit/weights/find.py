"""From a word to a weight file: a path, a run, a repository of the hub, or what a plugin registers.

All that plugins register, and the words that mean it, is listed by `srkit.weights.offered.offers`.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from srkit.checkpoint import HeaderError, read_about
from srkit.components import Weights
from srkit.errors import CheckpointError, PluginError, SrkitError, one_line
from srkit.fetch import BytesDone, fetch, file_sha256
from srkit.files import cache_folder
from srkit.plugins import SEPARATOR, Choice, plain_tags
from srkit.weights.hub import REPOSITORY

RUNS = Path("runs")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".onnx")
CHECKPOINTS = ("best.safetensors", "last.safetensors", "model.safetensors")  # of a run; what the hub keeps
#: `downloads("fetching x.safetensors")` returns a function that is given the bytes done and in all
Downloads = Callable[[str], BytesDone]


def quietly(what: str) -> BytesDone:
    return lambda done, total: None


def registered(model: Choice, scale: int, tag: str = "") -> list[Weights]:
    """The weights its plugin offers for this preset and scale, and tag if one is named; what the name means first."""
    fitting = [w for w in model.component.weights if scale in w.scales and w.preset in ("", model.preset)]
    plain = plain_tags(model.component, model.preset)
    return sorted((w for w in fitting if tag in ("", w.tag)), key=lambda each: each.tag not in plain)


def missing(model: Choice, name: str, tag: str, scale: int) -> str:
    """Which weights there are not, which there are, and where some can come from."""
    there = sorted({s for each in model.component.scales for w in registered(model, each, tag) for s in w.scales})
    others = f" (there are some for {', '.join(f'x{each}' for each in there)})" if there else ""
    what = f"{model.label}{SEPARATOR}{tag}" if tag else model.label
    return (
        f"'{what}' has no trained weights for x{scale} here{others}. Get some with 'srkit weights pull OWNER/NAME', "
        f"name a file with --model FILE, train with 'srkit train --model {name} --scale {scale}', or use "
        "--model bicubic"
    )


def registered_file(
    model: Choice, weights: Weights, downloads: Downloads = quietly, *, digest: Callable[[Path], str] = file_sha256
) -> Path:
    """The file of a plugin's weights: in its package, or in the cache, downloaded now if it is missing.

    digest: gives a file's SHA-256.
    """
    if weights.url:
        path = cached_file(weights)
        if path.is_file() and digest(path) == weights.sha256:
            return path
        fetch(weights.url, path, sha256=weights.sha256, progress=downloads(f"fetching {path.name}"))
        return path
    package, _, inside = weights.resource.partition(":")
    try:
        path = Path(str(files(package).joinpath(inside)))
    except (ImportError, TypeError) as error:  # TypeError: a module, which holds no files
        raise PluginError(
            f"'{model.entry.qualified}' names the weights '{weights.resource}': {one_line(error)}"
        ) from None
    if not path.is_file():
        raise PluginError(f"'{model.entry.qualified}' names the weights '{weights.resource}', which are not there")
    if weights.sha256 and digest(path) != weights.sha256:
        raise CheckpointError(f"'{path}' is not the file '{model.entry.qualified}' names: its SHA-256 differs")
    return path


def cached_file(weights: Weights) -> Path:
    """Where the file of a url is kept, fetched or not: two files of one name are kept apart by their checksum."""
    return cache_folder() / "weights" / weights.sha256[:12] / weights.url.rpartition("/")[2]


def is_own(path: Path) -> bool:
    """Did srkit write the file? `read_about` tells what it says, or what is wrong with that."""
    try:
        read_about(path)
    except CheckpointError as error:
        return isinstance(error, HeaderError)
    return True


def is_path(word: str) -> bool:
    """A file, a folder or a repository, and no model's name?"""
    if word.startswith("hf:"):
        return True
    return Path(word).suffix in WEIGHT_SUFFIXES or "/" in word or "\\" in word or (Path(word) / "run.toml").is_file()


def find_checkpoint(word: str, downloads: Downloads = quietly) -> Path:
    """The checkpoint that a path or a repository means. A local path has priority over the hub."""
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
    same_options = about["model"]["options"] == json.loads(json.dumps(model.options))
    return word.rpartition(":")[2] == model.component.name or bool(same_options)
