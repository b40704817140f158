"""Share weights through the Hugging Face hub. Of a repository nothing but `model.safetensors` is ever loaded."""

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from srkit.errors import (
    CheckpointError,
    FetchError,
    SrkitError,
    UnknownName,
    UsageError,
    one_line,
)
from srkit.fetch import BytesDone
from srkit.files import write_atomically

WEIGHTS, RUN, CARD = "model.safetensors", "run.toml", "README.md"
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*")
LOG_IN = "log in with 'hf auth login' or set HF_TOKEN"


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def check_name(repository: str) -> None:
    if not REPOSITORY.fullmatch(repository):
        raise UsageError(f"'{repository}' is not a repository; write owner/name")


def pull(repository: str, downloads: Callable[[str], BytesDone]) -> Path:
    """The weights of a repository, in the hub's cache; fetched where they are not there or have changed.

    Without a connection what is in the cache is used. Raises UsageError for what is not a repository's name,
    UnknownName where there is none, CheckpointError where it holds no safetensors, FetchError otherwise.
    """
    return fetched(repository, WEIGHTS, downloads)


def pull_to(repository: str, folder: Path, downloads: Callable[[str], BytesDone]) -> Path:
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


def fetched(repository: str, name: str, downloads: Callable[[str], BytesDone]) -> Path:
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
        raise FetchError(f"{url} broke off; the same command continues from there") from None
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


def told_to(progress: BytesDone) -> Any:
    """A class for huggingface_hub, in the form of tqdm, that calls `progress` and draws nothing."""
    from huggingface_hub.utils import tqdm

    class Told(tqdm):
        def __init__(self, *args: Any, **options: Any):
            self.so_far, self.whole = options.get("initial") or 0, options.get("total")
            super().__init__(*args, **{**options, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> None:
            self.so_far += n or 0
            progress(int(self.so_far), self.whole)

    return Told


def answer(error: Any) -> str:
    """What the hub said, in one line: `403 Forbidden: you need write access`."""
    said = getattr(error, "server_message", None)
    response = error.response
    line = f"{response.status_code} {response.reason_phrase}{f': {said}' if said else ''}"
    doubt = "; is the token one that may do this?" if response.status_code in (401, 403) else ""
    return " ".join(line.split()) + doubt
