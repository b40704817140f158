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

KIND = "srkit upscale 1"
SUFFIX = ".srkit.json"


def receipt_of(source: Path, target: Path, said: Mapping[str, Any], made_by: Mapping[str, Any]) -> str:
    """said: options of the command, as the user gave them. made_by: srkit's version, models, hashes, precision."""
    place = os.path.relpath(source.absolute(), target.absolute().parent)
    about = {"kind": KIND, "source": place, "source_sha256": digest_of(source), "options": dict(said), **made_by}
    return json.dumps(about, ensure_ascii=True, sort_keys=True)


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def beside(target: Path) -> Path:
    return target.with_name(target.name + SUFFIX)


def keep_beside(target: Path, receipt: str) -> None:
    write_atomically(
        beside(target), lambda file: file.write(json.dumps(json.loads(receipt), indent=1).encode() + b"\n")
    )


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
        if about["kind"] != KIND or not isinstance(about["options"], dict):
            raise ValueError
    except (ValueError, KeyError, TypeError):
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
