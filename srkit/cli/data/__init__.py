"""`srkit data`: fetch published datasets, check pictures before training, look at what the network will see."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def data() -> None:
    """Fetch published datasets, check pictures before training, look at what the network will see."""
