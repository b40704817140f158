"""`srkit gallery`: compare the same crops of pictures as several models upscale them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import Device, Root, SelfEnsemble, check_folder, chosen_wrappers, some_words
from srkit.data.named import set_named
from srkit.errors import ImageError, UsageError, missing_path, one_line
from srkit.plugins import Registry

if TYPE_CHECKING:
    import torch

    from srkit.components import PairSequence
    from srkit.evaluate.gallery import Chooser, Gallery, Windows
    from srkit.nets import Loaded
    from srkit.upscale.wrap import Upscale

SHEET, PAGE = "gallery.png", "gallery.html"


def gallery(
    models: Annotated[
        list[str], typer.Argument(help="Checkpoint files, run folders or names to compare.", show_default=False)
    ],
    data: Annotated[str, typer.Option(help="A set's name, or a folder of HR pictures.")] = defaults.DATASET,
    scale: Annotated[
        int | None, typer.Option(help="Upsampling factor; that of the first model if not given.", show_default=False)
    ] = None,
    count: Annotated[
        int, typer.Option("--random", "--count", min=1, max=200, help="Number of crops, chosen by --where and --seed.")
    ] = 20,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the crops.")] = 0,
    where: Annotated[
        str, typer.Option(help="random, or disagree: where the models' outputs differ most, two a picture at most.")
    ] = "random",
    crop: Annotated[int, typer.Option(min=8, max=1024, help="Side of a crop in HR pixels.")] = 64,
    self_ensemble: SelfEnsemble = False,
    root: Root = None,
    device: Device = "auto",
    out: Annotated[Path, typer.Option("-o", "--out", help=f"Folder for {SHEET} and {PAGE}.")] = Path("gallery"),
) -> None:
    """Compare models by eye: a contact sheet, and a page with a slider over each crop. Both are single files."""
    if where not in ("random", "disagree"):
        raise UsageError(f"--where is random or disagree, not '{where}'")
    if root is not None and not root.expanduser().is_dir():
        raise missing_path(root, "folder")
    if out.exists() and not out.is_dir():
        raise UsageError(f"-o '{out}' is a file; name a folder")
    registry = display.load()

    from srkit.data.pairs import open_dataset
    from srkit.evaluate.gallery import Windows, make_gallery, zoom_of
    from srkit.evaluate.protocol import DEFAULT, protocol_named
    from srkit.evaluate.report import numeric, to_table
    from srkit.evaluate.sheet import LARGEST
    from srkit.nets import pick_device

    place = pick_device(device)
    set_name, dataset, folder = set_named(registry, data, root)
    columns = make_columns(registry, some_words(models, "model"), scale, place, self_ensemble)
    scale = columns[defaults.FLOOR][0].scale
    side = crop // scale * scale
    if not side:
        raise UsageError(f"--crop {crop} is less than one pixel at x{scale}")
    if count * (len(columns) + 2) * (side * zoom_of(side)) ** 2 > LARGEST:
        raise UsageError(f"{count} crops of {side} pixels make too large a sheet; lower --random or --crop")
    pairs = open_dataset(dataset, folder, "test", scale)
    protocol = protocol_named(DEFAULT)
    windows = Windows(side, scale, protocol.border(scale))
    choose, how = chooser(where, list(columns), pairs, windows, count, seed)
    check_folder(out)
    with display.Progress("upscaling", len(pairs) * len(columns)) as progress:
        made = make_gallery(
            columns,
            set_name,
            pairs,
            windows,
            choose,
            count=count,
            how=how,
            metrics={name: registry.choose("metric", name).build() for name in defaults.METRICS},
            protocol=protocol,
            device=place,
            done=progress.one_more,
        )
    write(made, out)
    headings, cells = to_table(made.rows)
    display.table(headings, cells, right=numeric(headings))
    display.result(f"{made.title}: {out / SHEET}, {out / PAGE}")


def make_columns(
    registry: Registry, models: list[str], scale: int | None, device: "torch.device", self_ensemble: bool
) -> "dict[str, tuple[Loaded, Upscale]]":
    """The baseline and the models, each with its upscaler, by the name of their column; all of one scale."""
    from srkit.upscale.marks import mark
    from srkit.upscale.wrap import make_upscaler
    from srkit.weights.loading import load_model

    chosen = load_models(registry, models, scale, device)
    scale = next(iter(chosen.values())).scale
    wrappers = chosen_wrappers(registry, self_ensemble, None)
    baseline = load_model(registry, defaults.FLOOR, scale, device)
    columns = {defaults.FLOOR: (baseline, make_upscaler(baseline.net, baseline.model, scale))}
    for name, loaded in chosen.items():
        if name != defaults.FLOOR:
            columns[name + mark(wrappers)] = loaded, make_upscaler(loaded.net, loaded.model, scale, wrappers=wrappers)
    return columns


def chooser(
    where: str, names: list[str], pairs: "PairSequence", windows: "Windows", count: int, seed: int
) -> "tuple[Chooser, str]":
    """What chooses the crops, as `--where` says, and the same in words. names: of the columns."""
    from srkit.evaluate.gallery import disagreeing, drawn

    compared = [name for name in names if name != defaults.FLOOR or len(names) == 2]
    if where == "disagree" and len(compared) < 2:
        raise UsageError(f"--where disagree compares models; name one beside {defaults.FLOOR}")
    sizes = measured(pairs, windows.scale)
    if small := len(pairs) - len(windows.fitting(sizes)):
        display.say(f"{small} pictures are smaller than a crop: they are in the table alone")
    if where == "random":
        how = f"Pictures and places are drawn by seed {seed}, independently of the models."
        return drawn(sizes, windows, count, seed), how
    how = f"Where {', '.join(compared)} differ most in 8-bit levels of R, G and B; two crops of a picture at most."
    return disagreeing(compared, windows), how


def write(gallery: "Gallery", out: Path) -> None:
    """The sheet and the page, into the folder `out`."""
    from srkit.evaluate.gallery import page_of, sheet_of
    from srkit.evaluate.markup import encoded
    from srkit.files import write_atomically

    sheet, page = encoded(sheet_of(gallery)), page_of(gallery).encode()
    try:
        write_atomically(out / SHEET, lambda file: file.write(sheet))
        write_atomically(out / PAGE, lambda file: file.write(page))
    except OSError as error:
        raise ImageError(f"cannot write into '{out}': {one_line(error)}") from None


def load_models(
    registry: Registry, models: list[str], scale: int | None, device: "torch.device"
) -> "dict[str, Loaded]":
    """The models by the name of their column, all at the scale of the first; short names where these are unique."""
    from srkit.evaluate.gallery import REFERENCE
    from srkit.weights.find import is_path
    from srkit.weights.loading import load_model

    found: dict[str, tuple[str, Loaded]] = {}
    for word in dict.fromkeys(models):
        with display.Meter() as meter:
            loaded = load_model(registry, word, scale, device, meter)
        if loaded.note:
            display.say(f"{loaded.label} from {loaded.origin}, assuming {loaded.note}")
        scale = loaded.scale
        found[word] = (short(Path(word)) if is_path(word) else loaded.label, loaded)
    names = [name for name, _ in found.values()]
    taken = (*REFERENCE, defaults.FLOOR)
    return {
        word if names.count(name) > 1 or (is_path(word) and name in taken) else name: loaded
        for word, (name, loaded) in found.items()
    }


def short(path: Path) -> str:
    """A run's folder by its name, a checkpoint in it by both, any other weight file by its stem."""
    from srkit.weights.find import WEIGHT_SUFFIXES

    if path.suffix not in WEIGHT_SUFFIXES:
        return path.resolve().name
    return f"{path.resolve().parent.name}/{path.stem}" if path.stem in ("best", "last") else path.stem


def measured(pairs: "PairSequence", scale: int) -> list[tuple[int, int]]:
    """(height, width) of each HR picture, cropped to multiples of the scale."""
    sizes = []
    with display.Progress("measuring", len(pairs)) as progress:
        for i in range(len(pairs)):
            height, width = pairs[i].hr.shape[:2]
            sizes.append((height // scale * scale, width // scale * scale))
            progress.one_more()
    return sizes
