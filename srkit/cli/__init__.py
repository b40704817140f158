"""The `srkit` command: one file per subcommand, torch imported inside their bodies."""

import os
import re
import sys
from collections.abc import Callable, Sequence

import typer

from srkit.cli import bench, data, display, doctor, gallery, plugins, sweep, train, try_, upscale, weights
from srkit.cli.from_plugins import WithPlugins
from srkit.cli.notices import notices
from srkit.errors import SrkitError, did_you_mean, one_line
from srkit.malloc import keep_freed_memory

app = typer.Typer(
    name="srkit",
    cls=WithPlugins,
    help="Super-resolution: train a model, score it, make a picture larger. Everything is a plugin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {
    "upscale": upscale.upscale,
    "train": train.train,
    "bench": bench.bench,
    "sweep": sweep.sweep,
    "gallery": gallery.gallery,
    "try": try_.try_,
    "doctor": doctor.doctor,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
app.add_typer(plugins.app, name="plugins")
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")


@app.callback(invoke_without_command=True)
def options(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    if version:
        from srkit import __version__

        display.result(f"srkit {__version__}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code: 0, 1 for a failure, 2 for wrong use, 130 for an interruption."""
    try:
        with notices():
            command = display.apart(typer.main.get_command(app))
            code = command(list(arguments), standalone_mode=False, prog_name="srkit")
        if sys.stdout is not None:
            sys.stdout.flush()
        if code == 130:
            return fail("interrupted", code)
        return code if isinstance(code, int) else 0
    except SrkitError as error:
        return fail(one_line(error), error.exit_code)
    except typer.TyperException as error:
        return fail(wrong_use(error, arguments), getattr(error, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort):
        return fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return fail(f"stopped: {one_line(error)}", 1)
    except Exception as error:
        if os.environ.get("SRKIT_DEBUG") == "1":
            raise
        return fail(f"unexpected {one_line(error)} (SRKIT_DEBUG=1 shows where)", 1)


def fail(text: str, code: int) -> int:
    rank = os.environ.get("RANK", "0")  # set by torchrun
    print(f"srkit: {'' if rank == '0' else f'rank {rank}: '}{text}", file=sys.stderr)
    return code


def wrong_use(error: typer.TyperException, arguments: Sequence[str]) -> str:
    """What typer objects to, as one line with the nearest right word."""
    context = getattr(error, "ctx", None)
    command = f"{context.command.name}: " if context and context.parent else ""
    text = " ".join(error.format_message().split())
    if option := getattr(error, "option_name", None) if "o such option" in text else None:
        known = [name for p in context.command.params for name in p.opts] if context else []
        return f"{command}no option '{option}'{did_you_mean(option, [*known, '--help'])}"
    if match := re.match(r"No such command '(.+?)'", text):
        known = context.command.list_commands(context) if context else []
        return f"no command '{match[1]}'{did_you_mean(match[1], known)}"
    named = re.search(r"'(-[\w-]+)'", text)
    given = list(arguments)[list(arguments).index(named[1]) + 1 :][:1] if named and named[1] in arguments else []
    got = f", not '{given[0]}'" if given and "should be" in text else ""
    return f"{command}{text[:1].lower()}{text[1:].rstrip('.')}{got}"


def main() -> None:
    display.keep_stdout()
    keep_freed_memory()
    code = run(sys.argv[1:])
    sys.stdout = sys.stderr  # for what plugins print when the process ends
    sys.exit(code)
