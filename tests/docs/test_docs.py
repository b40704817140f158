"""The documentation is true: it builds, its blocks run, its signatures and its command reference are the code's."""

import inspect
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from srkit import Registry, hookspecs
from srkit.cli import app
from srkit.components import KINDS
from srkit.run import OWN_KEYS
from srkit.scaffold import new_plugin
from tests.fixtures import loaded

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), flags=re.M | re.S)


def test_the_pages_build_without_a_warning(tmp_path):
    words = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", DOCS, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "class Tiny" not in (tmp_path / "out/tutorial.html").read_text()
    assert "srkit_models" in (tmp_path / "out/tutorial.html").read_text()


@pytest.mark.parametrize("path", [p for p in PAGES if blocks(p, "python") and p.stem != "python"], ids=lambda p: p.stem)
def test_every_python_block_runs(path):
    for code in blocks(path, "python"):
        names: dict = {"__name__": path.stem}
        exec(compile(code, str(path), "exec"), names)
        for kind, (_, hook) in KINDS.items():
            for record in names[hook]() if hook in names else ():
                Registry().add(kind, record)


@pytest.mark.parametrize(("kind", "hook"), [(kind, hook) for kind, (_, hook) in KINDS.items()])
def test_each_hook_has_a_page_with_its_very_signature(kind, hook):
    page = DOCS / "hooks" / f"{hook}.md"
    assert blocks(page, "text") == [f"{hook}{inspect.signature(getattr(hookspecs, hook))}\n"]
    assert inspect.getdoc(getattr(hookspecs, hook)) in page.read_text()
    assert f"def {hook}():" in page.read_text()
    assert hook in (DOCS / "hooks/index.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_each_hook_page_shows_the_module_that_is_written(kind, tmp_path):
    files = new_plugin("mine", kind, "MIT", tmp_path)
    module = next(path for path in files if path.name == "srkit_mine.py")
    assert blocks(DOCS / "hooks" / f"{KINDS[kind][1]}.md", "python")[0] == module.read_text()


def test_the_command_reference_is_what_the_commands_say():
    """After a change: python docs/generate_cli.py"""
    sys.path.insert(0, str(DOCS))
    try:
        from generate_cli import PAGE, reference
    finally:
        sys.path.remove(str(DOCS))
    assert PAGE.read_text() == reference()


def test_the_pages_of_the_notebooks_are_the_notebooks():
    """After a change: python docs/generate_notebooks.py"""
    made = runpy.run_path(str(DOCS / "generate_notebooks.py"))
    pages = {path.stem: path.read_text(encoding="utf-8") for path in made["PAGES"].glob("*.md")}
    assert pages == {path.stem: made["page"](path) for path in made["BOOKS"]}


def test_the_architectures_are_those_of_the_package_and_the_record():
    """After a change: python docs/generate_architectures.py"""
    made = runpy.run_path(str(DOCS / "generate_architectures.py"))
    assert made["PAGE"].read_text(encoding="utf-8") == made["page"]()


def test_the_table_of_run_keys_is_what_the_run_declares():
    """After a change: python docs/generate_run_keys.py"""
    sys.path.insert(0, str(DOCS))
    try:
        from generate_run_keys import PAGE, page
    finally:
        sys.path.remove(str(DOCS))
    assert PAGE.read_text() == page()
    assert "| `accumulate` | int > 0 | `1` |" in page()


def test_the_tables_of_fields_are_what_the_records_declare():
    """After a change: python docs/generate_records.py"""
    sys.path.insert(0, str(DOCS))
    try:
        from generate_records import PAGE, page, records
    finally:
        sys.path.remove(str(DOCS))
    assert PAGE.read_text() == page()
    assert {record for record, _ in KINDS.values()} < set(records())
    assert '| `tag` | `str` | `""` |' in page()


def test_the_page_on_options_names_every_reserved_word():
    rows = re.findall(r"^\| `\[+(\w+)\]+` \| (.*?) \|", (DOCS / "options.md").read_text(), flags=re.M)
    assert {section: set(re.findall(r"`(\w+)`", words)) for section, words in rows} == {
        section: {"name", *words} for section, words in OWN_KEYS.items()
    }


def refusal(line: str) -> str:
    """What the command line says against `srkit ...`, without running it; what a fragment leaves out is no fault."""
    words = [word for word in shlex.split(line) if word != "..."][1:]
    command, context = typer.main.get_command(app), None
    try:
        while hasattr(command, "resolve_command") and words and not words[0].startswith("-"):
            context = command.make_context("srkit", [], parent=context, resilient_parsing=True)
            context.resilient_parsing = False
            _, command, words = command.resolve_command(context, words)
        command.make_context("srkit", words, parent=context)
    except typer.TyperException as error:
        left_out = type(error).__name__ in ("MissingParameter", "NoArgsIsHelpError")
        return "" if left_out or "requires an argument" in error.format_message() else error.format_message()
    except typer.Exit:
        pass
    return ""


@pytest.mark.parametrize("path", [ROOT / "README.md", *(p for p in PAGES if p.stem != "cli")], ids=lambda p: p.stem)
def test_every_command_that_a_page_names_is_one(path):
    """Those in the text too, which no test runs: the command, its options and the number of its arguments."""
    text = path.read_text()
    lines = re.findall(r"`(srkit [^`]+)`", text) + re.findall(r"^\$ (srkit .*)$", text, flags=re.M)
    named = [" ".join(line.split()) for line in lines if not line.split()[1].isupper() and ":" not in line.split()[1]]
    assert {line: said for line in named if (said := refusal(line))} == {}


def test_a_command_that_is_none_is_noticed():
    assert "--modle" in refusal("srkit upscale PHOTO --modle bicubic")
    assert "extra argument" in refusal("srkit data fetch set5 set14")
    assert refusal("srkit traim --list")


def test_the_tutorial_runs(stranger_python, tmp_path, photo):
    """Every command of it, in an environment of its own; the training is cut to 40 steps.

    Two processes share the commands, since importing torch takes longer than what they do: what pip installs is seen
    by the next process.
    """
    Image.fromarray(photo[:40, :56]).save(tmp_path / "photo.jpg")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "SRKIT_PLUGINS"}
    offline = "--no-build-isolation --no-deps --no-index"
    text = "".join(blocks(DOCS / "tutorial.md", "console")).replace("--max-time 1m", "--steps 40 --set batch=4")
    parts = re.split(r"(?<=\./srkit-tiny\n)", text)
    assert len(parts) == 2
    for part in parts:
        lines = [line.removeprefix("$ srkit ") for line in part.splitlines()]
        each = [shlex.split(f"{line} {offline}" if "plugins install" in line else line) for line in lines]
        code = "\n".join(["from srkit.cli import run", *(f"assert run({words!r}) == 0, {words!r}" for words in each)])
        done = subprocess.run(
            [stranger_python, "-c", code],
            capture_output=True, text=True, timeout=300, cwd=tmp_path, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, (lines, done.stdout, done.stderr)
        if "plugins install" in part:
            assert "+ model tiny (srkit-tiny 0.1.0)" in done.stdout
    assert loaded(tmp_path / "photo_tiny_x2.png").size == (112, 80)
    remove = [stranger_python, "-m", "srkit", "plugins", "uninstall", "srkit-tiny"]
    done = subprocess.run(remove, capture_output=True, text=True, env=environment)
    assert done.stdout == "- model tiny (srkit-tiny 0.1.0)\n"
