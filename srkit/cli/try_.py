"""`srkit try`: every model that has weights, on one photo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import Device, check_folder, words
from srkit.errors import ImageError, NoWeights, UsageError, one_line
from srkit.plugins import Registry

if TYPE_CHECKING:
    from srkit.evaluate.plan import Subject
    from srkit.evaluate.trial import Trial
    from srkit.fetch import BytesDone


def try_(
    photo: Annotated[Path, typer.Argument(help="A picture.", show_default=False)],
    models: Annotated[
        list[str] | None,
        typer.Option(help="Names, checkpoints or runs instead; all that have weights here if not given."),
    ] = None,
    scale: Annotated[int | None, typer.Option(min=1, help="Upsampling factor; 2, or what the weights offer.")] = None,
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="Number of crops.")] = 3,
    crop: Annotated[int, typer.Option(min=8, max=1024, help="Side of a crop in pixels of the result.")] = 160,
    device: Device = "auto",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sheet and the page.")] = Path("try"),
) -> None:
    """Compare the models on a photo of yours: crops where they disagree, as a sheet and a page with a slider."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o '{out}' is a file; name a folder")
    registry = display.load()

    from srkit.evaluate.trial import HEADINGS, try_models
    from srkit.images import read_rgb
    from srkit.nets import pick_device

    place = pick_device(device)
    rgb = read_rgb(photo)
    scale = scale or default_scale(registry)
    subjects = chosen(registry, words(models), scale, device)
    check_folder(out)
    with display.Progress("upscaling", len(subjects)) as progress:
        trial = try_models(
            subjects, photo.name, rgb, scale, side=crop, count=count, device=place, done=progress.one_more
        )
    sheet, page = out / f"{photo.stem}.png", out / f"{photo.stem}.html"
    write(trial, sheet, page)
    display.table(HEADINGS, trial.rows, right=[1])
    display.result(f"{trial.title}, {len(trial.crops)} crops: {sheet}, {page}")


def default_scale(registry: Registry) -> int:
    """That of the weights that `srkit upscale` would take."""
    from srkit.weights.offered import for_pictures

    try:
        return for_pictures(registry, None)[1]
    except NoWeights:
        return 2


def chosen(registry: Registry, named: list[str], scale: int, device: str) -> "list[Subject]":
    """The baseline and the models named; or all with weights on this machine, and a line about each other file.

    Raises UsageError, UnknownName or NoWeights for a name that has no weights for the scale.
    """
    from srkit.evaluate.store import Store
    from srkit.weights.subjects import Search, every_name, expanded, find_subjects

    asked = expanded(registry, named)
    with display.Meter() as meter:
        search = Search(registry, Store(None), [scale], True, device, downloads=meter if asked else unasked)
        found = find_subjects(search, [defaults.FLOOR, *(asked or every_name(registry))], asked)
    for word, why in found.absent.items():
        if UNASKED in why:
            display.say(f"not tried: {word}: {why}")
    kept = [
        each for each in found.subjects if asked or each.error or each.info.weights or each.info.name == defaults.FLOOR
    ]
    if len(kept) < 2:
        display.say(f"no weights for x{scale} here; only {defaults.FLOOR} is shown")
    return kept


UNASKED = "its weights are not downloaded"


def unasked(what: str) -> "BytesDone":
    """Instead of a download's progress: nothing is downloaded that nobody named."""
    raise NoWeights(f"{UNASKED}; name it with --models to do so")


def write(trial: "Trial", sheet: Path, page: Path) -> None:
    from srkit.evaluate.markup import encoded
    from srkit.evaluate.trial import page_of, sheet_of
    from srkit.files import write_atomically

    drawn, text = encoded(sheet_of(trial)), page_of(trial).encode()
    try:
        write_atomically(sheet, lambda file: file.write(drawn))
        write_atomically(page, lambda file: file.write(text))
    except OSError as error:
        raise ImageError(f"cannot write into '{sheet.parent}': {one_line(error)}") from None
