"""`srkit try`: every model that has weights, on one photo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit.api.trying import chosen, default_scale
from srkit.cli import display
from srkit.cli.choose import Device, check_folder, words
from srkit.errors import ImageError, UsageError, one_line

if TYPE_CHECKING:
    from srkit.evaluate.tried import Trial


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
    with display.Meter() as meter:
        subjects, notices = chosen(registry, words(models), scale, device, meter)
    for notice in notices:
        display.say(notice)
    check_folder(out)
    with display.Progress("upscaling", len(subjects)) as progress:
        trial = try_models(
            subjects, photo.name, rgb, scale, side=crop, count=count, device=place, done=progress.one_more
        )
    sheet, page = out / f"{photo.stem}.png", out / f"{photo.stem}.html"
    write(trial, sheet, page)
    display.table(HEADINGS, trial.rows, right=[1])
    display.result(f"{trial.title}, {len(trial.crops)} crops: {sheet}, {page}")


def write(trial: "Trial", sheet: Path, page: Path) -> None:
    from srkit.evaluate.markup import encoded
    from srkit.files import write_atomically

    drawn, text = encoded(trial.sheet()), trial.page().encode()
    try:
        write_atomically(sheet, lambda file: file.write(drawn))
        write_atomically(page, lambda file: file.write(text))
    except OSError as error:
        raise ImageError(f"cannot write into '{sheet.parent}': {one_line(error)}") from None
