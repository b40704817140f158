"""What authors and users of plugins wanted of the contract, from public trackers: one test a complaint."""

import ast
import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Gt

from srkit import Dataset, Loss, Metric, Model, Part, PluginError, Registry, Run, Weights, lazy, load_plugins
from srkit.options import RESERVED
from srkit.run import OWN_KEYS
from srkit.testing import check

HEAD = "from typing import Annotated\nfrom srkit import *\nfrom srkit import hookimpl\n"
HAT = """
@hookimpl
def srkit_models():
    return [Model(name="hat", build=lambda scale, *, width=8: None)]
"""


# --- 13: words that a run file needs for itself


@pytest.mark.parametrize(
    ("kind", "record", "word"),
    [
        ("model", Model, "name"),
        ("loss", Loss, "weight"),
        ("dataset", Dataset, "root"),
        ("dataset", Dataset, "split"),
        ("dataset", Dataset, "metric"),
        ("dataset", Dataset, "protocol"),
        ("metric", Metric, "name"),
    ],
)
def test_an_option_called_like_a_word_of_the_run_file_is_not_lost(kind, record, word, monkeypatch, tmp_path):
    """apache/brooklyn-ui#138: a component's own `name` was silently that of the configuration.

    Right: refused when the plugin loads, or, where its build is lazy, when it is first used, in one line.
    """
    source = f"def build(*supplied, {word}: str = 'x'): ..."
    names: dict[str, Any] = {}
    exec(source, names)
    with pytest.raises(PluginError, match=f"{kind} 'local:mine': option '{word}' has the name of a word"):
        Registry().add(kind, record(name="mine", build=names["build"]))
    (tmp_path / "reserved_words.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "reserved_words", raising=False)
    registry = Registry()
    registry.add(kind, record(name="mine", build=lazy("reserved_words:build")))
    with pytest.raises(PluginError, match=f"option '{word}' has the name of a word"):
        registry.choose(kind, "mine")
    faults = [f for f in check(registry, kind, "mine") if f.outcome == "fault" and f"option '{word}'" in f.text]
    assert len(faults) == 1


def test_a_plugin_whose_option_is_a_reserved_word_is_named_and_the_others_work(install, run_srkit):
    """Found in a review. Right: one line that names the plugin, the option and the words that are reserved."""
    install("srkit-bad", HEAD + "@hookimpl\ndef srkit_losses():\n    return [Loss(name='w', build=build)]\n" + (
        "def build(*, weight: Annotated[float, 'of it'] = 2.0): ...\n"))  # fmt: skip
    install("srkit-hat", HEAD + HAT)
    registry = load_plugins()
    assert registry.find("model", "hat").package == "srkit-hat"
    (notice,) = registry.notices
    assert "srkit-bad:srkit_bad is left out" in notice
    assert "option 'weight' has the name of a word that a run file needs itself (name, weight, adaptive)" in notice
    code, out, _ = run_srkit("plugins", "check", "srkit-bad")
    assert code == 1
    assert "option 'weight'" in out
    assert "rename" in out


def test_the_reserved_words_are_those_of_the_run_file():
    """Found in a review: what is added to Run must not become the name of somebody's option."""
    kinds = {"data": "dataset", "validation": "dataset"}
    for section, words in OWN_KEYS.items():
        if section not in ("optimizer", "schedule"):
            reserved = RESERVED.get(kinds.get(section, section), ("name",))
            assert {"name", *words} <= set(reserved)
    assert {f.name for f in fields(Part)} - {"options"} == {w for words in RESERVED.values() for w in words}


# --- 14: types that a run file can hold


class Own:
    pass


@pytest.mark.parametrize(
    ("annotation", "default", "words"),
    [
        (complex, 1j, "option 'o' is complex, which a run file cannot hold; take two floats"),
        (Path, Path("x"), "option 'o' is Path, which a run file cannot hold; take a str"),
        (Path | None, None, "take a str and make the path in build"),
        (set[int], {1}, "take a list"),
        (list[frozenset[int]], [], "take a list"),
        (Own, Own(), "option 'o' is Own"),
        (bytes, b"", "option 'o' is bytes"),
        (dict[int, str], {}, "a table whose keys are int"),
        (list[int | None], [], "None inside another type"),
        (Literal["a", b"b"], "a", "a Literal of b'b'"),
        (int | None, 4, "None must be the default"),
        (Annotated[list[tuple[int, complex]], "pairs"], [], "option 'o' is complex"),
    ],
)
def test_an_option_that_a_run_file_cannot_hold_is_refused_before_training(annotation, default, words):
    """Lightning-AI/pytorch-lightning#4158: a parameter that YAML cannot hold ended the training at its first save."""

    def build(*, o=default): ...

    build.__annotations__["o"] = annotation
    with pytest.raises(PluginError, match="option 'o'") as error:
        Registry().add("loss", Loss(name="mine", build=build))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_default_that_its_own_type_refuses_is_a_fault_of_the_plugin():
    """Found in a review: such a run.toml was written and could not be read again."""
    for annotation, default in ((Annotated[int, Gt(0)], 0), (int, None), (Literal["a"], "b")):

        def build(*, o=default): ...

        build.__annotations__["o"] = annotation
        registry = Registry()
        registry.add("loss", Loss(name="mine", build=build))
        with pytest.raises(PluginError, match=r"it is the default: the plugin must change one of them"):
            registry.choose("loss", "mine")


def test_every_type_the_docs_list_comes_back_from_a_run_file(registry):
    """Found in a review. Right: what is written is read again, None as a line that is left out."""

    def build(
        *,
        flag: bool = True,
        count: int = 3,
        rate: float = 1,
        text: str = "a",
        word: Literal["a", 2] = 2,
        several: list[float] = [1.5, 2.0],  # noqa: B006
        pair: tuple[int, float] = (1, 0.5),
        table: dict[str, list[int]] = {"low": [1]},  # noqa: B006
        nothing: float | None = None,
        either: int | list[int] = 3,
        plain=0.25,
    ): ...

    registry.add("loss", Loss(name="mine", build=build))
    for values in ({}, {"nothing": 2.0, "either": [1, 2], "word": "a"}):
        run = Run(loss=Part(name="mine", options=values)).resolved(registry)
        again = Run.from_dict(tomllib.loads(run.to_toml())).resolved(registry)
        assert again == run
        assert ("nothing" in run.to_toml()) == bool(values)
        assert {name: type(value) for name, value in again.loss[0].options.items()} == {
            name: type(value) for name, value in run.loss[0].options.items()
        }


def test_what_srkit_supplies_may_be_annotated_by_a_name_only_a_type_checker_imports():
    """Found in a review: `-> "nn.Module"`, with torch imported for type checkers only, was a broken plugin."""

    def build(scale: "Nowhere", *, width: "int" = 8) -> "torch.nn.Module": ...  # noqa: F821

    registry = Registry()
    registry.add("model", Model(name="mine", build=build))
    assert registry.choose("model", "mine", {"width": "9"}).options == {"width": 9}


# --- 15: whatever a plugin does, short of Ctrl-C

RAISING = {
    "exit in a hook": ("raise SystemExit(3)", "SystemExit"),
    "generator exit": ("raise GeneratorExit('odd')", "GeneratorExit"),
    "pytest's skip": ("import pytest; pytest.skip('not here', allow_module_level=True)", "not here"),
    "its own kind": ("class Odd(BaseException): ...\n    raise Odd('mine')", "Odd: mine"),
    "an error without words": (
        "class Mute(Exception):\n        def __str__(self): raise RuntimeError\n    raise Mute",
        "Mute",
    ),
    "None": ("return None", "srkit_models must return a list of Model, not None"),
    "a text": ("return ''", "srkit_models must return a list of Model, not str"),
    "a table": ("return {}", "srkit_models must return a list of Model, not dict"),
    "None among records": ("return [None]", "srkit_models must return Model records, not NoneType"),
    "half a generator": ("yield Model(name='a', build=len)\n    raise SystemExit('half')", "SystemExit: half"),
}


@pytest.mark.parametrize("fault", RAISING)
def test_whatever_a_hook_does_the_other_plugins_work(install, run_srkit, fault):
    """themix-project/themix-gui#171, pytest-dev/pytest#1479: one broken plugin ended the program, or said nothing.

    Right: a line that names it, in `srkit plugins` and `srkit doctor`; nothing of it is used, and all else works.
    """
    body, words = RAISING[fault]
    install("srkit-bad", f"{HEAD}@hookimpl\ndef srkit_models():\n    {body}\n")
    install("srkit-hat", HEAD + HAT)
    registry = load_plugins()
    (notice,) = registry.notices
    assert "srkit-bad:srkit_bad" in notice
    assert words in notice
    assert {e.package for e in registry.entries} == {"srkit", "srkit-hat"}
    code, out, _ = run_srkit("plugins", "--kind", "model")
    assert code == 0
    assert "hat" in out
    code, out, _ = run_srkit("doctor")
    assert code == 1
    assert words in out


def test_a_lazy_build_that_exits_is_told_by_doctor_and_check(install, run_srkit, monkeypatch, tmp_path):
    """pytest-dev/pytest#14923: SystemExit from a plugin ended the program without its name."""
    (tmp_path / "exits_at_import.py").write_text("raise SystemExit(0)")
    monkeypatch.syspath_prepend(tmp_path)
    install(
        "srkit-bad",
        HEAD + "@hookimpl\ndef srkit_losses(): return [Loss(name='bad', build=lazy('exits_at_import:build'))]",
    )
    code, out, _ = run_srkit("doctor")
    assert code == 1
    assert "loss 'srkit-bad:bad' cannot be imported: SystemExit: 0" in out
    code, _, err = run_srkit("train", "--steps", "1", "--set", "loss=bad")
    assert code == 1
    assert "loss 'srkit-bad:bad' cannot be imported" in err


def test_ctrl_c_while_plugins_load_is_no_broken_plugin(install):
    """Found in a review. Right: KeyboardInterrupt goes through."""
    install("srkit-slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        load_plugins()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"scales": "2"}, "'m': scales wants a list of int, not '2'"),
        ({"scales": ("2",)}, "scales wants a list of int"),
        ({"scales": ()}, "scales are whole numbers from 1"),
        ({"scales": (0, 2)}, "scales are whole numbers from 1"),
        ({"presets": ["a"]}, "presets wants a dict of str to a dict of str to anything, not \\['a'\\]"),
        ({"presets": {"a": [1]}}, "presets wants a dict"),
        ({"receptive_field": "12"}, "receptive_field wants int, a function or None, not '12'"),
        ({"receptive_field": -1}, "receptive_field is a number of pixels"),
        ({"multi_scale": "yes"}, "multi_scale wants bool"),
        ({"size_multiple": 8.0}, "size_multiple wants int"),
        ({"size_multiple": 0}, "size_multiple are whole numbers from 1"),
        ({"weights": "a.pth"}, "weights wants a list of Weights"),
        ({"weights": [{"scale": 2}]}, "weights wants a list of Weights"),
        ({"summary": None}, "summary wants str"),
        ({"layouts": {"a": len}}, "layouts wants a dict of str to Layout"),
    ],
)
def test_a_record_with_a_wrong_field_is_refused_when_it_is_made(wrong, words):
    """Found in a review: scales="2" was iterated letter by letter and failed far from its cause."""
    with pytest.raises((TypeError, ValueError), match=words):
        Model(name="m", build=len, **wrong)


def test_the_fields_of_the_other_records_are_checked_too():
    """Found in a review."""
    with pytest.raises(TypeError, match="weights: scale wants int or None, not '2'"):
        Weights(scale="2", resource="a:b")
    with pytest.raises(TypeError, match="'d': benchmark wants bool, not 1"):
        Dataset(name="d", build=len, benchmark=1)
    with pytest.raises(TypeError, match="'psnr': range wants a tuple of float, float"):
        Metric(name="psnr", build=len, range=(0,))


# --- 18: results have a channel of their own

LOUD = """
import atexit, os, subprocess, sys
from pathlib import Path
from srkit import Dataset, Metric, Model, Pair, hookimpl, imresize


def noise(where):
    print("print in", where)
    os.write(1, f"write in {where}\\n".encode())
    subprocess.run([sys.executable, "-c", f"print('process in {where}')"], check=True)
    sys.__stdout__.write(f"original in {where}\\n")


noise("module")
atexit.register(noise, "atexit")


def build(scale):
    import torch
    noise("build")
    class Loud(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Sequential(torch.nn.Conv2d(3, 12, 1), torch.nn.PixelShuffle(2))
        def forward(self, lr):
            noise("forward")
            up = torch.nn.functional.interpolate(lr, scale_factor=2)
            return up + 1e-3 * self.net(lr)
    return Loud()


@hookimpl
def srkit_models():
    noise("hook")
    return [Model(name="loud", build=build, scales=(2,), trainable={trainable}, receptive_field=1)]
"""


def program(*words, site=None, **more):
    """`python -m srkit`, as a user runs it."""
    import os
    import subprocess
    import sys

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "srkit", *words], env=environment, capture_output=True, text=True, timeout=300, **more
    )


@pytest.mark.parametrize(
    "words", [("plugins", "--json"), ("bench", "--json", "--models", "loud", "--scales", "2", "--sets", "samples")]
)
def test_json_is_json_whatever_a_plugin_prints(install, tmp_path, words):
    """turbot/steampipe#1110, d4rkr00t/whybundled#5: what a plugin wrote on stdout made the JSON invalid.

    Right: stdout is the result alone; prints, os.write(1) and the output of subprocesses are on stderr.
    """
    install("srkit-loud", LOUD.replace("{trainable}", "False"))
    done = program(*words, site=tmp_path / "site/srkit-loud")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)
    places = ["module", "hook", "atexit"] + (["build", "forward"] if words[0] == "bench" else [])
    for place in places:
        for kind in ("print", "write", "process", "original"):
            assert f"{kind} in {place}" in done.stderr


def test_a_training_prints_its_result_alone(install, tmp_path):
    """d4rkr00t/whybundled#5, of what is no JSON: the last lines of a training are read by scripts too."""
    install("srkit-loud", LOUD.replace("{trainable}", "True"))
    words = ["--model", "loud", "--steps", "2", "--set", "batch=1", "--set", "patch=8", "--device", "cpu"]
    done = program("train", *words, "--out", "run", site=tmp_path / "site/srkit-loud")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 of 2 steps done")
    assert [line.split(":")[0] for line in lines[1:]] == ["score", "use"]
    assert "print in forward" in done.stderr


def test_a_command_inside_this_process_keeps_prints_apart_too(install, run_srkit):
    """Found in a review: `run` is called by tests and by other programs."""
    install("srkit-loud", LOUD.replace("{trainable}", "False").replace("atexit.register", "# "))
    code, out, err = run_srkit("bench", "--json", "--models", "loud", "--scales", "2", "--sets", "samples")
    assert code == 0
    assert json.loads(out)
    assert "print in forward" in err


def test_help_and_version_are_results(tmp_path):
    """Found in a review. Right: both are on stdout, and a reader that stops early is no error."""
    for words in (["--help"], ["bench", "--help"], ["--version"]):
        done = program(*words, site=tmp_path)
        assert done.returncode == 0
        assert "srkit" in done.stdout
        assert done.stderr == ""


def test_a_reader_that_stops_early_sees_no_traceback(tmp_path):
    """Found in a review: `srkit plugins | head -1` after stdout got a descriptor of its own."""
    import os
    import subprocess
    import sys

    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-m", "srkit", "plugins"], env=environment, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 1


def test_every_result_goes_by_that_channel():
    """Found in a review: a `print` in a command goes to stderr, where nobody reads a result."""
    import srkit.cli

    for path in Path(srkit.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                assert "file" in {each.arg for each in node.keywords}, f"{path}:{node.lineno}: use display.result"
