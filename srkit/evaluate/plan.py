"""What a benchmark compares: models or folders of ready pictures, test sets, metrics; and what of it is known.

Nothing here imports torch, so that a table of which all is known is printed at once.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.components import PairSequence
from srkit.data.maker import Made
from srkit.data.pairs import open_dataset
from srkit.errors import UsageError, one_line
from srkit.evaluate.given import Matched, Unpaired, leftovers, match, own_pictures
from srkit.evaluate.identity import choose, identity, split_options
from srkit.evaluate.protocol import Protocol
from srkit.evaluate.store import SCORING_VERSION, Kept, Store, digest_of
from srkit.evaluate.table import MetricInfo, ModelInfo, Results, Score, SetInfo
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    import torch

    from srkit.upscale.wrap import Upscale


UNREAD = "it could not be read when the benchmark began"


@dataclass(frozen=True)
class Measure:
    """A metric. name: as the user writes it, `lpips:net=vgg`."""

    name: str
    choice: Choice
    options: Mapping[str, Any] = field(default_factory=dict)  # those that the user set

    @cached_property
    def key(self) -> dict[str, Any]:
        return identity(self.choice)

    @property
    def info(self) -> MetricInfo:
        record = self.choice.component
        return MetricInfo(
            self.name, record.higher_is_better, record.unit, digits=record.digits, reference=record.needs_reference
        )


@dataclass(frozen=True)
class Opened:
    """A subject ready to upscale. parameters: that are trained."""

    upscale: "Upscale"
    parameters: int


@dataclass(frozen=True)
class Subject:
    """What is scored at one scale: a model with its weights, or a folder of ready pictures.

    Attributes:
        key: all that the pictures it makes depend on, but their LR and the scale, as JSON.
        open: loads it onto a device; raises SrkitError. None for a folder of ready pictures.
        given: the folder of ready pictures.
        error: why it cannot be scored at all.
        again: what another process needs to load the same, as JSON: see `srkit.weights.alone.Request`.
    """

    info: ModelInfo
    key: Mapping[str, Any] = field(default_factory=dict)
    open: "Callable[[torch.device], Opened] | None" = None
    given: Path | None = None
    error: str = ""
    again: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """One picture of a set. content: a digest of its files, of pixels where there are none; empty where unreadable."""

    name: str
    content: str


@dataclass(frozen=True)
class ScoredSet:
    """A test set at one scale.

    dataset: what reads it, as JSON. error: why it cannot be read at all. hr: it has HR. ready: it is a folder of ready
    SR pictures, scored by themselves. made: what made its LR, see `srkit.evaluate.traits`. given: it brings LR.
    groups: names of pictures by what is in them.
    """

    name: str
    scale: int
    folder: str = ""
    dataset: Any = None
    pairs: PairSequence | None = None
    pictures: Sequence[Picture] = ()
    error: str = ""
    hr: bool = True
    ready: bool = False
    made: Made | None = None
    given: bool = False
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @cached_property
    def content(self) -> str:
        """A digest of all its pictures; empty where it has none."""
        return digest_of([picture.content for picture in self.pictures]) if self.pictures else ""

    @property
    def info(self) -> SetInfo:
        maker = self.made.name if self.made else ""
        count = len(self.pictures)
        return SetInfo(self.name, self.scale, count, self.content, self.folder, lr_maker=maker, groups=self.groups)


@dataclass(frozen=True)
class Cell:
    """One subject on one set. matched: its ready pictures, where it is a folder of them."""

    subject: Subject
    tested: ScoredSet
    matched: Matched | None = None

    def store_key(self, measure: Measure, protocol: Protocol) -> dict[str, Any]:
        """What a value depends on but the picture."""
        return {
            "scale": self.subject.info.scale,
            "protocol": protocol.name,
            "metric": measure.key,
            "subject": self.subject.key,
            "scoring": SCORING_VERSION,
        }

    @cached_property
    def picture_keys(self) -> dict[str, str]:
        """What a value depends on of each picture, by name; none where it is not known: nothing is kept of it then."""
        found = {}
        for picture in self.tested.pictures:
            made = "" if self.matched is None else self.matched.contents.get(picture.name, "")
            if picture.content and (self.matched is None or made):
                found[picture.name] = digest_of([self.tested.dataset, picture.content, made])
        return found


@dataclass
class Plan:
    """What is compared, in the order of the table.

    failures: by cell, picture and metric, why a value could not be computed. looked_up, small: what the store said.
    part: (k, n) where only the kth of n parts, from 0, is computed.
    """

    cells: Sequence[Cell]
    measures: Sequence[Measure]
    protocol: Protocol
    store: Store
    failures: dict[tuple[int, str, str], str] = field(default_factory=dict)
    looked_up: dict[tuple[int, str], Mapping[str, Kept]] = field(default_factory=dict)
    small: dict[tuple[int, str], str] = field(default_factory=dict)
    counted: dict[tuple[str, int], int] = field(default_factory=dict)  # parameters of what was opened
    part: tuple[int, int] = (0, 1)

    def mine(self, number: int, index: int) -> bool:
        """Is a picture of a cell, both by number, in the part that is computed?"""
        return (number + index) % self.part[1] == self.part[0]

    def known(self, cell: Cell, picture: Picture, measure: Measure) -> Kept | None:
        key = cell.picture_keys.get(picture.name)
        return self.kept(cell, measure).get(key) if key else None

    def kept(self, cell: Cell, measure: Measure) -> Mapping[str, Kept]:
        """What the store has, by the picture's key."""
        mine = id(cell), measure.name
        if mine not in self.looked_up:
            self.looked_up[mine] = self.store.kept(cell.store_key(measure, self.protocol))
        return self.looked_up[mine]

    def missing(self, cell: Cell, picture: Picture) -> list[Measure]:
        """The metrics that a picture is to be scored by, less those that are known; none for one left out."""
        if cell.subject.error or cell.tested.error or self.left_out(cell.tested, picture):
            return []
        return [measure for measure in self.measures if self.known(cell, picture, measure) is None]

    def leave_out(self, tested: ScoredSet, picture: Picture, why: str) -> None:
        """A picture that is too small for the protocol is scored by nobody."""
        self.small[id(tested), picture.name] = why
        if picture.content:
            self.store.remember(["too small", picture.content, tested.scale, self.protocol.name], why)

    def left_out(self, tested: ScoredSet, picture: Picture) -> str:
        """Why a picture is scored by nobody; empty where it is."""
        mine = id(tested), picture.name
        if mine not in self.small:
            fact = ["too small", picture.content, tested.scale, self.protocol.name]
            self.small[mine] = str(self.store.recall(fact) or "") if picture.content else ""
        return self.small[mine]

    def results(self, about: Mapping[str, str]) -> Results:
        """The long table of what is known, and of what failed."""
        scores = [score for number in range(len(self.cells)) for score in self.scores(number)]
        models: dict[tuple[str, int], ModelInfo] = {}
        sets: dict[tuple[str, int], SetInfo] = {}
        for cell in self.cells:
            info, tested = cell.subject.info, cell.tested
            old = models.get((info.name, info.scale))
            counted = old.parameters if old else None
            models[info.name, info.scale] = replace(
                info, parameters=self.parameters(cell) if counted is None else counted
            )
            gone = {picture.name: self.left_out(tested, picture) for picture in tested.pictures}
            left_out = {name: why for name, why in gone.items() if why}
            if tested.name:
                sets[tested.name, tested.scale] = replace(tested.info, left_out=left_out)
        metrics = [measure.info for measure in self.measures]
        return Results(scores, (), metrics, list(models.values()), list(sets.values()), dict(about))

    def scores(self, number: int) -> Iterator[Score]:
        """The rows of one cell."""
        cell = self.cells[number]
        info, tested = cell.subject.info, cell.tested
        one = Score(
            info.name,
            info.scale,
            tested.name,
            image="",
            metric="",
            protocol=self.protocol.name,
            value=None,
            weights=info.weights,
            origin=info.origin,
            content=tested.content,
        )
        pictures = [picture for picture in tested.pictures if not self.left_out(tested, picture)]
        whole = cell.subject.error or tested.error
        if not whole and not pictures:
            whole = next((self.left_out(tested, picture) for picture in tested.pictures), "it has no pictures")
        for measure in self.measures:
            if whole:
                yield replace(one, metric=measure.name, error=whole)
                continue
            for picture in pictures:
                named = replace(one, image=picture.name, metric=measure.name)
                if kept := self.known(cell, picture, measure):
                    yield replace(named, value=kept.value, seconds=kept.seconds)
                else:
                    why = self.failures.get((number, picture.name, measure.name), UNREAD)
                    yield replace(named, error=why)

    def parameters(self, cell: Cell) -> int | None:
        """As whoever computed a value counted them; of a model without values as it was opened."""
        known = next((kept.parameters for kept in self.all_kept(cell) if kept.parameters is not None), None)
        return self.counted.get((cell.subject.info.name, cell.subject.info.scale)) if known is None else known

    def conditions(self) -> list[str]:
        """Devices, threads and torch versions of all that is in the table."""
        return sorted({kept.where for cell in self.cells for kept in self.all_kept(cell) if kept.where})

    def all_kept(self, cell: Cell) -> Iterator[Kept]:
        for measure in self.measures:
            for picture in cell.tested.pictures:
                if kept := self.known(cell, picture, measure):
                    yield kept


def cells(store: Store, subjects: Sequence[Subject], tested: Sequence[ScoredSet]) -> tuple[list[Cell], list[str]]:
    """Each set with each subject of its scale, and notices.

    A subject that cannot be scored at all is one cell, before the others.
    A folder of ready pictures goes with the sets and scales that it has a picture of; it has a cell with an error where
    there is none at all.
    """
    found: list[Cell] = []
    matched: dict[int, list[tuple[str, Matched]]] = {number: [] for number in range(len(subjects))}
    for one in tested:
        for number, subject in enumerate(subjects):
            if subject.info.scale != one.scale or subject.error or (one.ready and one.folder != str(subject.given)):
                continue
            if subject.given is None:
                found.append(Cell(subject, one))
                continue
            names = [picture.name for picture in one.pictures] if one.hr else []
            files = match(
                subject.given, one.name, names, one.scale, store.sha256, others=[each.name for each in tested]
            )
            files = own_pictures(subject.given, store.sha256) if one.ready else files
            matched[number].append((one.name, files))
            if files.any or one.error:
                found.append(Cell(subject, one, files))
    notices: list[str] = []
    broken = [Cell(subject, ScoredSet("", subject.info.scale)) for subject in subjects if subject.error]
    used = {subjects[number].info.name for number, sets in matched.items() if any(files.any for _, files in sets)}
    for number, subject in enumerate(subjects):
        if subject.given and subject.info.name in used:
            notices += leftovers(subject.info.name, subject.info.scale, matched[number])
        elif subject.given:
            used.add(subject.info.name)  # it is told once
            why = f"no picture in '{subject.given}' is called as one of the sets', as baby.png or baby_x2.png"
            broken.append(Cell(replace(subject, error=why), ScoredSet("", subject.info.scale)))
    return [*broken, *found], notices


def measure_named(registry: Registry, store: Store, word: str) -> Measure:
    """`psnr`, `package:psnr`, `lpips:net=vgg:version=0.1`. Raises UnknownName, OptionError."""
    name, options = split_options(word)
    return Measure(word, choose(registry, store, "metric", name, options), options)


def open_set(store: Store, name: str, choice: Choice, folder: Path | None, scale: int) -> ScoredSet:
    """A set at one scale, with what tells its pictures; one that cannot be read has an error."""
    where = str(folder or "")
    entry = choice.entry
    about = [entry.qualified, entry.version, choice.options]
    try:
        pairs = open_dataset(choice, folder, "test", scale)
        return ScoredSet(name, scale, where, about, pairs, pictures_of(pairs, store))
    except UsageError:
        raise
    except Exception as error:  # whatever its plugin raises
        return ScoredSet(name, scale, where, about, error=one_line(error))


def without_hr(store: Store, folder: Path, scale: int, *, low_res: bool, name: str) -> ScoredSet:
    """A folder of LR pictures, or of ready SR pictures that are scored by themselves. Raises DataError."""
    pairs = Unpaired(folder, low_res)
    about = ["without HR", low_res]
    pictures = pictures_of(pairs, store)
    return ScoredSet(name, scale, str(folder), about, pairs, pictures, hr=False, ready=not low_res)


def check_references(measures: Sequence[Measure], tested: Sequence[ScoredSet]) -> None:
    """Raises UsageError for a metric that compares with HR where a set has none."""
    for measure in measures:
        for one in tested:
            if measure.info.reference and not one.hr:
                raise UsageError(
                    f"metric '{measure.name}' compares with HR, and '{one.folder}' has none: name metrics that need no "
                    "reference with --metrics ('srkit plugins --kind metric' says which), or sets that have HR"
                )


def pictures_of(pairs: PairSequence, store: Store) -> list[Picture]:
    """Names and contents, from the files where the dataset says them, else by reading each picture."""
    sources = getattr(pairs, "sources", None)
    if callable(sources):
        found = [Picture(name, files_content(files, store)) for name, files in sources()]
    else:
        found = [picture_of(pairs, index) for index in range(len(pairs))]
    names = Counter(picture.name for picture in found)
    return [
        picture if names[picture.name] == 1 else replace(picture, name=f"{picture.name} ({number})")
        for number, picture in enumerate(found, 1)
    ]


def files_content(files: Sequence[Path], store: Store) -> str:
    try:
        return digest_of([store.sha256(file) for file in files])
    except OSError:  # reading it as a picture will say why
        return ""


def picture_of(pairs: PairSequence, index: int) -> Picture:
    """By the pixels of a picture."""
    import hashlib

    try:
        pair = pairs[index]
        digest = hashlib.sha256()
        for pixels in (pair.hr, pair.lr):
            digest.update(repr(getattr(pixels, "shape", None)).encode())
            if pixels is not None:
                digest.update(pixels.tobytes())
        return Picture(pair.name, digest.hexdigest()[:24])
    except Exception:  # scoring will say what is wrong
        return Picture(f"picture {index + 1}", "")
