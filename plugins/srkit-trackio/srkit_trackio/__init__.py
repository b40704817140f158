"""srkit-trackio: the tracker `trackio`. This file imports neither torch nor trackio."""

from srkit import Tracker, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_trackers():
    return [
        Tracker(
            name="trackio",
            build=lazy("srkit_trackio.tracker:Trackio"),
            summary="A trackio run, on this machine or in a Hugging Face Space; look at it with: trackio show",
            licence="MIT",
        )
    ]
