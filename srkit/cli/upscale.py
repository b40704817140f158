"""`srkit upscale`: a larger picture beside the small one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from srkit.cli import output
from srkit.errors import SrkitError, UsageError, missing_path, one_line

if TYPE_CHECKING:
    from srkit.load import Loaded

DEFAULT_MODEL = "edsr-baseline"


def upscale(
    photos: Annotated[list[Path], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    model: Annotated[str, typer.Option(help="A model's name, a checkpoint, or a run's folder.")] = DEFAULT_MODEL,
    scale: Annotated[
        int | None, typer.Option(help="How many times larger; the checkpoint's own, or 2, when not said.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The picture to write, or a folder for several.")
    ] = None,
    self_ensemble: Annotated[
        bool, typer.Option("--self-ensemble", help="Average eight flips and transposes: finer, eight times slower.")
    ] = False,
    tile: Annotated[
        int | None, typer.Option(min=0, help="Side of a tile in input pixels, to bound memory; 0 for none.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
) -> None:
    """Upscale pictures: PHOTO.jpg becomes PHOTO_MODEL_xSCALE.png beside it."""
    from srkit.images import SUFFIXES, check_output, list_images

    inputs: list[Path] = []
    for photo in photos:
        if not photo.exists():
            raise missing_path(photo, "picture")
        found = list_images(photo) if photo.is_dir() else [photo]
        if not found:
            raise UsageError(f"no pictures in '{photo}' ({', '.join(s[1:] for s in SUFFIXES)})")
        inputs += found
    folder = out is not None and (out.is_dir() or not out.suffix)
    if out is not None and not folder:
        if len(inputs) > 1:
            raise UsageError(f"-o '{out}' is one file for {len(inputs)} pictures; name a folder")
        check_output(out)
        if out.exists() and out.samefile(inputs[0]):
            raise UsageError(f"-o '{out}' is the picture itself; name another file")
    registry = output.load()

    from srkit.load import load_model, pick_device

    loaded = load_model(registry, model, scale, pick_device(device))
    if loaded.origin:
        output.say(f"{loaded.model.label} x{loaded.scale} from {loaded.origin}")
    if out is not None and folder:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder '{out}': {one_line(error)}") from None
    label = loaded.model.label + ("+" if self_ensemble else "")
    targets = [
        out if out is not None and not folder else (out or photo.parent) / f"{photo.stem}_{label}_x{loaded.scale}.png"
        for photo in inputs
    ]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two pictures would both become '{target}'; upscale them one at a time with -o")

    failures = []
    for photo, target in zip(inputs, targets, strict=True):
        try:
            print(one(registry, loaded, photo, target, self_ensemble, tile))
        except SrkitError as error:
            failures.append(error)
            if len(inputs) > 1:
                output.say(one_line(error))
    if failures and len(inputs) > 1:
        raise SrkitError(f"{len(failures)} of {len(inputs)} pictures could not be upscaled")
    if failures:
        raise failures[0]


def one(registry: Any, loaded: "Loaded", photo: Path, target: Path, self_ensemble: bool, tile: int | None) -> str:
    """Upscale one file and say what was written."""
    from srkit.images import read_picture, write_picture
    from srkit.upscale.picture import upscale_picture
    from srkit.upscale.wrap import make_upscaler

    picture = read_picture(photo)
    if picture.notice:
        output.say(f"{photo}: {picture.notice}")
    passes = 8 if self_ensemble else 1
    with output.Progress(photo.name, 1) as progress:
        finished = 0

        def done(tiles: int, total: int) -> None:
            nonlocal finished
            finished += 1
            progress.total = total * passes
            progress.at(finished)

        wrappers = [registry.choose("wrapper", "self-ensemble")] if self_ensemble else []
        upscaler = make_upscaler(loaded.net, loaded.model, loaded.scale, tile=tile, wrappers=wrappers, done=done)
        device = next((p.device for p in loaded.net.parameters()), "cpu")
        result = upscale_picture(upscaler, picture, loaded.scale, device)
    write_picture(target, result)
    (height, width), (tall, wide) = picture.rgb.shape[:2], result.rgb.shape[:2]
    return f"{target}  ({width}x{height} -> {wide}x{tall})"
