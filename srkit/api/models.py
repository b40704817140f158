"""`list_models`: what can upscale here, by the words that `load` takes."""

from collections.abc import Mapping
from dataclasses import dataclass

from srkit.plugins import Registry, load_plugins


@dataclass(frozen=True, kw_only=True)
class UsableModel:
    """A model that upscales here without a training or a download.

    Attributes:
        name: what `load` and `--model` take: `edsr-small@photo`, `bicubic`.
        scales: the factors it has weights for, ascending; those between and above are made of them.
        tag: what tells its weights apart: `photo` for compressed photographs; often empty.
        licence: of the weights; of the model where it needs none; empty where it is not said.
        trained_on: the training data, for the reader.
        summary: one line.
        paper: where it is published.
        claims: published scores by scale, `{2: {"set5 y psnr": 37.99}}`.
        trainable: False for an interpolation.
    """

    name: str
    scales: tuple[int, ...]
    tag: str = ""
    licence: str = ""
    trained_on: str = ""
    summary: str = ""
    paper: str = ""
    claims: Mapping[int, Mapping[str, float]]
    trainable: bool = True


def list_models(registry: Registry | None = None) -> list[UsableModel]:
    """All models that upscale here at once: those with weights in their package or in the cache, and interpolations.

    In the order of the registry, networks first. registry: the installed plugins when not said. Imports no torch.
    """
    from srkit.weights.find import cached_file
    from srkit.weights.offered import Offer, offers, unambiguous

    registry = load_plugins() if registry is None else registry
    by_word: dict[str, list[Offer]] = {}
    for offer in offers(registry):
        if offer.weights.resource or cached_file(offer.weights).is_file():
            by_word.setdefault(offer.word, []).append(offer)
    found = []
    for word, group in by_word.items():
        record = group[0].entry.component
        scales = sorted({scale for each in group for scale in each.weights.scales})
        first = group[0].weights
        found.append(
            UsableModel(
                name=word,
                scales=tuple(scales),
                tag=first.tag,
                licence=" and ".join(dict.fromkeys(each.weights.licence for each in group if each.weights.licence)),
                trained_on=first.trained_on,
                summary=record.summary,
                paper=record.paper,
                claims={s: dict(each.claims(s)) for each in group for s in each.weights.scales},
            )
        )
    for entry in registry.of("model"):
        record = entry.component
        if not record.trainable:
            found.append(
                UsableModel(
                    name=unambiguous(registry, entry, record.name),
                    scales=tuple(sorted(record.scales)),
                    licence=record.licence,
                    summary=record.summary,
                    paper=record.paper,
                    claims={},
                    trainable=False,
                )
            )
    return found
