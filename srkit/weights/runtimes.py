"""What a network runs in: the backend asked for, or the fastest of all that loses next to nothing."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor

from srkit import defaults
from srkit.errors import UsageError, one_line
from srkit.evaluate.cost import finish
from srkit.evaluate.identity import code_of, versions_of
from srkit.evaluate.machine import machine
from srkit.evaluate.protocol import DEFAULT, protocol_named
from srkit.evaluate.score import build_metric, score_image
from srkit.fetch import file_sha256
from srkit.files import cache_folder, write_atomically
from srkit.images import LOG
from srkit.imresize import imresize
from srkit.nets import Loaded, native_precision, precision_on
from srkit.plugins import BUILTIN, Choice, Entry, Registry
from srkit.upscale.tiles import TILE
from srkit.upscale.wrap import Upscale, make_upscaler, to_tensor

AUTO = "auto"  # in place of a backend's name
EXACT = "fp32"
MOST_LOST = 0.01  # dB of PSNR that the fastest may lose
COMPARED = 128  # side of the sample pictures that are compared, in LR pixels
ODD = (45, 53)  # height and width of a tile that is no multiple of anything
ROUNDS = 3  # tiles that are timed, in turns
SLOW = 1.5  # times as slow as PyTorch on the sample pictures: it is not tried on a tile
BUDGET = 1.5  # seconds that a timed tile may take PyTorch
SMALLEST = 96  # side of a tile that is timed, in LR pixels


@dataclass(frozen=True)
class Trial:
    """A backend in a precision, as it was tried.

    backend: `package:name`. seconds: of a tile. lost: dB of PSNR. why: it is left out, in words.
    """

    backend: str
    precision: str
    seconds: float = math.inf
    lost: float = 0.0
    why: str = ""

    @property
    def name(self) -> str:
        return f"{self.backend.rpartition(':')[2]} in {self.precision}"


@dataclass(frozen=True)
class Tried:
    """All trials of a network at a scale. exact: seconds of a tile by PyTorch in fp32. side: of the tile, in pixels.

    new: they were made now, not read from the cache.
    """

    exact: float
    side: int
    trials: tuple[Trial, ...] = ()
    new: bool = False

    @property
    def fastest(self) -> Trial | None:
        """The fastest that is faster than PyTorch in fp32; None where none is."""
        usable = [trial for trial in self.trials if not trial.why and trial.seconds < self.exact]
        return min(usable, key=lambda trial: trial.seconds, default=None)

    @property
    def words(self) -> str:
        """`backend openvino in bf16: 5.1 times as fast as torch, loses 0.002 dB`."""
        best = self.fastest
        if best is None:
            return "backend torch in fp32: none that is installed is faster and as good"
        change = f"loses {best.lost:.3f} dB" if best.lost >= 0 else f"gains {-best.lost:.3f} dB"
        return f"backend {best.name}: {self.exact / best.seconds:.1f} times as fast as torch, {change}"

    @property
    def left_out(self) -> list[str]:
        """A line for each that is not used for another reason than its pace."""
        return [f"backend {trial.name} is left out: {trial.why}" for trial in self.trials if trial.why]


def chosen_backend(registry: Registry, name: str, precision: str | None, place: torch.device) -> Choice | None:
    """What the network is to run in; None is PyTorch, or what `fastest` finds. UsageError for another precision."""
    if not name or name == AUTO:
        offered = [each for entry in registry.of("backend") for each in entry.component.precisions]
        if not name or precision not in (None, AUTO, *offered):
            precision_on(place, precision or EXACT)
        return None
    offered = registry.find("backend", name).component.precisions
    if precision == "auto":
        precision = native_precision(place) if native_precision(place) in offered else None
    if precision and precision not in offered:
        raise UsageError(f"backend '{name}' computes in {', '.join(offered)}, not in '{precision}'")
    return registry.choose("backend", name, {"precision": precision} if precision else {})


def fastest(
    registry: Registry,
    loaded: Loaded,
    device: torch.device,
    *,
    precision: str | None = None,
    side: int = TILE,
    at: Callable[[int, int, str], None] = lambda done, total, name: None,
) -> tuple[Choice | None, Tried]:
    """(the fastest backend that loses at most 0.01 dB, all that were tried); None for PyTorch in fp32.

    precision: the only one that may be used. side: of the tiles that are upscaled, in pixels. at(done, total, name): a
    backend is about to be tried. What is found is kept for these weights on this machine with these versions. One that
    raises, or makes anything but an upscaled picture, is left out.
    """
    entries = [(entry, each) for entry in registry.of("backend") for each in entry.component.precisions]
    entries = [(entry, each) for entry, each in entries if precision in (None, AUTO, each)]
    kept = cache_folder() / "runtimes" / f"{key_of(loaded, device, entries, side)}.json"
    tried = read(kept)
    if tried is None:
        tried = Race(registry, loaded, device, side, at).run(entries)
        with suppress(OSError):  # then it is tried again the next time
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, partial(write, tried))
    best = tried.fastest
    return (None if best is None else registry.choose("backend", best.backend, {"precision": best.precision})), tried


@dataclass
class Race:
    """The backends, each on the same pictures and the same tile as PyTorch in fp32."""

    registry: Registry
    loaded: Loaded
    device: torch.device
    side: int
    at: Callable[[int, int, str], None]

    def run(self, entries: Sequence[tuple[Entry, str]]) -> Tried:
        own = self.upscaler(None)
        psnr, spent = self.scored(own)
        pixels = sum(lr.shape[0] * lr.shape[1] for lr, _ in self.pairs)
        side = max(SMALLEST, min(self.side, int(math.sqrt(BUDGET * pixels / spent))))
        side -= side % math.lcm(8, self.loaded.model.component.size_multiple)
        trials: list[Trial] = []
        running: dict[Trial, Upscale] = {}
        for number, (entry, precision) in enumerate(entries):
            self.at(number, len(entries), entry.component.name)
            trial, call = self.tried(Trial(entry.qualified, precision), psnr, spent)
            if call is None:
                trials.append(trial)
            else:
                running[trial] = call
        seconds, failed = self.timed([own, *running.values()], side)
        for trial, taken, why in zip(running, seconds[1:], failed[1:], strict=True):
            trials.append(replace(trial, seconds=taken, why=why))
        return Tried(seconds[0], side, tuple(trials), new=True)

    @cached_property
    def pairs(self) -> list[tuple[Any, Any]]:
        """(LR, HR) of the middle of the sample pictures that no model that ships was trained on: uint8 of one size."""
        scale = self.loaded.scale
        pictures = [pair.hr for pair in self.registry.choose("dataset", defaults.DATASET).build(None, "test", scale)]
        side = scale * min(COMPARED, min(length for hr in pictures for length in hr.shape[:2]) // scale)
        starts = [[(length - side) // 2 for length in hr.shape[:2]] for hr in pictures]
        middles = [hr[y : y + side, x : x + side] for hr, (y, x) in zip(pictures, starts, strict=True)]
        return [(imresize(hr, 1 / scale), hr) for hr in middles]

    def upscaler(self, backend: Choice | None) -> Upscale:
        return make_upscaler(self.loaded.net, self.loaded.model, self.loaded.scale, tile=0, backend=backend)

    def scored(self, call: Upscale) -> tuple[float, float]:
        """(mean PSNR, seconds) of the sample pictures. Raises OutputError for what is no upscaled picture."""
        name = defaults.METRICS[0]
        metrics = {name: build_metric(self.registry, name, {}, self.device)}
        call(to_tensor(self.pairs[0][0], self.device))  # the first one chooses kernels
        scores, seconds = [], 0.0
        for lr, hr in self.pairs:
            how: dict[str, Any] = {"device": self.device}
            one = score_image(call, lr, hr, self.loaded.scale, metrics, protocol_named(DEFAULT), **how)
            scores.append(one.scores[name])
            seconds += one.seconds
        return mean(scores), seconds

    def tried(self, trial: Trial, psnr: float, spent: float) -> tuple[Trial, Upscale | None]:
        """What is known of it before it is timed, and what computes, None where that is not worth it."""
        try:
            call = self.upscaler(self.registry.choose("backend", trial.backend, {"precision": trial.precision}))
            found, seconds = self.scored(call)
            call(to_tensor(self.pairs[0][0][: ODD[0], : ODD[1]], self.device))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever it raises, SystemExit too, the others are tried
            return replace(trial, why=one_line(error)), None
        trial = replace(trial, lost=psnr - found)
        if not trial.lost <= MOST_LOST:
            return replace(trial, why=f"it loses {trial.lost:.3f} dB"), None
        return trial, None if seconds > SLOW * spent else call

    def timed(self, calls: Sequence[Upscale], side: int) -> tuple[list[float], list[str]]:
        """(median seconds of a tile, the error) of each, in turns, so that the machine's moods are shared."""
        lr = self.tile(side)
        taken: list[list[float]] = [[] for _ in calls]
        failed = [""] * len(calls)
        for turn in range(ROUNDS + 1):  # the first one chooses kernels
            for number, call in enumerate(calls):
                if failed[number]:
                    continue
                try:
                    begin = time.perf_counter()
                    call(lr)
                    finish(self.device)
                    taken[number] += [time.perf_counter() - begin] if turn else []
                except Exception as error:
                    if not number:  # PyTorch itself
                        raise
                    failed[number] = one_line(error)
        return [median(each) if each else math.inf for each in taken], failed

    def tile(self, side: int) -> Tensor:
        """1,3,side,side of a sample picture, repeated in mirrored copies."""
        lr = to_tensor(self.pairs[0][0], self.device)
        lr = torch.cat([lr, lr.flip(-1)], -1)
        lr = torch.cat([lr, lr.flip(-2)], -2)
        return lr.repeat(1, 1, -(-side // lr.shape[-2]), -(-side // lr.shape[-1]))[..., :side, :side].contiguous()


def key_of(loaded: Loaded, device: torch.device, entries: Sequence[tuple[Entry, str]], side: int) -> str:
    """What decides which backend is the fastest: weights, machine, versions."""
    model, packages = loaded.model, sorted({entry.package for entry, _ in entries} - {BUILTIN})
    about = {
        "format": 1, "srkit": version("srkit"), "scale": loaded.scale, "side": side,
        "model": [model.entry.qualified, model.entry.version, model.options, code_of(model.entry)],
        "weights": file_sha256(Path(loaded.origin)) if loaded.origin else "",
        "machine": dict(machine(str(device))), "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        "backends": [[entry.qualified, entry.version, code_of(entry), each] for entry, each in entries],
        "packages": {package: list(versions_of(package)) for package in packages},
    }  # fmt: skip
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:32]


def write(tried: Tried, file: Any) -> None:
    kept = asdict(tried) | {"trials": [asdict(trial) for trial in tried.trials]}
    file.write(json.dumps(kept, indent=1).encode() + b"\n")


def read(path: Path) -> Tried | None:
    """What was found before; None where nothing was, or the file is damaged."""
    try:
        kept = json.loads(path.read_text())
        trials = tuple(Trial(**each) for each in kept["trials"])
        numbers = [kept["exact"], kept["side"], *(number for each in trials for number in (each.seconds, each.lost))]
        if not all(isinstance(number, int | float) for number in numbers):
            return None
        if not all(isinstance(word, str) for each in trials for word in (each.backend, each.precision, each.why)):
            return None
        return Tried(kept["exact"], kept["side"], trials)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        LOG.debug("'%s' is damaged and made anew", path)
        return None
