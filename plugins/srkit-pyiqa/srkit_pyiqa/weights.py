"""Load a metric of pyiqa with its weights: those that are there, else fetched, else one line that says what to do."""

import importlib.util
import os
import pickle
import socket
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import packaging.version  # the stand-in below needs it imported
from huggingface_hub import constants

from srkit import CheckpointError, SrkitError
from srkit_pyiqa import srkit_name

PATIENCE = 15  # seconds without an answer after which a server is given up


class NoMetricWeights(SrkitError):  # noqa: N818 - a state of things, not a fault
    """The weights a metric needs are not on this machine and cannot be fetched."""


def load(name: str, *, as_loss: bool = False) -> Any:
    """pyiqa's `InferenceModel` called `name`, its weights loaded. as_loss: it keeps gradients and gives the mean.

    Raises NoMetricWeights with the URL and the place to put the file, CheckpointError for a file that holds more than
    weights, SrkitError where pyiqa cannot build the metric. Weights stay in the caches of torch and Hugging Face.
    """
    try:
        # Hugging Face asks its server of each file, cached or not, and without a network keeps on for most of a
        # minute. So first with what is there; its server is turned to only if it is needed and answers.
        with mock.patch.object(constants, "HF_HUB_OFFLINE", True):
            return create(name, as_loss)
    except Exception as error:
        if wanted_repository(error) is None or constants.HF_HUB_OFFLINE or not hub_answers():
            raise in_one_line(name, error) from error
    try:
        return create(name, as_loss)
    except Exception as error:
        raise in_one_line(name, error) from error


def create(name: str, as_loss: bool) -> Any:
    """pyiqa's own `create_metric`: no free unpickling, no endless wait, nothing on stdout."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)  # torch.hub waits for ever
    try:
        with redirect_stdout(sys.stderr), weights_only(), pkg_resources():
            import pyiqa

            return pyiqa.create_metric(name, as_loss=as_loss)
    finally:
        socket.setdefaulttimeout(patience)


@contextmanager
def weights_only() -> Iterator[None]:
    """Have torch refuse what is not plain weights, though pyiqa asks it not to; the user may say otherwise."""
    trusted = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" in os.environ
    with mock.patch.dict(os.environ, {} if trusted else {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}):
        yield


@contextmanager
def pkg_resources() -> Iterator[None]:
    """openai-clip takes `packaging` from pkg_resources, which setuptools no longer has; stand in for it meanwhile."""
    if importlib.util.find_spec("pkg_resources"):
        yield
        return
    stand_in = types.ModuleType("pkg_resources")
    stand_in.packaging = packaging  # type: ignore[attr-defined]
    sys.modules["pkg_resources"] = stand_in
    try:
        yield
    finally:
        del sys.modules["pkg_resources"]


def hub_answers() -> bool:
    """Is there a way to Hugging Face's server, or to the mirror HF_ENDPOINT names?"""
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=PATIENCE).close()
    except HTTPError:
        return True
    except OSError:
        return False
    return True


def in_one_line(name: str, error: Exception) -> SrkitError:
    """What went wrong and the next move, as the error to raise."""
    metric = f"metric '{srkit_name(name)}'"
    reason = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError):
        return SrkitError(f"{metric} needs the package '{error.name}': pip install {error.name}")
    if isinstance(error, pickle.UnpicklingError):
        return CheckpointError(
            f"{metric}: its weight file holds more than weights and is not opened; if you trust it, "
            "set TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1"
        )
    if wanted := wanted_file(error):
        url, path = wanted
        return NoMetricWeights(f"{metric} needs weights that cannot be fetched ({reason}): save {url} as '{path}'")
    if repository := wanted_repository(error):
        folder = Path(constants.HF_HUB_CACHE, f"models--{repository.replace('/', '--')}")
        return NoMetricWeights(
            f"{metric} needs weights that cannot be fetched: where there is a network run 'hf download "
            f"{repository}' ({constants.ENDPOINT}/{repository}), and copy the folder that makes to '{folder}'"
        )
    return SrkitError(f"{metric} cannot be built by pyiqa: {type(error).__name__}: {reason}")


def wanted_file(error: Exception) -> tuple[str, str] | None:
    """(URL, where to put it) of the file that was being fetched when `error` came, None if there was none.

    pyiqa tells neither; the frame of the function that was fetching has both.
    """
    for function, seen in frames(error):
        if function == "download_url_to_file":  # torch.hub, for pyiqa, torchvision and timm
            return seen["url"], seen["dst"]
        if function == "_download" and "download_target" in seen:  # CLIP
            return seen["url"], seen["download_target"]
    return None


def wanted_repository(error: Exception) -> str | None:
    """The repository on Hugging Face that was asked for when `error` came, as `owner/name`; None if none was."""
    if isinstance(error, OSError):
        for _, seen in frames(error):
            for argument in ("repo_id", "pretrained_model_name_or_path"):  # huggingface_hub's name, transformers'
                if isinstance(found := seen.get(argument), str):
                    return found
    return None


def frames(error: BaseException | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """(function, its local variables) on the way to `error` and to those it came from, the innermost first."""
    while error is not None:
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            yield frame.f_code.co_name, frame.f_locals
        error = error.__cause__ or error.__context__
