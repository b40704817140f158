"""What is known of a test set beside its scores, and remembered: what made its LR, what is in its pictures."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from srkit.data.maker import MAKERS, Made, looked_at, made_by, set_made_by, unlike_training
from srkit.data.pairs import shallow
from srkit.evaluate.plan import Cell, ScoredSet
from srkit.evaluate.store import Store
from srkit.evaluate.tags import Tags, tagged

CONTENT_VERSION = 1  # raised when a picture may be in other groups than before
#: Groups that are measured; content.py has the measures, which take long to import.
CONTENT = {
    "flat": "at least two fifths of it have hardly any detail",
    "edges": "long straight edges",
    "repeating": "a texture that repeats at an even distance",
    "text": "lines of letters",
    "dark": "almost half of it is darker than a quarter of the range",
    "compressed": "it was a JPEG of quality 80 or less",
}

OWN = Made(MAKERS[0].kernel, (MAKERS[0].name,))  # what makes LR where a set brings none: MATLAB's, see srkit.imresize


def with_maker(store: Store, tested: ScoredSet) -> ScoredSet:
    """The set with what made its LR; of a few pictures, so that it takes a second at most, once."""
    if tested.pairs is None or not tested.hr:
        return tested
    fact = ["LR maker", tested.dataset, tested.content, tested.scale]
    known = store.recall(fact) if tested.content else None
    if not isinstance(known, dict):
        found = []
        for index in looked_at(len(tested.pairs)):
            try:
                pair = tested.pairs[index]
                if pair.lr is None:
                    break  # it is made, of all pictures
                found.append(made_by(pair.lr, pair.hr, tested.scale))
            except Exception:  # scoring will say what is wrong with this picture
                continue
        made = set_made_by(found).made if found else OWN
        known = {"kernel": made.kernel, "makers": made.makers, "drifts": made.drifts, "given": bool(found)}
        store.remember(fact, known)
    made = Made(known["kernel"], tuple(known["makers"]), known["drifts"])
    return replace(tested, made=made, given=known["given"])


def with_groups(
    store: Store, tested: ScoredSet, *, measured: bool, tags: Tags | None, done: Callable[[str], None]
) -> ScoredSet:
    """The set with its groups of pictures: by folder and by content where `measured`, and by the user's tags.

    A tag replaces the group of that name. done(picture) is called after each picture that had to be looked at.
    """
    names = [picture.name for picture in tested.pictures]
    groups: dict[str, list[str]] = {}
    if measured:
        for number, key in enumerate(hr_keys(store, tested) if tested.hr else ()):
            for group in content_of(store, tested, number, key, done):
                groups.setdefault(group, []).append(names[number])
        groups = {group: groups[group] for group in CONTENT if group in groups}
        for name in names:
            if (folder := name.rpartition("/")[0]) and "/" in name:
                groups.setdefault(f"{folder}/", []).append(name)
    if tags:
        groups |= tagged(tags, tested.name, names)
    return replace(tested, groups=groups)


def content_of(store: Store, tested: ScoredSet, number: int, key: str, done: Callable[[str], None]) -> list[str]:
    """What is in a picture, measured once for all scales; nothing where it cannot be read: scoring will say why."""
    fact = ["content groups", CONTENT_VERSION, key]
    if key and isinstance(known := store.recall(fact), list):
        return known
    from srkit.evaluate.content import groups_in

    try:
        assert tested.pairs is not None
        found = groups_in(shallow(tested.pairs[number].hr))
    except Exception:
        return []
    if key:
        store.remember(fact, found)
    done(f"{tested.name} {tested.pictures[number].name}")
    return found


def hr_keys(store: Store, tested: ScoredSet) -> list[str]:
    """A digest of each picture's HR file, which is the same at all scales; else of the picture."""
    sources = getattr(tested.pairs, "sources", None)
    if callable(sources):
        with suppress(OSError):
            return [store.sha256(files[0]) for _, files in sources()]
    return [picture.content for picture in tested.pictures]


def told(tested: Sequence[ScoredSet], cells: Sequence[Cell]) -> list[str]:
    """A line for each set that brings its LR, and for each model that was trained on LR of another kind."""
    lines = [f"{one.name} x{one.scale}: its LR was made by {one.made.name}" for one in tested if one.given and one.made]
    unlike = [
        (cell.subject.info.name, cell.tested, unlike_training(cell.subject.info.training_lr, cell.tested.made))
        for cell in cells
        if cell.tested.made
    ]
    return lines + [f"{name} x{one.scale} on {one.name}: {why}" for name, one, why in unlike if why]
