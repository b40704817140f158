"""A plugin's command as typer runs it, imported when it is run rather than when it is listed."""

import inspect
from typing import Any

from srkit.components import Lazy
from srkit.errors import PluginError, one_line
from srkit.plugins import Entry


def resolved(entry: Entry) -> Any:
    """The command that the `build` of a Command's entry is: a TyperCommand or, of several commands, a TyperGroup.

    Raises PluginError, naming the command, where it cannot be imported, is neither a `typer.Typer` nor a function,
    or has parameters that typer does not take.
    """
    import typer

    build = entry.component.build
    try:
        found: Any = build.resolve() if isinstance(build, Lazy) else build
        app = found
        if inspect.isfunction(found):
            app = typer.Typer(add_completion=False)
            app.command(entry.component.name)(found)
        if isinstance(app, typer.Typer):
            return typer.main.get_command(app)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"command '{entry.qualified}' cannot be imported: {one_line(error)}") from error
    raise PluginError(
        f"command '{entry.qualified}' is a {type(found).__name__}; its build must be a typer.Typer or a function"
    )
