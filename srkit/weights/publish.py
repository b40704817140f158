"""Put weights with a model card on the Hugging Face hub."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

from srkit.checkpoint import load_tensors, read_about, read_tensors, save_tensors
from srkit.errors import CheckpointError, FetchError, SrkitError, UsageError, one_line
from srkit.files import write_atomically
from srkit.nets import build_net, parameter_count
from srkit.plugins import Registry
from srkit.weights.card import data_licence, model_card, part, tables
from srkit.weights.find import checkpoint_in
from srkit.weights.hub import CARD, LOG_IN, RUN, WEIGHTS, answer, check_name, endpoint
from srkit.weights.locate import model_of
from srkit.weights.openmodeldb import check_tags, entries, notes

#: licences of data under which weights trained on it may have any licence
FREE = re.compile(
    r"cc0(-1\.0)?|cc-by(-[1-4]\.0)?|mit|apache-2\.0|bsd-[23]-clause|isc|unlicense|pddl(-1\.0)?|public domain",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` wrote: the files of a repository, the entries for OpenModelDB, and what to look at in these."""

    files: list[Path]
    entries: list[Path]
    notes: list[str]


def prepare(
    registry: Registry, path: Path, folder: Path, repository: str, licence: str = "", *, tags: Sequence[str] = ()
) -> Prepared:
    """Write what a repository holds into `folder`, which is made: weights, run, card; and entries for OpenModelDB.

    path: a checkpoint of srkit's, or a run's folder. licence: of the weights; that of the checkpoint if empty. tags:
    what OpenModelDB is told the model is for. Where a path on this machine stands in the run, only its last name is
    published. Raises CheckpointError for a file that does not say of which model it is, UsageError where the licence
    must be said.
    """
    check_name(repository)
    check_tags(tags)
    file = checkpoint_in(path)
    try:
        about = without_paths({key: value for key, value in read_about(file).items() if key != "format"})
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Make it srkit's own: srkit weights convert FILE -o OUT.safetensors") from None
    about["licence"] = licence or licence_of(registry, about)
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
        listed = entries(about, model, folder / WEIGHTS, repository, tags)
        texts |= {name: json.dumps(entry, indent=4, ensure_ascii=False) + "\n" for name, entry in listed.items()}
        for name, text in texts.items():
            write_atomically(folder / name, methodcaller("write", text.encode()))
    except OSError as error:
        raise SrkitError(f"cannot write into '{folder}': {one_line(error)}") from None
    return Prepared(
        files=[folder / WEIGHTS, *(folder / name for name in texts)],
        entries=[folder / name for name in listed],
        notes=list(notes(about, model, tags)),
    )


def licence_of(registry: Registry, about: Mapping[str, Any]) -> str:
    """The licence a checkpoint states, which is that of the model's code. UsageError where its data may forbid it."""
    own, run = str(about.get("licence") or ""), about.get("run") or {}
    if not own or not run:
        return own
    for trained in tables(run["data"]):
        data = data_licence(registry, trained["name"])
        words = [word.strip() for word in re.split(r",|;|/|\band\b|\bor\b", data)]
        if not all(FREE.fullmatch(word) for word in words if word):
            raise UsageError(
                f"these weights were trained on {part({'name': trained['name']})}, which is '{data}': whether they may "
                f"be {own}, as the model's code is, is yours to say: --licence {own}, or --licence CC-BY-NC-4.0"
            )
    return own


def without_paths(value: Any) -> Any:
    """Every absolute path in a run or a part of it as its last name, so that a card does not publish local paths."""
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
    """Upload `files` as one commit, into a new repository if it does not exist. Returns its address.

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
