"""`srkit upscale`: upscale pictures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import Device, SelfEnsemble, Wrappers, chosen_wrappers, some_words
from srkit.errors import SrkitError, UsageError, missing_path, naming, one_line
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    import torch

    from srkit.images import Picture
    from srkit.nets import Loaded, Precision


def upscale(
    photos: Annotated[list[str], typer.Argument(help="Pictures, or folders of them.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            help="A model's name or NAME@TAG, a checkpoint, a run's folder, or a repository of the hub; if not given, "
            "the best weights that are installed.",
            show_default=False,
        ),
    ] = "",
    scale: Annotated[
        int | None, typer.Option(help="Upsampling factor; that of the checkpoint, or 2, if not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The picture to write, or a folder for several.")
    ] = None,
    self_ensemble: SelfEnsemble = False,
    wrapper: Wrappers = None,
    tile: Annotated[
        int | None, typer.Option(min=0, help="Side of a tile in input pixels, to bound memory; 0 for none.")
    ] = None,
    pixel_range: Annotated[
        str, typer.Option("--range", help="Black and white of gray 16-bit, 32-bit or float pixels: 0,4095.")
    ] = "",
    device: Device = "auto",
    precision: Annotated[
        str | None,
        typer.Option(
            help="fp32, exact to the bit, if not given; bf16, fp16, or what a backend offers; auto: bf16 where the "
            "device multiplies it."
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help="What the network runs in; PyTorch if not given.")] = "",
) -> None:
    """Upscale pictures: PHOTO.jpg becomes PHOTO_MODEL_xSCALE.png beside it."""
    inputs = pictures_in([Path(word) for word in some_words(photos, "picture")])
    file = out if out is not None and out.suffix and not out.is_dir() else None
    if file is not None:
        check_one_target(inputs, file)
    registry = display.load()

    from srkit.images import limits, read_picture
    from srkit.nets import pick_device, precision_of
    from srkit.upscale.marks import mark
    from srkit.weights.loading import load_model
    from srkit.weights.offered import for_pictures

    read = partial(read_picture, range=limits(pixel_range) if pixel_range else None)
    wrappers = chosen_wrappers(registry, self_ensemble, wrapper)
    place = pick_device(device)
    runtime = chosen_backend(registry, backend, precision, place)
    named = bool(model)
    if not named:
        offer, scale = for_pictures(registry, scale)
        model = offer.word
    with display.Meter() as meter:
        loaded = load_model(registry, model, scale, place, meter)
    tell_model(loaded, named)
    used = precision_of(loaded, place, "fp32" if runtime else precision or "fp32")
    tell_precision(
        loaded, runtime.options.get("precision", "fp32") if runtime else used, asked=precision, wrapped=bool(wrappers)
    )
    ending = f"_{loaded.label}{mark(wrappers)}_x{loaded.scale}.png"
    targets = targets_for(inputs, out, ending) if file is None else [file]

    failures = []
    for photo, target in zip(inputs, targets, strict=True):
        try:
            display.result(one(loaded, photo, target, read, wrappers, tile, backend=runtime, precision=used))
        except SrkitError as error:
            failures.append(error)
            if len(inputs) > 1:
                display.say(one_line(error))
    if failures and len(inputs) > 1:
        raise SrkitError(f"{len(failures)} of {len(inputs)} pictures could not be upscaled")
    if failures:
        raise failures[0]


def chosen_backend(registry: Registry, name: str, precision: str | None, place: "torch.device") -> Choice | None:
    """What the network is to run in; None is PyTorch. UsageError for a precision that is not offered."""
    from srkit.nets import native_precision, precision_on

    if not name:
        precision_on(place, precision or "fp32")
        return None
    offered = registry.find("backend", name).component.precisions
    if precision == "auto":
        precision = native_precision(place) if native_precision(place) in offered else None
    if precision and precision not in offered:
        raise UsageError(f"backend '{name}' computes in {', '.join(offered)}, not in '{precision}'")
    return registry.choose("backend", name, {"precision": precision} if precision else {})


def tell_precision(loaded: "Loaded", used: str, *, asked: str | None, wrapped: bool) -> None:
    """Say what the network is computed in where it is not fp32, with what that costs where it was measured."""
    from srkit.weights.offered import RANKED_BY, claims_at

    if used == "fp32":
        if asked not in (None, "fp32", "auto"):
            display.say(f"{loaded.label} is an interpolation and is computed in fp32")
        return
    claims = claims_at(loaded.weights, loaded.scale) if loaded.weights and not wrapped else {}
    exact, half = claims.get(RANKED_BY), claims.get(f"{RANKED_BY} {used}")
    loss = "" if exact is None or half is None else f"; PSNR on Set5 (protocol y) changes by {half - exact:+.4f} dB"
    display.say(f"computed in {used}{loss}")


def tell_model(loaded: "Loaded", named: bool) -> None:
    """Say which weights upscale; of those that nobody named also the licence, and how to get larger ones."""
    assumed = f", assuming {loaded.note}" if loaded.note else ""
    if named and loaded.origin:
        display.say(f"{loaded.label} x{loaded.scale} from {loaded.origin}{assumed}")
    if named or loaded.weights is None:
        return
    licence = loaded.weights.licence or "not said"
    clean = "" if loaded.weights.tag == defaults.TAG_OF_PHOTOS else "; trained on clean pictures, not compressed ones"
    display.say(f"{loaded.label} x{loaded.scale}, the best weights that are installed: licence {licence}{clean}")
    display.say("larger ones: srkit weights pull OWNER/NAME, any weight file, or srkit train; then --model")


def pictures_in(photos: list[Path]) -> list[Path]:
    """The files meant: each given, and all below each folder given."""
    from srkit.images import left_out, list_files

    inputs: list[Path] = []
    for photo in photos:
        if not photo.exists():
            raise missing_path(photo, "picture")
        found, others = list_files(photo) if photo.is_dir() else ([photo], [])
        if not found:
            raise UsageError(f"no pictures in '{photo}'" + (f": {left_out(others, photo)}" if others else ""))
        if others:
            display.say(left_out(others, photo))
        inputs += found
    return inputs


def check_one_target(inputs: list[Path], out: Path) -> None:
    """Before any work: can all of `inputs` become the file `out`?"""
    from srkit.images import check_output

    if len(inputs) > 1:
        raise UsageError(f"-o '{out}' is one file for {len(inputs)} pictures; name a folder")
    check_output(out)
    if out.exists() and out.samefile(inputs[0]):
        raise UsageError(f"-o '{out}' is the picture itself; name another file")


def targets_for(inputs: list[Path], folder: Path | None, ending: str) -> list[Path]:
    """Where each result goes: into `folder`, which is made, or beside its picture."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder '{folder}': {one_line(error)}") from None
    targets = [(folder or photo.parent) / f"{photo.stem}{ending}" for photo in inputs]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"two pictures would both become '{target}'; upscale them one at a time with -o")
    return targets


def one(
    loaded: "Loaded",
    photo: Path,
    target: Path,
    read: "Callable[[Path], Picture]",
    wrappers: list[Choice],
    tile: int | None,
    *,
    backend: Choice | None = None,
    precision: "Precision" = "fp32",
) -> str:
    """Upscale one file and say what was written."""
    from srkit.images import write_picture
    from srkit.upscale.marks import passes
    from srkit.upscale.picture import upscale_picture
    from srkit.upscale.wrap import make_upscaler

    picture = read(photo)
    if picture.notice:
        display.say(f"{photo}: {picture.notice}")
    times = passes(wrappers)
    with display.Progress(photo.name, 1) as progress:
        finished = 0

        def done(tiles: int, total: int) -> None:
            nonlocal finished
            finished += 1
            progress.total = max(total * times, finished)
            progress.at(finished)

        upscaler = make_upscaler(
            loaded.net,
            loaded.model,
            loaded.scale,
            tile=tile,
            wrappers=wrappers,
            backend=backend,
            precision=precision,
            done=done,
        )
        device = next((p.device for p in loaded.net.parameters()), "cpu")
        with naming(str(photo)):
            result = upscale_picture(upscaler, picture, loaded.scale, device)
    if lost := write_picture(target, result):
        display.say(f"{target}: {lost}")
    (height, width), (tall, wide) = picture.rgb.shape[:2], result.rgb.shape[:2]
    return f"{target}  ({width}x{height} -> {wide}x{tall})"
