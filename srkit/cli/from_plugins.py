"""The commands that plugins add to `srkit`: listed by name and summary, imported when they are run."""

from typing import Any

import typer.core

from srkit.cli import display
from srkit.commands import resolved
from srkit.errors import UnknownName
from srkit.plugins import OWN_COMMANDS, Entry, Registry

HEADING = "From plugins"


class NotYetImported(typer.core.TyperCommand):
    """A plugin's command as `srkit --help` shows it; its own module is imported when it is run."""

    def __init__(self, name: str, entry: Entry):
        from rich.markup import escape

        about = escape(f"{entry.component.summary} ({entry.package})".strip())
        super().__init__(name, help=about, rich_help_panel=HEADING)
        self.entry = entry

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return resolved(self.entry).make_context(info_name, args, parent=parent, **extra)


class WithPlugins(typer.core.TyperGroup):
    """srkit's own commands, and those of plugins, which are looked for only where srkit has none of that name."""

    registry: Registry | None = None

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(self.name_of(entry) for entry in self.plugins().of("command"))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Raises UsageError, naming both packages, for a name that two of them use."""
        if own := super().get_command(ctx, cmd_name):
            return own
        try:
            return NotYetImported(cmd_name, self.plugins().find("command", cmd_name))
        except UnknownName:
            return None

    def plugins(self) -> Registry:
        """The installed plugins; each broken one is reported once."""
        if self.registry is None:
            self.registry = display.load(builtin=False)
        return self.registry

    def name_of(self, entry: Entry) -> str:
        """The word that runs it: its name, or `package:name` where the name is srkit's or another package's too."""
        name = entry.component.name
        others = [each for each in self.plugins().of("command") if each.component.name == name]
        return entry.qualified if name in OWN_COMMANDS or len(others) > 1 else name
