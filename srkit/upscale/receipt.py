"""What made a picture, as text that a picture or a file beside it keeps, and from which it can be made again.

JSON: what srkit it was, the model with its weights' hash, all options, and the picture it was made of, with its hash.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srkit.errors import ImageError, UsageError
from srkit.files import write_atomically
from srkit.images import header, read_picture, receipt_in
from srkit.plugins import Choice, Registry

KIND = "srkit upscale 1"
SUFFIX = ".srkit.json"


def receipt_of(source: str, digest: str, said: Mapping[str, Any], made_by: Mapping[str, Any]) -> str:
    """source: where the picture was, as `place_of` says; digest: its SHA-256. said: options of the command, as the user
    gave them. made_by: srkit's version, models, hashes, precision.
    """
    about = {"kind": KIND, "source": source, "source_sha256": digest, "options": dict(said), **made_by}
    return json.dumps(about, ensure_ascii=True, sort_keys=True)


def place_of(source: Path, target: Path) -> str:
    """Where the source is, seen from the target, so that both can be moved together."""
    try:
        return os.path.relpath(source.absolute(), target.absolute().parent)
    except ValueError:  # on another drive of Windows
        return str(source.absolute())


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(target: Path) -> Path:
    return target.with_name(target.name + SUFFIX)


def keep_beside(target: Path, receipt: str) -> None:
    write_atomically(
        beside(target), lambda file: file.write(json.dumps(json.loads(receipt), indent=1).encode() + b"\n")
    )


def ran_in(model: Mapping[str, Any]) -> str:
    """A model of a receipt, where what it ran in was chosen for it."""
    return f"{model.get('backend') or 'PyTorch'} {model.get('precision', '')}".strip()


def receipt_for(picture: Path) -> tuple[dict[str, Any], str]:
    """(the receipt, where it was found: "xmp" or "sidecar") of a picture. UsageError where it has none."""
    text = where = ""
    if beside(picture).is_file():
        text, where = beside(picture).read_text(encoding="utf-8", errors="replace"), "sidecar"
    else:
        header(picture)  # a clear error for what is no picture
        text, where = receipt_in(read_picture(picture, deep=True, max_pixels=None).about) or "", "xmp"
    if not text:
        raise UsageError(f"'{picture}' has no receipt; one is written by --receipt xmp or --receipt sidecar")
    try:
        about = json.loads(text)
        models = [(model["name"], model["weights_sha256"]) for model in about["models"].values()]
        words = [about["source"], about["source_sha256"], about["srkit"], *(word for each in models for word in each)]
        if about["kind"] != KIND or not isinstance(about["options"], dict):
            raise ValueError
        if not all(isinstance(word, str) for word in words):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ImageError(f"the receipt of '{picture}' is damaged") from None
    return about, where


def source_for(picture: Path, about: Mapping[str, Any], named: Path | None) -> Path:
    """What `picture` was made of: the one named, or where the receipt says it was. UsageError where it has changed."""
    source = named or Path(os.path.normpath(picture.absolute().parent / str(about.get("source"))))
    if not source.is_file():
        raise UsageError(f"'{picture}' was made of '{source}', which is not there; name it: --again '{picture}' PHOTO")
    if digest_of(source) != about.get("source_sha256"):
        raise UsageError(f"'{source}' is not the picture that '{picture}' was made of: its content is another")
    return source


def runtimes_in(receipt: str, registry: Registry) -> dict[int, Choice | None]:
    """Scale -> what its network ran in, where the fastest was asked for; None for PyTorch. receipt: empty for none.

    Raises UnknownName for a backend that is not installed.
    """
    models = json.loads(receipt)["models"] if receipt else {}
    found: dict[int, Choice | None] = {}
    for scale, model in models.items():
        name, precision = model.get("backend"), model.get("precision")
        if isinstance(name, str) and isinstance(precision, str):
            choice = registry.choose("backend", name, {"precision": precision}) if name else None
            found[int(scale.removeprefix("x"))] = choice
    return found


def differences(about: Mapping[str, Any], made_by: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """(why the result will be another one, what may make it another one), in words, of a receipt and of now."""
    now = json.loads(json.dumps(made_by))
    then, errors, notices = about["models"], [], []
    for scale, model in now["models"].items():
        if scale in then and model["weights_sha256"] != then[scale]["weights_sha256"]:
            hashes = f"SHA-256 {model['weights_sha256'][:12]}, and it was {then[scale]['weights_sha256'][:12]}"
            errors.append(f"the weights of {model['name']} {scale} are others than those that made it: {hashes}")
    errors += [
        f"{model['name']} {scale} runs in {ran_in(model)}, and ran in {ran_in(then[scale])}"
        for scale, model in now["models"].items()
        if scale in then and ran_in(model) != ran_in(then[scale])
    ]
    errors += [
        f"its {name} is {now[key]}, and was {about.get(key)}"
        for key, name in (("chain", "chain of scales"), ("precision", "precision"), ("around", "wrapper or backend"))
        if now[key] != about.get(key)
    ]
    if about["srkit"] != now["srkit"]:
        notices.append(f"it was made by srkit {about['srkit']}, and this is {now['srkit']}: bytes may differ")
    return errors, notices
