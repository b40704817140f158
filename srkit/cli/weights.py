"""`srkit weights`: describe, convert, share and download weight files."""

import json
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson, words
from srkit.errors import UsageError, missing_path
from srkit.plugins import Registry, labelled

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def weights() -> None:
    """Describe weights, convert them to and from the layouts of other programs, share them on the Hugging Face hub."""


@app.command()
def show(
    word: Annotated[
        str, typer.Argument(help="A weight file, a run's folder, a model's name, or owner/name on the hub.")
    ],
    as_json: AsJson = False,
) -> None:
    """Describe a weight file: model, options, scale, scores, licence. Of a model's name: all its weights."""
    registry = display.load()

    from srkit.weights.describe import describe
    from srkit.weights.find import find_checkpoint, is_path

    if is_path(word) or Path(word).exists():
        with display.Meter() as meter:
            path = find_checkpoint(word, meter)
        found = [describe(registry, path)]
    else:
        found = weights_called(registry, word)
    if as_json:
        display.result(json.dumps(found if len(found) != 1 else found[0], indent=2))
        return
    for about in found:
        show_table(about)
    if not found:
        display.result(f"'{word}' has no weights; train it with: srkit train --model {quote(word)}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The weight file to read, or a run's folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
    to: Annotated[
        str, typer.Option(help="srkit, edsr-pytorch, basicsr, or a plugin's layout; by the suffix if not given.")
    ] = "",
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A value the file does not contain, or the target should have: res_scale=0.1, img_range=1."
        ),
    ] = None,
) -> None:
    """Write weights in another layout: that of srkit or of another program. Trained values do not change."""
    from srkit.run import merge, parse_assignment

    values: dict[str, Any] = {}
    for text in assign or ():
        values = merge(values, parse_assignment(text))
    registry = display.load()

    from srkit.weights.convert import OWN
    from srkit.weights.convert import convert as write

    done = write(registry, file, out, to, values)
    if done.note:
        display.say(f"{file} does not say {done.note}; that was assumed, --set says otherwise")
    scales = " ".join(f"x{scale}" for scale in done.scales)
    display.result(f"{out}: {done.model.label} {scales}, from {done.source} to {done.target}")
    if done.target == OWN:
        display.result(f"use:  srkit upscale PHOTO --model {quote(str(out))}")
    elif done.settings:
        display.result(
            f"to tell {done.target}:  {', '.join(f'{name}: {value}' for name, value in done.settings.items())}"
        )


@app.command()
def push(
    source: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint of srkit's.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub; created if missing.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private; for a new repository only.")
    ] = False,
    licence: Annotated[
        str,
        typer.Option(
            help="Licence of the weights: MIT, CC-BY-4.0. That of the code if not given and the data permits it."
        ),
    ] = "",
    tags: Annotated[
        list[str] | None,
        typer.Option(help="What OpenModelDB is told it is for, separated by commas: photo,anime,jpeg,denoise."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder and upload nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder of a dry run; the repository's name if not given.")
    ] = None,
) -> None:
    """Upload weights with a model card to the Hugging Face hub, and an entry for OpenModelDB beside them."""
    from srkit.weights.openmodeldb import check_tags

    if out is not None and not dry_run:
        raise UsageError("-o is for --dry-run; without it the files are uploaded")
    told = words(tags)
    check_tags(told)
    if not source.exists():
        raise missing_path(source, "run or checkpoint")
    registry = display.load()

    from srkit.weights import hub, publish

    hub.check_name(repository)
    if dry_run:
        folder = out or Path(repository.rpartition("/")[2])
        prepared = publish.prepare(registry, source, folder, repository, licence, tags=told)
        for path in prepared.files:
            display.result(path)
        tell_entries(prepared)
        return
    publish.check_token()
    with TemporaryDirectory(prefix="srkit-push-") as temporary:
        prepared = publish.prepare(registry, source, Path(temporary), repository, licence, tags=told)
        address = publish.push(prepared.files, repository, private)
    if not private:
        tell_entries(prepared)
    display.result(f"{address}\nuse:  srkit upscale PHOTO --model {repository}")


def tell_entries(prepared: Any) -> None:
    names = ", ".join(path.name for path in prepared.entries)
    display.say(f"for OpenModelDB: {'; '.join([f'{names} goes into data/models of its repository', *prepared.notes])}")


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Copy the files into this folder, in addition to the cache.")
    ] = None,
) -> None:
    """Download weights from the Hugging Face hub and print how to use them."""
    registry = display.load()

    from srkit.weights import hub
    from srkit.weights.describe import describe

    repository = repository.removeprefix("hf:")
    with display.Meter() as meter:
        path = hub.pull(repository, meter) if out is None else hub.pull_to(repository, out, meter)
    show_table(describe(registry, path))
    word = repository if out is None else str(out)
    display.result(f'use:     srkit upscale PHOTO --model {quote(word)}\npython:  srkit.load("{word}").upscale(image)')


def weights_called(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Every weight file that the model or preset `name` has: those its plugin offers, and those in runs/."""
    from srkit.weights.describe import describe
    from srkit.weights.find import matches, registered_file, trained_runs
    from srkit.weights.loading import disagreement
    from srkit.weights.offered import split_tag

    bare, tag = split_tag(registry, name)
    model = registry.choose("model", bare)
    found = []
    for weights in model.component.weights:
        if weights.preset not in ("", model.preset) or tag not in ("", weights.tag):
            continue
        offered = {
            "scales": list(weights.scales),
            "url": weights.url,
            "tag": weights.tag,
            "claims": dict(weights.claims),
            "licence": weights.licence,
            "data": weights.trained_on,
        }
        about = (
            {}
            if is_missing(weights)
            else describe(registry, registered_file(model, weights), {**model.options, "scale": weights.scales[0]})
        )
        if words := disagreement(weights, about.get("scales", weights.scales)):
            about["notes"] = f"registered {words[0]}, but the file is {words[1]}: it cannot be used"
        label = labelled(model.component, model.label, weights.tag)
        found.append(about | {key: value for key, value in offered.items() if value} | {"label": label})
    runs = () if tag else trained_runs()
    return found + [describe(registry, path) for path, about in runs if matches(about, model, name)]


def is_missing(weights: Any) -> bool:
    from srkit.weights.find import cached_file

    return bool(weights.url) and not cached_file(weights).is_file()


def show_table(about: dict[str, Any]) -> None:
    """Print a description as a table, without what is not known."""
    from rich.filesize import decimal

    label, name = about.get("label", ""), about.get("model", "")
    said = f"{name} {about.get('version', '')}".strip()
    step, steps = about.get("step"), about.get("steps")
    origin = about.get("converted_from") or {}
    foreign = about.get("layout_of") or ("read by this plugin" if ":" in about.get("layout", "") else "")
    found = {
        "url": about.get("url"),
        "layout": f"{about['layout']}{f' ({foreign})' if foreign else ''}" if about.get("layout") else "",
        "model": said if label in ("", name) else f"{label} ({said})",
        "tag": about.get("tag"),
        "scale": ", ".join(f"x{scale}" for scale in about.get("scales", ())),
        "options": listed(about.get("options")),
        "assumed": f"{listed(about['assumed'])}: the file does not say" if about.get("assumed") else "",
        "notes": about.get("notes"),
        "parameters": f"{about['parameters']:,}" if "parameters" in about else "",
        "computed by": about.get("runtime"),
        "step": "" if step is None else f"{step:,}{f' of {steps:,}' if steps else ''}",
        "scores": score_text(about.get("scores") or {}),
        "claimed": listed(about.get("claims")),
        "data": about.get("data"),
        "licence": about.get("licence"),
        "converted from": f"{origin['file']}, {origin['layout']}" if origin else "",
        "and assumed": listed(origin.get("assumed")),
        "tensors": f"{about['tensors']}, {about['dtype']}, {decimal(about['bytes'])}" if "tensors" in about else "",
    }
    lines = [[key, str(value)] for key, value in found.items() if value]
    if not about.get("layout") and "shapes" in about:
        lines.insert(0, ["layout", "none that srkit or an installed plugin knows"])
        lines += [[f"{each['count']} x {each['name']}", ",".join(map(str, each["shape"]))] for each in about["shapes"]]
    display.table(["file", about.get("file", "not downloaded yet; it is when it is first used")], lines)


def listed(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (values or {}).items())


def score_text(scores: dict[str, Any]) -> str:
    from srkit.evaluate.report import digits
    from srkit.weights.card import score_rows

    return ", ".join(
        f"{metric.upper()} {digits(metric, value)} on {name} (protocol {protocol})"
        for name, metric, value, protocol in score_rows(scores)
    )
