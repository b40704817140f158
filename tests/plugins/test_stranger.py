"""A stranger's package: the example copied out of the repository, renamed, installed by pip, used by name, removed."""

import json
import os
import subprocess
import sys
from pathlib import Path

from PIL import Image

from tests.fixtures import loaded

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "plugins/examples/srkit-tiny"


def test_a_renamed_copy_is_installed_used_and_removed(stranger_python: Path, tmp_path: Path, photo):
    copy = tmp_path / "srkit-cap"
    copy.mkdir()
    for name in ("pyproject.toml", "srkit_tiny.py", "test_srkit_tiny.py"):
        text = (EXAMPLE / name).read_text().replace("tiny", "cap")
        (copy / name.replace("tiny", "cap")).write_text(text)

    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SRKIT_", "PYTHON"))}
    environment["SRKIT_CACHE"] = os.environ["SRKIT_CACHE"]

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [stranger_python, *words], capture_output=True, text=True, timeout=300, env=environment, cwd=tmp_path
        )

    def python(*lines: str) -> subprocess.CompletedProcess[str]:
        """Several commands share a process, since importing torch takes longer than what they do."""
        done = call("-c", "\n".join(["import sys", "from srkit.cli import run", *lines]))
        assert done.returncode == 0, done.stderr
        return done

    def srkit(line: str, code: int = 0) -> str:
        return f"assert run({line.split()!r}) == {code}, {line!r}"

    def models() -> dict[str, str]:
        plugins = json.loads(python(srkit("plugins --json")).stdout)["plugins"]
        return {plugin["name"]: plugin["package"] for plugin in plugins if plugin["kind"] == "model"}

    before = models()
    assert "cap" not in before
    installed = call("-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", str(copy))
    assert installed.returncode == 0, installed.stderr
    assert models() == {**before, "cap": "srkit-cap"}
    light = "assert 'torch' not in sys.modules, 'the example imports torch only when it builds'"
    assert "width" in python(srkit("plugins cap"), srkit("plugins"), light).stdout

    Image.fromarray(photo[:31, :45]).save(tmp_path / "photo.png")
    done = python(
        srkit("upscale photo.png --model cap", 1),
        srkit("train --model cap --steps 40 --set lr=1e-3 --set batch=4"),
        srkit("bench --scales 2"),
        srkit("upscale photo.png --model cap"),
        f"import pytest; assert pytest.main(['-q', '-p', 'no:cacheprovider', {str(copy)!r}]) == 0",
    )
    assert "has no trained weights" in done.stderr
    scored = [line.split()[0] for line in done.stdout.splitlines() if "samples" in line]
    assert {"nearest", "bicubic", "lanczos", "edsr-small", "cap"} <= set(scored)
    assert loaded(tmp_path / "photo_cap_x2.png").size == (90, 62)
    assert "1 passed" in done.stdout

    assert call("-m", "pip", "uninstall", "--yes", "srkit-cap").returncode == 0
    assert models() == before
    gone = call("-m", "srkit", "upscale", "photo.png", "--model", "runs/cap_x2")
    assert gone.returncode == 1
    assert "was made with 'srkit-cap:cap' 0.1.0 and needs the plugin 'srkit-cap'" in gone.stderr


def test_the_wheel_holds_both_packages_and_the_photographs(tmp_path: Path):
    import zipfile

    done = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if "dist-info" not in name} == {"srkit", "srkit_builtin"}
    photographs = [n for n in names if n.startswith("srkit_builtin/samples/") and n.endswith(("png", "jpg"))]
    assert len(photographs) == 10
    weights = sum(file.stat().st_size for file in (ROOT / "plugins/srkit_builtin/weights").glob("*.safetensors"))
    assert weights < 6_000_000, "of the small networks"
    assert wheel.stat().st_size < 4_000_000 + weights
