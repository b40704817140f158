"""Write a run's figures, pictures and settings to MLflow."""

import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from filelock import FileLock

from srkit import PluginError

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a training tells nobody about itself

try:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param
except ImportError as error:
    raise PluginError(f"MLflow is not usable here ({error}); pip install mlflow-skinny sqlalchemy alembic") from None

if TYPE_CHECKING:
    import numpy as np

BATCH = 1000  # metrics in one request; MLflow takes no more
STEP = re.compile(r"[+%]step[+%](\d+)[+%]")  # in the file name MLflow gives a picture


class MLflow:
    """One MLflow run for one srkit run, found again by `run_dir/mlflow-run-id`, with run.toml as its parameters.

    A point once written cannot be taken back in MLflow. A session that goes on before the last point there
    therefore begins another MLflow run with the points before it, and puts the old one into MLflow's trash.
    """

    def __init__(
        self,
        run_dir: Path,
        *,
        uri: Annotated[str, "the tracking store; empty: $MLFLOW_TRACKING_URI, else mlflow.db beside the run"] = "",
        experiment: Annotated[str, "the experiment the run belongs to; made where there is none"] = "srkit",
        images: Annotated[bool, "write the validation picture too"] = True,
    ):
        self.run_dir = Path(run_dir).absolute()
        self.with_images = images
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri and "?" in str(self.run_dir.parent):
            raise PluginError(f"MLflow's store cannot lie in '{self.run_dir.parent}' (for the '?'); name another --out")
        pictures = None if uri else (self.run_dir.parent / "mlflow-artifacts").as_uri()
        with FileLock(self.run_dir.parent / ".mlflow.lock"):  # runs that make the database at once would spoil it
            self.client = MlflowClient(uri or f"sqlite:///{self.run_dir.parent / 'mlflow.db'}")
            found = self.client.get_experiment_by_name(experiment)
            self.experiment = found.experiment_id if found else self.client.create_experiment(experiment, pictures)
        self.run_id = ""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """One point for each name at `step`, counted from 1."""
        now = int(time.time() * 1000)
        self.open(step)
        self.write([Metric(name, value, now, step) for name, value in values.items()])

    def images(self, step: int, pictures: Mapping[str, "np.ndarray"]) -> None:
        """pictures: H,W,3 uint8, kept as PNG to the last bit."""
        if not self.with_images:
            return
        self.open(step)
        for name, pixels in pictures.items():
            key = re.sub(r"[^A-Za-z0-9_. -]", "_", name)  # all that MLflow takes in a name
            self.client.log_image(self.run_id, pixels, key=key, step=step, synchronous=True)

    def close(self) -> None:
        if self.run_id:
            # srkit closes its trackers while an error that ends the training is on its way up.
            self.client.set_terminated(self.run_id, "FAILED" if sys.exception() else "FINISHED")

    def write(self, metrics: Sequence[Metric]) -> None:
        for begin in range(0, len(metrics), BATCH):
            self.client.log_batch(self.run_id, metrics[begin : begin + BATCH])

    def open(self, step: int) -> None:
        """At the first point of this session, at `step`: go on with the MLflow run there is, or begin one."""
        if self.run_id:
            return
        id_file = self.run_dir / "mlflow-run-id"
        earlier = id_file.read_text(encoding="utf-8").strip() if id_file.exists() else ""
        history = self.history(earlier) if earlier else []
        if earlier and all(metric.step < step for metric in history):
            self.run_id = earlier
            self.client.update_run(earlier, "RUNNING")
            return
        run = self.client.create_run(self.experiment, run_name=self.run_dir.name)
        self.run_id = run.info.run_id
        settings = tomllib.loads((self.run_dir / "run.toml").read_text(encoding="utf-8"))
        self.client.log_batch(self.run_id, params=[Param(key, str(value)) for key, value in flat(settings)])
        if earlier:
            self.write([metric for metric in history if metric.step < step])
            self.copy_pictures(earlier, step)
            self.client.delete_run(earlier)
        id_file.write_text(self.run_id, encoding="utf-8")

    def history(self, run_id: str) -> list[Metric]:
        names = self.client.get_run(run_id).data.metrics
        return [metric for name in names for metric in self.client.get_metric_history(run_id, name)]

    def copy_pictures(self, run_id: str, step: int) -> None:
        """The pictures of the steps before `step`, out of another run into this one."""
        paths = [item.path for item in self.client.list_artifacts(run_id, "images")]
        with tempfile.TemporaryDirectory() as folder:
            for path in paths:
                if (match := STEP.search(path)) and int(match[1]) < step:
                    local = self.client.download_artifacts(run_id, path, folder)
                    self.client.log_artifact(self.run_id, local, "images")


def flat(table: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """A run file's values by dotted name: `model.n_feats`, `loss.0.name`."""
    if isinstance(table, dict) or (isinstance(table, list) and any(isinstance(item, dict) for item in table)):
        items = table.items() if isinstance(table, dict) else enumerate(table)
        for key, value in items:
            yield from flat(value, f"{name}.{key}" if name else key)
    else:
        yield name, table
