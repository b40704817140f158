"""`srkit bench`: every model that has weights, on every set that is found, in one table."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import (
    AsJson,
    Device,
    Root,
    SelfEnsemble,
    Wrappers,
    chosen_wrappers,
    found_sets,
    scale_of,
    words,
)
from srkit.data.named import set_named
from srkit.errors import NoWeights, SrkitError, UsageError, missing_path, one_line
from srkit.plugins import Registry, names

if TYPE_CHECKING:
    from srkit.evaluate.report import Row
    from srkit.nets import Loaded

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
        list[str] | None, typer.Option(help="Metrics, separated by commas; psnr,ssim if not given.")
    ] = None,
    root: Root = None,
    self_ensemble: SelfEnsemble = False,
    wrapper: Wrappers = None,
    device: Device = "auto",
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """Score models on test sets. By default every model that has weights, those in runs/ too, on the sets found."""
    if as_json and as_csv:
        raise UsageError("--json or --csv, not both")
    if root is not None and not root.expanduser().is_dir():
        raise missing_path(root, "folder")
    registry = display.load()
    wanted_scales = [scale_of(word) for word in words(scales)] or list(DEFAULT_SCALES)

    from srkit.evaluate.protocol import protocol_named
    from srkit.nets import pick_device
    from srkit.weights.find import is_path

    chosen_protocol = protocol_named(protocol)
    measured = [registry.choose("metric", name) for name in words(metrics) or defaults.METRICS]
    given = words(checkpoints)
    wanted_models = words(models) or [name for entry in registry.of("model") for name in names(entry.component)]
    for word in words(models):
        if not is_path(word):
            registry.find("model", word)
    chosen_sets = [set_named(registry, word, root) for word in words(sets)] or found_sets(registry, root)

    from srkit.data.pairs import described, open_dataset
    from srkit.evaluate.report import numeric, to_csv, to_json, to_table
    from srkit.evaluate.score import failed_row, score_set

    place = pick_device(device)
    wrappers = chosen_wrappers(registry, self_ensemble, wrapper)
    built = {choice.label: choice.build() for choice in measured}
    ready, broken = candidates(
        registry, [*wanted_models, *given], words(models) + given, wanted_scales, bool(scales), place
    )
    jobs = [
        (scale, loaded, name, open_dataset(dataset, folder, "test", scale))
        for scale, loaded in ready.items()
        for name, dataset, folder in chosen_sets
    ]
    for scale, _, name, pairs in jobs:
        display.say(f"{name} x{scale}: {described(pairs)}")
    rows = [failed_row(word, scale, "", error, built, chosen_protocol) for word, (scale, error) in broken.items()]
    with display.Progress("scoring", sum(len(loaded) * len(pairs) for _, loaded, _, pairs in jobs)) as progress:
        for scale, loaded, name, pairs in jobs:
            rows += score_set(
                loaded,
                name,
                pairs,
                scale,
                built,
                chosen_protocol,
                device=place,
                wrappers=wrappers,
                done=progress.one_more,
            )
    if not rows:
        raise SrkitError("nothing was scored: no model with weights fits the scales and sets asked for")
    if as_json or as_csv:
        display.result(to_json(rows) if as_json else to_csv(rows), end="" if as_csv else "\n")
    else:
        headings, cells = to_table(rows)
        display.table(headings, cells, right=numeric(headings))
    tell_failures(rows)


def tell_failures(rows: "list[Row]") -> None:
    """Say what failed and why; SrkitError if anything did, so that a table with a gap is no success."""
    failed = [row for row in rows if row.error]
    for row in failed:
        display.say(f"{row.model} x{row.scale}{f' on {row.dataset}' if row.dataset else ''}: {row.error}")
    if failed:
        raise SrkitError(f"{len(failed)} of {len(rows)} rows have no scores")


def candidates(
    registry: Registry, models: list[str], named: list[str], scales: list[int], scales_named: bool, device: Any
) -> "tuple[dict[int, dict[str, Loaded]], dict[str, tuple[int, SrkitError]]]":
    """(ready, broken): for each scale the models that have weights for it, by the name their rows get; what fails.

    Of what the user did not name, that which has no weights is passed over. A model the user named must
    have weights, at every scale if scales were named too, else at one; one whose file or plugin is broken is in
    `broken`, with a scale and its error, and the others are scored.
    """
    from srkit.weights.find import is_path
    from srkit.weights.loading import load_model

    ready: dict[int, dict[str, Loaded]] = {scale: {} for scale in scales}
    broken: dict[str, tuple[int, SrkitError]] = {}
    for word in dict.fromkeys(models):
        errors: dict[int, SrkitError] = {}
        for scale in scales:
            try:
                with display.Meter() as meter:
                    loaded = load_model(registry, word, scale, device, meter, scale_said=scales_named)
            except SrkitError as error:
                errors[scale] = error
                continue
            if not loaded.origin or loaded.origin not in [other.origin for other in ready[scale].values()]:
                ready[scale][word if is_path(word) else loaded.model.label] = loaded
        faults = {scale: error for scale, error in errors.items() if not isinstance(error, NoWeights | UsageError)}
        if word in named and errors and (scales_named or len(errors) == len(scales)):
            if not faults:
                raise next(iter(errors.values()))
            broken[word] = next(iter(faults.items()))
        elif faults:
            display.say(one_line(next(iter(faults.values()))))
    return ready, broken
