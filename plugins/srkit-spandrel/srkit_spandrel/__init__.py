"""srkit-spandrel: spandrel's networks as srkit models, and every weight file that spandrel knows.

`descriptors` is the other way round. Imports neither torch nor spandrel until a network is looked at.
"""

from collections.abc import Mapping
from typing import Any, NoReturn

from srkit import Layout, Model, UsageError, hookimpl, lazy
from srkit_spandrel.table import PERMISSIVE, offered

srkit_api = 1  # the version of srkit's plugin contract this is made for
NO_FIELD = ("global", "windows", "unet")  # why a network has no receptive field


def no_file(scale: int) -> NoReturn:
    """There is no network without a weight file, which says what it is of. Raises UsageError."""
    raise UsageError("'spandrel' is no network of its own; name a weight file: --model path/to/file.pth")


@hookimpl
def srkit_models():
    any_file = Model(
        name="spandrel",
        build=no_file,
        from_file=lazy("srkit_spandrel.foreign:load"),
        summary="Any weight file that spandrel knows: --model path/to/file.pth",
        scales=tuple(range(1, 9)),
    )
    return [any_file, *(record(row) for row in offered())]


def record(row: Mapping[str, Any]) -> Model:
    """A row of models.toml as srkit's record."""
    word = row["name"].replace("-", "_")
    layout = Layout(
        read=lazy(f"srkit_spandrel.layouts:read_{word}"),
        write=lazy(f"srkit_spandrel.layouts:write_{word}"),
        key="params",
        summary="spandrel, and the programs that use it",
    )
    return Model(
        name=row["name"],
        build=lazy(f"srkit_spandrel.networks:{word}"),
        scales=row["scales"],
        presets={name: values for name, values in row.get("presets", {}).items() if name != row["name"]},
        summary=row["summary"],
        paper=row["paper"],
        licence=row.get("licence", PERMISSIVE),
        size_multiple=row.get("multiple", row.get("size", {}).get("multiple_of", 1)),
        receptive_field=None if row["field"] in NO_FIELD else lazy(f"srkit_spandrel.fields:{row['field']}"),
        layouts={"spandrel": layout},
    )
