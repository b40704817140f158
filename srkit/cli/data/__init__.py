"""`srkit data`: fetch published datasets, check pictures before training, show what the network is trained on."""

import typer

from srkit.cli.data import check, degrade, fetch, pack, preview

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def data() -> None:
    """Fetch published datasets, check pictures before training, show what the network is trained on."""


app.command("fetch", cls=fetch.SeveralScales)(fetch.fetch)
app.command("pack")(pack.pack)
app.command("check")(check.check)
app.command("preview")(preview.preview)
app.command("degrade")(degrade.degrade)
