"""`srkit plugins new`: every kind installs, passes its own tests and the conformance check, with nothing to delete."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from srkit.components import KINDS
from srkit.scaffold import LICENCES, new_plugin

ROOT = Path(__file__).parents[2]


def test_a_new_model_has_the_form_of_the_example(tmp_path):
    new_plugin("tiny", "model", "MIT", tmp_path)
    example = ROOT / "plugins/examples/srkit-tiny"
    for name in ("srkit_tiny.py", "test_srkit_tiny.py"):
        assert (tmp_path / "srkit-tiny" / name).read_text() == (example / name).read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_keeps_the_contract_and_is_well_written(install, run_srkit, tmp_path, photo, kind):
    from PIL import Image

    name = f"my-{kind}"
    code, out, _ = run_srkit("plugins", "new", name, "--kind", kind)
    assert code == 0
    folder = tmp_path / f"srkit-my-{kind}"
    written = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert written == {
        "pyproject.toml", f"srkit_my_{kind}.py", f"test_srkit_my_{kind}.py", "README.md", "CHANGELOG.md", "LICENSE",
        ".gitignore", ".github/workflows/test.yml",
    }  # fmt: skip
    assert f"srkit plugins check {name}" in out
    for path in folder.rglob("*"):
        assert path.is_dir() or "@" not in path.read_text().replace("@hookimpl", "").replace("actions/", "").replace(
            "@v", ""
        )
    lint = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=120", folder],
        capture_output=True,
        text=True,
    )
    assert lint.returncode == 0, lint.stdout

    (tmp_path / "pictures").mkdir()
    Image.fromarray(photo).save(tmp_path / "pictures" / "a.png")
    install(f"srkit-my-{kind}", (folder / f"srkit_my_{kind}.py").read_text())
    metadata = tmp_path / "site" / f"srkit-my-{kind}" / f"srkit_my_{kind}-1.2.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text() + "License-Expression: MIT\n")
    code, out, err = run_srkit("plugins", "check", name, "--root", "pictures")
    assert code == 0, out + err


def test_wrong_words(run_srkit, tmp_path):
    for words, told in {
        ("My Model",): "'My Model' is no name for a plugin",
        ("foo", "--kind", "modle"): "no kind called 'modle'; did you mean 'model'?",
        ("foo", "--licence", "GPL"): "no licence called 'GPL'",
        ("foo", "--into", "nowhere/at/all"): "",
    }.items():
        code, _, err = run_srkit("plugins", "new", *words)
        assert (code == 2) == bool(told)
        assert told in err
    assert run_srkit("plugins", "new", "srkit-bar")[0] == 0
    assert (tmp_path / "srkit-bar").is_dir(), "the prefix is not doubled"
    code, _, err = run_srkit("plugins", "new", "bar")
    assert code == 2
    assert "'srkit-bar' is there already" in err


@pytest.mark.parametrize("licence", LICENCES)
def test_the_licence_is_the_chosen_one(tmp_path, licence):
    new_plugin("foo", "loss", licence, tmp_path)
    text = (tmp_path / "srkit-foo" / "LICENSE").read_text()
    assert {"MIT": "MIT License", "BSD-3-Clause": "BSD 3-Clause", "Apache-2.0": "Apache License"}[licence] in text
    assert f'license = "{licence}"' in (tmp_path / "srkit-foo" / "pyproject.toml").read_text()


def test_doctor_is_one_block_to_paste(run_srkit, install):
    code, out, _ = run_srkit("doctor")
    assert code == 0
    for word in (f"torch {version('torch')}", "plugin API 1", "cpu (", "edsr", "broken    none"):
        assert word in out
    install("srkit-broken", "import no_such_module_anywhere")
    code, out, _ = run_srkit("doctor")
    assert code == 1
    assert "No module named 'no_such_module_anywhere'" in out
