"""srkit-spandrel: every weight file that spandrel knows, as an srkit model. `descriptors` is the other way round."""

from typing import NoReturn

from srkit import Model, UsageError, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


def no_file(scale: int) -> NoReturn:
    """There is no network without a weight file, which says what it is of. Raises UsageError."""
    raise UsageError("'spandrel' is no network of its own; name a weight file: --model path/to/file.pth")


@hookimpl
def srkit_models():
    return [
        Model(
            name="spandrel",
            build=no_file,
            from_file=lazy("srkit_spandrel.foreign:load"),
            summary="Any weight file that spandrel knows: --model path/to/file.pth",
            scales=tuple(range(1, 9)),
        ),
    ]
