"""`srkit ray upscale`: what is to be done of a folder, given out to workers, each result in the manifest."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from PIL import Image

from srkit import OutputError, Progress, SrkitError, Upscaler, load, say
from srkit_ray.cluster import Attempts, Cluster, answers, counted, ray_running, without_stderr, workers_for
from srkit_ray.manifest import Manifest, done_in
from srkit_ray.places import WORK, Place, results_of
from srkit_ray.worker import Task, Worker

SUFFIXES = {
    "png": ".png",
    "jpeg": ".jpg",
    "webp": ".webp",
    "tiff": ".tif",
    "bmp": ".bmp",
    "avif": ".avif",
    "jp2": ".jp2",
}
WINDOW = 20_000  # pictures that Ray is given at a time, so that memory does not grow with a folder
OF_LOAD = ("ensemble", "keep_colour", "precision", "backend")  # what changes the pixels, beside the model
SIZES = ("scale", "width", "height", "long_edge", "fit", "paper")


@dataclass(frozen=True)
class Wanted:
    """What the command was asked. load, options: the keywords of `srkit.load` and of `upscale_file`."""

    source: Place
    target: Place
    load: Mapping[str, Any]
    options: Mapping[str, Any]
    cluster: Cluster


@dataclass
class Counts:
    """Of one run."""

    made: int = 0
    failed: int = 0
    before: int = 0  # done by an earlier run
    started: float = 0.0  # seconds until the first result, once it was known what to do
    seconds: float = 0.0  # after it

    @property
    def rate(self) -> float:
        """Pictures a second, without the start."""
        return (self.made + self.failed - 1) / self.seconds if self.seconds else 0.0


def upscale(wanted: Wanted, tell: Callable[[Mapping[str, Any]], None]) -> Counts:
    """Every picture of a folder that has no result yet. tell(line): each line of the manifest, as it is written.

    Raises UsageError or another SrkitError for what is wrong with the whole; a picture's error is a line.
    """
    names = wanted.source.pictures(wanted.target)
    options, made_with, label = settled(wanted)
    results = results_of(names, label, size_word(options), suffix_of(options.get("format", "png")))
    if len(results) < len(names):
        say(f"{len(names) - len(results)} are results of an earlier call and passed over")
    with wanted.target.held():
        done, last = done_in(wanted.target, made_with)
        todo = [{"input": name, "output": result} for name, result in results.items() if name not in done]
        counts = Counts(before=len(results) - len(todo))
        if counts.before:
            say(f"{counts.before} of {len(results)} were done before; this run does the rest")
        if todo:
            manifest = Manifest(wanted.target, made_with, last)
            try:
                make(wanted, options, todo, counts, partial(keep, manifest, tell))
            finally:
                manifest.close()
                remove_work(wanted.target)
    return counts


def keep(manifest: Manifest, tell: Callable[[Mapping[str, Any]], None], line: Mapping[str, Any]) -> None:
    manifest.add(line)
    tell(line)


def make(
    wanted: Wanted,
    options: Mapping[str, Any],
    todo: Sequence[Mapping[str, str]],
    counts: Counts,
    keep: Callable[[Mapping[str, Any]], None],
) -> None:
    """Have workers make the pictures, count them, and give each line to `keep`. OutputError where the disk is full."""
    begun = time.monotonic()
    with ray_running(wanted.cluster) as ray:
        workers = workers_for(ray, wanted.cluster)
        say(f"{counted(len(todo), 'picture')} to {counted(workers, 'worker')}; the model is loaded there first")
        lines = all_lines(wanted, options, todo, workers)
        try:
            first = next(lines)
            counts.started, ready = time.monotonic() - begun, time.monotonic()
            with Progress("upscaling", len(todo)) as progress:
                for number, line in enumerate(chain([first], lines), 1):
                    if line.pop("full"):
                        raise OutputError(f"{line['error']}; the same command goes on")
                    counts.failed += bool(line["error"])
                    counts.made += not line["error"]
                    keep(line)
                    progress.at(number)
            counts.seconds = time.monotonic() - ready
        finally:
            with without_stderr():
                lines.close()


def settled(wanted: Wanted) -> tuple[dict[str, Any], dict[str, Any], str]:
    """(options with a size, what the results are made with, the model's label), of a model that is loaded and let go.

    UsageError, UnknownName and the like for what is wrong with the options, before Ray is started. The machine that
    gives the work out may have no GPU.
    """
    upscaler = load(**{**wanted.load, "device": "auto" if wanted.cluster.gpus else "cpu"})
    options = dict(wanted.options)
    if not any(key in options for key in SIZES):
        options["scale"] = float(upscaler.scale)
    check(upscaler, options)
    weights = ""
    if upscaler.origin and os.path.isfile(upscaler.origin):
        with open(upscaler.origin, "rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
    kept = {key: wanted.load[key] for key in OF_LOAD if wanted.load.get(key)}
    made_with = {"model": upscaler.name, "weights_sha256": weights, "device": wanted.load["device"]}
    return options, made_with | kept | options, in_names(upscaler.name)


def check(upscaler: Upscaler, options: Mapping[str, Any]) -> None:
    """SrkitError for options with which no picture can be made. What is wrong with one picture alone names it."""
    with tempfile.TemporaryDirectory() as folder:
        probe = os.path.join(folder, "probe.png")
        Image.new("RGB", (16, 16)).save(probe)
        try:
            upscaler.upscale_file(probe, probe + suffix_of(options.get("format", "png")), **options)
        except SrkitError as error:
            if probe not in str(error):
                raise


def suffix_of(word: str) -> str:
    return SUFFIXES.get(word, f".{word}")


def in_names(label: str) -> str:
    """A model's label as a part of a file's name: it may have a path in it."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "-", label)


def size_word(options: Mapping[str, Any]) -> str:
    """A size as names of results have it: x2, x2.7, 3000px, A2."""
    if options.get("scale") is not None:
        return f"x{options['scale']:g}"
    pixels = next((options[key] for key in ("width", "height", "long_edge") if options.get(key)), None)
    return f"{pixels}px" if pixels else str(options.get("fit") or options.get("paper")).replace(" ", "-")


def all_lines(
    wanted: Wanted, options: Mapping[str, Any], todo: Sequence[Mapping[str, str]], workers: int
) -> Generator[dict[str, Any]]:
    """A line for every picture, in any order."""
    import ray

    source, target = wanted.source.absolute(), wanted.target.absolute()
    home = target.path(f"{WORK}{os.getpid()}") if target.local else ""
    if home:
        os.makedirs(home, exist_ok=True)
    attempts = ray.remote(num_cpus=0)(Attempts).remote()
    task = Task(source, target, wanted.load, options, max(1, int(wanted.cluster.cores)), home, attempts)
    for start in range(0, len(todo), WINDOW):
        yield from answers(todo[start : start + WINDOW], Worker, task, wanted.cluster, workers)


def remove_work(target: Place) -> None:
    """What workers left unfinished beside the results, of this run and of those that were killed."""
    if target.local and os.path.isdir(target.word):
        for entry in list(os.scandir(target.word)):
            if entry.name.startswith(WORK) and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
