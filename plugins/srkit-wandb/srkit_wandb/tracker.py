"""Write a run's figures, pictures and settings to Weights & Biases."""

import hashlib
import json
import os
import sys
import time
import tomllib
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from srkit import PluginError

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # a training tells nobody about itself

try:
    import wandb
except ImportError as error:
    raise PluginError(f"Weights & Biases is not usable here ({error}); pip install wandb") from None

if TYPE_CHECKING:
    import numpy as np


SAFE_SECONDS = 30.0  # W&B keeps points in memory, and writes them every 15 s


class WandB:
    """One W&B run for one srkit run, found again by `run_dir/wandb-run.json`, with run.toml as its config.

    A point once written cannot be taken back in W&B. A killed session goes on from its last checkpoint and repeats
    steps, bit for bit: their points are there already and are left out. Where run.toml has changed since, they are
    others: then another W&B run is begun, with the points before them. What the kill may have taken is written again
    from `log.jsonl`: the steps after `safe`, the last one whose points are all old enough.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        project: Annotated[str, "the project the run belongs to; empty: $WANDB_PROJECT, else srkit"] = "",
        entity: Annotated[str, "the user or team the project belongs to; empty: your own"] = "",
        mode: Annotated[
            Literal["", "online", "offline"], "offline: into the run's folder alone; empty: $WANDB_MODE, else online"
        ] = "",
        images: Annotated[bool, "write the validation picture too"] = True,
    ):
        self.run_dir, self.with_images = Path(run_dir).absolute(), images
        self.owner = {
            "project": project or os.environ.get("WANDB_PROJECT") or "srkit",
            "entity": entity or None,
            "mode": mode or os.environ.get("WANDB_MODE") or "online",
        }
        settings = self.run_dir / "run.toml"
        self.text = settings.read_bytes() if settings.exists() else b""
        self.about: dict[str, Any] = {"settings": hashlib.sha256(self.text).hexdigest(), "safe": 0}
        self.file = self.run_dir / "wandb-run.json"
        earlier = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else None
        self.written: dict[int, set[str]] = {}  # the names that earlier sessions wrote at a step
        for line in self.logged() if earlier else ():
            if line["step"] <= earlier["safe"]:
                self.written.setdefault(line["step"], set()).update(line)
        self.changed = bool(earlier) and earlier["settings"] != self.about["settings"]
        self.run = self.begin(**(earlier or {"id": None}))
        self.begun = False
        self.recent: deque[tuple[float, int]] = deque()  # when points were written, and their step

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point for each name at `step`, counted from 1."""
        self.go_on(step)
        self.write(step, values)
        self.recent.append((time.monotonic(), step))
        if self.recent[0][0] < self.recent[-1][0] - SAFE_SECONDS:
            while self.recent[0][0] < self.recent[-1][0] - SAFE_SECONDS:
                self.about["safe"] = self.recent.popleft()[1] - 1  # more points of the step itself may follow
            self.remember()

    def images(self, step: int, pictures: Mapping[str, "np.ndarray"]) -> None:
        """pictures: H,W,3 uint8, kept as PNG to the last bit."""
        self.go_on(step)
        if self.with_images and step not in self.written:
            self.run.log({"step": step, **{name: wandb.Image(pixels) for name, pixels in pictures.items()}})

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        there = self.written.get(step, ())
        if new := {name: value for name, value in values.items() if name not in there}:
            self.run.log({"step": step, **new})

    def close(self) -> None:
        # srkit closes its trackers while an error that ends the training is on its way up.
        self.run.finish(exit_code=1 if sys.exception() else 0)
        if self.recent:
            self.about["safe"] = self.recent[-1][1]
            self.remember()

    def begin(self, id: str | None, **about: Any) -> "wandb.Run":  # noqa: A002 - as W&B calls it
        """The W&B run of that id gone on with, or one begun. PluginError where nobody is logged in."""
        self.about |= {"id": id or uuid.uuid4().hex[:8], "safe": about.get("safe", 0)}
        settings = wandb.Settings(console="off", silent=True, reinit="create_new")
        try:
            with no_terminal():  # W&B would ask for a key there, and wait
                run = wandb.init(
                    **self.owner,
                    id=self.about["id"],
                    name=self.run_dir.name,
                    dir=self.run_dir,
                    config=tomllib.loads(self.text.decode()),
                    resume="allow",
                    settings=settings,
                )
        except (wandb.Error, TimeoutError) as error:
            raise PluginError(
                f"Weights & Biases begins no run ({' '.join(str(error).split())}); "
                "log in with 'wandb login' or set WANDB_API_KEY, or train with WANDB_MODE=offline"
            ) from None
        run.define_metric("step")
        run.define_metric("*", step_metric="step")  # W&B's own step counts the calls
        if run.url:
            print(f"Weights & Biases: {run.url}", file=sys.stderr)
        self.remember()
        return run

    def go_on(self, step: int) -> None:
        """Before the first point or picture of this session, at `step`: the points before it that are not there."""
        if self.begun:
            return
        self.begun = True
        if self.changed and any(step <= earlier for earlier in self.written):
            self.run.finish()
            self.run, self.written = self.begin(None), {}
        for line in self.logged():
            if line["step"] < step:
                self.write(line.pop("step"), line)

    def remember(self) -> None:
        with open(f"{self.file}.tmp", "w", encoding="utf-8") as file:
            json.dump(self.about, file)
        os.replace(file.name, self.file)

    def logged(self) -> Iterator[dict[str, Any]]:
        """The lines of the run's log, but for one that a kill cut off."""
        log = self.run_dir / "log.jsonl"
        for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else ():
            try:
                values = json.loads(line)
            except ValueError:
                continue
            yield values


@contextmanager
def no_terminal() -> Iterator[None]:
    """As in a job without a terminal: what would be asked there is an error."""
    before = sys.stdin
    with open(os.devnull, encoding="utf-8") as sys.stdin:
        try:
            yield
        finally:
            sys.stdin = before
