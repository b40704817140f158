"""`srkit bench`: every model that has weights, on every set that is found, in one table."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import output
from srkit.errors import SrkitError, UnknownName, UsageError, missing_path
from srkit.plugins import Choice, Entry, Registry, names

if TYPE_CHECKING:
    from srkit.evaluate.report import Row

FALLBACK_SET = "samples"
DEFAULT_SCALES = (2, 3, 4)


def bench(
    checkpoints: Annotated[
        list[str] | None, typer.Argument(help="Checkpoint files or run folders to score as well.", show_default=False)
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option(help="Only these: names or checkpoints, separated by commas.")
    ] = None,
    sets: Annotated[
        list[str] | None, typer.Option(help="Only these sets, or folders of HR pictures, separated by commas.")
    ] = None,
    scales: Annotated[list[str] | None, typer.Option(help="Only these scales: 2,3,4.")] = None,
    protocol: Annotated[str, typer.Option(help="y, y-uint8, rgb or div2k.")] = "y",
    metrics: Annotated[
        list[str] | None, typer.Option(help="Metrics, separated by commas; psnr,ssim when not said.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that holds the test sets; else $SRKIT_DATA.")] = None,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Average eight flips and transposes; marked '+'.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Score models on test sets. Without words: every model with weights, those in runs/ too, on the sets found."""
    if as_json and as_csv:
        raise UsageError("--json or --csv, not both")
    if root is not None and not root.expanduser().is_dir():
        raise missing_path(root, "folder")
    registry = output.load()
    wanted_scales = [scale_of(word) for word in words(scales)] or list(DEFAULT_SCALES)

    from srkit.evaluate.protocol import protocol_named

    chosen_protocol = protocol_named(protocol)
    measured = [registry.choose("metric", name) for name in words(metrics) or ["psnr", "ssim"]]
    wanted_models = words(models) or [name for entry in registry.of("model") for name in names(entry.component)]
    for word in words(models):
        if not looks_like_path(word):
            registry.find("model", word)
    chosen_sets = [set_named(registry, word, root) for word in words(sets)] or found_sets(registry, root)

    from srkit.evaluate.report import to_csv, to_json, to_table
    from srkit.load import pick_device

    rows = list(
        measure(
            registry, [*wanted_models, *(checkpoints or [])], bool(words(models)), chosen_sets, wanted_scales,
            bool(words(scales)), chosen_protocol, measured, self_ensemble, pick_device(device),
        )
    )  # fmt: skip
    if not rows:
        raise SrkitError("nothing was scored: no model with weights fits the scales and sets asked for")
    if as_json or as_csv:
        print(to_json(rows) if as_json else to_csv(rows), end="" if as_csv else "\n")
        return
    headings, cells = to_table(rows)
    output.table(headings, cells, right=range(3, len(headings)))


def words(values: list[str] | None) -> list[str]:
    """Repeated and comma-separated words as one list."""
    return [word.strip() for value in values or () for word in value.split(",") if word.strip()]


def scale_of(word: str) -> int:
    if not word.removeprefix("x").isdecimal() or int(word.removeprefix("x")) < 1:
        raise UsageError(f"'{word}' is no scale; write --scales 2,3,4")
    return int(word.removeprefix("x"))


def looks_like_path(word: str) -> bool:
    from srkit.load import is_path

    return is_path(word)


def set_named(registry: Registry, word: str, root: Path | None) -> tuple[str, Choice, Path | None]:
    """(name, dataset, root) of a set the user asked for: a dataset, or a folder of pictures."""
    if Path(word).expanduser().is_dir():
        return Path(word).name, registry.choose("dataset", "folder"), Path(word)
    choice = registry.choose("dataset", word)
    choice.build(root, "test", 2)  # raises its own clear error where the pictures are not there
    return choice.label, choice, root


def found_sets(registry: Registry, root: Path | None) -> list[tuple[str, Choice, Path | None]]:
    """The published test sets that are on this machine; else the held-out samples, and a word of it."""
    found: list[tuple[str, Choice, Path | None]] = [
        (entry.component.name, registry.choose("dataset", entry.component.name), root)
        for entry in registry.of("dataset")
        if getattr(entry.component, "benchmark", False) and is_there(registry, entry, root)
    ]
    if not found:
        output.say(
            "no test set found (--root or SRKIT_DATA names the folder that holds Set5/HR); scoring the held-out samples"
        )
        found.append((FALLBACK_SET, registry.choose("dataset", FALLBACK_SET), None))
    return found


def is_there(registry: Registry, entry: Entry, root: Path | None) -> bool:
    try:
        registry.choose("dataset", entry.component.name).build(root, "test", 2)
    except UnknownName:
        return False
    return True


def measure(
    registry: Registry, models: list[str], asked_models: bool, sets: list, scales: list[int], asked_scales: bool,
    protocol: Any, metrics: list[Choice], self_ensemble: bool, device: Any,
) -> "Iterator[Row]":  # fmt: skip
    """One row for each model that can be had, on each set, at each scale; LR pictures are made once for all."""
    from srkit.data.pairs import aligned, open_dataset
    from srkit.evaluate.report import Row
    from srkit.evaluate.score import mean, score_image
    from srkit.upscale.wrap import make_upscaler

    built = {choice.label: choice.build() for choice in metrics}
    wrappers = [registry.choose("wrapper", "self-ensemble")] if self_ensemble else []
    with output.Progress("scoring", 1) as progress:
        jobs = []
        for scale in scales:
            loaded = list(loadable(registry, models, scale, asked_models, asked_scales, device))
            for set_name, dataset, root in sets if loaded else ():
                jobs.append((scale, loaded, set_name, open_dataset(dataset, root, "test", scale)))
        progress.total = max(1, sum(len(pairs) * len(loaded) for _, loaded, _, pairs in jobs))
        done = 0
        for scale, loaded, set_name, pairs in jobs:
            results: list[list] = [[] for _ in loaded]
            for pair in pairs:
                lr, hr = aligned(pair, scale)
                for i, (name, model) in enumerate(loaded):
                    upscaler = make_upscaler(model.net, model.model, scale, wrappers=wrappers)
                    results[i].append(score_image(upscaler, lr, hr, scale, built, protocol, device, pair.name))
                    done += 1
                    progress.at(done, f"{name} x{scale} {set_name}")
            for (name, model), found in zip(loaded, results, strict=True):
                scores = {key: mean(r.scores[key] for r in found) for key in built}
                seconds = mean(r.seconds for r in found)
                plus = "+" if self_ensemble else ""
                shown, size = name + plus, model.parameters
                yield Row(shown, scale, set_name, len(found), protocol.name, scores, size, seconds, model.origin)


def loadable(
    registry: Registry, models: list[str], scale: int, asked_models: bool, asked_scales: bool, device: Any
) -> Iterator[tuple[str, Any]]:
    """(name, loaded) of each model that has weights for `scale`; raises where one that was asked for has none."""
    from srkit.load import is_path, load_model

    seen = set()
    for word in dict.fromkeys(models):
        path = is_path(word)
        try:
            loaded = load_model(registry, word, scale, device)
        except UsageError:
            # another scale: an error only where this scale was asked of this very model
            if (path or asked_models) and asked_scales:
                raise
            continue
        except SrkitError:
            if path or asked_models:
                raise
            continue
        if loaded.origin and loaded.origin in seen:
            continue
        seen.add(loaded.origin)
        name = word if path else loaded.model.label
        yield name, loaded
