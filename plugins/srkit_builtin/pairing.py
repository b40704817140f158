"""Which picture is HR, and which is whose LR: by the names of folders and files, by sizes where names do not say."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from srkit import DataError, ImageError, UsageError, image_size, read_rgb

HR_WORDS = {"hr", "gt", "hq", "highres", "hires", "highresolution", "groundtruth"}
LR_WORDS = {"lr", "lq", "lowres", "lores", "lowresolution"}
TWO_WORDS = {("high", "res"): "highres", ("hi", "res"): "hires", ("high", "resolution"): "highresolution",
             ("ground", "truth"): "groundtruth", ("low", "res"): "lowres", ("lo", "res"): "lores",
             ("low", "resolution"): "lowresolution"}  # fmt: skip
#: `bicLRx4`, `LRbicx4`, `LRBI`, `LR4`, `trainL`; of HR `GTmod12`, `trainH`
LR_WORD = re.compile(
    r"(?:bic|bicubic)?lr(?:bicubic|bic|bi|bd|dn|unknown)?(?:x?(\d))?|(?:train|test|val|valid)(?:lr|l|lq)"
)
HR_WORD = re.compile(r"hrx?\d?|gt(?:mod\d+)?|(?:train|test|val|valid)(?:hr|h|gt)")
SCALE_WORD = re.compile(r"x(\d{1,2})|(\d{1,2})x|(?:bicubic|bic|unknown|srf)x?(\d)")
#: said of HR or of LR by one and of anything by another: no part of a picture's name, and no proof either
WEAK = {"bicubic", "bic", "unknown", "mild", "difficult", "wild", "nearest", "original", "orig", "input", "inputs",
        "target", "targets", "label", "labels", "source", "small", "large", "big", "tiny", "low", "high", "h", "l",
        "srf", "bi", "bd", "dn", "mod12"}  # fmt: skip
SPLITS = {"train": "train", "training": "train", "valid": "valid", "val": "valid", "validation": "valid",
          "test": "test", "testing": "test"}  # fmt: skip
STAND_IN = {"valid": "test", "test": "valid"}
FEW = 6  # files with a word in common, so that the word may be their picture's name
LOOKED_AT = 8  # pictures whose LR for other scales is looked at: a folder is called wrongly for all of them
ALIKE = 0.5  # correlation with the shrunk HR, where two names are not enough
WAY_OUT = ("say it: --set data.hr_dir=FOLDER --set data.lr_dir=FOLDER, or data.lr_template='{stem}_x{scale}'; "
           "all are HR with data.hr_dir=. and data.lr_dir=none")  # fmt: skip
NAMED = 3  # files, where a line speaks of many


@dataclass(frozen=True)
class Named:
    """What is read off one text: its own words, lower case, and what it says of role, scale and split."""

    words: tuple[str, ...]
    role: str = ""
    scale: int | None = None
    split: str = ""


@dataclass(frozen=True)
class Item:
    """A file, and what its path says.

    key: its picture's name, without what says HR, LR, scale or split. role: "hr" or "lr"; "torn" where its folder says
    one and its name the other; "aside" where it is not to be used; empty where nothing is said. folder_role: what its
    folder alone says.
    """

    path: Path
    folder: tuple[str, ...]
    stem: str
    role: str = ""
    folder_role: str = ""
    folder_scale: int | None = None
    stem_scale: int | None = None
    split: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        return (*self.folder, self.stem)

    @property
    def lr_scale(self) -> int | None:
        """The scale it is an LR of, as far as it says."""
        return self.stem_scale if self.folder_scale is None else self.folder_scale


@dataclass
class Matched:
    """hr[i] and lr[i] are a pair; lr[i] is None where there is no LR. The rest is what is used for nothing."""

    hr: list[Item] = field(default_factory=list)
    lr: list[Item | None] = field(default_factory=list)
    lone: list[Item] = field(default_factory=list)  # LR without HR
    elsewhere: list[Item] = field(default_factory=list)  # LR for other scales, some of it
    strays: list[Item] = field(default_factory=list)  # neither, where others are named HR
    scales: set[int] = field(default_factory=set)  # of LR that is of another scale
    by_size: bool = False
    all_lr: bool = False  # HR is named LR as well, so that an LR without HR may be an HR without LR

    def add(self, hr: Item, lr: Item | None) -> None:
        self.hr.append(hr)
        self.lr.append(lr)


@cache
def named(text: str, stem: bool) -> Named:
    """Read a folder's name or a file's stem."""
    words = [word for word in re.split(r"[ _.\-]+", text.lower()) if word]
    merged: list[str] = []
    for word in words:
        if merged and (merged[-1], word) in TWO_WORDS:
            merged[-1] = TWO_WORDS[merged[-1], word]
        else:
            merged.append(word)
    own, roles, scale, split, before = [], set(), None, "", ""
    for word in merged:
        if word in HR_WORDS or HR_WORD.fullmatch(word):
            roles.add("hr")
        elif word in LR_WORDS or (lr := LR_WORD.fullmatch(word)):
            roles.add("lr")
            if word not in LR_WORDS and lr and lr[1]:
                scale = int(lr[1])
        elif found := SCALE_WORD.fullmatch(word):
            scale = int(next(filter(None, found.groups())))
        elif word.isdecimal() and (before == "srf" or (not stem and merged == [word] and len(word) == 1)):
            scale = int(word)
        elif not stem and word in SPLITS:
            split = SPLITS[word]
        elif stem and (end := re.fullmatch(r"(.+?)x(\d)", word)):
            own.append(end[1])
            scale = int(end[2])
        elif word not in WEAK:
            own.append(word)
        if not stem and (start := re.match(r"(train|test|valid|val)(?=hr|lr|h$|l$|gt|lq)", word)):
            split = SPLITS[start[1]]
        before = word
    role = roles.pop() if len(roles) == 1 else ""
    return Named(tuple(own), role, scale if scale != 1 else None, split)


def item_of(path: Path, base: Path, template: re.Pattern[str] | None = None) -> Item:
    """What a file's path below `base` says. template: how an LR is named, if the user has said it."""
    relative = path.relative_to(base)
    folders = [named(part, False) for part in relative.parts[:-1]]
    role = next((f.role for f in reversed(folders) if f.role), "")
    scale = next((f.scale for f in reversed(folders) if f.scale), None)
    split = next((f.split for f in reversed(folders) if f.split), "")
    words = tuple(word for f in folders for word in f.words)
    if not role and any(re.fullmatch(r"[xX]\d", part) for part in relative.parts[:-1]):
        role = "lr"  # a folder `X2` by itself
    placed = partial(Item, path, words, folder_scale=scale, split=split)
    if template is not None:
        if lr := template.fullmatch(relative.stem):
            said = lr.groupdict().get("scale")
            return placed(stem=lr["stem"].lower(), role="lr", folder_role="lr", stem_scale=int(said) if said else None)
        return placed(stem=relative.stem.lower(), role=role, folder_role=role)
    own = named(relative.stem, True)
    return placed(stem=" ".join(own.words), role=own.role or role, folder_role=role, stem_scale=own.scale)


def of_split(items: Sequence[Item], split: str) -> list[Item]:
    """Those of a split where folders say any, what is in none set aside; valid and test stand in for each other."""
    for wanted in (split, STAND_IN.get(split, "")):
        if wanted and any(item.split == wanted for item in items):
            mine = [item for item in items if item.split in (wanted, "")]
            return [item if item.split else replace(item, role="aside") for item in mine]
    return list(items)


def match(items: Sequence[Item], scale: int, *, make: bool = False) -> Matched:
    """Pair what belongs together.

    make: the LR that is there is not wanted; HR is then told apart from it, and nothing has to be complete.
    Raises DataError, naming the files, where it is not certain what belongs together, or a partner is missing.
    """
    items = same_names(items)
    hr_keys = {item.key for item in items if item.role != "lr"}
    groups: dict[tuple[str, ...], list[Item]] = defaultdict(list)
    for item in items:
        item = numbered_lr(item, hr_keys)
        groups[item.key].append(item)
    # What a file's own name says is believed where the same picture has another role too; else what its folder says.
    for key, group in groups.items():
        if len({item.role for item in group}) == 1 and group[0].role in ("hr", "lr"):
            agree = all(item.folder_role in ("", item.role) for item in group) or {i.folder_role for i in items} == {
                "hr"
            }
            groups[key] = [replace(item, role=item.folder_role if agree else "torn") for item in group]
    hrs = [item for group in groups.values() for item in group if item.role == "hr"]
    hr_folders, hr_keys = any(item.folder_role == "hr" for item in hrs), {item.key for item in hrs}
    found = Matched()
    for group in groups.values():
        aside = ("aside", "") if hr_folders or varies(group[0], hr_keys) else ("aside",)
        found.strays += [item for item in group if item.role in aside]
        group = [item for item in group if item.role not in aside]
        if group:
            match_group(group, scale, make, found)
    match_rest(found, scale, make)
    if not make:
        check_roles(found, scale)
    return found


def all_hr(items: Sequence[Item]) -> Matched:
    """Where the user has said which folder is HR, and that LR is to be made: all in it are HR, whatever their names."""
    found = Matched()
    for item in items:
        if item.role == "hr":
            found.add(item, None)
        elif item.role != "lr":
            found.strays.append(item)
    return found


def same_names(items: Sequence[Item]) -> list[Item]:
    """Where HR and LR folders have the same names, but for the scale, words such as `lr` in names say nothing."""
    hrs = {(item.folder, item.path.stem.lower()) for item in items if item.folder_role == "hr"}
    found: dict[Path, Item] = {}
    taken = set()
    for item in items:
        if item.folder_role == "lr":
            raw = item.path.stem.lower()
            for name in (raw, re.sub(r"[ _.\-]?x\d$", "", raw)):
                if (item.folder, name) in hrs:
                    found[item.path] = replace(item, stem=f"={name}", role="lr")
                    taken.add((item.folder, name))
                    break
    for item in items:
        if item.folder_role == "hr" and (item.folder, item.path.stem.lower()) in taken:
            found[item.path] = replace(item, stem=f"={item.path.stem.lower()}", role="hr")
    return [found.get(item.path, item) for item in items]


def numbered_lr(item: Item, hr_keys: set[tuple[str, ...]]) -> Item:
    """An LR called `0_2` of an HR called `0`, by the name of HR and its scale."""
    name, _, number = item.stem.rpartition(" ")
    if item.role != "lr" or item.key in hr_keys or not re.fullmatch("[2-9]", number):
        return item
    plain = replace(item, stem=name, stem_scale=int(number))
    return plain if plain.key in hr_keys else item


def varies(item: Item, hr_keys: set[tuple[str, ...]]) -> bool:
    """Has it the name of a picture that is there as HR, and more: another program's result of it, say?"""
    words = item.stem.split(" ")
    return any((*item.folder, " ".join(words[:n])) in hr_keys for n in range(1, len(words)))


def match_group(group: list[Item], scale: int, make: bool, found: Matched) -> None:
    """Files of one name: their roles by what folders and names say, by size where they say nothing."""
    hrs = [item for item in group if item.role == "hr"]
    lrs = [item for item in group if item.role == "lr"]
    free = [item for item in group if item.role in ("", "torn")]
    found.scales |= {item.lr_scale for item in lrs if item.lr_scale not in (None, scale)}
    mine = [item for item in lrs if item.lr_scale in (None, scale)]
    mine = [item for item in mine if item.lr_scale == scale] or mine
    if hrs:
        found.strays += free
    elif not lrs and len(free) > 1:
        match_sizes(free, scale, make, found)
        return
    elif not free and any(fits(hr.path, lr.path, scale) for hr in mine for lr in mine):
        match_sizes(mine, scale, make, found)  # a folder said LR of both
        found.all_lr = True
        return
    else:
        hrs = free
    if not hrs:
        found.lone += mine
        found.elsewhere += [lr for lr in lrs if lr not in mine]
        return
    if len(mine) > 1 and not make:
        raise DataError(f"{both(mine)} may both be the LR x{scale} of '{hrs[0].path}'; "
                        "say which folder it is: --set data.lr_dir=FOLDER")  # fmt: skip
    if not mine and not make and len(found.hr) < LOOKED_AT:
        found.elsewhere += lrs
    lr = mine[0] if mine else None
    chosen = one_hr(hrs, lr, scale, make)
    for hr in chosen:
        found.add(hr, lr)
    found.strays += [hr for hr in hrs if hr not in chosen]


def one_hr(hrs: list[Item], lr: Item | None, scale: int, make: bool) -> list[Item]:
    """The HR of an LR where several have its name; all of them where there is no LR."""
    if len(hrs) == 1:
        return hrs
    of_scale = [hr for hr in hrs if hr.folder_scale == scale] or [hr for hr in hrs if hr.folder_scale is None]
    if not of_scale:
        raise DataError(f"{both(hrs)} are HR for other scales, and there is none for x{scale}; "
                        "say which folder it is: --set data.hr_dir=FOLDER")  # fmt: skip
    if len(of_scale) == 1 or lr is None:
        return of_scale
    size = size_of(lr.path)
    fitting = [hr for hr in of_scale if size and size_of(hr.path) == (size[0] * scale, size[1] * scale)] or of_scale
    plain = [hr for hr in fitting if "orig" not in hr.path.parent.name.lower()] or fitting
    if len(plain) > 1 and not make:
        raise DataError(f"{both(plain)} may both be the HR of '{lr.path}'; "
                        "say which folder it is: --set data.hr_dir=FOLDER")  # fmt: skip
    return plain


def match_sizes(group: list[Item], scale: int, make: bool, found: Matched) -> None:
    """Files of one name that do not say what they are."""
    pairs = [(hr, lr) for hr in group for lr in group if fits(hr.path, lr.path, scale)]
    others = {
        lr.path: lr.lr_scale
        for hr in group for lr in group
        if lr.lr_scale not in (None, scale) and hr.lr_scale != lr.lr_scale and fits(hr.path, lr.path, lr.lr_scale)
    }  # fmt: skip
    said = [(hr, lr) for hr, lr in pairs if lr.lr_scale == scale] or pairs
    if len(said) == 1:
        hr, lr = said[0]
        rest = [item for item in group if item not in (hr, lr) and item.path not in others]
        if not rest:
            if not make:
                check_is_no_result(hr.path, lr, scale)
            found.add(hr, lr)
            found.by_size = True
            found.scales |= {other for other in others.values() if other}
            return
        said.append((rest[0], lr))
    claims = [
        (lr, hr) for lr in group for hr in group
        if lr.lr_scale == scale and hr.lr_scale is None and smaller(lr.path, hr.path)
    ]  # fmt: skip
    if not said and claims and not make:
        lr, hr = claims[0]
        raise DataError(f"{spoken(lr)} is not {spoken(hr)} divided by {scale}, as its name says; {WAY_OUT}")
    if said and not make:
        (hr, lr), (second, _) = said[:2]
        raise DataError(f"{spoken(hr)}, {spoken(lr)} and {spoken(second)} have one name, and it is not certain "
                        f"which are HR and LR x{scale}; {WAY_OUT}")  # fmt: skip
    found.scales |= {other for other in others.values() if other}
    for item in group:
        if item.path not in others and not any(item is lr for _, lr in pairs):
            found.add(item, None)


def match_rest(found: Matched, scale: int, make: bool) -> None:
    """HR without LR beside files that are of no use so far: pairs where name and size fit, all of them or none."""
    wanting = [hr for hr, lr in zip(found.hr, found.lr, strict=True) if lr is None]
    candidates = related(wanting, [*found.lone, *found.strays, *wanting], scale)
    lr_of: dict[Path, Item] = {}
    for hr, lrs in candidates:
        lrs = [lr for lr in lrs if lr.path not in {other.path for other in lr_of.values()}] or lrs
        best = max(shared(hr, lr) for lr in lrs)
        near = [lr for lr in lrs if shared(hr, lr) == best]
        if len(near) > 1 and not make:
            raise DataError(f"{both(near)} may both be the LR x{scale} of '{hr.path}'; {WAY_OUT}")
        lr_of[hr.path] = near[0]
    if not lr_of:
        return
    unsaid = [(path, lr) for path, lr in lr_of.items() if lr.role != "lr"]
    if scale == 1 and unsaid:
        if make:
            return
        path, lr = unsaid[0]
        raise DataError(f"'{path}' and '{lr.path}' may be a pair, by name and size, and at x1 that does not tell "
                        f"HR from LR; {WAY_OUT}")  # fmt: skip
    for path, lr in lr_of.items():
        if not make:
            check_is_no_result(path, lr, scale)
        if lr.role == "hr" and not make:
            raise DataError(f"{spoken(lr)} would be HR by its name, but it is '{path}' divided by {scale}; {WAY_OUT}")
    used = {lr.path for lr in lr_of.values()}
    left = [hr for hr in wanting if hr.path not in lr_of and hr.path not in used]
    twice = len(used) < len(lr_of) or used & lr_of.keys()
    if left or twice:
        if make:
            return
        path, lr = next(iter(lr_of.items()))
        why = f"'{left[0].path}' has no such partner" if left else "not each has one of its own"
        raise DataError(f"{spoken(lr)} may be the LR x{scale} of '{path}', by name and size, but {why}; {WAY_OUT}")
    pairs = [
        (hr, lr_of.get(hr.path, lr)) for hr, lr in zip(found.hr, found.lr, strict=True) if hr.path not in used
    ]  # fmt: skip
    found.hr, found.lr = [hr for hr, _ in pairs], [lr for _, lr in pairs]
    found.lone = [item for item in found.lone if item.path not in used]
    found.strays = [item for item in found.strays if item.path not in used]
    found.by_size = True


def check_is_no_result(hr: Path, lr: Item, scale: int) -> None:
    """`bird_bicubic_x2.png` beside `bird.png`, half its size, is what a program has made of it, and no HR."""
    if named(hr.stem, True).scale == scale and not named(lr.path.stem, True).scale:
        longer, name = hr.stem.lower(), lr.path.stem.lower()
        if longer != name and longer.startswith(name):
            raise DataError(f"'{hr}' is, by its name and size, '{lr.path}' made {scale} times larger, and no HR; move "
                            f"results elsewhere, or {WAY_OUT}")  # fmt: skip


def check_roles(found: Matched, scale: int) -> None:
    """What names say, sizes must not deny: HR that is the LR of another file, or LR of this scale that says another."""
    torn = any(item.role == "torn" for item in found.hr)
    if (found.all_lr or torn) and (lone := [*found.lone, *found.elsewhere]):
        said = f"has no partner, and folders and names do not say which are HR and which LR x{scale}"
        raise DataError(f"'{lone[0].path}' {said}; {WAY_OUT}")
    for hr, lr in zip(found.hr, found.lr, strict=True):
        if hr.role == "torn" and lr is None:
            raise DataError(f"'{hr.path}' is {hr.folder_role.upper()} by its folder, and not by its name; {WAY_OUT}")
    alone = [hr for hr, lr in zip(found.hr, found.lr, strict=True) if lr is None]
    for hr, lrs in related(alone, found.elsewhere, scale):
        said = f"is for x{lrs[0].lr_scale} by its name"
        raise DataError(f"{spoken(lrs[0])} {said}, but it is {spoken(hr)} divided by {scale}; {WAY_OUT}")
    if scale == 1:  # any picture has the size of its results
        return
    for hr, lrs in related([*found.strays, *found.elsewhere, *found.lone], found.hr, scale):
        said = "would be HR by its name"
        raise DataError(f"{spoken(lrs[0])} {said}, but it is {spoken(hr)} divided by {scale}; {WAY_OUT}")


def related(wanting: Sequence[Item], spare: Sequence[Item], scale: int) -> list[tuple[Item, list[Item]]]:
    """For each HR the files that may be its LR: of its name in any folder.

    Or of its name with something added, or with a word in common that few have, where they look alike.
    """
    by_stem: dict[str, list[Item]] = defaultdict(list)
    by_word: dict[str, list[Item]] = defaultdict(list)
    for hr in wanting:
        by_stem[hr.stem].append(hr)
        for word in set(hr.stem.split(" ")):
            by_word[word].append(hr)
    found: dict[Path, tuple[Item, list[Item]]] = {}
    for lr in spare:
        same = [hr for hr in by_stem.get(lr.stem, ()) if hr.path != lr.path and fits(hr.path, lr.path, scale)]
        if not same:
            cuts = {(lr.stem[:i], lr.stem[i:]) for i in range(1, len(lr.stem))}
            cuts |= {(rest, name) for name, rest in cuts}
            named = [by_stem.get(name.strip(" "), []) for name, rest in cuts if re.search(r"[^\W\d]", rest)]
            if scale > 1:  # at x1 the next photograph has the size too
                named += [hrs for word in set(lr.stem.split(" ")) if len(hrs := by_word.get(word, [])) <= FEW]
            near = {hr.path: hr for hrs in named for hr in hrs if hr.path != lr.path}.values()
            same = [hr for hr in near if fits(hr.path, lr.path, scale) and alike(hr.path, lr.path, scale)]
        for hr in {hr.path: hr for hr in same}.values():
            found.setdefault(hr.path, (hr, []))[1].append(lr)
    return list(found.values())


def shared(hr: Item, lr: Item) -> int:
    """How many words their folders have in common."""
    return len(set(hr.folder) & set(lr.folder))


def check_complete(found: Matched, scale: int) -> None:
    """Each HR has an LR, where any has. DataError names those that have none."""
    alone = [hr for hr, lr in zip(found.hr, found.lr, strict=True) if lr is None]
    if not alone:
        return
    some = next((lr for lr in found.lr if lr), None) or found.lone[0]
    stem = alone[0].path.stem
    more = f", nor have {len(alone) - 1} more" if len(alone) > 1 else ""
    raise DataError(f"'{alone[0].path}' has no LR partner '{stem}x{scale}' or '{stem}' in '{some.path.parent}'{more}; "
                    "add it, remove the HR picture, or have all LR made: --set data.lr_dir=none")  # fmt: skip


def both(items: Sequence[Item]) -> str:
    return f"'{items[0].path}' and '{items[1].path}'"


@cache
def size_of(path: Path) -> tuple[int, int] | None:
    """(height, width), None where it cannot be read; reading it as a picture will say why."""
    try:
        return image_size(path)
    except ImageError:
        return None


def spoken(item: Item) -> str:
    size = size_of(item.path)
    return f"'{item.path}' ({f'{size[1]}x{size[0]}' if size else 'unreadable'})"


def fits(hr: Path, lr: Path, scale: int | None) -> bool:
    """Is one file's size the other's divided by the scale, rounded down or up? At x1: have both one size?"""
    if scale is None or hr == lr or not (large := size_of(hr)) or not (small := size_of(lr)):
        return False
    return all(n in (m // scale, -(-m // scale)) and n for m, n in zip(large, small, strict=True)) and (
        scale == 1 or small != large
    )


def smaller(one: Path, other: Path) -> bool:
    sizes = size_of(one), size_of(other)
    return all(n < m for n, m in zip(sizes[0], sizes[1], strict=True)) if sizes[0] and sizes[1] else False


def alike(hr: Path, lr: Path, scale: int) -> bool:
    """Does the LR show what the HR shows?"""
    try:
        large, small = read_rgb(hr), read_rgb(lr)
    except ImageError:
        return False
    height, width = large.shape[0] // scale, large.shape[1] // scale
    if not height or not width:
        return False
    squares = large[: height * scale, : width * scale].reshape(height, scale, width, scale, 3)
    made = squares.mean(axis=(1, 3)).ravel()
    given = small[:height, :width].astype(float).ravel()
    if made.shape != given.shape or not made.std() or not given.std():
        return made.shape == given.shape and bool(np.abs(made - given).mean() < 8)
    return bool(np.corrcoef(made, given)[0, 1] > ALIKE)


def template_of(text: str) -> re.Pattern[str]:
    """`{stem}_bicLRx{scale}` as a pattern. UsageError where it is no template."""
    suffixless = re.sub(r"\.(png|jpe?g|bmp|webp|tiff?)$", "", text, flags=re.IGNORECASE)
    parts = re.split(r"(\{\w*\})", suffixless)
    unknown = [part for part in parts if part.startswith("{") and part not in ("{stem}", "{scale}")]
    if parts.count("{stem}") != 1 or parts.count("{scale}") > 1 or unknown or "/" in text:
        raise UsageError(f"lr_template = '{text}': write how an LR file is named, with {{stem}} for its HR's name and "
                         "{scale} for the scale, such as '{stem}_bicLRx{scale}'")  # fmt: skip
    known = {"{stem}": r"(?P<stem>.+)", "{scale}": r"(?P<scale>\d+)"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.IGNORECASE)


def few(paths: Iterable[Path], root: Path) -> str:
    """The first of these names, in words."""
    names = [str(path.relative_to(root)) if path.is_relative_to(root) else str(path) for path in paths]
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
