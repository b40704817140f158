"""srkit-mlflow: the tracker `mlflow`. This file imports neither torch nor mlflow."""

from srkit import Tracker, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_trackers():
    return [
        Tracker(
            name="mlflow",
            build=lazy("srkit_mlflow.tracker:MLflow"),
            summary="An MLflow run, in mlflow.db beside the run's folder or on a tracking server",
            licence="MIT",
        )
    ]
