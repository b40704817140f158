"""`srkit data`: fetch, check, select and cut pictures for training; show what the network is trained on."""

import typer

from srkit.cli.data import check, copies, degrade, fetch, pack, preview, select, tile

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def data() -> None:
    """Fetch, check, select and cut pictures for training; show what the network is trained on."""


app.command("fetch", cls=fetch.SeveralScales)(fetch.fetch)
app.command("pack")(pack.pack)
app.command("check")(check.check)
app.command("preview")(preview.preview)
app.command("degrade")(degrade.degrade)
app.command("select")(select.select)
app.command("tile")(tile.tile)
app.command("copies")(copies.copies)
