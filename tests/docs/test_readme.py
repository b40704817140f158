"""What the README says is run: its commands, its plugin, its make targets."""

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from srkit import load_plugins
from srkit.weights.offered import for_pictures
from tests.fixtures import loaded

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "plugins/examples/srkit-tiny"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def commands(block: str) -> list[list[str]]:
    """The commands of a console block; trainings are cut from minutes to a moment."""
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    return [shlex.split(re.sub(r"--max-time \d+[mh]", "--max-time 0.1s", line)) for line in lines]


#: commands of the README that are no srkit command: each has a test of its own
OTHERS = [["pip", "install", "."], ["make", "demo"], ["make", "test"]]


@pytest.fixture
def photo_jpg(tmp_path, photo):
    Image.fromarray(photo[:40, :56]).save(tmp_path / "photo.jpg")


def test_the_commands_work_in_their_order(run_srkit, photo_jpg, photo, tmp_path):
    (tmp_path / "FOLDER").mkdir()
    Image.fromarray(photo).save(tmp_path / "FOLDER/mine.png")
    all_of_them = [command for block in blocks("console") for command in commands(block)]
    assert [command for command in all_of_them if command[0] != "srkit"] == OTHERS
    for command in all_of_them:
        if command[0] == "srkit" and "tiny" not in " ".join(command):
            code, _, err = run_srkit(*command[1:])
            assert code == 0, (command, err)
    assert {p.name for p in tmp_path.glob("photo_*")} == {
        "photo_bicubic_x3.png", "photo_edsr-small+_x2.png", f"photo_{for_pictures(load_plugins(), None)[0].word}_x2.png"
    }  # fmt: skip


def test_pip_install_in_a_checkout_gives_the_command(stranger_python, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    offline = ["--no-build-isolation", "--no-deps", "--no-index", "--ignore-installed"]
    words = [stranger_python, "-m", "pip", "install", "--quiet", *offline, "."]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    command = stranger_python.with_name("srkit.exe" if sys.platform == "win32" else "srkit")
    done = subprocess.run([command, "plugins"], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "edsr-baseline" in done.stdout


def test_nothing_tells_to_install_what_no_index_has():
    """Until the names are published: a checkout, a folder or the package that another project publishes."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "plugins").glob("srkit-*/README.md")]
    found = {
        str(page.relative_to(ROOT)): lines
        for page in pages
        if (lines := re.findall(r"pip install(?: -\S+)* '?srkit[^\n]*", page.read_text()))
    }
    assert not found


def test_the_plugin_is_the_example_and_works(run_srkit, photo_jpg, install, tmp_path):
    (module,) = blocks("python")
    (pyproject,) = blocks("toml")
    assert module == (EXAMPLE / "srkit_tiny.py").read_text()
    assert pyproject == (EXAMPLE / "pyproject.toml").read_text()
    assert tomllib.loads(pyproject)["project"]["entry-points"]["srkit"] == {"tiny": "srkit_tiny"}
    assert len([line for line in module.splitlines() if line.strip()]) <= 20
    install("srkit-tiny", module)
    (block,) = (block for block in blocks("console") if "tiny" in block)
    for command in commands(block):
        code, _, err = run_srkit(*command[1:])
        assert code == 0, (command, err)
    assert (tmp_path / "photo_tiny_x2.png").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_demo_makes_its_pictures(run_srkit, tmp_path, monkeypatch):
    """Each line that `make demo` runs once it has installed: the programs here, so that torch is imported once."""
    assert OTHERS[1] == ["make", "demo"]
    environment, demo = tmp_path / "environment", tmp_path / "demo"
    environment.mkdir()
    (environment / "installed").touch()
    words = ["make", "--dry-run", "--no-print-directory", "demo", f"VENV={environment}", f"DEMO={demo}"]
    lines = subprocess.run([*words, "DEMO_TIME=0.1s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    monkeypatch.chdir(ROOT)
    said = ""
    for line in lines.replace("\\\n", "").splitlines():
        program, *words = shlex.split(line)
        if program == str(environment / "bin/srkit"):
            code, out, err = run_srkit(*words)
            assert code == 0, (line, out, err)
            said += out
        elif program == str(environment / "bin/python"):
            runpy.run_path(words[0])["app"](words[1:], standalone_mode=False)
        else:
            assert program in ("echo", "rm"), line
            said += subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^ ?bicubic +x2 +samples", said, flags=re.M)
    assert re.search(r"^ ?edsr-small +x2 +samples", said, flags=re.M)
    assert said.index("shipped.png") < said.index("train the same network")
    for name in ("photo.png", "photo_bicubic_x2.png", "shipped.png", "trained.png", "side-by-side.png"):
        assert loaded(demo / name).size[0] >= 225
    assert "the pictures are in" in said


def test_the_picture_is_there():
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert loaded(ROOT / picture).size[0] > 600


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\((?!https?:)(.*?)\)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link.partition("#")[0]).exists()] == []
