"""srkit-wandb: the tracker `wandb`. This file imports neither torch nor wandb."""

from srkit import Tracker, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_trackers():
    return [
        Tracker(
            name="wandb",
            build=lazy("srkit_wandb.tracker:WandB"),
            summary="A Weights & Biases run; with WANDB_MODE=offline in the run's folder, without a network",
            licence="MIT",
        )
    ]
