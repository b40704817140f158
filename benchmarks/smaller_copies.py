"""A folder of photographs to train on, each once as it is and once in each smaller size.

    python benchmarks/smaller_copies.py PHOTOGRAPHS OUT --factor 0.7 --factor 0.5

Copies are made by MATLAB's bicubic and saved as PNG, `0001x0.5.png` beside `0001.jpg`; the list of the photographs,
`MANIFEST.tsv`, is copied along. A smaller copy has more detail to a patch and less of the grain and the compression of
the original. Since a copy may look like the LR of its original, a training is told that all are HR:
`--set data.root=OUT --set data.hr_dir=. --set data.lr_dir=none`. Source: Wang et al., Real-ESRGAN, 2021, whose authors
train on such copies ("multi-scale").
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from srkit import Progress, imresize, list_files, read_rgb, say

MANIFEST = "MANIFEST.tsv"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    photographs: Path,
    out: Path,
    factor: Annotated[list[float], typer.Option(min=0.01, max=0.99, help="may be given several times")] = [0.7, 0.5],  # noqa: B006 - typer copies it
) -> None:
    paths, left_out = list_files(photographs)
    if others := [str(path) for path in left_out if path.name != MANIFEST]:
        say(f"no pictures, and left out: {', '.join(others)}")
    out.mkdir(parents=True, exist_ok=True)
    with Progress("copies", len(paths)) as progress:
        for path in paths:
            shutil.copy(path, out)
            whole = read_rgb(path)
            for each in factor:
                Image.fromarray(imresize(whole, each)).save(out / f"{path.stem}x{each:g}.png", compress_level=1)
            progress.one_more()
    if (photographs / MANIFEST).exists():
        shutil.copy(photographs / MANIFEST, out)
    print(out)


if __name__ == "__main__":
    app()
