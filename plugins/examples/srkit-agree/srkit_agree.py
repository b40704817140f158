"""srkit-agree: a complete srkit command plugin: is a large picture, made small again, the small one?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from srkit import Command, UsageError, hookimpl, imresize, read_rgb

srkit_api = 1  # the version of srkit's plugin contract this is made for


def agree(
    small: Annotated[Path, typer.Argument(help="The picture that was upscaled.")],
    large: Annotated[Path, typer.Argument(help="What was made of it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print by how many levels of 255 LARGE, made small again by bicubic, differs from SMALL."""
    lr, sr = read_rgb(small), read_rgb(large)
    scale = sr.shape[0] // lr.shape[0]
    if scale < 1 or sr.shape != (lr.shape[0] * scale, lr.shape[1] * scale, 3):
        sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (lr, sr)]
        raise UsageError(f"'{large}' has {sizes[1]} pixels, no whole multiple of {sizes[0]}")
    difference = abs(imresize(sr, 1 / scale).astype(int) - lr)
    told = {"scale": scale, "mean": float(difference.mean()), "largest": int(difference.max())}
    if as_json:
        print(json.dumps(told))
    else:
        print(f"x{scale}: {told['mean']:.2f} levels in the mean, at most {told['largest']}")


@hookimpl
def srkit_commands():
    summary = "Compare a result, made small again, with its picture"
    return [Command(name="agree", build=agree, summary=summary)]
