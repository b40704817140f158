"""`srkit data`: fetch published datasets, check pictures before training, look at what the network will see."""

import typer

from srkit.cli.data import check, fetch, pack, preview

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def data() -> None:
    """Fetch published datasets, check pictures before training, look at what the network will see."""


app.command("fetch", cls=fetch.SeveralScales)(fetch.fetch)
app.command("pack")(pack.pack)
app.command("check")(check.check)
app.command("preview")(preview.preview)
