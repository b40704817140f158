"""srkit-tensorboard: the tracker `tensorboard`. This file imports neither torch nor tensorboard."""

from srkit import Tracker, hookimpl, lazy


@hookimpl
def srkit_trackers():
    return [
        Tracker(
            name="tensorboard",
            build=lazy("srkit_tensorboard.writer:TensorBoard"),
            summary="Event files in the run's folder; look at them with: tensorboard --logdir runs",
            licence="MIT",
        )
    ]
