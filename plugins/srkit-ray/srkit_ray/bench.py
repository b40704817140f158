"""`srkit ray bench`: parts of a benchmark computed by workers, and the table of all of them at the end."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srkit import Progress, SrkitError, cache_folder, say
from srkit_ray.cluster import Cluster, counted, last_line, ray_running, workers_for

FACTS = "facts.jsonl"  # of one machine's files


@dataclass(frozen=True)
class Wanted:
    """What the command was asked. words: those of `srkit bench`; folder: where scores are kept."""

    words: Sequence[str]
    folder: Path
    parts: int
    cluster: Cluster


def results_folder(words: Sequence[str]) -> tuple[list[str], Path]:
    """(the words without --results, its folder or that of `srkit bench`)."""
    left, folder, rest = [], cache_folder() / "results", iter(words)
    for word in rest:
        if word == "--results":
            folder = Path(next(rest, "")).expanduser()
        elif word.startswith("--results="):
            folder = Path(word.partition("=")[2]).expanduser()
        else:
            left.append(word)
    return left, folder.absolute()


def part(words: Sequence[str], number: int, parts: int, shared: str) -> tuple[str, dict[str, str]]:
    """On a worker: one part, into `shared` or, where that is empty, a folder whose lines are handed over.

    Gives (what failed, name of a file of scores -> its lines).
    """
    with tempfile.TemporaryDirectory() as own:
        folder = Path(shared or own)
        line = [sys.executable, "-m", "srkit", "bench", *words, "--results", str(folder), "--part", f"{number}/{parts}"]
        done = subprocess.run(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = done.stderr.strip().splitlines()
        told = (said[-1] if said else f"exit code {done.returncode}") if done.returncode else ""
        files = [] if shared else [path for path in folder.glob("*.jsonl") if path.name != FACTS]
        return told.removeprefix("srkit: "), {path.name: path.read_text("utf-8") for path in files}


def bench(wanted: Wanted) -> int:
    """Compute all parts, then run `srkit bench` of all; its exit code."""
    cluster = wanted.cluster
    with ray_running(cluster) as ray:
        workers = workers_for(ray, cluster)
        parts = wanted.parts or workers
        say(f"{counted(parts, 'part')} to {counted(workers, 'worker')}")
        shared = "" if cluster.joined else str(wanted.folder)
        how: dict[str, Any] = {"num_cpus": cluster.cores, "num_gpus": cluster.gpus, "max_retries": 3}
        task = ray.remote(**how)(part)
        waiting = [task.remote(list(wanted.words), number, parts, shared) for number in range(1, parts + 1)]
        with Progress("scoring", parts) as progress:
            while waiting:
                (ready,), waiting = ray.wait(waiting, num_returns=1)
                try:
                    told, files = ray.get(ready)
                except ray.exceptions.RayError as error:
                    raise SrkitError(f"Ray gave up: {last_line(error)}; the same command goes on") from None
                if told:
                    progress.say(told)
                keep(files, wanted.folder)
                progress.one_more("parts")
    line = [sys.executable, "-m", "srkit", "bench", *wanted.words, "--results", str(wanted.folder)]
    return subprocess.run(line, stdout=sys.stdout).returncode  # srkit sends what libraries print elsewhere


def keep(files: dict[str, str], folder: Path) -> None:
    """Add what a worker computed to the scores that are kept; a line that is there is not added again."""
    for name, text in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / Path(name).name
        there = set(path.read_text("utf-8").splitlines()) if path.is_file() else set()
        new = [line for line in text.splitlines() if line not in there]
        with open(path, "ab") as file:
            file.write("".join(f"{line}\n" for line in new).encode())
