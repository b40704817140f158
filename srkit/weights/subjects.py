"""From words to what a benchmark scores: names, wildcards, checkpoints, runs, repositories, each at its scales.

Weights are found and told apart by their files alone. Torch is imported where something is loaded, and to look into
a file of another program for the first time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.checkpoint import read_about
from srkit.components import Weights
from srkit.defaults import TAG_OF_TABLES
from srkit.errors import (
    CheckpointError,
    FetchError,
    NoWeights,
    SrkitError,
    UnknownName,
    UsageError,
    did_you_mean,
    one_line,
)
from srkit.evaluate.identity import choose, identity
from srkit.evaluate.plan import Opened, Subject
from srkit.evaluate.store import Store
from srkit.evaluate.table import ModelInfo
from srkit.plugins import Choice, Registry, labelled, names
from srkit.upscale.marks import mark
from srkit.weights.find import (
    Downloads,
    find_checkpoint,
    is_own,
    is_path,
    matches,
    missing,
    quietly,
    registered,
    registered_file,
    trained_runs,
)
from srkit.weights.offered import claims_at, offers, split_tag, unambiguous

if TYPE_CHECKING:
    import torch

    from srkit.nets import Loaded, Precision


@dataclass(frozen=True)
class Located:
    """Weights for one scale, found and not loaded. path: None for an interpolation."""

    model: Choice
    label: str
    path: Path | None = None
    weights: Weights | None = None
    about: Mapping[str, Any] = field(default_factory=dict)  # what the file says of itself


@dataclass(frozen=True)
class Search:
    """How weights are looked for and used.

    scales_said: the user named the scales. device: the user's word. precision: fp32, bf16 or fp16, of networks;
    interpolations are computed in fp32. wrappers: of each subject, by their names.
    """

    registry: Registry
    store: Store
    scales: Sequence[int]
    scales_said: bool = False
    device: str = "auto"
    precision: "Precision" = "fp32"
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
                located = locate(search, word, scale)
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


def locate(search: Search, word: str, scale: int) -> Located:
    """The weights that a word means, as `load_model` would load them. Raises the same errors."""
    registry, store = search.registry, search.store
    if is_path(word):
        path = find_checkpoint(word, search.downloads)
        return of_file(search, path, scale, word)
    name, tag = split_tag(registry, word)
    model = choose(registry, store, "model", name)
    record = model.component
    if scale not in record.scales:
        offered = ", ".join(f"x{each}" for each in record.scales)
        raise UsageError(f"'{model.label}' does not upscale x{scale}; it offers {offered}")
    if not record.trainable:
        return Located(model, model.label)
    for weights in registered(model, scale, tag):
        path = registered_file(model, weights, search.downloads, digest=store.sha256)
        about = read_about(path) if is_own(path) else {}
        return Located(model, labelled(record, model.label, weights.tag), path, weights, about)
    if record.from_file is not None:
        raise NoWeights(f"'{model.label}' has no weights of its own; name a weight file: --model FILE")
    for path, about in () if tag else trained_runs():
        if matches(about, model, word) and scale in about["scales"]:
            return of_file(search, path, scale)
    raise NoWeights(missing(model, name, tag, scale))


def of_file(search: Search, path: Path, scale: int, label: str = "") -> Located:
    """The model of a weight file, called by its own name where no label is given.

    UsageError where it is for another scale, CheckpointError where it is none.
    """
    if not is_own(path):
        return of_foreign_file(search, path, scale, label)
    about = read_about(path)
    if "model" not in about:
        raise CheckpointError(f"'{path}' is a training state; its weights are beside it")
    said, scales = about["model"], about["scales"]
    if scale not in scales:
        raise UsageError(f"'{path}' upscales x{', x'.join(map(str, scales))}, not x{scale}")
    package, _, bare = said["name"].rpartition(":")
    installed = {entry.qualified for entry in search.registry.of("model")}
    try:
        name = said["name"] if said["name"] in installed else bare
        model = choose(search.registry, search.store, "model", name, said["options"])
    except UnknownName as error:
        made = f"'{path}' was made with '{said['name']}' {said['version']}"
        raise CheckpointError(f"{made} and needs the plugin '{package}': {error}") from None
    return Located(model, label or model.label, path, about=about)


def of_foreign_file(search: Search, path: Path, scale: int, label: str) -> Located:
    """What another program's file holds, remembered, since only loading it can tell."""
    registry, store = search.registry, search.store
    plugins = sorted({f"{entry.package} {entry.version}" for entry in registry.of("model")})
    try:
        digest = store.sha256(path)
    except OSError:
        digest = ""
    fact = ["file", digest, path.suffix, scale, search.scales_said, plugins]
    known = store.recall(fact) if digest else None
    if not isinstance(known, dict):
        from srkit.weights.loading import load_checkpoint

        try:
            loaded = load_checkpoint(registry, path, scale, "cpu", scale_said=search.scales_said)
            known = {"name": loaded.model.entry.qualified, "options": loaded.model.options, "error": ""}
        except UsageError as error:  # it is for another scale
            known = {"error": one_line(error)}
        store.remember(fact, known)
    if known["error"]:
        raise UsageError(known["error"])
    return Located(Choice(registry.find("model", known["name"]), known["options"]), label, path)


def subjects_of(search: Search, word: str, scale: int, located: Located) -> list[Subject]:
    """A subject for each list of wrappers."""
    store = search.store
    digest = store.sha256(located.path) if located.path else ""
    weights, about = located.weights, located.about
    search = search if located.model.component.trainable else replace(search, precision="fp32")
    found = []
    for wrapper_names in search.wrappers:
        wrappers = [choose(search.registry, store, "wrapper", name) for name in wrapper_names]
        key = {
            "model": identity(located.model),
            "weights": digest,
            "wrappers": [identity(wrapper) for wrapper in wrappers],
            "device": search.device,
            "precision": search.precision,
        }
        info = ModelInfo(
            located.label + mark(wrappers),
            scale,
            weights=digest,
            origin=str(located.path or ""),
            claims=claims_at(weights, scale) if weights and not wrappers else {},
            licence=(weights.licence if weights else "") or str(about.get("licence") or ""),
            trained_on=weights.trained_on if weights else "",
            training_lr="matlab" if weights and weights.tag == TAG_OF_TABLES else "",
        )
        again = {
            "word": word,
            "wrappers": list(wrapper_names),
            "scale_said": search.scales_said,
            "device": search.device,
            "precision": search.precision,
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
        upscaler = make_upscaler(loaded.net, loaded.model, scale, wrappers=wrappers, precision=search.precision)
        return Opened(upscaler, loaded.parameters)

    return load
