"""One job after another, for a server or a page: a bounded queue, limits, progress, cancel, files that are deleted.

    jobs = Jobs()                                    # one for the process; close() it at the end
    folder = jobs.new_folder()                       # private; save the upload in it
    options = Options.parse({"scale": "2"})          # words of a client, or Options(scale=2)
    plan = jobs.plan(folder / "photo.jpg", options)  # an srkit.FilePlan; nothing is made
    job = jobs.submit(folder / "photo.jpg", options)
    jobs.place(job), job.state, job.share, job.left  # from any thread, at any time
    job.wait(60)
    job.result                                       # the file, as `srkit upscale` writes it; or job.error
    jobs.cancel(job)                                 # within a tile
    jobs.forget(job)                                 # now, rather than in an hour

All may be called from any thread. Only `plan`, `submit` and the worker's own thread load a model or read a picture, so
that a caller with an event loop calls those two in a thread. Importing this imports no torch.
"""

import logging
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import srkit
from srkit_server.limits import Limits
from srkit_server.options import Options, nearest, shown
from srkit_server.private import PrivateFolder

LOG = logging.getLogger(__name__)  # for the owner: what clients are told only in a line

State = Literal["waiting", "running", "done", "failed", "cancelled"]
LOADED = 2  # models that are held in memory
AUTO = "auto"  # the fastest backend that loses next to nothing, as `srkit.load` takes it
SWEEP = 30.0  # seconds between two looks for what is old


class TooLarge(srkit.UsageError):
    """More bytes or pixels than this server takes."""


class Full(srkit.SrkitError):
    """The queue has no place."""


class TimedOut(srkit.SrkitError):
    """The job took longer than it may."""


class Job:
    """A picture to be made. All is read-only but by `Jobs`.

    Attributes:
        id: cannot be guessed.
        folder: private, of this job: the source, then the result.
        source, options, plan: what is to be made of what; plan is None for work of another kind.
        state: "waiting", "running", "done", "failed" or "cancelled".
        share: in [0, 1], how much is done.
        left: seconds, None before the first tile.
        notices: what the user should know.
        result: the file, once it is done.
        confidence: the map, where one was asked for.
        runtime: what the networks ran in, `openvino in bf16`; empty where none did.
        error: an SrkitError with one line, where it failed or was cancelled.
        seconds: that it was computed.
        waited: seconds in the queue.
    """

    def __init__(self, source: Path, options: Options, plan: srkit.FilePlan | None, confidence: Path | None):
        self.id = secrets.token_urlsafe(24)
        self.folder, self.source, self.options, self.plan = source.parent, source, options, plan
        self.state: State = "waiting"
        self.share, self.left = 0.0, plan.seconds if plan else None
        self.notices: list[str] = []
        self.result: Path | None = None
        self.confidence = confidence
        self.error: srkit.SrkitError | None = None
        self.runtime = ""
        self.seconds = self.waited = 0.0
        self.made = time.monotonic()
        self.ended_at: float | None = None
        self._cancelled = ""  # why
        self._until = float("inf")
        self._act: Callable[[Job], Path | None] | None = None
        self._more: Callable[[Job], None] | None = None
        self._ended = threading.Event()
        self._callbacks: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Until it has ended; False where `seconds` were over before."""
        return self._ended.wait(seconds)

    def when_ended(self, act: Callable[[], object]) -> None:
        """Call `act()` when it has ended, at once if it has; on the worker's thread, or this one."""
        with self._lock:
            if not self._ended.is_set():
                self._callbacks.append(act)
                return
        act()

    def at(self, share: float, left: float | None = None) -> None:
        """For work of another kind: say how much of it is done. Raises Cancelled where it is to end."""
        self.share, self.left = share, left
        if self._stop():
            raise srkit.Cancelled("cancelled")

    def _stop(self) -> bool:
        return bool(self._cancelled) or time.monotonic() > self._until

    def _at(self, share: float, left: float) -> None:
        self.share, self.left = share, left

    def _tell(self, line: str) -> None:
        if (text := self._clean(line)) not in self.notices:
            self.notices.append(text)

    def _clean(self, text: str) -> str:
        """A line without the folder it happened in, and without the file's own name before it."""
        return text.replace(f"{self.folder}/", "").replace(str(self.folder), "").removeprefix(f"{self.source.name}: ")

    def _end(self, state: State, error: srkit.SrkitError | None = None) -> None:
        self.state, self.ended_at = state, time.monotonic()
        self.error = error and type(error)(self._clean(str(error)))
        with self._lock:
            self._ended.set()
            callbacks, self._callbacks = self._callbacks, []
        for act in callbacks:
            with suppress(Exception):
                act()


class Jobs:
    """The queue, its worker, its files and the models that are loaded.

    models: what clients may name, as `srkit.list_models` finds it when this is made. backends: likewise, with the
    precisions of each. limits: as `Limits`.
    device, tile: as `srkit.load` takes them; a job that is cancelled ends with its tile. within: where its private
    folder is made, the system's temporary one if None.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        device: str = "auto",
        tile: int | None = None,
        within: Path | None = None,
    ):
        self.limits = limits or Limits()
        registry = srkit.load_plugins()
        self.models = {model.name: model for model in srkit.list_models(registry)}
        self.backends = {entry.component.name: tuple(entry.component.precisions) for entry in registry.of("backend")}
        self._device, self._tile = device, tile
        self._private = PrivateFolder(within)
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._loading = threading.Lock()
        self._upscalers: dict[tuple[Any, ...], srkit.Upscaler] = {}
        self._worker = threading.Thread(target=self._work, name="srkit-jobs", daemon=True)
        self._sweeper = threading.Thread(target=self._sweep_often, name="srkit-sweeper", daemon=True)
        self._worker.start()
        self._sweeper.start()

    # --- files ---

    @property
    def folder(self) -> Path:
        """The private folder of all, mode 0700."""
        return self._private.path

    def new_folder(self) -> Path:
        """A folder for one picture and what is made of it; deleted with its job, or after `limits.kept` without one."""
        return self._private.new()

    def drop(self, folder: Path) -> None:
        """Delete a folder that got no job."""
        shutil.rmtree(folder, ignore_errors=True)

    # --- jobs ---

    def plan(self, source: Path, options: Options, *, measure: bool = True) -> srkit.FilePlan:
        """What would be made, within the limits: of pixels, of models. measure: also how long it will take.

        Raises UsageError (TooLarge, UnknownName) or ImageError, in one line without a path.
        """
        self.check_model(options.model)
        self.check_picture(source)
        try:
            plan = self.upscaler(options).plan(source, measure=measure, **options.of_file())
        except srkit.SrkitError as error:
            raise type(error)(str(error).replace(f"{source.parent}/", "")) from None
        self._check_pixels("the result would have", *plan.size, self.limits.result_pixels)
        return plan

    def submit(
        self,
        source: Path,
        options: Options,
        *,
        confidence: bool = False,
        measure: bool = False,
        more: Callable[[Job], None] | None = None,
    ) -> Job:
        """Put a picture into the queue. source: a file in a folder of `new_folder`, and the only one there.

        confidence: draw the map, too. measure: as of `plan`. more(job): what else is made, once the result is there, on
        the worker's thread; `job.at` says how far it is. Raises what `plan` raises, and Full where the queue has no
        place; then the folder is the caller's to `drop`.
        """
        self.check_place()
        plan = self.plan(source, options, measure=measure)
        job = Job(source, options, plan, source.with_name(f"{source.stem}_confidence.png") if confidence else None)
        job._more = more
        for line in plan.notices:
            job._tell(line)
        self._add(job)
        return job

    def submit_work(self, source: Path, options: Options, act: Callable[[Job], Path | None]) -> Job:
        """Put work of another kind on a picture into the same queue, under the same limits: `act(job)`.

        It is called on the worker's thread, says how far it is by `job.at`, and returns `job.result`. Errors and what
        the folder is as of `submit`; the picture's pixels are checked, and the model's name.
        """
        self.check_place()
        self.check_model(options.model)
        self.check_picture(source)
        job = Job(source, options, None, None)
        job._act = act
        self._add(job)
        return job

    def _add(self, job: Job) -> None:
        with self._changed:
            self.check_place()
            self._jobs[job.id] = job
            self._queue.append(job)
            self._changed.notify_all()

    def check_picture(self, source: Path) -> tuple[int, int]:
        """(width, height) by its header. Raises ImageError for no picture, TooLarge for one of too many pixels."""
        try:
            height, width = srkit.image_size(source)
        except srkit.SrkitError as error:
            raise type(error)(str(error).replace(f"{source.parent}/", "")) from None
        self._check_pixels("the picture has", width, height, self.limits.pixels)
        return width, height

    def check_place(self) -> None:
        """Raises Full where the queue has no place, or the server ends."""
        if self._closing.is_set():
            raise Full("the server is ending")
        if len(self._queue) >= self.limits.waiting:
            raise Full(f"{len(self._queue)} pictures are waiting, as many as may; come again later")

    def check_model(self, name: str) -> None:
        """Raises UnknownName for a name that is not in the list."""
        if name and name not in self.models:
            raise srkit.UnknownName(f"no model '{shown(name)}' here{nearest(name, self.models)}")

    def check_backend(self, name: str) -> None:
        """Raises UnknownName for a name that is not in the list, nor `auto`."""
        there = {AUTO, *self.backends}
        if name and name not in there:
            raise srkit.UnknownName(f"no backend '{shown(name)}' here{nearest(name, there)}")

    def find(self, number: str) -> Job | None:
        """The job of an id, None where there is none, or none any more."""
        return self._jobs.get(number)

    def place(self, job: Job) -> int:
        """How many jobs end before it begins: 0 where it runs or has ended."""
        with self._changed:
            if job not in self._queue:
                return 0
            return self._queue.index(job) + (self._running is not None)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._queue)

    def cancel(self, job: Job, why: str = "cancelled") -> None:
        """End it: at once where it waits, within a tile where it runs. Nothing is written. One that has ended stays."""
        with self._changed:
            job._cancelled = job._cancelled or why
            waits = job in self._queue
            if waits:
                self._queue.remove(job)
        if waits:
            shutil.rmtree(job.folder, ignore_errors=True)
            job._end("cancelled", srkit.Cancelled(why))

    def forget(self, job: Job) -> None:
        """Cancel it if it has not ended, and delete its files as soon as nothing writes to them."""
        self.cancel(job)
        job.when_ended(lambda: self._remove(job))

    @property
    def alive(self) -> bool:
        """Is there somebody to compute?"""
        return self._worker.is_alive()

    def stop(self) -> None:
        """Cancel all and take no more; waits for nothing."""
        self._closing.set()
        for job in list(self._jobs.values()):
            self.cancel(job, "the server is ending")
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """`stop`, wait for the tile that is computed, delete all files. A second time does nothing."""
        self.stop()
        self._worker.join()
        self._sweeper.join()
        self._private.close()

    # --- models ---

    def upscaler(self, options: Options) -> srkit.Upscaler:
        """The model that the options name, loaded; the last two are kept. Only names of `models` and `backends`."""
        self.check_model(options.model)
        self.check_backend(options.backend)
        key = tuple(sorted(options.of_load().items()))
        with self._loading:
            found = self._upscalers.pop(key, None)
            if found is None:
                while len(self._upscalers) >= LOADED:
                    del self._upscalers[next(iter(self._upscalers))]
                found = srkit.load(device=self._device, tile=self._tile, progress=False, **options.of_load())
            self._upscalers[key] = found
        return found

    # --- inside ---

    def _check_pixels(self, what: str, width: int, height: int, most: int) -> None:
        if width * height > most:
            raise TooLarge(
                f"{what} {width}x{height} pixels, {width * height / 1e6:,.1f} million; this server takes "
                f"{most / 1e6:,.1f} million"
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                self._running = None
                while not self._queue and not self._closing.is_set():
                    self._changed.wait()
                if not self._queue:
                    return
                job = self._running = self._queue.popleft()
            self._make(job)

    def _upscale(self, job: Job) -> Path:
        upscaler = self.upscaler(job.options)
        job.runtime = runtime_of(upscaler, job.plan)
        return upscaler.upscale_file(
            job.source,
            progress=job._at,
            cancel=job._stop,
            tell=job._tell,
            confidence=job.confidence,
            **job.options.of_file(),
        )

    def _make(self, job: Job) -> None:
        begun = time.monotonic()
        job._until = begun + self.limits.seconds
        job.waited = begun - job.made
        job.state = "running"
        state: State = "done"
        error: srkit.SrkitError | None = None
        try:
            job.result = job._act(job) if job._act else self._upscale(job)
            if job._more:
                job._more(job)
        except srkit.Cancelled:
            state, error = "cancelled", srkit.Cancelled(job._cancelled)
            if not job._cancelled:
                state, error = (
                    "failed",
                    TimedOut(f"it took longer than {self.limits.seconds:g} seconds, as long as it may"),
                )
        except srkit.SrkitError as failure:
            state, error = "failed", failure
        except BaseException as failure:  # of a picture or a plugin, SystemExit too; the next job must not suffer
            LOG.exception("unexpected, of '%s', %s", shown(job.source.name), job.options.said())
            state, error = "failed", srkit.SrkitError(unforeseen(failure))
        job.seconds = time.monotonic() - begun
        if state == "done":
            job.share, job.left = 1.0, 0.0
        else:
            shutil.rmtree(job.folder, ignore_errors=True)
        job._end(state, error)

    def _remove(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _sweep_often(self) -> None:
        while not self._closing.wait(min(SWEEP, self.limits.kept / 2)):
            with suppress(OSError):
                self.sweep()

    def sweep(self) -> None:
        """Delete what is older than it may be, then the oldest until the disk has enough room."""
        now = time.monotonic()
        ended = sorted((job for job in list(self._jobs.values()) if job.ended), key=lambda job: job.ended_at or 0)
        taken = {job.id: size_of(job.folder) for job in ended}
        total = sum(taken.values())
        for job in ended:
            if now - (job.ended_at or now) > self.limits.kept or total > self.limits.disk:
                total -= taken[job.id]
                self._remove(job)
        used = {job.folder for job in list(self._jobs.values())}
        for folder in self._private.folders():
            if folder not in used and time.time() - folder.stat().st_mtime > self.limits.kept:
                shutil.rmtree(folder, ignore_errors=True)


def runtime_of(upscaler: srkit.Upscaler, plan: srkit.FilePlan | None) -> str:
    """`torch in fp32`, `openvino in bf16`; where `auto` found others for other scales, all of them."""
    used = [(model.get("backend"), model.get("precision")) for model in plan.models.values()] if plan else []
    named = [(upscaler.backend if name is None else name, how or upscaler.precision) for name, how in used]
    return ", ".join(dict.fromkeys(f"{name.rpartition(':')[2] or 'torch'} in {how}" for name, how in named))


def unforeseen(error: BaseException) -> str:
    """What a client is told of it."""
    return f"unexpected {type(error).__name__}; the server's log says more"


def size_of(folder: Path) -> int:
    """Bytes of the files in it."""
    total = 0
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):
            total += path.stat().st_size
    return total
