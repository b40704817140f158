"""What plugins offer as trained weights, by the words that mean it, without opening a file or importing torch.

`NAME@TAG` is the weights of that tag. A name alone means those for clean pictures, tag `bicubic` or none, where there
are any: they are what tables compare and trainings start from. Else it means the first that are not for photographs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from srkit.components import Model, Weights
from srkit.defaults import FLOOR, TAG_OF_PHOTOS, TAG_OF_TABLES
from srkit.errors import NoWeights, UnknownName, UsageError, did_you_mean
from srkit.plugins import SEPARATOR, Entry, Registry, labelled

RANKED_BY = "set5 y psnr"  # the claim that weights of one tag are compared by, where a model is to be chosen


@dataclass(frozen=True)
class Offer:
    """Weights that a plugin registers. word: what means them wherever a model is named: `edsr-small@photo`."""

    word: str
    entry: Entry
    weights: Weights

    def claims(self, scale: int) -> Mapping[str, float]:
        return claims_at(self.weights, scale)


def offers(registry: Registry) -> list[Offer]:
    """All weights of all models, those in packages and those at an address, in the order of the registry."""
    found = []
    for entry in registry.of("model"):
        record: Model = entry.component
        for weights in record.weights:
            name = weights.preset or record.name
            found.append(Offer(unambiguous(registry, entry, labelled(record, name, weights.tag)), entry, weights))
    return found


def unambiguous(registry: Registry, entry: Entry, word: str) -> str:
    """`word`, with `package:` before it where the name alone would mean another package's or nothing."""
    try:
        alone = registry.find("model", word.partition(SEPARATOR)[0]) is entry
    except UsageError:
        alone = False
    return word if alone else f"{entry.package}:{word}"


def split_tag(registry: Registry, word: str) -> tuple[str, str]:
    """(name, tag) of `name@tag`; the tag is empty where none is named. UnknownName for a tag that no weights have."""
    name, separator, tag = word.partition(SEPARATOR)
    if separator:
        record: Model = registry.find("model", name).component
        preset = name.rpartition(":")[2]
        tags = [w.tag for w in record.weights if w.tag and w.preset in ("", preset)]
        if tag not in tags:
            raise UnknownName(f"'{name}' has no weights called '{tag}'{did_you_mean(tag, tags)}")
    return name, tag


def claims_at(weights: Weights, scale: int) -> Mapping[str, float]:
    """The claims for one scale, by `set5 y psnr`. A file of several scales says the scale: `set5 x2 y psnr`."""
    if len(weights.scales) == 1:
        return weights.claims if scale in weights.scales else {}
    mark = f" x{scale} "
    return {key.replace(mark, " ", 1): value for key, value in weights.claims.items() if mark in key}


def for_pictures(registry: Registry, scale: int | None) -> tuple[Offer, int]:
    """(weights, scale) for somebody who has a picture and names no model.

    Those trained for photographs before those trained on clean pictures, then the largest claim. Only files that are
    installed: nothing is downloaded unasked. scale: None is 2, or the smallest that there is. NoWeights where nothing
    serves the scale.
    """
    tags = (TAG_OF_PHOTOS, TAG_OF_TABLES)
    installed = [offer for offer in offers(registry) if offer.weights.resource and offer.weights.tag in tags]
    scales = sorted({each for offer in installed for each in offer.weights.scales})
    wanted = scale or next((each for each in (2, *scales) if each in scales), 2)
    fitting = [offer for offer in installed if wanted in offer.weights.scales]
    if not fitting:
        there = f"; there are some for {', '.join(f'x{each}' for each in scales)}" if scales else ""
        raise NoWeights(
            f"no installed weights upscale x{wanted}{there}. Use --model {FLOOR}, or name your own: --model FILE"
        )

    def rank(offer: Offer) -> tuple[int, float]:
        return tags.index(offer.weights.tag), -offer.claims(wanted).get(RANKED_BY, -math.inf)

    return min(fitting, key=rank), wanted
