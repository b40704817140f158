"""Share weights through the Hugging Face hub. Of a repository nothing but `model.safetensors` is ever loaded."""

import os
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import methodcaller
from pathlib import Path
from typing import Any

from srkit.errors import CheckpointError, FetchError, SrkitError, UnknownName, UsageError, one_line
from srkit.fetch import Progress
from srkit.images import write_atomically
from srkit.plugins import Registry
from srkit.train.checkpoint import read_about, read_tensors, save_tensors
from srkit.weights.card import model_card
from srkit.weights.loading import REPOSITORY, build_net, checkpoint_in, load_tensors, model_of, parameter_count

WEIGHTS, RUN, CARD = "model.safetensors", "run.toml", "README.md"
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_name(repository: str) -> None:
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"'{repository}' is no repository; write owner/name")


def pull(repository: str, downloads: Callable[[str], Progress]) -> Path:
    """The weights of a repository, in the hub's cache; fetched where they are not there or have changed.

    Without a connection what is in the cache is used. Raises UsageError for what is no repository's name,
    UnknownName where there is none, CheckpointError where it holds no safetensors, FetchError otherwise.
    """
    return fetched(repository, WEIGHTS, downloads)


def pull_to(repository: str, folder: Path, downloads: Callable[[str], Progress]) -> Path:
    """`pull`, and copies of the weights, the run and the card in `folder`, which is made. The weights there."""
    files = [pull(repository, downloads)]
    for name in (RUN, CARD):
        with suppress(CheckpointError):  # it has none
            files.append(fetched(repository, name, downloads))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            with open(file, "rb") as source:
                write_atomically(folder / file.name, partial(shutil.copyfileobj, source))
    except OSError as error:
        raise SrkitError(f"cannot write into '{folder}': {one_line(error)}") from None
    return folder / WEIGHTS


def fetched(repository: str, name: str, downloads: Callable[[str], Progress]) -> Path:
    """One file of a repository, in the hub's cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    check_name(repository)
    url = f"{endpoint()}/{repository}"
    try:
        # Asked first, since hf_hub_download tries for half a minute where there is no connection.
        get_hf_file_metadata(hf_hub_url(repository, name, endpoint=endpoint()), endpoint=endpoint())
        bar = told_to(downloads(f"fetching {repository}/{name}"))
        return Path(hf_hub_download(repository, name, endpoint=endpoint(), tqdm_class=bar, library_name="srkit"))
    except GatedRepoError:
        raise FetchError(f"'{repository}' is given on request: ask at {url}, then {LOG_IN}") from None
    except RepositoryNotFoundError:
        raise UnknownName(
            f"no file, folder or model '{repository}' here, and no repository {url} (if it is private, {LOG_IN})"
        ) from None
    except LocalEntryNotFoundError:
        raise FetchError(f"{url} broke off; the same command goes on from there") from None
    except EntryNotFoundError:
        raise CheckpointError(f"{url} has no {name}; srkit loads nothing else from a hub") from None
    except HfHubHTTPError as error:
        raise FetchError(f"{url}: {answer(error)}") from None
    except Exception as error:  # a network, a proxy or a disk can fail in any way
        kept = try_to_load_from_cache(repository, name)
        if isinstance(kept, str):
            return Path(kept)
        raise FetchError(
            f"'{repository}' is neither here nor in the hub's cache, and {url} cannot be reached: {one_line(error)}"
        ) from None


def told_to(progress: Progress) -> Any:
    """A class in the form of tqdm, which is how huggingface_hub reports, that tells `progress` and draws nothing."""
    from huggingface_hub.utils import tqdm

    class Told(tqdm):
        def __init__(self, *args: Any, **options: Any):
            self.so_far, self.whole = options.get("initial") or 0, options.get("total")
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            self.so_far += n or 0
            progress(int(self.so_far), self.whole)

    return Told


def prepare(registry: Registry, path: Path, folder: Path, repository: str, licence: str = "") -> list[Path]:
    """Write what a repository holds into `folder`, which is made: the weights, the run, the card.

    path: a checkpoint of srkit's, or a run's folder. Where a path on this machine stands in the run, only its
    last name goes along. Raises CheckpointError for a file that does not say of which model it is.
    """
    check_name(repository)
    file = checkpoint_in(path)
    try:
        about = without_paths({key: value for key, value in read_about(file).items() if key != "format"})
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Make it srkit's own: srkit weights convert FILE -o OUT.safetensors") from None
    about["licence"] = licence or about.get("licence") or ""
    model = model_of(registry, file, about)
    net, tensors = build_net(model, about["scales"]), read_tensors(file)
    load_tensors(net, tensors, file)
    texts = {CARD: model_card(registry, about, model, parameter_count(net), repository)}
    if about.get("run"):
        import tomli_w

        texts[RUN] = tomli_w.dumps(about["run"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_tensors(folder / WEIGHTS, tensors, about)
        for name, text in texts.items():
            write_atomically(folder / name, methodcaller("write", text.encode()))
    except OSError as error:
        raise SrkitError(f"cannot write into '{folder}': {one_line(error)}") from None
    return [folder / WEIGHTS, *(folder / name for name in texts)]


def without_paths(value: Any) -> Any:
    """Every absolute path in a run or a part of it as its last name: whose machine it was is nobody's business."""
    if isinstance(value, dict):
        return {key: without_paths(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item) for item in value]
    if isinstance(value, str) and re.match(r"[/~\\]|[A-Za-z]:[/\\]", value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def check_token() -> None:
    """Before any work: may something be written to the hub? UsageError says how."""
    from huggingface_hub import get_token

    if not get_token():
        raise UsageError(f"no token for {endpoint()}: {LOG_IN}; the token must be one that may write")


def push(files: list[Path], repository: str, private: bool) -> str:
    """Upload `files` as one commit; the repository is made where there is none. Its address.

    Raises FetchError where the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    api, url = HfApi(endpoint=endpoint(), library_name="srkit"), f"{endpoint()}/{repository}"
    try:
        api.create_repo(repository, private=private or None, exist_ok=True)
        operations = [CommitOperationAdd(file.name, str(file)) for file in files]
        api.create_commit(repository, operations, commit_message="Upload by srkit")
    except HfHubHTTPError as error:
        raise FetchError(f"{url} cannot be written: {answer(error)}") from None
    except Exception as error:  # as in `fetched`
        raise FetchError(f"{url} cannot be written: {one_line(error)}") from None
    return url


def answer(error: Any) -> str:
    """What the hub said, in one line: `403 Forbidden: you need write access`."""
    said = getattr(error, "server_message", None)
    response = error.response
    line = f"{response.status_code} {response.reason_phrase}{f': {said}' if said else ''}"
    doubt = "; is the token one that may do this?" if response.status_code in (401, 403) else ""
    return " ".join(line.split()) + doubt
