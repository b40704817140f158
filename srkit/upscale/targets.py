"""Where each result goes: a name for every picture, no two the same, and none that is a picture itself.

Imports no torch. Takes time in proportion to the number of pictures.
"""

import hashlib
import os
import re
import string
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from srkit.errors import UsageError, did_you_mean
from srkit.images import SUFFIXES
from srkit.upscale.inputs import Source, listed, printable

DEFAULT_NAME = "{stem}_{model}_x{scale}"
DEFAULT_NAMES = (DEFAULT_NAME, "{stem}_{model}_{scale}")  # by a factor, by another size
FIELDS = ("stem", "suffix", "folder", "model", "scale")
LONGEST = 240  # bytes of a file name: file systems take 255, and a temporary name is a little longer
FOLD_CASE = sys.platform in ("win32", "darwin")  # whose file systems take A.png and a.png for one file


@dataclass(frozen=True)
class Job:
    """One picture and where its result goes. skip: why there is nothing to do, empty where there is."""

    source: Path
    target: Path
    skip: str = ""


@dataclass(frozen=True)
class Planned:
    """Every picture's job, in the order of the pictures, and what is to be told of them."""

    jobs: tuple[Job, ...]
    notices: tuple[str, ...] = ()

    @property
    def todo(self) -> list[Job]:
        """The jobs that are not skipped."""
        return [job for job in self.jobs if not job.skip]


@dataclass(frozen=True)
class Draft:
    """A name in the making. stem: what the name has for `{stem}`; folder: where it goes."""

    source: Source
    folder: Path
    stem: str


def targets_of(
    sources: Sequence[Source],
    out: Path | None,
    *,
    name: str = DEFAULT_NAME,
    model: str,
    scale: float | str,
    suffix: str = ".png",
    overwrite: bool = False,
    skip_existing: bool = False,
    finished: Callable[[Job], bool] = lambda job: False,
) -> Planned:
    """A job for each picture: its result goes into `out` with its subfolders, or beside the picture if that is None.

    name: a pattern of `FIELDS`, which may have folders in it; `suffix` is added unless it ends with that of a format.
    finished: a `Journal`'s, of the jobs that a stopped run has done.

    - Results of an earlier call are skipped: what has the name that this call, or one with another model and scale or
      with the default name, gives to another of the pictures. A picture that is named alone is always taken.
    - Pictures that would get one name are kept apart by their folders, and in one folder by their own suffix:
      `p.jpg_edsr_x2.png`.
    - What is there is overwritten, or skipped with `skip_existing`. Beside a picture that needs a name with a model
      or scale, which only a result has, or `overwrite`. A picture of this call is never overwritten.

    Makes no folders. Raises UsageError for a name with a field that is unknown, that leaves the folder, that gives
    several pictures one name, or that gives a picture its own; or where a file is there that may be no result.
    """
    check_name(name)
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    if out is not None and os.path.lexists(out) and not out.is_dir():
        raise UsageError(f"-o '{printable(out)}' is a file, not a folder")
    fields = {"model": clean(model), "scale": clean(scale if isinstance(scale, str) else f"{scale:g}")}
    pattern = name if PurePath(name).suffix.lower() in SUFFIXES else name + suffix
    drafts = [Draft(each, folder_of(each, out), short(each.path.stem, each, pattern, fields)) for each in sources]
    earlier = results_among(drafts, name, pattern, fields)
    kept, notices = apart([draft for draft in drafts if draft.source.path not in earlier], out, pattern, fields)
    if earlier:
        are = "is a result" if len(earlier) == 1 else "are results"
        names = listed(draft.source.path.name for draft in drafts if draft.source.path in earlier)
        notices.insert(0, f"{len(earlier)} {are} of an earlier call and passed over: {names}")
    targets = {draft.source.path: filled(draft, pattern, fields) for draft in kept}
    check_targets(targets)
    jobs = [
        Job(each.path, each.path, "a result of an earlier call")
        if each.path in earlier
        else Job(each.path, targets[each.path])
        for each in sources
    ]
    return settled(jobs, notices, None if skip_existing else overwrite or tells_results(name), finished)


def settled(jobs: list[Job], notices: list[str], overwrite: bool | None, finished: Callable[[Job], bool]) -> Planned:
    """What is to be done of `jobs`, beside those that a stopped run has done.

    overwrite: None skips what is there; False allows only what is in another folder than its picture.
    """
    done = {job for job in jobs if not job.skip and finished(job)}
    there = [job for job in jobs if not job.skip and job not in done and os.path.lexists(job.target)]
    doubtful = [job.target for job in there if identity(job.target.parent) == identity(job.source.parent)]
    if overwrite is False and doubtful:
        are = "is there and may be no result" if len(doubtful) == 1 else "are there and may be no results"
        raise UsageError(f"{listed(doubtful)} {are}; --overwrite replaces, --skip-existing keeps")
    if done:
        notices.append(f"{len(done)} of {len(jobs)} were done before the last run was stopped; this one does the rest")
    if there:
        end = "there and skipped" if overwrite is None else "there and will be overwritten (--skip-existing keeps them)"
        notices.append(f"{len(there)} result{'s are' if len(there) > 1 else ' is'} {end}")
    skips = dict.fromkeys(done, "done by the run that was stopped")
    skips |= dict.fromkeys(there, "its result is there") if overwrite is None else {}
    jobs = [replace(job, skip=skips[job]) if job in skips else job for job in jobs]
    return Planned(tuple(jobs), tuple(notices))


def check_name(name: str) -> None:
    """UsageError for a pattern of names that is none."""
    shown = printable(name)
    try:
        pieces = parsed(name)
    except ValueError as error:
        raise UsageError(f"--name '{shown}': {error}; the fields are {fields_in_words()}") from None
    for _, field, spec, conversion in pieces:
        if field is not None and (field not in FIELDS or spec or conversion):
            near = did_you_mean(field, FIELDS)
            hint = near if near.startswith("; did you mean") else ""
            raise UsageError(f"--name '{shown}' has no field '{field}'{hint}; the fields are {fields_in_words()}")
    check_inside(name)
    if not PurePath(name).name or name.endswith(("/", os.sep)):
        raise UsageError(f"--name '{shown}' names no file; the default is '{DEFAULT_NAME}'")


def parsed(name: str) -> list[tuple[str, str | None, str | None, str | None]]:
    """(text, field, format, conversion) of each part. ValueError for braces that are not closed."""
    return list(string.Formatter().parse(name))


def tells_results(name: str) -> bool:
    """Has a file of such a name been made by srkit, for all that can be known?"""
    return "{model}" in name or "{scale}" in name


def check_inside(name: str) -> None:
    path = PurePath(name)
    if path.is_absolute() or path.drive or ".." in path.parts:
        raise UsageError(f"--name '{printable(name)}' leaves the folder of the results; say the folder with -o")


def fields_in_words() -> str:
    return ", ".join(f"{{{field}}}" for field in FIELDS)


def clean(value: str) -> str:
    """A value as a part of a file's name: a model's label may have a path in it."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', "-", value)


def folder_of(source: Source, out: Path | None) -> Path:
    return source.path.parent if out is None else out / source.inside


def filled(draft: Draft, pattern: str, fields: dict[str, str]) -> Path:
    """The path of a result."""
    path = draft.source.path
    folder = path.absolute().parent.name if "{folder}" in pattern else ""
    name = pattern.format(stem=draft.stem, suffix=path.suffix.removeprefix("."), folder=folder or "root", **fields)
    if ".." in name:  # a stem may be `..`
        check_inside(name)
    return draft.folder / name


def short(stem: str, source: Source, pattern: str, fields: dict[str, str]) -> str:
    """`stem`, cut where the name would be longer than a file system takes, and then told apart by a hash."""
    excess = len(os.fsencode(filled(Draft(source, Path(), stem), pattern, fields).name)) - LONGEST
    if excess <= 0 or "{stem}" not in pattern:
        return stem
    digest = hashlib.sha256(os.fsencode(source.path.name)).hexdigest()[:8]
    kept = os.fsencode(stem)[: max(0, len(os.fsencode(stem)) - excess - len(digest) - 1)]
    return f"{kept.decode('utf-8', 'ignore')}~{digest}"


def apart(drafts: list[Draft], out: Path | None, pattern: str, fields: dict[str, str]) -> tuple[list[Draft], list[str]]:
    """(drafts of which no two have one name, what was done for that, in words)."""
    notices = []
    moved = {} if out is None else in_own_folders(sharing(drafts, pattern, fields), out)
    drafts = [moved.get(draft, draft) for draft in drafts]
    if moved:
        notices.append(f"{len(moved)} results keep the folders of their pictures, which have the same names")
    renamed = 0
    while groups := sharing(drafts, pattern, fields):
        target = printable(filled(groups[0][0], pattern, fields))
        if "{stem}" not in pattern:
            raise UsageError(f"{len(groups[0])} pictures would all become '{target}'; --name needs {{stem}} in it")
        longer = {d: replace(d, stem=short(d.source.path.name, d.source, pattern, fields)) for g in groups for d in g}
        if all(old == new for old, new in longer.items()):
            names = listed(draft.source.path for draft in groups[0])
            raise UsageError(f"{names} would all become '{target}'; upscale them one at a time with -o")
        drafts = [longer.get(draft, draft) for draft in drafts]
        renamed += len(longer)
    if renamed:
        notices.append(f"{renamed} results have their picture's suffix in the name, to tell them apart")
    return drafts, notices


def in_own_folders(groups: list[list[Draft]], out: Path) -> dict[Draft, Draft]:
    """Pictures of one name from several folders: their results keep these folders, from the first that they share."""
    moved: dict[Draft, Draft] = {}
    for group in groups:
        parents = [os.path.abspath(draft.source.path.parent) for draft in group]
        if len(set(parents)) > 1:
            common = os.path.commonpath(parents)
            for draft, parent in zip(group, parents, strict=True):
                moved[draft] = replace(draft, folder=out / os.path.relpath(parent, common))
    return moved


def sharing(drafts: list[Draft], pattern: str, fields: dict[str, str]) -> list[list[Draft]]:
    """The groups of drafts that have one target."""
    groups: dict[str, list[Draft]] = defaultdict(list)
    for draft in drafts:
        target = os.path.abspath(filled(draft, pattern, fields))
        groups[target.casefold() if FOLD_CASE else target].append(draft)
    return [group for group in groups.values() if len(group) > 1]


def check_targets(targets: dict[Path, Path]) -> None:
    """UsageError where a result would replace a picture of this call, by whatever name or link."""
    pictures = {identity(path): path for path in targets}
    for path, target in targets.items():
        replaced = pictures.get(identity(target)) if os.path.lexists(target) else None
        if replaced is not None:
            what = "itself" if replaced == path else f"'{printable(replaced)}', which is to be upscaled too"
            raise UsageError(f"the result of '{printable(path)}' would replace {what}; name a folder with -o")


def identity(path: Path) -> tuple[int, int] | str:
    try:
        about = path.stat()
    except OSError:
        return os.path.abspath(path)
    return about.st_dev, about.st_ino


def results_among(drafts: list[Draft], name: str, pattern: str, fields: dict[str, str]) -> set[Path]:
    """The pictures whose names say that they were made of others of them.

    These are where this call puts the result of another one, in a folder of its own or with the model or scale in its
    name; and those of other models and scales, as far as `Kind` can tell them.
    """
    exact: set[str] = set()
    makers: set[tuple[str, str]] = set()
    for draft in drafts:
        folder, own = os.path.abspath(draft.folder), os.path.abspath(draft.source.path)
        for stem in (draft.stem, draft.source.path.name):
            makers |= {(folder, stem), (os.path.dirname(own), stem)}
            target = os.path.abspath(filled(replace(draft, stem=stem), pattern, fields))
            if target != own and (tells_results(name) or os.path.dirname(target) != os.path.dirname(own)):
                exact.add(target)
    kinds = [kind for each in {name, *DEFAULT_NAMES} if (kind := Kind.of(each, fields["model"])) is not None]
    paths = (draft.source.path for draft in drafts)
    return {path for path in paths if os.path.abspath(path) in exact or any(kind.tells(path, makers) for kind in kinds)}


@dataclass(frozen=True)
class Kind:
    """How results of other calls are known: the folders they are in, what is before the stem and after it.

    With the scale after a letter, as in `a_edsr_x2.png`, of any model and scale; else of this model and any size, as in
    `a_edsr_A2.png`. What `a_1.png` or `a_old_2.png` is, no one knows.
    """

    folders: tuple[str, ...]
    before: str
    after: re.Pattern[str]

    @classmethod
    def of(cls, name: str, model: str) -> "Kind | None":
        """None for a pattern whose results cannot be told."""
        *folders, last = name.replace(os.sep, "/").split("/")
        before, stem, after = last.partition("{stem}")
        lettered = re.search(r"[A-Za-z]\{scale\}", after) is not None
        if not stem or "{" in "".join([*folders, before]) or not (lettered or "{model}" in after):
            return None
        ending = PurePath(after).suffix
        after = after.removesuffix(ending) if ending.lower() in SUFFIXES else after
        parts = {"suffix": r"\w+", "folder": ".+", "stem": ".+", "scale": r"\d[\w.]*", "model": ".+"}
        if not lettered:
            parts |= {"scale": r"[\w.,+-]+", "model": re.escape(model)}
        pieces = [re.escape(text) + (parts[field] if field else "") for text, field, _, _ in parsed(after)]
        return cls(tuple(folders), before, re.compile("".join(pieces)))

    def tells(self, path: Path, makers: set[tuple[str, str]]) -> bool:
        """Is there a picture among `makers`, (folder of its result, stem), of which `path` is the result?"""
        folder = Path(os.path.abspath(path)).parent
        if path.suffix.lower() not in SUFFIXES or not path.name.startswith(self.before):
            return False
        if self.folders and folder.parts[-len(self.folders) :] != self.folders:
            return False
        home, text = str([folder, *folder.parents][len(self.folders)]), path.stem[len(self.before) :]
        return any(
            (home, text[:end]) in makers and self.after.fullmatch(text[end:]) is not None for end in range(1, len(text))
        )
