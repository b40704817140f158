"""Write a run's figures, pictures and settings to trackio."""

import hashlib
import json
import os
import tomllib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from huggingface_hub import constants, get_token

from srkit import PluginError

try:
    import trackio
    from trackio.sqlite_storage import SQLiteStorage
except ImportError as error:
    raise PluginError(
        f"trackio is not usable here ({error}); pip install trackio, which wants Pillow below 13"
    ) from None

if TYPE_CHECKING:
    import numpy as np


class Trackio:
    """One trackio run for one srkit run, found again by `run_dir/trackio-run.json`, with run.toml as its config.

    A killed session goes on from its last checkpoint and repeats steps, bit for bit: their points are there already
    and are left out; what trackio had not written yet comes from `log.jsonl`. Where run.toml has changed since, the
    points are others: then another trackio run is begun, with those before them.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        project: Annotated[str, "the project the run belongs to"] = "srkit",
        space: Annotated[str, "a Hugging Face Space to write to; empty: $TRACKIO_SPACE_ID, else this machine"] = "",
        images: Annotated[bool, "write the validation picture too"] = True,
    ):
        self.run_dir, self.project, self.with_images = Path(run_dir).absolute(), project, images
        self.space = space or os.environ.get("TRACKIO_SPACE_ID") or ""
        self.local = not (self.space or os.environ.get("TRACKIO_SERVER_URL"))
        if self.space and not get_token():
            raise PluginError(
                f"trackio cannot write to the Space '{self.space}': nobody is logged in; "
                "log in with 'hf auth login' or set HF_TOKEN, or name no Space"
            )
        settings = self.run_dir / "run.toml"
        self.text = settings.read_bytes() if settings.exists() else b""
        digest = hashlib.sha256(self.text).hexdigest()
        # trackio finds a run by its name, and folders in several places may have one name
        self.about = {"name": f"{self.run_dir.name}-{uuid.uuid4().hex[:4]}", "settings": digest}
        self.name_file = self.run_dir / "trackio-run.json"
        earlier = json.loads(self.name_file.read_text(encoding="utf-8")) if self.name_file.exists() else None
        self.run = self.begin({**self.about, "name": earlier["name"]} if earlier else self.about)
        self.there = self.written() if earlier else {}
        self.changed = bool(earlier) and earlier["settings"] != digest
        self.begun = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point for each name at `step`, counted from 1."""
        self.go_on(step)
        self.write(step, values)

    def images(self, step: int, pictures: Mapping[str, "np.ndarray"]) -> None:
        """pictures: H,W,3 uint8, kept as PNG to the last bit."""
        self.go_on(step)
        if self.with_images:
            self.write(step, {name: trackio.Image(pixels) for name, pixels in pictures.items()})

    def close(self) -> None:
        with redirect_stdout(StringIO()):
            trackio.finish()  # and not run.finish(), which trackio would call, and tell, once more at the end

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        there = self.there.get(step, ())
        if new := {name: value for name, value in values.items() if name not in there}:
            self.run.log(new, step=step)

    def begin(self, about: Mapping[str, str]) -> "trackio.Run":
        """The trackio run of that name, begun or gone on with."""
        with redirect_stdout(StringIO()), without_network() if self.local else nullcontext():
            run = trackio.init(
                self.project,
                name=about["name"],
                space_id=self.space or None,
                config=tomllib.loads(self.text.decode()),
                resume="allow",
                embed=False,
            )
        self.name_file.write_text(json.dumps(about), encoding="utf-8")
        return run

    def go_on(self, step: int) -> None:
        """Before the first point or picture of this session, at `step`: the points before it that are not there."""
        if self.begun:
            return
        self.begun = True
        if self.changed and any(step <= earlier for earlier in self.there):
            self.close()
            self.run, self.there = self.begin(self.about), {}
        for line in self.logged():
            if line["step"] < step:
                self.write(line.pop("step"), line)

    def written(self) -> dict[int, set[str]]:
        """The names that earlier sessions wrote, by step; of a run elsewhere, what the log says of it."""
        found: dict[int, set[str]] = {}
        for row in SQLiteStorage.get_logs(self.project, self.run.name) if self.local else self.logged():
            found.setdefault(row["step"], set()).update(row)
        return found

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
def without_network() -> Iterator[None]:
    """trackio asks the hub for the name of whoever has a token there, for a run on this machine too."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
