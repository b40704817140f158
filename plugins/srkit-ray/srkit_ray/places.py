"""Folders here and at addresses (s3, gs, hf, ...), by fsspec: what is in them, read and written whole or not at all."""

import os
import posixpath
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from srkit import ImageError, OutputError, SrkitError, UsageError, list_images, missing_path, readable_suffixes

MANIFEST = "manifest-"  # how the names of a manifest's parts begin
WORK = ".srkit-ray-"  # how the names of folders of unfinished work begin
LOCK = ".srkit-ray.lock"


@dataclass(frozen=True)
class Place:
    """A folder: a path here, or an address such as `s3://bucket/photos`. Names in it have `/` between their parts."""

    word: str

    @property
    def local(self) -> bool:
        return "://" not in self.word

    @cached_property
    def opened(self) -> tuple[Any, str]:
        """fsspec's file system and the folder's path in it. UsageError where no such system is installed."""
        import fsspec

        try:
            return fsspec.core.url_to_fs(self.word)
        except (ImportError, ValueError) as error:
            raise UsageError(f"'{self.word}': {first_line(error)}") from None

    def absolute(self) -> "Place":
        """The same place for a process that runs in another folder."""
        return replace(self, word=os.path.abspath(self.word)) if self.local else self

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other command has this folder, which is made; SrkitError at once where one has.

        At an address none can tell. OutputError where the folder cannot be written.
        """
        if not self.local:
            yield
            return
        from filelock import FileLock, Timeout

        path = Path(self.word) / LOCK
        lock = FileLock(path, blocking=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise SrkitError(
                f"another command writes into '{self.word}'; wait for it, or name another folder"
            ) from None
        except OSError as error:
            raise OutputError(f"'{self.word}' cannot be written: {error.strerror}") from None
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()  # before it is let go: filelock takes no file that is gone
            lock.release()

    def path(self, name: str) -> str:
        """A name as a path here, or of the file system."""
        return os.path.join(self.word, *name.split("/")) if self.local else posixpath.join(self.opened[1], name)

    def shown(self, name: str) -> str:
        """A name as the user would write it."""
        return self.path(name) if self.local else f"{self.word.rstrip('/')}/{name}"

    def pictures(self, without: "Place") -> list[str]:
        """The names of all pictures at any depth, sorted; hidden ones and those below `without` are passed over.

        UnknownName where there is no such folder, UsageError where it has no picture.
        """
        inside = without.word if without.local == self.local else None
        found = self.here(inside) if self.local else self.there(inside)
        if not found:
            raise UsageError(f"no pictures in '{self.word}'")
        return found

    def here(self, without: str | None) -> list[str]:
        root = Path(self.word)
        if not root.is_dir():
            raise missing_path(root, "folder")
        paths = list_images(root)
        if without is not None and Path(without).resolve() != root.resolve():
            results = os.path.abspath(without) + os.sep
            paths = [path for path in paths if not os.path.abspath(path).startswith(results)]
        return [path.relative_to(root).as_posix() for path in paths]

    def there(self, without: str | None) -> list[str]:
        system, root = self.opened
        results = None if without is None else Place(without).opened[1].rstrip("/") + "/"
        kinds = readable_suffixes()
        names = []
        for path in self.asked(system.find, root):
            name = path.removeprefix(root.rstrip("/") + "/")
            hidden = any(part.startswith(".") for part in name.split("/"))
            if posixpath.splitext(name)[1].lower() not in kinds or hidden:
                continue
            if results is None or results == root.rstrip("/") + "/" or not path.startswith(results):
                names.append(name)
        return sorted(names)

    def asked(self, call: Any, *words: Any) -> Any:
        """What the file system answers; OutputError, in one line, where it does not."""
        try:
            return call(*words)
        except Exception as error:  # each file system has its own
            raise OutputError(f"'{self.word}': {first_line(error)}") from None

    def read(self, name: str, target: Path) -> None:
        """Copy to a file here. ImageError where that fails."""
        try:
            self.opened[0].get_file(self.path(name), str(target))
        except Exception as error:  # each file system has its own
            raise ImageError(f"'{self.shown(name)}' cannot be read: {first_line(error)}") from None

    def publish(self, file: Path, name: str) -> None:
        """Move a finished file to its name: at once here, by one upload elsewhere. OutputError where that fails."""
        try:
            if self.local:
                target = Path(self.path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
                return
            self.opened[0].put_file(str(file), self.path(name))
            file.unlink()
        except Exception as error:
            raise OutputError(f"'{self.shown(name)}' cannot be written: {first_line(error)}") from None

    def has(self, name: str) -> bool:
        """Is there such a file, at an address?"""
        system = self.opened[0]
        system.invalidate_cache()
        return bool(self.asked(system.exists, self.path(name)))

    def files(self) -> list[str]:
        """Names of the files directly in it; none where it is not there yet."""
        if self.local:
            return sorted(entry.name for entry in os.scandir(self.word)) if Path(self.word).is_dir() else []
        system, root = self.opened
        system.invalidate_cache()
        try:
            return sorted(posixpath.basename(path.rstrip("/")) for path in system.ls(root, detail=False))
        except FileNotFoundError:
            return []

    def text(self, name: str) -> str:
        """What is in a file of it, as UTF-8; a last line that is not whole is left."""
        if self.local:
            return Path(self.path(name)).read_text("utf-8", "replace")
        return bytes(self.opened[0].cat_file(self.path(name))).decode("utf-8", "replace")


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def results_of(names: Iterable[str], model: str, scale: str, suffix: str) -> dict[str, str]:
    """Picture -> its result's name, as `srkit upscale` names them: `sub/photo_edsr-small_x2.png`.

    Two pictures of one name in one folder have their own suffix in it; what is itself the result of another picture,
    of an earlier call, is left out.
    """
    found: dict[str, str] = {}
    groups: dict[str, list[str]] = {}
    names = list(names)
    for name in names:
        groups.setdefault(posixpath.splitext(name)[0], []).append(name)
    ending = f"_{model}_{scale}{suffix}"
    for stem, group in groups.items():
        for name in group:
            found[name] = f"{stem if len(group) == 1 else name}{ending}"
    own = {result for name, result in found.items() if result in groups.get(posixpath.splitext(result)[0], ())}
    return {name: result for name, result in found.items() if name not in own}
