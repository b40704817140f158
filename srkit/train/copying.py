"""The copy of a run at an address: what a fresh machine goes on from.

Of the run's folder it has run.toml, log.jsonl, `best`, `last` and the newest training states. A thread of its own
writes it while the training goes on: after each state that is written here the newest one, so that a slow address gets
fewer states. A state is complete there before an older one is removed.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from shutil import copyfileobj
from typing import Any

from safetensors import SafetensorError, safe_open

from srkit.data.shards import file_system, is_local
from srkit.errors import SrkitError, UsageError, one_line
from srkit.files import lock_of, locked, remove_leftovers, temporary_of, write_atomically
from srkit.progress import QUIET_SECONDS, Meter, say
from srkit.run import Run, read_run_file
from srkit.train import state

RUN, LOG, BEST, LAST = "run.toml", "log.jsonl", "best.safetensors", "last.safetensors"
CHUNK = 1 << 24
CHANGEABLE = ("steps", "precision")  # by a resume


class Place:
    """A folder at an address that fsspec knows, or a path here. UsageError where its kind is not known."""

    def __init__(self, word: str):
        self.word = word.rstrip("/")
        self.files, path = file_system(self.word)
        self.path = path.rstrip("/")
        self.local = is_local(self.files)

    def names(self) -> list[str]:
        """Of the files in it, sorted; none where it is not there. SrkitError where it cannot be read."""
        try:
            self.files.invalidate_cache()
            return sorted(path.rstrip("/").rpartition("/")[2] for path in self.files.ls(self.path, detail=False))
        except FileNotFoundError:
            return []
        except Exception as error:  # every file system raises its own
            raise SrkitError(f"'{self.word}' cannot be read: {one_line(error)}") from None

    def get(self, name: str, target: Path, progress: Callable[[int, int | None], None]) -> None:
        """Copy a file from there. SrkitError where it cannot be read or written."""
        source = f"{self.path}/{name}"
        try:
            size, done = self.files.size(source), 0
            with self.files.open(source, "rb") as read, open(target, "wb") as written:
                while chunk := read.read(CHUNK):
                    written.write(chunk)
                    done += len(chunk)
                    progress(done, size)
                written.flush()
                os.fsync(written.fileno())
        except Exception as error:
            raise SrkitError(
                f"'{self.word}/{name}' cannot be brought to '{target.parent}': {one_line(error)}"
            ) from None

    def put(self, source: Path) -> None:
        """Copy a file there, of a log its whole lines. A file shows under its name when it is whole, on an object store
        and on a disk. It raises what the file system does.
        """
        target = f"{self.path}/{source.name}"
        if source.name == LOG:
            lines = source.read_bytes()
            lines = lines[: lines.rfind(b"\n") + 1]
            if not self.local:
                self.files.pipe_file(target, lines)
                return
        if not self.local:
            self.files.put_file(str(source), target)
            return
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        with open(source, "rb") as read:
            write_atomically(Path(target), lambda file: copyfileobj(read, file, CHUNK))


class Copier:
    """Keeps the copy of the run in `folder` at `place`.

    failure: why what the folder holds is not all there; empty while nothing is wrong.
    """

    def __init__(self, folder: Path, place: Place):
        self.folder, self.place = folder, place
        self.failure = ""
        self.sent: dict[str, tuple[int, int]] = {}  # name -> time and size of the file that is there
        self.thread = ThreadPoolExecutor(1, "srkit-copy")
        self.queued: Future[None] | None = None
        if place.local:
            remove_leftovers(Path(place.path))  # of a copy that was killed

    def offer(self) -> None:
        """Copy what the folder holds, after the copy that is being made, if one is. It does not wait."""
        if self.queued is None or self.queued.running() or self.queued.done():
            self.queued = self.thread.submit(self.attempt)

    def attempt(self) -> None:
        try:
            self.copy()
            self.failure = ""
        except Exception as error:  # every file system raises its own
            self.failure = f"'{self.place.word}' cannot be written: {one_line(error)}"

    def copy(self) -> None:
        newest = state.states(self.folder)[-1:]
        for path in (self.folder / RUN, self.folder / BEST, *newest):
            self.put(path)
        if newest and newest[0].name in self.sent:
            self.forget()
        for name in (LAST, LOG):
            self.put(self.folder / name)

    def forget(self) -> None:
        """Remove the states there that are no more here. Where nothing may be removed, they stay."""
        here = {path.name for path in state.states(self.folder)}
        with suppress(Exception):  # every file system raises its own
            for name in self.place.names():
                if name.startswith("state-") and name not in here:
                    self.place.files.rm_file(f"{self.place.path}/{name}")

    def put(self, path: Path) -> None:
        """Where it is not there as it is here. One that has just been removed has a newer one that follows."""
        try:
            about = path.stat()
            if self.sent.get(path.name) != (about.st_mtime_ns, about.st_size):
                self.place.put(path)
                self.sent[path.name] = (about.st_mtime_ns, about.st_size)
        except FileNotFoundError:
            if path.exists():
                raise

    def close(self, tell: Callable[[str], None]) -> None:
        """Wait until all is there. SrkitError where it is not."""
        if self.queued is not None and wait([self.queued], QUIET_SECONDS).not_done:
            tell(f"copying the last state to {self.place.word}")
        self.thread.shutdown()
        if self.failure:
            raise SrkitError(
                f"{self.failure}. '{self.folder}' holds the whole run; this copies it when the address answers: "
                f"srkit train --resume {quote(str(self.folder))} --copy-to {quote(self.place.word)}"
            )


def place_of(word: str, folder: Path | None) -> Place:
    """The place of a copy. UsageError where it is the folder of the run itself."""
    place = Place(word)
    if folder is not None and place.local and Path(place.path).resolve() == folder.resolve():
        raise UsageError(f"--copy-to '{word}' is the run's own folder; name another one, or an address")
    return place


def check_free(word: str, folder: Path | None) -> None:
    """UsageError where a run is there already."""
    place = place_of(word, folder)
    if RUN in place.names():
        raise UsageError(
            f"'{place.word}' already holds a run; go on with it by --resume auto, or name another --copy-to"
        )


def bring(word: str, folder: Path, quiet: bool) -> None:
    """Bring the run at an address into its folder, where it is further there. Nothing to do where there is none.

    UsageError where the folder holds another run, SrkitError where the address cannot be read: to begin anew instead
    would write over what is there.
    """
    place = place_of(word, folder)
    with locked(lock_of(folder)):  # the ranks of a machine ask one after another
        there = place.names()
        if RUN not in there:
            return
        folder.mkdir(parents=True, exist_ok=True)
        with Meter() as meter, fetched(place, folder) as get:
            if quiet:
                shown: Callable[[int, int | None], None] = lambda done, total: None  # noqa: E731
            else:
                shown = meter(f"bringing the run from {place.word}")
            check_same(folder, get(RUN, shown), place)
            newest = brought_state(place, folder, get, shown, quiet)
            if newest is None and (folder / RUN).exists():
                return
            # The state comes last: until then it counts as not brought.
            got = {name: get(name, shown) for name in (BEST, LAST, LOG, RUN) if name in there}
            for name, file in got.items():
                if name in (BEST, LAST) and not is_whole(file):
                    tell(f"'{place.word}/{name}' is not whole, and left there", quiet)
                    continue
                os.replace(file, folder / name)
            if newest is not None:
                os.replace(newest[1], folder / newest[0])
                tell(f"brought the run from {place.word}, at step {int(newest[0][6:14]):,}", quiet)


def brought_state(
    place: Place, folder: Path, get: Callable[..., Path], shown: Any, quiet: bool
) -> tuple[str, Path] | None:
    """Name and file of the newest whole state there that is newer than all here."""
    here = max((path.name for path in state.states(folder)), default="")
    for name in sorted((name for name in place.names() if name.startswith("state-") and name > here), reverse=True):
        file = get(name, shown)
        if is_whole(file):
            return name, file
        tell(f"'{place.word}/{name}' is not whole; the one before it is taken", quiet)
    return None


@contextmanager
def fetched(place: Place, folder: Path) -> Iterator[Callable[..., Path]]:
    """get(name, progress): a file from there under a temporary name, removed at the end if it is still there."""
    temporary: list[Path] = []

    def get(name: str, progress: Callable[[int, int | None], None]) -> Path:
        temporary.append(temporary_of(folder / name))
        place.get(name, temporary[-1], progress)
        return temporary[-1]

    try:
        yield get
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


def check_same(folder: Path, there: Path, place: Place) -> None:
    """UsageError where the folder holds another run than that of a file run.toml from the address."""
    from srkit.train.start import differences

    if not (folder / RUN).exists():
        return
    far, near = (
        {key: value for key, value in Run.from_dict(read_run_file(path)).to_dict().items() if key not in CHANGEABLE}
        for path in (there, folder / RUN)
    )
    if different := differences(far, near):
        raise UsageError(
            f"'{place.word}' holds another run than '{folder}': {'; '.join(different)}; name another --copy-to"
        )


def is_whole(path: Path) -> bool:
    try:
        with safe_open(path, "numpy"):
            return True
    except (SafetensorError, OSError):
        return False


def tell(text: str, quiet: bool) -> None:
    if not quiet:
        say(text)
