"""The hooks: the whole contract between srkit and its plugins.

A plugin is anything the entry-point group `srkit` points to, usually a module, with one or more of
these functions marked `@srkit.hookimpl`. Each returns records; nothing registers by side effect.
A plugin module should import torch only inside what it builds (or name it by `srkit.lazy`), so that
listing plugins stays instant.
"""

from collections.abc import Iterable

import pluggy

from srkit.components import (
    Augmentation,
    Backend,
    Command,
    Dataset,
    Degradation,
    Loss,
    Metric,
    Model,
    Optimizer,
    Tracker,
    Wrapper,
)

GROUP = "srkit"  # the entry-point group, and the project name pluggy knows hooks by
#: The version of this contract. A plugin says which it is made for by a module attribute, `srkit_api = 1`;
#: one that does not is made for 1, whatever the present version is.
API = 1

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def srkit_models() -> Iterable[Model]:
    """Networks and interpolations: RGB in [0, 1] to RGB, `scale` times larger."""


@hookspec
def srkit_losses() -> Iterable[Loss]:
    """What training minimises."""


@hookspec
def srkit_datasets() -> Iterable[Dataset]:
    """Where pictures come from."""


@hookspec
def srkit_metrics() -> Iterable[Metric]:
    """How a result is scored, after the protocol has been applied."""


@hookspec
def srkit_augmentations() -> Iterable[Augmentation]:
    """Random changes to a training batch, on the device."""


@hookspec
def srkit_degradations() -> Iterable[Degradation]:
    """Steps from HR to LR, of which a run lists any number, on the device."""


@hookspec
def srkit_optimizers() -> Iterable[Optimizer]:
    """What changes the weights, beside those of timm."""


@hookspec
def srkit_wrappers() -> Iterable[Wrapper]:
    """Inference around a model: self-ensemble, blending."""


@hookspec
def srkit_trackers() -> Iterable[Tracker]:
    """Where a training run's figures and pictures are written."""


@hookspec
def srkit_commands() -> Iterable[Command]:
    """Commands added to `srkit`, imported when they are run."""


@hookspec
def srkit_backends() -> Iterable[Backend]:
    """What a network runs in: a function of a tile, made of network, scale and precision."""
