"""srkit-tensorboard: the tracker `tensorboard`. This file imports neither torch nor tensorboard."""

from srkit import Tracker, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


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
