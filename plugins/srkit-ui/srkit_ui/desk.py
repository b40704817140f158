"""What one browser has on the table: its pictures, its jobs, and that they end when it closes.

No path and no word of a browser is opened: pictures, results and pages are named by ids that cannot be guessed.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe

from srkit_server.jobs import Job, Jobs
from srkit_server.options import Options

import srkit
from srkit_ui.looks import Look, prepare

MOST_PICTURES = 20  # of a browser at a time


@dataclass(frozen=True)
class Picture:
    """An upload. size: (width, height) by its header. came: when, on the monotonic clock."""

    id: str
    name: str
    path: Path
    size: tuple[int, int]
    came: float


@dataclass
class Session:
    """A browser's page. told: how often it has said its pictures. asked: how often it asked for a plan.

    jobs: the present ones, in the order of its pictures.
    """

    told: int = 0
    asked: int = 0
    pictures: list[Picture] = field(default_factory=list)
    jobs: list[tuple[Picture, Job]] = field(default_factory=list)
    trial: Job | None = None
    failures: list[tuple[str, str]] = field(default_factory=list)


class Desk:
    """The pictures and sessions of all browsers, around one queue of jobs."""

    def __init__(self, jobs: Jobs, device: str = "auto"):
        self.jobs, self.device = jobs, device
        self.pictures: dict[str, Picture] = {}
        self.sessions: dict[str, Session] = {}
        self.looks: dict[str, Look] = {}
        self.lock = threading.Lock()

    # --- pictures ---

    def take(self, path: Path, name: str) -> Picture:
        """A file that was received, in a folder of its own. Raises SrkitError where it is no picture, or too large."""
        size = self.jobs.check_picture(path)
        picture = Picture(token_urlsafe(18), name, path, size, time.monotonic())
        with self.lock:
            self.forget_old()
            self.pictures[picture.id] = picture
        return picture

    def drop(self, number: str) -> None:
        """Delete a picture."""
        if picture := self.pictures.pop(number, None):
            self.jobs.drop(picture.path.parent)

    def forget_old(self) -> None:
        """Of what is deleted from the disk nothing is kept in memory either."""
        for number, picture in list(self.pictures.items()):
            if not picture.path.exists():
                del self.pictures[number]
        for number in [number for number in self.looks if self.jobs.find(number) is None]:
            del self.looks[number]

    # --- sessions ---

    def session(self, number: str | None) -> Session:
        """Of a browser's page."""
        with self.lock:
            return self.sessions.setdefault(number or "", Session())

    def choose(self, session: Session, numbers: Sequence[str], told: int) -> bool:
        """The pictures of a session, by their ids; what is not there any more is left out.

        told: which of the browser's words this is; False, and nothing changes, where a later one was heard before.
        """
        if told < session.told:
            return False
        session.told = told
        session.pictures = [self.pictures[n] for n in list(numbers)[:MOST_PICTURES] if n in self.pictures]
        return True

    def leave(self, number: str | None) -> None:
        """The browser has closed the page: its jobs end, its files are deleted."""
        with self.lock:
            session = self.sessions.pop(number or "", None)
        if session is None:
            return
        self.clear(session)
        for picture in session.pictures:
            self.drop(picture.id)

    def clear(self, session: Session) -> None:
        """End the jobs of a session, and delete what they made."""
        for _, job in session.jobs:
            self.looks.pop(job.id, None)
            self.jobs.forget(job)
        if session.trial is not None:
            self.jobs.forget(session.trial)
        session.jobs, session.failures, session.trial = [], [], None

    def cancel(self, session: Session) -> None:
        """End the jobs of a session that have not ended; what is made stays."""
        for _, job in session.jobs:
            self.jobs.cancel(job)
        if session.trial is not None:
            self.jobs.cancel(session.trial)

    # --- jobs ---

    def start(self, session: Session, options: Options, *, doubt: bool) -> None:
        """A job for each picture. What cannot be made is kept in `failures`."""
        self.clear(session)
        for picture in session.pictures:
            try:
                job = self.submit(picture, lambda path: self.jobs.submit(path, options, more=self.looker(doubt)))
                session.jobs.append((picture, job))
            except srkit.SrkitError as error:
                session.failures.append((picture.name, str(error)))

    def compare(self, session: Session, picture: Picture, models: Sequence[str], scale: int) -> None:
        """A job that tries models on a picture; its result is a page."""
        if session.trial is not None:
            self.jobs.forget(session.trial)
        for name in models:
            self.jobs.check_model(name)
        act = tried(models, scale, self.device)
        session.trial = self.submit(picture, lambda path: self.jobs.submit_work(path, Options(), act))

    def submit(self, picture: Picture, begin: Callable[[Path], Job]) -> Job:
        """A job on a copy of the picture, since a job's folder goes with it."""
        folder = self.jobs.new_folder()
        path = folder / picture.path.name
        try:
            try:
                os.link(picture.path, path)
            except OSError:
                shutil.copyfile(picture.path, path)
            return begin(path)
        except FileNotFoundError:
            self.jobs.drop(folder)
            raise srkit.ImageError("this picture was deleted after an hour; drop it once more") from None
        except BaseException:
            self.jobs.drop(folder)
            raise

    def looker(self, doubt: bool) -> Callable[[Job], None]:
        """What is made of a picture once its result is there: the layers to look at."""

        def look(job: Job) -> None:
            assert job.result is not None
            assert job.plan is not None
            found = self.confidence(job) if doubt and job.plan.chain else None
            with suppress(srkit.ImageError):  # the file is there all the same
                self.looks[job.id] = prepare(job.source, job.result, job.plan, job.options.pad or "white", found)

        return look

    def confidence(self, job: Job) -> srkit.Confidence:
        """Of a job's result; what it says is among its notices."""
        upscaler = self.jobs.upscaler(job.options)
        sizes = {key: value for key, value in job.options.of_file().items() if key in SIZES}
        found = upscaler.confidence(job.source, done=lambda tiles, total: job.at(tiles / total), **sizes)
        job.notices.append(found.words)
        return found


SIZES = ("scale", "width", "height", "long_edge", "fit", "paper", "dpi", "bleed", "crop", "pad")


def tried(models: Sequence[str], scale: int, device: str) -> Callable[[Job], Path]:
    """The work of a comparison: a page beside the picture."""

    def act(job: Job) -> Path:
        count = 0

        def done(name: str) -> None:
            nonlocal count
            count += 1
            job.at(min(1.0, count / (len(models) + 1)))

        trial = srkit.try_models(job.source, models, scale, device=device, done=done)
        page = job.folder / "compare.html"
        page.write_text(trial.page(), encoding="utf-8")
        return page

    return act
