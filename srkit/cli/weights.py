"""`srkit weights`: look at a weight file, convert it, share it, get a shared one."""

import json
from pathlib import Path
from shlex import quote
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson
from srkit.errors import UsageError, missing_path
from srkit.plugins import Registry

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def weights() -> None:
    """Look at weights, convert them to and from other programs' layouts, share them on the Hugging Face hub."""


@app.command()
def show(
    word: Annotated[
        str, typer.Argument(help="A weight file, a run's folder, a model's name, or owner/name on the hub.")
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a weight file is: model, options, scale, scores, licence; of a name, all the weights it has."""
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
        print(json.dumps(found if len(found) != 1 else found[0], indent=2))
        return
    for about in found:
        show_table(about)
    if not found:
        print(f"'{word}' has no weights here; train it with: srkit train --model {quote(word)}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="The weight file to read, or a run's folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")],
    to: Annotated[
        str, typer.Option(help="srkit, edsr-pytorch, basicsr, or a plugin's layout; by the suffix when not said.")
    ] = "",
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", help="What a layout does not say or should be: res_scale=0.1, img_range=1."),
    ] = None,
) -> None:
    """Write weights in another layout: srkit's own, or that of another program. Trained values stay, bit for bit."""
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
    print(f"{out}: {done.model.label} {scales}, from {done.source} to {done.target}")
    if done.target == OWN:
        print(f"use:  srkit upscale PHOTO --model {quote(str(out))}")
    elif done.settings:
        print(f"to tell {done.target}:  {', '.join(f'{name}: {value}' for name, value in done.settings.items())}")


@app.command()
def push(
    source: Annotated[Path, typer.Argument(help="A run's folder, or a checkpoint of srkit's.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub; made if there is none.")],
    private: Annotated[
        bool, typer.Option("--private", help="For you alone, where the repository is made now.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the weights: MIT, CC-BY-4.0. What the checkpoint says when not said.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder and upload nothing.")] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The folder of a dry run; the repository's name when not said.")
    ] = None,
) -> None:
    """Upload weights with a model card to the Hugging Face hub: model.safetensors, README.md, run.toml."""
    if out is not None and not dry_run:
        raise UsageError("-o is for --dry-run; without it the files are uploaded")
    if not source.exists():
        raise missing_path(source, "run or checkpoint")
    registry = display.load()

    from srkit.weights import hub, publish

    hub.check_name(repository)
    if dry_run:
        folder = out or Path(repository.rpartition("/")[2])
        for path in publish.prepare(registry, source, folder, repository, licence):
            print(path)
        return
    publish.check_token()
    with TemporaryDirectory(prefix="srkit-push-") as temporary:
        files = publish.prepare(registry, source, Path(temporary), repository, licence)
        address = publish.push(files, repository, private)
    print(f"{address}\nuse:  srkit upscale PHOTO --model {repository}")


@app.command()
def pull(
    repository: Annotated[str, typer.Argument(metavar="REPO", help="owner/name on the hub.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Put the files into this folder too, not only into the cache.")
    ] = None,
) -> None:
    """Download weights from the Hugging Face hub and say how to use them."""
    registry = display.load()

    from srkit.weights import hub
    from srkit.weights.describe import describe

    repository = repository.removeprefix("hf:")
    with display.Meter() as meter:
        path = hub.pull(repository, meter) if out is None else hub.pull_to(repository, out, meter)
    show_table(describe(registry, path))
    word = repository if out is None else str(out)
    print(f'use:     srkit upscale PHOTO --model {quote(word)}\npython:  srkit.load("{word}").upscale(image)')


def weights_called(registry: Registry, name: str) -> list[dict[str, Any]]:
    """Every weight file that the model or preset `name` has: those its plugin offers, and those in runs/."""
    from srkit.weights.describe import describe
    from srkit.weights.find import matches, registered_file, trained_runs

    model = registry.choose("model", name)
    found = []
    for weights in model.component.weights:
        if weights.preset not in ("", model.preset):
            continue
        offered = {
            "scales": list(weights.scales),
            "url": weights.url,
            "tag": weights.tag,
            "claims": dict(weights.claims),
            "licence": weights.licence,
            "data": weights.trained_on,
        }
        about = {} if is_missing(weights) else describe(registry, registered_file(model, weights))
        found.append(about | {key: value for key, value in offered.items() if value} | {"label": model.label})
    found += [describe(registry, path) for path, about in trained_runs() if matches(about, model, name)]
    return found


def is_missing(weights: Any) -> bool:
    from srkit.weights.find import cached_file

    return bool(weights.url) and not cached_file(weights).is_file()


def show_table(about: dict[str, Any]) -> None:
    """A description as a table for a reader: what is not known is left out."""
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
    display.table(["file", about.get("file", "not fetched yet; it will be when it is used")], lines)


def listed(values: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (values or {}).items())


def score_text(scores: dict[str, Any]) -> str:
    from srkit.evaluate.report import digits
    from srkit.weights.card import score_rows

    return ", ".join(
        f"{metric.upper()} {digits(metric, value)} on {name} (protocol {protocol})"
        for name, metric, value, protocol in score_rows(scores)
    )
