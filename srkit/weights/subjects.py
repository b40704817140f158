"""From words to what a benchmark scores: names, wildcards, checkpoints, runs, repositories, each at its scales.

Weights are found and told apart by their files alone. Torch is imported where something is loaded, and to look into
a file of another program for the first time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from srkit.defaults import TAG_OF_TABLES
from srkit.errors import FetchError, NoWeights, SrkitError, UnknownName, UsageError, did_you_mean, one_line
from srkit.evaluate.identity import choose, identity, runtime_identity
from srkit.evaluate.plan import Opened, Subject
from srkit.evaluate.store import Store
from srkit.evaluate.table import ModelInfo
from srkit.plugins import Choice, Registry, names
from srkit.upscale.marks import mark
from srkit.weights.find import Downloads, is_path, quietly
from srkit.weights.locate import Foreign, Located, locate
from srkit.weights.offered import claims_at, offers, split_tag, unambiguous

if TYPE_CHECKING:
    import torch

    from srkit.nets import Loaded, Precision


@dataclass(frozen=True)
class Search:
    """How weights are looked for and used.

    scales_said: the user named the scales. device: the user's word. precision: fp32, bf16 or fp16, of networks;
    interpolations are computed in fp32. backend: what networks run in, with its own precision; None for PyTorch.
    wrappers: of each subject, by their names.
    """

    registry: Registry
    store: Store
    scales: Sequence[int]
    scales_said: bool = False
    device: str = "auto"
    precision: "Precision" = "fp32"
    backend: Choice | None = None
    wrappers: Sequence[Sequence[str]] = ((),)
    downloads: Downloads = quietly


@dataclass(frozen=True)
class Found:
    """subjects: in the order of the words, by scale. absent: a word that has no weights here, and why."""

    subjects: Sequence[Subject]
    absent: Mapping[str, str]


def every_name(registry: Registry) -> list[str]:
    """All models and presets, and the tags of weights that a name alone does not mean."""
    found = []
    for entry in registry.of("model"):
        found += [unambiguous(registry, entry, name) for name in names(entry.component)]
        found += [offer.word for offer in offers(registry) if offer.entry is entry]
    return list(dict.fromkeys(found))


def expanded(registry: Registry, words: Iterable[str]) -> list[str]:
    """The words with `edsr*` replaced by the names it fits. Raises UnknownName for a word that means nothing."""
    found: list[str] = []
    for word in words:
        if is_path(word):
            found.append(word)
        elif set(word) & set("*?["):
            fitting = [name for name in every_name(registry) if fnmatchcase(name, word)]
            if not fitting:
                raise UnknownName(f"no model's name fits '{word}'{did_you_mean(word, every_name(registry))}")
            found += fitting
        else:
            registry.find("model", split_tag(registry, word)[0])
            found.append(word)
    return list(dict.fromkeys(found))


def find_subjects(search: Search, words: Sequence[str], named: Iterable[str]) -> Found:
    """Everything that the words mean and has weights, at each scale.

    A word in `named` must have weights: at each scale if the user named scales, else at one. Raises UsageError or
    NoWeights where it has not. Weights that are there and cannot be used are a subject with an error.
    """
    by_scale: dict[int, dict[Any, Subject]] = {scale: {} for scale in search.scales}
    absent: dict[str, str] = {}
    said = set(named)
    for word in words:
        errors: dict[int, SrkitError] = {}
        for scale in search.scales:
            try:
                located = look_up(search, word, scale)
            except SrkitError as error:
                errors[scale] = error
                continue
            for subject in subjects_of(search, word, scale, located):
                by_scale[scale].setdefault((subject.info.origin or subject.info.name, subject.info.name), subject)
        faults = {scale: error for scale, error in errors.items() if not isinstance(error, NoWeights | UsageError)}
        if word in said and errors and not faults and (search.scales_said or len(errors) == len(search.scales)):
            raise next(iter(errors.values()))
        if errors and len(errors) == len(search.scales) and not faults:
            absent[word] = one_line(next(iter(errors.values())))
        for scale, fault in list(faults.items())[:1]:  # the same file, the same fault
            if word not in said and isinstance(fault, FetchError):
                absent[word] = one_line(fault)
            else:
                by_scale[scale][word, ""] = Subject(ModelInfo(word, scale), error=one_line(fault))
    return Found([subject for found in by_scale.values() for subject in unique(found.values())], absent)


def unique(subjects: Iterable[Subject]) -> list[Subject]:
    """Without those whose weights, as they are used, are there already."""
    found: dict[Any, Subject] = {}
    for subject in subjects:
        same = [each for each in found.values() if each.key and each.key == subject.key and each.info.weights]
        if not same:
            found[subject.info.name] = subject
    return list(found.values())


def look_up(search: Search, word: str, scale: int) -> Located:
    """What `load_model` would load, with the store's help. Raises the same errors."""
    registry, store = search.registry, search.store
    found = locate(
        registry,
        word,
        scale,
        search.downloads,
        choose=partial(choose, registry, store, "model"),
        digest=store.sha256,
    )
    return recognised(search, found, scale) if isinstance(found, Foreign) else found


def recognised(search: Search, file: Foreign, scale: int) -> Located:
    """What another program's file holds, remembered, since only loading it can tell."""
    registry, store = search.registry, search.store
    plugins = sorted({f"{entry.package} {entry.version}" for entry in registry.of("model")})
    try:
        digest = store.sha256(file.path)
    except OSError:
        digest = ""
    fact = ["file", digest, str(file.path), scale, search.scales_said, plugins]
    known = store.recall(fact) if digest else None
    if not isinstance(known, dict):
        from srkit.weights.loading import load_foreign

        try:
            loaded = load_foreign(registry, file, "cpu", scale_said=search.scales_said)
            known = {"name": loaded.model.entry.qualified, "options": loaded.model.options, "error": ""}
        except UsageError as error:  # it is for another scale
            known = {"error": one_line(error)}
        store.remember(fact, known)
    if known["error"]:
        raise UsageError(known["error"])
    return Located(Choice(registry.find("model", known["name"]), known["options"]), scale, file.path)


def subjects_of(search: Search, word: str, scale: int, located: Located) -> list[Subject]:
    """A subject for each list of wrappers."""
    store = search.store
    digest = store.sha256(located.path) if located.path else ""
    weights, about, label = located.weights, located.about, word if is_path(word) else located.label
    search = search if located.model.component.trainable else replace(search, precision="fp32", backend=None)
    backend = search.backend
    label += f" ({backend.label} {backend.options['precision']})" if backend else ""
    found = []
    for wrapper_names in search.wrappers:
        wrappers = [choose(search.registry, store, "wrapper", name) for name in wrapper_names]
        key = {
            "model": identity(located.model),
            "weights": digest,
            "wrappers": [identity(wrapper) for wrapper in wrappers],
            "device": search.device,
            "precision": search.precision,
            **({"backend": runtime_identity(backend)} if backend else {}),
        }
        info = ModelInfo(
            label + mark(wrappers),
            scale,
            weights=digest,
            origin=str(located.path or ""),
            claims=claims_at(weights, scale) if weights and not wrappers else {},
            licence=(weights.licence if weights else "") or str(about.get("licence") or ""),
            trained_on=weights.trained_on if weights else "",
            training_lr="matlab" if weights and weights.tag == TAG_OF_TABLES else str(about.get("training_lr") or ""),
        )
        again = {
            "word": word,
            "wrappers": list(wrapper_names),
            "scale_said": search.scales_said,
            "device": search.device,
            "precision": backend.options["precision"] if backend else search.precision,
            "backend": backend.entry.qualified if backend else "",
        }
        found.append(Subject(info, key, opener(search, word, scale, wrapper_names), again=again))
    return found


def opener(search: Search, word: str, scale: int, wrapper_names: Sequence[str]) -> "Callable[[torch.device], Opened]":
    """A function that loads what `word` means onto a device."""

    def load(device: "torch.device") -> Opened:
        from srkit.upscale.wrap import make_upscaler
        from srkit.weights.loading import load_model

        registry = search.registry
        loaded: Loaded = load_model(registry, word, scale, device, search.downloads, scale_said=search.scales_said)
        wrappers = [registry.choose("wrapper", name) for name in wrapper_names]
        how: dict[str, Any] = {"wrappers": wrappers, "precision": search.precision, "backend": search.backend}
        upscaler = make_upscaler(loaded.net, loaded.model, scale, **how)
        return Opened(upscaler, loaded.parameters)

    return load
