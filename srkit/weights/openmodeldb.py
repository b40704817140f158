"""An entry for OpenModelDB (openmodeldb.info), the directory of upscaling models, from what a checkpoint says."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from hashlib import file_digest
from importlib.resources import files
from pathlib import Path
from typing import Any

from srkit.errors import UsageError
from srkit.evaluate.report import digits
from srkit.plugins import Choice
from srkit.weights.card import score_rows, trained_on
from srkit.weights.hub import endpoint

#: what an entry is tagged with where nobody says: by whether the model enlarges
ASSUMED = {True: "general-upscaler", False: "restoration"}


@cache
def schema() -> dict[str, Any]:
    """The form of an entry as a JSON schema, which names its source; the names known there under `$defs`."""
    text = (files("srkit.weights") / "openmodeldb.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def known(what: str) -> list[str]:
    return list(schema()["$defs"][what]["enum"])


def check_tags(tags: Sequence[str]) -> None:
    """UsageError for what OpenModelDB does not take as a tag."""
    for tag in tags:
        if not re.fullmatch(schema()["properties"]["tags"]["items"]["pattern"], tag):
            raise UsageError(f"'{tag}' is not a tag of OpenModelDB, as {', '.join(known('knownTags'))} are")


def entries(
    about: Mapping[str, Any], model: Choice, weights: Path, repository: str, tags: Sequence[str] = ()
) -> dict[str, dict[str, Any]]:
    """An entry for each scale, by the name of its file in OpenModelDB's `data/models`.

    about: what the checkpoint says. weights: the file that is offered, of which size and SHA-256 are told.
    repository: owner/name on the hub, where that file will be. tags: what the model is for, as OpenModelDB says it.
    """
    check_tags(tags)
    owner, _, name = repository.partition("/")
    with open(weights, "rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
    resource = {
        "platform": "pytorch",
        "type": "safetensors",
        "size": weights.stat().st_size,
        "sha256": digest,
        "urls": [f"{endpoint()}/{repository}/resolve/main/{weights.name}"],
    }
    return {
        f"{model_id(name, scale)}.json": {
            "name": name,
            "author": dashes(owner.lower()),
            "license": licence(about),
            "tags": list(tags) or [ASSUMED[scale > 1]],
            "description": description(about, model, repository),
            "date": date.today().isoformat(),
            "architecture": architecture(model),
            "size": [model.label] if model.label != model.component.name else None,
            "scale": scale,
            "inputChannels": 3,
            "outputChannels": 3,
            "resources": [resource],
            **training(about, scale),
            "images": [],
        }
        for scale in about["scales"]
    }


def notes(about: Mapping[str, Any], model: Choice, tags: Sequence[str]) -> Iterator[str]:
    """What whoever sends an entry should look at: what was assumed, and what OpenModelDB may not know."""
    if not tags:
        assumed = dict.fromkeys(ASSUMED[scale > 1] for scale in about["scales"])
        yield f"the tag {' or '.join(assumed)} was assumed, --tags says otherwise"
    yield from (f"it may have no tag '{tag}'" for tag in tags if tag not in known("knownTags"))
    if architecture(model) not in known("knownArchitectures"):
        yield f"it may have no architecture '{architecture(model)}'"
    if licence(about) is None:
        yield f"of licences it knows {', '.join(known('knownLicences'))}: the entry names none"


def model_id(name: str, scale: int) -> str:
    """`2x-photos` of `photos-x2`: OpenModelDB begins an id with the scale and says it once."""
    words = re.sub(rf"^(?:{scale}x-?|x{scale}-)|-(?:{scale}x|x{scale})$", "", dashes(name), flags=re.IGNORECASE)
    return f"{scale}x-{words or 'model'}"


def dashes(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")


def architecture(model: Choice) -> str:
    """OpenModelDB's name of it; it spells some with dashes that srkit leaves out."""
    name = dashes(model.component.name.lower())
    spelt = {each.replace("-", ""): each for each in known("knownArchitectures")}
    return spelt.get(name.replace("-", ""), name)


def licence(about: Mapping[str, Any]) -> str | None:
    """An SPDX id, of those OpenModelDB explains; None for any other."""
    spelt = {each.lower(): each for each in known("knownLicences")}
    return spelt.get(str(about.get("licence") or "").lower())


def description(about: Mapping[str, Any], model: Choice, repository: str) -> str:
    """Markdown: what it is, how to use it, its scores with their protocol, and where its card is."""
    paper = f" {model.component.paper}." if model.component.paper else ""
    rows = score_rows(about.get("scores") or {})
    parts = [
        f"{model.component.summary}.{paper}",
        f"Use: `srkit upscale photo.jpg --model {repository}`",
        *(f"{metric.upper()} {digits(metric, value)} on {name}, protocol {p}" for name, metric, value, p in rows),
        f"Licence: {about['licence']}" if about.get("licence") else "",
        f"Card: {endpoint()}/{repository}",
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip())


def training(about: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """What the run says of the training; nothing where the weights do not say."""
    run = about.get("run") or {}
    if not run:
        return {}
    return {
        "trainingIterations": about.get("step") or run["steps"],
        "trainingBatchSize": run["batch"],
        "trainingHRSize": run["patch"] * scale,
        **({"trainingOTF": True} if run.get("degradation") else {}),
        "dataset": trained_on(run),
    }
