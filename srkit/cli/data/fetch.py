"""`srkit data fetch`: a published dataset, downloaded, checked and unpacked where `--data NAME` finds it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
import typer.core

from srkit.cli import display
from srkit.cli.choose import scale_of, words
from srkit.components import Archive, Dataset
from srkit.errors import ChecksumError, FetchError, SrkitError, UsageError, did_you_mean
from srkit.plugins import Registry


class SeveralScales(typer.core.TyperCommand):
    """`--scale 2 3 4` is `--scale 2 --scale 3 --scale 4`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        spelled: list[str] = []
        after_scale = False
        for word in args:
            after_scale = after_scale and word.isdecimal()
            spelled += ["--scale", word] if after_scale and spelled[-1] != "--scale" else [word]
            after_scale = after_scale or word == "--scale"
        return super().parse_args(ctx, spelled)


def fetch(
    name: Annotated[str, typer.Argument(help="The dataset: div2k, flickr2k, set5, or one a plugin brings.")],
    scale: Annotated[
        list[str] | None, typer.Option(help="LR of these scales as well: 2 3 4, or 2,3,4. Only HR if not given.")
    ] = None,
    track: Annotated[
        str | None, typer.Option(help="Degradation of the LR; of div2k: bicubic, unknown, mild, difficult, wild.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder to put it in; else $SRKIT_DATA, else the user's data folder.")
    ] = None,
    mirror: Annotated[
        str, typer.Option(envvar="SRKIT_MIRROR", help="Address of a folder that holds the same files.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Download again what is there, and accept it even if its checksum differs.")
    ] = False,
) -> None:
    """Download a published dataset. After an interruption the same command continues where it stopped."""
    registry = display.load()
    dataset: Dataset = registry.find("dataset", name).component
    archives = wanted(registry, dataset, scale, track)

    from srkit.data.archives import fetch_archive, is_there
    from srkit.files import data_folder

    place = (root or data_folder()).expanduser()
    missing = [archive for archive in archives if (force and archive.url) or not is_there(archive, place)]
    if not all(archive.url for archive in missing):
        raise UsageError(
            f"'{name}' is not free to download: ask for it at {dataset.page}, then put its pictures in"
            f" '{place}' as {layout(missing)}"
        )
    announce(dataset, archives, missing, place)
    check_room(missing, place)
    for i, archive in enumerate(missing):
        try:
            with display.Meter(archive.file, archive.size) as meter:
                pictures = fetch_archive(archive, place, mirror=mirror, force=force, progress=meter)
        except KeyboardInterrupt:
            display.say("the part that has arrived is kept; the same command continues from there")
            raise
        except ChecksumError as error:
            raise ChecksumError(f"{error}: the file is not the expected one; --force accepts it") from None
        except FetchError as error:
            raise FetchError(f"{error}; {by_hand(missing[i:], place)}") from None
        display.say(f"{archive.file}: {', '.join(f'{count:,} in {folder}' for folder, count in pictures.items())}")
    display.result(usage(dataset, archives, root))


def wanted(registry: Registry, dataset: Dataset, scale: list[str] | None, track: str | None) -> list[Archive]:
    """The archives of a dataset for these scales and this track; UsageError for one it does not have."""
    archives = dataset.archives
    if not archives:
        have = [e.component.name for e in registry.of("dataset") if getattr(e.component, "archives", ())]
        raise UsageError(f"'{dataset.name}' has nothing to fetch; these have: {', '.join(have)}")
    tracks = list(dict.fromkeys(archive.track for archive in archives if archive.track))
    if track is not None and track not in tracks:
        raise UsageError(f"'{dataset.name}' has no track '{track}'{did_you_mean(track, tracks)}")
    chosen = track or next(iter(tracks), "")
    mine = [archive for archive in archives if archive.track in ("", chosen)]
    have_scales = sorted({archive.scale for archive in mine if archive.scale})
    scales = [scale_of(word) for word in words(scale)]
    for factor in scales:
        if have_scales and factor not in have_scales:
            offered = ", ".join(f"x{s}" for s in have_scales)
            raise UsageError(f"'{dataset.name}' has no LR x{factor} of track '{chosen}'; it has {offered}")
    if track and not scales:
        if len(have_scales) > 1:
            raise UsageError(f"--track {track} is a way LR is made: say --scale {' '.join(map(str, have_scales))} too")
        scales = have_scales
    return [archive for archive in mine if archive.scale in (None, *scales)]


def announce(dataset: Dataset, archives: Sequence[Archive], missing: Sequence[Archive], place: Path) -> None:
    from rich.filesize import decimal

    from srkit.data.archives import place_of

    rows = [
        [
            a.file or ", ".join(a.folders),
            decimal(a.size) if a.size else "",
            "to fetch" if a in missing else "there",
            str(place_of(a, place)),
        ]
        for a in archives
    ]
    display.table(["archive", "size", "", "folder"], rows, right=(1,))
    if missing and (dataset.licence or dataset.page):
        display.say(f"{dataset.name}: {'; '.join(text for text in (dataset.licence, dataset.page) if text)}")


def check_room(missing: Sequence[Archive], place: Path) -> None:
    """Each archive is removed when it is unpacked, so what is needed is all of them and the largest once more."""
    from rich.filesize import decimal

    needed = sum(archive.size for archive in missing) + max((archive.size for archive in missing), default=0)
    there = next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.is_dir())
    if needed > (free := shutil.disk_usage(there).free):
        raise SrkitError(
            f"'{place}' has {decimal(free)} free, and {decimal(needed)} are needed; --root names another folder"
        )


def layout(archives: Sequence[Archive]) -> str:
    """The folders of archives and how many pictures each has, for a user who puts them there."""
    folders = {folder: count for archive in archives for folder, count in archive.folders.items()}
    return ", ".join(f"{folder} ({count} pictures)" if count else folder for folder, count in folders.items())


def by_hand(missing: Sequence[Archive], place: Path) -> str:
    from srkit.data.archives import place_of

    files = ", ".join(archive.file for archive in missing)
    source = missing[0].url.removesuffix(missing[0].file)
    return (
        f"by hand: put {files} from {source} into '{place_of(missing[0], place)}' and run this command again, "
        f"or unpack them there to {layout(missing)}"
    )


def usage(dataset: Dataset, archives: Sequence[Archive], root: Path | None) -> str:
    """How to use what was fetched, as a command to paste."""
    if dataset.benchmark:
        return f"score:  srkit bench --sets {dataset.name}" + (f" --root {quote(str(root))}" if root else "")
    scales = [archive.scale for archive in archives if archive.scale]
    default = next((archive.track for archive in dataset.archives if archive.track), "")
    others = [archive.track for archive in archives if archive.track not in ("", default)]
    line = ["srkit train --data", dataset.name]
    line += [f"--scale {scales[0]}"] if scales else []
    line += [f"--set data.track={others[0]}"] if others else []
    line += [f"--set data.root={quote(str(root))}"] if root else []
    return f"train:  {' '.join(line)}"
