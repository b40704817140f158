"""srkit-schedulefree: optimizers that need no schedule. This file imports neither torch nor schedulefree."""

from srkit import Optimizer, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_optimizers():
    return [
        Optimizer(
            name="schedulefree-adamw",
            build=lazy("srkit_schedulefree.build:adamw"),
            summary="AdamW without a schedule, which averages the weights itself (Defazio et al. 2024)",
            licence="Apache-2.0",
        ),
        Optimizer(
            name="schedulefree-radam",
            build=lazy("srkit_schedulefree.build:radam"),
            summary="RAdam without a schedule, and without a warm-up",
            licence="Apache-2.0",
        ),
        Optimizer(
            name="schedulefree-sgd",
            build=lazy("srkit_schedulefree.build:sgd"),
            summary="SGD without a schedule",
            licence="Apache-2.0",
        ),
    ]
