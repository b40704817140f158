"""Checks of a command: its name, its type, its help. Nothing of it is run."""

from collections.abc import Iterator
from typing import Any

from srkit.commands import resolved
from srkit.errors import SrkitError
from srkit.plugins import OWN_COMMANDS, Entry, Registry
from srkit.testing.kit import Check, Fault


def checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("its name is free", lambda: free_name(entry))
    yield Check("it is a typer.Typer or a function that typer takes", lambda: of_typer(entry))
    yield Check("it and each of its options are documented", lambda: documented(entry))


def free_name(entry: Entry) -> None:
    if entry.component.name in OWN_COMMANDS:
        raise Fault(
            f"srkit has a command '{entry.component.name}' of its own",
            f"choose another name; as it is, users must say 'srkit {entry.qualified}'",
        )


def of_typer(entry: Entry) -> None:
    try:
        resolved(entry)
    except SrkitError as error:
        raise Fault(str(error), 'name the app or the function: build=lazy("package.module:app")') from None


def documented(entry: Entry) -> None:
    """Whatever `--help` shows, of each command where there are several."""
    for command in subcommands(resolved(entry)):
        if not command.help:
            raise Fault(f"'{command.name}' says nothing about itself", "give the function a docstring")
        for parameter in command.params:
            if not getattr(parameter, "help", None):
                raise Fault(
                    f"'{command.name}': {parameter.name} has no help",
                    f"annotate it: {parameter.name}: Annotated[..., typer.{type(parameter).__name__[5:]}(help=...)]",
                )


def subcommands(command: Any) -> list[Any]:
    """The command itself, or all that a group holds."""
    groups = getattr(command, "commands", {})
    return [one for each in groups.values() for one in subcommands(each)] if groups else [command]
