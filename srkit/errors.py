"""The deliberate errors, and how a wrong word finds the nearest right one.

SrkitError                 exit code 1: something failed
├── UsageError             exit code 2: the words were wrong
│   ├── UnknownName        no component, option, key or folder is called that
│   └── OptionError        the option exists, its value does not fit
├── PluginError            an installed plugin breaks the contract
├── OutputError            what a model makes is no picture of the right size and range, or it fails
├── ImageError             a picture cannot be read or written
├── DataError              a dataset is not what it should be
├── CheckpointError        a weight file is not what it should be
├── FetchError             a file cannot be downloaded
│   └── ChecksumError      another file came than the one that was published
├── NoWeights              a network has no trained weights, and random ones are never used
└── Cancelled              the caller's `cancel` said so
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LISTED = 24  # names, where none is near


class SrkitError(Exception):
    """Base of every deliberate error: one line that names the thing, then the next move."""

    exit_code = 1


class UsageError(SrkitError):
    """What was asked for is wrong: a word, a value, or a combination that does not fit."""

    exit_code = 2
    several: "tuple[UsageError, ...]" = ()  # of which it is made, where there are several


class UnknownName(UsageError):  # noqa: N818 - "unknown name" is how it is said
    """No component, option, key, file or folder is called that."""


class OptionError(UsageError):
    """The option exists, its value does not fit."""


class Mistakes:
    """Collects what several checks refuse, so that all of it is told in one error."""

    def __init__(self) -> None:
        self.found: list[UsageError] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """A UsageError in this block is kept for `tell`."""
        try:
            yield
        except UsageError as error:
            self.found += [each for each in error.several or (error,) if str(each) not in map(str, self.found)]

    def tell(self) -> None:
        """Raise what was found: the one error, or one that tells all of them."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            kind = UnknownName if all(isinstance(each, UnknownName) for each in self.found) else OptionError
            texts = "; ".join(f"({n}) {each}" for n, each in enumerate(self.found, 1))
            error = kind(f"{len(self.found)} mistakes: {texts}")
            error.several = tuple(self.found)
            raise error


class PluginError(SrkitError):
    """An installed plugin breaks the contract."""


class OutputError(SrkitError):
    """What a model makes is no picture: not finite, of a wrong size, not in [0, 1]; or the model fails."""


class ImageError(SrkitError):
    """A picture cannot be read or written."""


class DataError(SrkitError):
    """A dataset is not what it should be."""

    partial: Any = None  # a PairSequence, where only some LR are missing: all HR, with those LR that are there


class CheckpointError(SrkitError):
    """A weight file is not what it should be."""


class FetchError(SrkitError):
    """A file cannot be downloaded."""


class ChecksumError(FetchError):
    """Another file came than the one that was published."""


class NoWeights(SrkitError):  # noqa: N818 - a state of things, not a fault
    """A network has no trained weights here, and random ones are never used."""


class Cancelled(SrkitError):  # noqa: N818 - a state of things, not a fault
    """The caller's `cancel` ended the work; nothing was written."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'edsr'?` where one candidate is near, else a list of them all, else nothing."""
    candidates = sorted(set(candidates))
    lowered = {name.lower(): name for name in candidates}
    near = difflib.get_close_matches(word.lower(), lowered, n=1, cutoff=0.55)
    if near:
        return f"; did you mean '{lowered[near[0]]}'?"
    few = ", ".join(candidates[:LISTED]) + (" ..." if len(candidates) > LISTED else "")
    return f"; there is {few}" if candidates else ""


def missing_path(path: Path, what: str = "file or folder") -> UnknownName:
    """The error for a path that is not there, with the nearest name beside it."""
    folder = path.absolute()
    while not folder.parent.is_dir():
        folder = folder.parent
    near = difflib.get_close_matches(folder.name, [p.name for p in folder.parent.iterdir()], n=1)
    hint = f"; did you mean '{folder.parent / near[0]}'?" if near else f" (looked in '{folder.parent}')"
    return UnknownName(f"no {what} '{path}'{hint}")


@contextmanager
def naming(name: str) -> Iterator[None]:
    """A deliberate error inside names the picture it is about: `'butterfly': 'edsr' x2 makes ...`."""
    try:
        yield
    except SrkitError as error:
        raise type(error)(f"'{name}': {error}") from error.__cause__


def one_line(error: BaseException) -> str:
    """An exception as one line: its type, unless deliberate, and its message without line breaks."""
    try:
        text = " ".join(str(error).split())
    except Exception:  # an error of a plugin may fail to say what it is
        text = ""
    if isinstance(error, SrkitError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
