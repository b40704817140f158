"""What the README says is run: its commands, its plugin, its make targets."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE = ROOT / "plugins/examples/srkit-tiny"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.M | re.S)


def commands(block: str) -> list[list[str]]:
    """The commands of a console block; trainings are cut from minutes to a second."""
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    return [shlex.split(re.sub(r"--max-time \d+m", "--max-time 1s", line)) for line in lines]


@pytest.fixture
def photo_jpg(tmp_path, photo):
    Image.fromarray(photo[:40, :56]).save(tmp_path / "photo.jpg")


def test_the_commands_work_in_their_order(run_srkit, photo_jpg, photo, tmp_path):
    _, use, own, _ = blocks("console")
    (tmp_path / "FOLDER").mkdir()
    Image.fromarray(photo).save(tmp_path / "FOLDER/mine.png")
    for command in commands(use + own):
        assert command[0] == "srkit"
        code, _, err = run_srkit(*command[1:])
        assert code == 0, (command, err)
    assert {p.name for p in tmp_path.glob("photo_*")} == {"photo_bicubic_x3.png", "photo_edsr+_x2.png"}


def test_the_plugin_is_the_example_and_works(run_srkit, photo_jpg, install, tmp_path):
    (module,) = blocks("python")
    (pyproject,) = blocks("toml")
    assert module == (EXAMPLE / "srkit_tiny.py").read_text()
    assert pyproject == (EXAMPLE / "pyproject.toml").read_text()
    assert tomllib.loads(pyproject)["project"]["entry-points"]["srkit"] == {"tiny": "srkit_tiny"}
    assert len([line for line in module.splitlines() if line.strip()]) <= 20
    install("srkit-tiny", module)
    for command in commands(blocks("console")[-1]):
        code, _, err = run_srkit(*command[1:])
        assert code == 0, (command, err)
    assert (tmp_path / "photo_tiny_x2.png").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_demo_makes_its_pictures(tmp_path):
    """The whole of `make demo` but for the installation: this environment stands in for the one it makes."""
    assert commands(blocks("console")[0]) == [["make", "demo"], ["make", "test"]]
    environment = tmp_path / "environment"
    environment.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "installed":
            (environment / entry.name).symlink_to(entry)
    (environment / "installed").touch()
    words = ["make", "demo", f"VENV={environment}", f"DEMO={tmp_path / 'demo'}", "DEMO_TIME=4s"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^ ?bicubic +x2 +samples", done.stdout, flags=re.M)
    for name in ("photo.png", "photo_bicubic_x2.png", "photo_edsr_x2.png", "side-by-side.png"):
        assert Image.open(tmp_path / "demo" / name).size[0] >= 225
    assert "the pictures are in" in done.stdout


def test_the_picture_is_there():
    (picture,) = re.findall(r"!\[.*?\]\((.*?)\)", README)
    assert Image.open(ROOT / picture).size[0] > 600
