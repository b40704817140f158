"""The landing page and the guides: every command works, in the order of the page; trainings are cut to a moment."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srkit import read_rgb
from tests.fixtures import loaded
from tests.hub import TOKEN, hub

__all__ = ["hub"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GUIDES = sorted((DOCS / "guides").glob("*.md"))
#: what has a test elsewhere, or is set up by the test here: pip is not let loose on this environment
ELSEWHERE = ["pip install .", "srkit plugins install -e ./srkit-crisp"]


def commands(page: Path) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```$", page.read_text(), flags=re.M | re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "a console block holds commands alone; output is text"
    return [re.sub(r"--max-time \d+[mh]", "--max-time 0.1s", line.removeprefix("$ ")) for line in lines]


@pytest.fixture
def follow(run_srkit, install, photo, tmp_path) -> Callable[[Path], dict[str, str]]:
    """follow(page) runs its commands in a folder with photo.jpg, photos and held-out; what each printed."""
    Image.fromarray(photo[:40, :56]).save(tmp_path / "photo.jpg")
    grapes = read_rgb(ROOT / "plugins/srkit_builtin/samples/solaris-grapes.jpg")
    for folder, pictures in {"photos": [photo[:, i : i + 200] for i in (0, 100, 200)], "held-out": [grapes]}.items():
        (tmp_path / folder).mkdir()
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels[:220, :220]).save(tmp_path / folder / f"{i}.png")

    def run(page: Path) -> dict[str, str]:
        printed = {}
        for line in commands(page):
            if line == "srkit plugins install -e ./srkit-crisp":
                install("srkit-crisp", (tmp_path / "srkit-crisp/srkit_crisp.py").read_text())
                with next(tmp_path.glob("site/srkit-crisp/*/METADATA")).open("a") as metadata:
                    metadata.write("License-Expression: MIT\n")  # as its pyproject.toml says
            if line in ELSEWHERE:
                continue
            program, *words = shlex.split(line)
            assert program == "srkit", f"{page.name}: a test runs '{line}'"
            code, out, err = run_srkit(*words)
            assert code == 0, (line, out, err)
            printed[line] = out
        return printed

    return run


def test_the_landing_page_shows_commands_that_are_followed_elsewhere():
    """The README's are run by test_readme.py, the tutorial's by test_docs.py."""
    followed = {line for page in (ROOT / "README.md", DOCS / "tutorial.md", *GUIDES) for line in commands(page)}
    shown = commands(DOCS / "index.md")
    assert len(shown) >= 5
    assert [line for line in shown if line not in followed] == []


def test_your_own_photos(follow, tmp_path):
    follow(DOCS / "guides/your-photos.md")
    assert loaded(tmp_path / "photo_edsr-small_x2.png").size == (112, 80)
    assert loaded(tmp_path / "best.png").size == (112, 80)
    assert (tmp_path / "gallery/gallery.html").exists()
    assert (tmp_path / "runs/edsr-small_x4/best.safetensors").exists()


def test_compare_with_a_paper_prints_the_figures_of_the_page(follow, run_srkit, shared, monkeypatch):
    """The network of the page is not trained here: another stands in its place. Bicubic's figures are the page's."""
    monkeypatch.setenv("SRKIT_DATA", str(shared / "bench"))
    small = ["--model", "edsr", "--set", "model.n_resblocks=1", "--set", "model.n_feats=8"]
    assert run_srkit("train", *small, "--steps", "1", "--out", "runs/mine")[0] == 0
    page = DOCS / "guides/compare-with-a-paper.md"
    printed = follow(page)

    def figures(text: str) -> list[list[str]]:
        return [line.split()[:5] for line in text.splitlines() if line.startswith(" bicubic")]

    (shown,) = re.findall(r"^```text\n(.*?)^```$", page.read_text(), flags=re.M | re.S)
    assert len(figures(shown)) == 3
    assert figures(shown) == figures(printed["srkit bench --models bicubic --sets set5 --scales 2,3,4"])
    table = dict(re.findall(r"^\| `([\w-]+)` \| (\d+\.\d+) \|$", page.read_text(), flags=re.M))
    one_scale = re.compile(r"srkit bench --models bicubic --sets set5 --scales 2(?: --protocol \S+)?")
    by_protocol = {line: out for line, out in printed.items() if one_scale.fullmatch(line)}
    assert len(table) == len(by_protocol) == 4
    for line, out in by_protocol.items():
        assert figures(out)[0][3] == table[line.partition("--protocol ")[2] or "y"]


def test_publish_a_model(follow, hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    follow(DOCS / "guides/publish-a-model.md")
    card = (tmp_path / "card/README.md").read_text()
    assert "CC-BY-4.0".lower() in card
    assert set(hub.repositories["anna/crisp-x2"]) >= {"model.safetensors", "README.md", "run.toml"}
    assert (tmp_path / "photo_crisp_x2.png").exists()


def test_every_guide_is_followed_here():
    tested = re.findall(r"DOCS / \"(guides/[\w-]+\.md)\"", Path(__file__).read_text())
    assert sorted({DOCS / name for name in tested}) == GUIDES


def test_the_messages_of_the_questions_are_what_srkit_says(run_srkit, photo, tmp_path):
    page = re.findall(r"^```text\n(.*?)\n```$", (DOCS / "faq.md").read_text(), flags=re.M | re.S)
    Image.fromarray(np.array([[0, 3]], np.float32)).save(tmp_path / "float.tif")
    for folder, pixels in {"pairs/HR": photo[:125, :127], "pairs/LR": photo[:31, :32], "tiny": photo[:30, :30]}.items():
        (tmp_path / folder).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "cat.png")
    said = [
        run_srkit(*shlex.split(line))[2]
        for line in (
            "upscale tiny/cat.png --model edsr-large",
            "upscale float.tif --model bicubic",
            "train --data pairs --scale 4",
            "train --data tiny",
            "bench --models nearest --scales 2 --metrics psnr",
        )
    ]
    assert len(page) == len(said)
    for message, text in zip(page, said, strict=True):
        assert message in text.replace("srkit: ", "")
