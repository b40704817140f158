"""Keep one full record: all models with weights, all sets of a folder, quality and cost, and the report page.

python benchmarks/full_bench.py FOLDER --out benchmarks/records/DATE-full-bench --page docs/_static/full-bench.html

FOLDER holds `Set5/HR` and others. Do it on a machine that does nothing else. Interrupted, the same command goes on.
"""

import os
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from srkit.cli import run
from srkit.evaluate.bench_about import short_path
from srkit.evaluate.cost_table import cost_table, notes
from srkit.evaluate.table import Results, read_results
from srkit.evaluate.views import as_markdown
from srkit.files import write_atomically

LARGEST = 1_000_000  # bytes of the page

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def record(
    context: typer.Context,
    folder: Path,
    out: Annotated[Path, typer.Option(help="Folder of the record: README.md, table.json, plots/.")],
    page: Annotated[Path | None, typer.Option(help="Where the page goes; into the record if not given.")] = None,
) -> None:
    """Score, measure and write the record. Any other options go to `srkit bench`."""
    os.environ["SRKIT_DATA"] = str(folder.resolve())  # not an option: the command on the page then names no folder
    words = ["bench", "--cost", "--groups", *context.args]
    sys.argv = ["srkit", *words]
    with TemporaryDirectory() as made:
        with redirect_stdout(StringIO()) as printed:
            code = run([*words, "--report", made])
        print(printed.getvalue(), end="")
        if not (Path(made) / "index.html").is_file():
            raise SystemExit(code)
        results = without_folders(read_results(Path(made) / "table.json"))
        out.mkdir(parents=True, exist_ok=True)
        for file in Path(made).glob("plots/*.svg"):
            (out / "plots").mkdir(exist_ok=True)
            copyfile(file, out / "plots" / file.name)
        target = page or out / "index.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        copyfile(Path(made) / "index.html", target)
    write_atomically(out / "table.json", lambda file: file.write(results.to_json().encode()))
    write_atomically(out / "README.md", lambda file: file.write(readme(results, target, out).encode()))
    size = target.stat().st_size
    print(f"{out}: {len(results.scores):,} scores, {len(results.costs)} costs; {target}: {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"'{target}' has more than {LARGEST:,} bytes")
    raise SystemExit(code)


def without_folders(results: Results) -> Results:
    """A record names no folder of the machine it was made on."""
    return replace(
        results,
        scores=[replace(score, origin=short_path(score.origin)) for score in results.scores],
        models=[replace(model, origin=short_path(model.origin)) for model in results.models],
        sets=[replace(one, folder=short_path(one.folder)) for one in results.sets],
    )


def readme(results: Results, page: Path, out: Path) -> str:
    """The record for the reader."""
    headings, cells = cost_table(results)
    lines = [headings, ["---"] * len(headings), *cells]
    about = "\n".join(f"- {name}: {value}" for name, value in results.about.items() if value)
    link = os.path.relpath(page, out).replace(os.sep, "/")
    return (
        "# All models with weights, all test sets, quality and cost\n\n"
        "`python benchmarks/full_bench.py FOLDER` made it; FOLDER holds the test sets. "
        f"The page with plots, crops and single pictures is [{page.name}]({link}); `table.json` has every number.\n\n"
        f"{about}\n\n## Quality\n\n{as_markdown(results)}\n## Cost\n\n"
        + "\n".join(f"| {' | '.join(line)} |" for line in lines)
        + "\n\n"
        + "\n\n".join(notes(results))
        + "\n"
    )


if __name__ == "__main__":
    app()
