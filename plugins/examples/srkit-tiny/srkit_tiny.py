"""srkit-tiny: a complete srkit model plugin."""

from typing import Annotated

from srkit import Model, hookimpl

srkit_api = 1  # the version of srkit's plugin contract this is made for


def tiny(scale: int, *, width: Annotated[int, "channels of the hidden layer"] = 32):
    """RGB B,3,H,W in [0, 1] -> B,3,scale*H,scale*W. After the *: what users may set."""
    from torch import nn  # here, not above: listing plugins then imports no torch

    hidden = nn.Sequential(nn.Conv2d(3, width, 5, padding=2), nn.ReLU())
    upsample = nn.Sequential(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
    return nn.Sequential(hidden, upsample)


@hookimpl
def srkit_models():
    presets = {"tiny-wide": {"width": 64}}
    summary = "Two convolutions and a shuffle"
    return [Model(name="tiny", build=tiny, presets=presets, receptive_field=3, summary=summary)]
