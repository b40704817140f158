"""`try_models`: every model that has weights, on one photo, as `srkit try` does."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from srkit import defaults
from srkit.errors import NoWeights
from srkit.plugins import Registry, load_plugins

if TYPE_CHECKING:
    from srkit.evaluate.plan import Subject
    from srkit.evaluate.tried import Trial
    from srkit.fetch import BytesDone

UNASKED = "its weights are not downloaded"


def try_models(
    photo: "str | os.PathLike[str]",
    models: Sequence[str] = (),
    scale: int | None = None,
    *,
    count: int = 3,
    crop: int = 160,
    device: str = "auto",
    done: Callable[[str], None] = lambda name: None,
    registry: Registry | None = None,
) -> "Trial":
    """Upscale a photo by several models, and cut out of it where they disagree.

    models: names, checkpoints or runs; all that have weights on this machine if none is given: nothing is downloaded
    unasked. scale: 2, or what the weights offer, if not given. count: of the crops. crop: their side in pixels of the
    result. done(name) is called after each model; what it raises ends the trial. registry: where names are looked up;
    the installed plugins when not said.

    A model that fails is a row that says why. What has no weights here is logged. Raises UnknownName, UsageError,
    NoWeights, ImageError, or SrkitError where no model works.
    """
    from srkit.evaluate import trial
    from srkit.images import LOG, read_rgb
    from srkit.nets import pick_device
    from srkit.weights.find import quietly

    registry = load_plugins() if registry is None else registry
    place, rgb = pick_device(device), read_rgb(Path(photo))
    scale = scale or default_scale(registry)
    subjects, notices = chosen(registry, models, scale, device, quietly)
    for notice in notices:
        LOG.warning("%s", notice)
    return trial.try_models(subjects, Path(photo).name, rgb, scale, side=crop, count=count, device=place, done=done)


def default_scale(registry: Registry) -> int:
    """That of the weights that `srkit upscale` would take."""
    from srkit.weights.offered import for_pictures

    try:
        return for_pictures(registry, None)[1]
    except NoWeights:
        return 2


def chosen(
    registry: Registry, named: Sequence[str], scale: int, device: str, downloads: "Callable[[str], BytesDone]"
) -> "tuple[list[Subject], list[str]]":
    """(the baseline and the models named, or all with weights on this machine; a line about each other file).

    downloads: progress of those that are named. Raises UsageError, UnknownName or NoWeights for a name that has no
    weights for the scale.
    """
    from srkit.evaluate.store import Store
    from srkit.weights.subjects import Search, every_name, expanded, find_subjects

    asked = expanded(registry, named)
    search = Search(registry, Store(None), [scale], True, device, downloads=downloads if asked else unasked)
    found = find_subjects(search, [defaults.FLOOR, *(asked or every_name(registry))], asked)
    notices = [f"not tried: {word}: {why}" for word, why in found.absent.items() if UNASKED in why]
    kept = [
        each for each in found.subjects if asked or each.error or each.info.weights or each.info.name == defaults.FLOOR
    ]
    if len(kept) < 2:
        notices.append(f"no weights for x{scale} here; only {defaults.FLOOR} is shown")
    return kept, notices


def unasked(what: str) -> "BytesDone":
    """Instead of a download's progress: nothing is downloaded that nobody named."""
    raise NoWeights(f"{UNASKED}; name it with --models to do so")
