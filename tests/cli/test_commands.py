"""Commands of plugins: listed without importing them, run by name, and every way to be broken is one line."""

import subprocess
import sys

import pytest
import typer

from srkit.cli import app
from srkit.plugins import OWN_COMMANDS

PLUGIN = """
from srkit import Command, hookimpl, lazy
srkit_api = 1
@hookimpl
def srkit_commands():
    return [Command(name="{name}", build={build}, summary="Greets [everybody]")]
"""
APP = """
import torch
import typer
from srkit import UsageError
app = typer.Typer()
@app.command()
def hello(name: str, times: int = 1) -> None:
    "Say hello."
    if name == "nobody":
        raise UsageError("nobody is no name")
    print(f"hello {name} " * times)
@app.command()
def bye() -> None:
    "Say bye."
    print("bye")
"""


def greeter(install, package="srkit-greet", name="greet", build=None, source=APP):
    """A package with one command in a module of its own, which imports torch."""
    module = package.replace("-", "_")
    install(package, PLUGIN.format(name=name, build=build or f'lazy("{module}_cli:app")'))
    install(f"{package}-cli", source)  # on sys.path; as a plugin it has no hooks, so it is not named to be one


@pytest.fixture
def only(monkeypatch):
    """Which of the packages on sys.path are loaded as plugins."""
    return lambda *packages: monkeypatch.setenv("SRKIT_PLUGINS", ",".join(packages))


def test_the_names_of_srkits_own_commands_are_the_recorded_ones():
    assert set(typer.main.get_command(app).commands) == set(OWN_COMMANDS)


def test_help_lists_it_and_imports_neither_it_nor_torch(install, only, monkeypatch):
    greeter(install)
    only("srkit-greet")
    code = """
import sys
from srkit.cli import run
assert run(["--help"]) == 0
assert "srkit_greet" in sys.modules, "the module of the entry point says what there is"
assert not {"srkit_greet_cli", "torch"} & set(sys.modules)
assert run(["--version"]) == 0
assert run(["greet", "bye"]) == 0
assert {"srkit_greet_cli", "torch"} <= set(sys.modules)
"""
    monkeypatch.setenv("PYTHONPATH", ":".join(path for path in sys.path if path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "From plugins" in done.stdout
    assert "Greets [everybody] (srkit-greet)" in done.stdout
    assert done.stdout.endswith("bye\n")


def test_srkits_own_commands_look_at_no_plugin(run_srkit, install, only):
    install("srkit-broken", "raise SystemExit('licence expired')")
    only("srkit-broken")
    assert run_srkit("--version")[::2] == (0, "")
    assert run_srkit("train", "--help")[::2] == (0, "")
    code, out, err = run_srkit("--help")
    assert (code, err.count("\n")) == (0, 1)
    assert "plugin srkit-broken:srkit_broken is left out: SystemExit: licence expired" in err
    assert "upscale" in out


def test_it_runs_with_its_options_its_help_and_its_errors(run_srkit, install, only):
    greeter(install)
    only("srkit-greet")
    assert run_srkit("greet", "hello", "world", "--times", "2") == (0, "hello world hello world \n", "")
    code, out, _ = run_srkit("greet", "--help")
    assert code == 0
    assert "srkit greet" in out
    assert "Say bye." in out
    assert run_srkit("greet", "hello", "nobody") == (2, "", "srkit: nobody is no name\n")
    assert (
        run_srkit("greet", "hello", "a", "--tims", "2")[2]
        == "srkit: hello: no option '--tims'; did you mean '--times'?\n"
    )
    assert "no command 'helo'; did you mean 'hello'?" in run_srkit("greet", "helo")[2]
    assert "no command 'gret'; did you mean 'greet'?" in run_srkit("gret")[2]
    assert "no command 'upscal'; did you mean 'upscale'?" in run_srkit("upscal")[2]


def test_a_function_is_a_command_too(run_srkit, install):
    source = PLUGIN.format(name="count", build="count").replace("@hookimpl", "def count(to: int): print(to)\n@hookimpl")
    install("srkit-count", source)
    assert run_srkit("count", "3") == (0, "3\n", "")
    assert run_srkit("count", "three")[0] == 2


BROKEN = {
    "no module": (
        "lazy('no_such_module:app')",
        "",
        "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "no attribute": ("lazy('srkit_greet_cli:other')", "", "module 'srkit_greet_cli' has no attribute 'other'"),
    "fault": (None, "1 / 0", "cannot be imported: ZeroDivisionError"),
    "exit": (None, "raise SystemExit('no licence')", "cannot be imported: SystemExit: no licence"),
    "wrong type": (None, "app = 3", "is a int; its build must be a typer.Typer or a function"),
    "a class": (None, "class app: ...", "is a type; its build must be a typer.Typer or a function"),
    "parameters": (None, "def app(a: str | int): ...", "cannot be imported: "),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_command_is_one_line_and_breaks_nothing(run_srkit, install, only, fault):
    build, source, words = BROKEN[fault]
    greeter(install, build=build, source=source)
    only("srkit-greet")
    code, out, err = run_srkit("--help")
    assert (code, err) == (0, "")
    assert "greet" in out
    for line in (["greet"], ["greet", "--help"]):
        code, out, err = run_srkit(*line)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "srkit: command 'srkit-greet:greet'" in err
        assert words in err
    code, out, _ = run_srkit("plugins", "check", "greet")
    assert code == 1
    assert words in out
    assert run_srkit("plugins", "show", "greet")[0] == 0
    code, out, _ = run_srkit("doctor")
    assert code == 1
    assert words in out


def test_srkits_own_command_keeps_its_name(run_srkit, install, only):
    greeter(install, name="doctor")
    only("srkit-greet")
    assert "plugin API" in run_srkit("doctor")[1]
    _, out, err = run_srkit("--help")
    assert "srkit-greet:doctor" in out
    assert err == "srkit: 'doctor' stays srkit's own command; run that of srkit-greet as srkit-greet:doctor\n"
    assert run_srkit("srkit-greet:doctor", "bye")[:2] == (0, "bye\n")
    assert "srkit has a command 'doctor' of its own" in run_srkit("plugins", "check", "srkit-greet:doctor")[1]


def test_a_name_of_two_packages_is_refused_with_both(run_srkit, install, only):
    greeter(install)
    greeter(install, "srkit-welcome")
    only("srkit-greet", "srkit-welcome")
    code, out, err = run_srkit("greet", "bye")
    assert (code, out) == (2, "")
    refused = "several packages have a command called 'greet'; say srkit-greet:greet or srkit-welcome:greet"
    assert err.splitlines()[-1] == f"srkit: {refused}"
    assert run_srkit("srkit-welcome:greet", "bye")[:2] == (0, "bye\n")
    out = run_srkit("--help")[1]
    assert "srkit-greet:greet" in out
    assert "srkit-welcome:greet" in out


def test_commands_are_listed_and_checked_as_any_component(run_srkit, install, only):
    greeter(install)
    only("srkit-greet")
    code, out, _ = run_srkit("plugins", "--kind", "command")
    assert code == 0
    assert "srkit-greet" in out
    code, out, _ = run_srkit("plugins", "check", "greet")
    assert code == 1
    assert "'hello': name has no help" in out
    assert "name: Annotated[..., typer.Argument(help=...)]" in out
