"""The scales that a model can enlarge by, each loaded when it is first wanted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from srkit.checkpoint import read_about
from srkit.defaults import TAG_OF_PHOTOS, TAG_OF_TABLES
from srkit.errors import UsageError
from srkit.fetch import file_sha256
from srkit.nets import Loaded, precision_of, precision_on
from srkit.plugins import Choice, Registry
from srkit.upscale.marks import mark
from srkit.upscale.stages import Change, Stage, stage_of
from srkit.upscale.tiles import TILE
from srkit.weights.find import Downloads, find_checkpoint, is_own, is_path, matches, quietly, registered, trained_runs
from srkit.weights.loading import load_model
from srkit.weights.offered import for_pictures, split_tag
from srkit.weights.runtimes import EXACT, Tried, fastest


@dataclass
class Ladder:
    """What upscales pictures: a model at all scales that it has weights for.

    word: as `load_model` takes it; None means the best installed weights for photographs. scale: where one is asked for
    that a file need not say of itself. precision: a word of `nets.precision_on`. wrappers, backend: of each network.
    change: what else is done to what a network makes of a part of a picture: (upscaler, scale) to (upscaler, margin).

    auto: each network runs in the fastest backend that loses next to nothing, in `precision` unless that is "auto".
    fixed: scale -> what it runs in instead. side: of the tiles that backends are tried on. trying(done, total, name),
    tell(line): of that.
    """

    registry: Registry
    word: str | None = None
    scale: int | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    wrappers: Sequence[Choice] = ()
    backend: Choice | None = None
    change: Change | None = None
    auto: bool = False
    fixed: dict[int, Choice | None] = field(default_factory=dict)
    side: int = TILE
    trying: Callable[[int, int, str], None] = lambda done, total, name: None
    tell: Callable[[str], None] = lambda line: None
    tried: dict[int, Tried] = field(default_factory=dict)
    downloads: Downloads = quietly
    loaded: dict[int, Loaded] = field(default_factory=dict)
    stages: dict[int, Stage] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)  # of weight files, each read once
    offered: tuple[int, ...] = ()

    def scales(self) -> tuple[int, ...]:
        """All scales there are weights for, ascending. Raises what `load_model` does where there are none."""
        self.offered = self.offered or self.found_scales()
        return self.offered

    def found_scales(self) -> tuple[int, ...]:
        if self.word is None:
            for tag in (TAG_OF_PHOTOS, TAG_OF_TABLES):  # a chain for photographs before one network for clean pictures
                weights = [each for entry in self.registry.of("model") for each in entry.component.weights]
                found = {scale for each in weights if each.resource and each.tag == tag for scale in each.scales}
                if found:
                    return tuple(sorted(found))
            return (self.load(self.scale).scale,)
        if is_path(self.word):
            path = find_checkpoint(self.word, self.downloads)
            if is_own(path):
                return tuple(sorted(read_about(path)["scales"]))
            return (self.own_scale(),)
        name, tag = split_tag(self.registry, self.word)
        model = self.registry.choose("model", name)
        offered = model.component.scales
        if not model.component.trainable:
            return tuple(sorted(offered))
        runs = [] if tag else [about for _, about in trained_runs() if matches(about, model, self.word)]
        with_weights = [s for s in offered if registered(model, s, tag) or any(s in about["scales"] for about in runs)]
        return tuple(sorted(with_weights)) or (self.load(self.scale).scale,)  # raises NoWeights, with what to do

    def own_scale(self) -> int:
        """The scale of a foreign file: the one asked for where the file does not say, else the one that it says."""
        if self.loaded:  # such a file has one
            return next(iter(self.loaded))
        try:
            return self.load(self.scale).scale
        except UsageError:
            if self.scale is None:
                raise
        return self.load(None).scale

    def load(self, scale: int | None) -> Loaded:
        """The network for one scale."""
        if scale is None or scale not in self.loaded:
            word = self.word
            if word is None:
                offer, scale = for_pictures(self.registry, scale)
                word = offer.word
            loaded = load_model(self.registry, word, scale, self.device, self.downloads)
            self.loaded[loaded.scale] = loaded
            return loaded
        return self.loaded[scale]

    def stage(self, scale: int) -> Stage:
        if scale not in self.stages:
            loaded, backend = self.load(scale), self.runtime(scale)
            used = precision_of(loaded, self.device, EXACT if backend or self.auto else self.precision)
            self.stages[scale] = stage_of(
                loaded, wrappers=self.wrappers, backend=backend, precision=used, change=self.change
            )
        return self.stages[scale]

    def runtime(self, scale: int) -> Choice | None:
        """What the network for a scale runs in; None for PyTorch. Where that is the fastest, it is found now."""
        loaded = self.load(scale)
        if not self.auto or not loaded.model.component.trainable or loaded.runtime:  # it needs none, or has its own
            return self.backend
        if scale not in self.fixed:
            how: dict[str, Any] = {"precision": self.precision, "side": self.side, "at": self.trying}
            self.fixed[scale], found = fastest(self.registry, loaded, self.device, **how)
            self.tried[scale] = found
            for line in [*(found.left_out if found.new else ()), found.words]:
                self.tell(line)
        return self.fixed[scale]

    def label(self, scale: int) -> str:
        """How file names and receipts call it: `edsr-small@photo`, with a + where it is a self-ensemble."""
        return self.load(scale).label + mark(self.wrappers)

    def resize(self) -> str:
        """The method of `imresize` that does what the model does, without any network; empty where none does."""
        if self.word is None or is_path(self.word) or self.wrappers or self.backend or self.change:
            return ""
        name, _ = split_tag(self.registry, self.word)
        return str(self.registry.find("model", name).component.resize)

    def named(self) -> int:
        """The scale whose label names files."""
        scales = self.scales()
        return self.scale if self.scale in scales else scales[0]

    def identity(self, steps: Sequence[int]) -> dict[str, Any]:
        """What decides the pixels: version, the networks of `steps` by their weights' hashes, wrappers, precision."""
        models = {}
        for scale in steps:
            loaded = self.load(scale)
            if loaded.origin and loaded.origin not in self.digests:
                self.digests[loaded.origin] = file_sha256(Path(loaded.origin))
            digest = self.digests.get(loaded.origin, "")
            models[f"x{scale}"] = {"name": loaded.label, "weights_sha256": digest}
            if self.auto:
                backend = self.runtime(scale)
                models[f"x{scale}"] |= {
                    "backend": backend.entry.qualified if backend else "",
                    "precision": backend.options["precision"] if backend else EXACT,
                }
        chosen = [*self.wrappers, *([self.backend] if self.backend else [])]
        found = {
            "srkit": version("srkit"),
            "models": models,
            "around": [[choice.entry.qualified, dict(choice.options)] for choice in chosen],
            "chain": list(steps),
            "precision": "" if self.backend or self.auto else precision_on(self.device, self.precision),
        }
        if self.tried:  # for the reader: another time may be another pace
            found["tried"] = {f"x{scale}": self.tried[scale].words for scale in steps if scale in self.tried}
        return found
