"""Discovery: every way a plugin can be broken is one line, and everything else works."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

import srkit
from srkit import (
    Loss,
    Model,
    PluginError,
    Registry,
    UnknownName,
    UsageError,
    Weights,
    Wrapper,
    defaults,
    load_plugins,
    plugins,
)
from srkit.components import KINDS
from srkit.upscale.marks import mark, passes

GOOD = """
from srkit import Model, hookimpl
def build(scale, *, width: int = 8): ...
@hookimpl
def srkit_models():
    return [Model(name="{name}", build=build, presets={{"{name}-wide": {{"width": 99}}}})]
"""

BROKEN = {
    "import error": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "exit": ("raise SystemExit('licence expired')", "SystemExit: licence expired"),
    "syntax": ("def (", "SyntaxError"),
    "unknown hook": (
        "from srkit import hookimpl\n@hookimpl\ndef srkit_modles(): return []",
        "srkit_modles",
    ),
    "hook with arguments": (
        "from srkit import hookimpl\n@hookimpl\ndef srkit_models(registry): return []",
        "registry",
    ),
    "wrong record": (
        "from srkit import Loss, hookimpl\n@hookimpl\ndef srkit_models(): return [Loss(name='x', build=print)]",
        "srkit_models must return Model records, not Loss",
    ),
    "not a list": (
        "from srkit import hookimpl\n@hookimpl\ndef srkit_models(): return 3",
        "srkit_models must return a list of Model, not int",
    ),
    "one record": (
        "from srkit import Model, hookimpl\n@hookimpl\ndef srkit_models(): return Model(name='x', build=print)",
        "srkit_models must return a list of Model, not Model",
    ),
    "same name twice": (
        "from srkit import Loss, hookimpl\n@hookimpl\ndef srkit_losses():"
        " return [Loss(name='x', build=print), Loss(name='x', build=print)]",
        "two loss components are called 'x'",
    ),
    "bad name": (
        "from srkit import Loss, hookimpl\n@hookimpl\ndef srkit_losses(): return [Loss(name='a b', build=print)]",
        "not 'a b'",
    ),
    "error in the hook": ("from srkit import hookimpl\n@hookimpl\ndef srkit_models(): return 1/0", "ZeroDivisionError"),
    "no hooks": ("def srkit_models(): return []", "no hooks"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_plugin_is_one_line_and_breaks_nothing(install, fault):
    source, words = BROKEN[fault]
    install("srkit-broken", source)
    install("srkit-hat", GOOD.format(name="hat"))
    registry = load_plugins()
    assert len(registry.notices) == 1
    assert "srkit-broken:srkit_broken" in registry.notices[0]
    assert words in registry.notices[0]
    assert "\n" not in registry.notices[0]
    assert registry.find("model", "hat").package == "srkit-hat"
    assert registry.find("model", "edsr").package == "srkit"
    assert not [e for e in registry.entries if e.package == "srkit-broken"]


def test_strict_raises_and_safe_mode_loads_built_ins_only(install, monkeypatch):
    install("srkit-broken", "import no_such_module_anywhere")
    install("srkit-hat", GOOD.format(name="hat"))
    install("srkit-cap", GOOD.format(name="cap"))
    monkeypatch.setenv("SRKIT_STRICT", "1")
    with pytest.raises(PluginError, match="srkit-broken:srkit_broken"):
        load_plugins()
    monkeypatch.setenv("SRKIT_PLUGINS", "srkit-hat")
    assert {e.package for e in load_plugins().entries} == {"srkit", "srkit-hat"}
    monkeypatch.setenv("SRKIT_PLUGINS", "")
    assert {e.package for e in load_plugins().entries} == {"srkit"}
    monkeypatch.setenv("SRKIT_PLUGINS", "srkit-hut")
    monkeypatch.setenv("SRKIT_STRICT", "0")
    assert load_plugins().notices == ["SRKIT_PLUGINS names 'srkit-hut', which is not installed"]


def test_two_strangers_with_one_name_must_be_told_apart(install):
    install("srkit-a", GOOD.format(name="hat"))
    install("srkit-b", GOOD.format(name="hat"))
    registry = load_plugins()
    with pytest.raises(UsageError, match="say srkit-a:hat or srkit-b:hat"):
        registry.choose("model", "hat")
    assert registry.choose("model", "srkit-b:hat").entry.package == "srkit-b"
    assert registry.choose("model", "srkit-a:hat-wide").options == {"width": 99}
    assert any("srkit-a:hat and srkit-b:hat" in notice for notice in registry.notices)


def test_a_built_in_keeps_its_bare_name(install):
    install("srkit-a", GOOD.format(name="edsr"))
    registry = load_plugins()
    assert registry.find("model", "edsr").package == "srkit"
    assert registry.find("model", "srkit-a:edsr").package == "srkit-a"
    assert any("'edsr' stays the built-in" in notice for notice in registry.notices)


def test_what_a_plugin_prints_does_not_reach_stdout(install, capsys):
    install("srkit-loud", "print('hello')\n" + GOOD.format(name="hat"))
    load_plugins()
    assert capsys.readouterr().out == ""


def test_options_resolve_default_then_preset_then_user(install):
    install("srkit-hat", GOOD.format(name="hat"))
    registry = load_plugins()
    assert registry.choose("model", "hat").options == {"width": 8}
    assert registry.choose("model", "hat-wide").options == {"width": 99}
    assert registry.choose("model", "hat-wide", {"width": 5}).options == {"width": 5}
    assert registry.choose("model", "hat", {"width": 99}).label == "hat-wide"
    assert registry.choose("model", "edsr").label == "edsr-baseline"


def test_a_wrong_name_gets_the_nearest_right_one(registry):
    with pytest.raises(UnknownName, match="no model called 'edsr-basline'; did you mean 'edsr-baseline'?"):
        registry.find("model", "edsr-basline")
    with pytest.raises(UnknownName, match="did you mean 'srkit:edsr'?"):
        registry.find("model", "srkti:edsr")
    with pytest.raises(UnknownName, match="no loss called 'zzz'; there is distillation, l1, l2, luma-l1"):
        registry.find("loss", "zzz")


def test_a_test_makes_its_own_registry():
    registry = Registry()
    registry.add("loss", Loss(name="mine", build=print))
    assert registry.find("loss", "local:mine").qualified == "local:mine"
    with pytest.raises(PluginError, match="two loss components are called 'mine'"):
        registry.add("loss", Loss(name="mine", build=print))
    with pytest.raises(PluginError, match="must return Loss records, not Model"):
        registry.add("loss", Model(name="m", build=print))


def test_every_built_in_declares_options_that_can_be_read(registry):
    assert not registry.notices
    for entry in registry.entries:
        choice = registry.choose(entry.kind, entry.component.name)
        assert entry.component.summary, entry.qualified
        assert isinstance(choice.options, dict)


def test_a_plugin_is_made_for_the_version_it_says_and_else_for_1(install, monkeypatch):
    install("srkit-one", "srkit_api = 1\n" + GOOD.format(name="one"))
    install("srkit-none", GOOD.format(name="none"))
    install("srkit-two", "srkit_api = 2\n" + GOOD.format(name="two"))
    assert {e.package for e in load_plugins().entries} == {"srkit", "srkit-one", "srkit-none"}
    monkeypatch.setattr(plugins, "API", 2)
    registry = load_plugins()
    assert {e.package for e in registry.entries} == {"srkit-two"}
    for name in ("srkit-one:srkit_one", "srkit-none:srkit_none"):
        assert any(
            name in notice and "made for srkit API 1, and this srkit has API 2" in notice for notice in registry.notices
        )


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[2].glob("plugins/*/*/__init__.py")), ids=str)
def test_official_plugins_say_which_version_they_are_made_for(path):
    assert "\nsrkit_api = 1" in path.read_text()


def test_weights_serve_one_scale_or_several():
    assert Weights(scale=2, resource="a:b").scales == (2,)
    assert Weights(scales=(2,), resource="a:b").scale == 2
    several = Weights(scales=[2, 3, 4], resource="a:b")
    assert (several.scale, several.scales) == (None, (2, 3, 4))
    assert replace(several, tag="a").scales == (2, 3, 4)
    assert replace(Weights(scale=2, resource="a:b"), tag="a").scale == 2
    for wrong in ({}, {"scale": 2, "scales": (2, 3)}, {"scale": 2, "scales": (3,)}):
        with pytest.raises(ValueError, match="either a scale or scales"):
            Weights(resource="a:b", **wrong)
    with pytest.raises(ValueError, match="'m': weights for several scales need multi_scale=True"):
        Model(name="m", build=print, weights=[several])
    assert Model(name="m", build=print, weights=[several], multi_scale=True).weights == [several]


def test_a_wrapper_says_its_passes_and_its_mark(registry):
    def build(upscaler, *, times: int = 3): ...

    registry.add("wrapper", Wrapper(name="thrice", build=build, passes=lambda times: times))
    registry.add("wrapper", Wrapper(name="plain", build=lambda upscaler: upscaler))
    ensemble, plain = (registry.choose("wrapper", name) for name in ("self-ensemble", "plain"))
    five = registry.choose("wrapper", "thrice", {"times": 5})
    assert (mark([]), mark([ensemble]), mark([plain, ensemble, five])) == ("", "+", "+plain++thrice")
    assert (passes([]), passes([plain]), passes([ensemble, plain, five])) == (1, 1, 40)


def strings_of(path):
    """Every string in a module's code that is not a docstring."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    }


#: words that are a component's name and mean something else there, and PSNR's own unit and digits
OTHERWISE = {
    "folder": {"cli/bench.py", "cli/bench_plan.py", "cli/gallery.py", "cli/choose.py", "cli/data/fetch.py",
               "cli/data/copies.py", "cli/data/degrade.py", "cli/data/select.py", "cli/data/tile.py",
               "data/named.py", "images/encoding.py", "images/source.py", "upscale/targets.py",
               "evaluate/bench_about.py", "evaluate/given.py", "evaluate/markup.py", "train/start.py",
               "weights/convert.py"},
    "shards": {"data/shards.py"},
    "bicubic": {"data/maker.py", "imresize.py", "upscale/areas.py"},
    "lanczos": {"data/maker.py"},
    "nearest": {"data/crops.py", "data/maker.py", "upscale/keep.py"},
    "div2k": {"evaluate/protocol.py"},
    "torch": {"cli/bench.py", "evaluate/bench_about.py", "cli/doctor.py", "evaluate/compute.py", "evaluate/cost.py",
              "evaluate/history.py", "evaluate/machine.py", "testing/kit.py", "weights/kept.py"},
    "span": {"cli/display.py"},
    "jpeg": {"data/check.py", "data/select.py", "cli/data/select.py", "evaluate/dropped.py", "images/about.py",
             "images/encoding.py", "images/source.py", "images/vips.py", "images/write.py"},
    "webp": {"evaluate/markup.py", "images/about.py", "images/encoding.py", "images/source.py", "images/vips.py",
             "images/write.py"},
    "ssim": {"evaluate/published.py"},
    "psnr": {"cli/bench_report.py", "evaluate/bench_crops.py", "evaluate/gallery.py", "evaluate/published.py",
             "evaluate/report.py", "evaluate/selection.py", "sweep/report.py"},
}  # fmt: skip


def test_the_core_names_no_component_but_in_its_table_of_defaults(registry):
    names = {name for entry in registry.entries for name in (entry.qualified, *plugins.names(entry.component))}
    core = Path(srkit.__file__).parent
    found = {
        (path.relative_to(core).as_posix(), word)
        for path in core.rglob("*.py")
        for word in strings_of(path) & names
        if path.name != "defaults.py"
    }
    assert not {(path, word) for path, word in found if path not in OTHERWISE.get(word, ())}


def test_the_defaults_are_there(registry):
    told = {
        "model": [defaults.MODEL, defaults.FLOOR], "dataset": [defaults.DATASET, defaults.FOLDER],
        "loss": defaults.LOSSES, "augmentation": defaults.AUGMENTATIONS, "metric": defaults.METRICS,
        "wrapper": [defaults.ENSEMBLE],
    }  # fmt: skip
    assert {name for name in vars(defaults) if name.isupper()} == {
        "MODEL", "FLOOR", "DATASET", "FOLDER", "LOSSES", "AUGMENTATIONS", "METRICS", "ENSEMBLE", "TAG_OF_TABLES",
        "TAG_OF_PHOTOS",
    }  # fmt: skip
    for kind, names in told.items():
        assert kind in KINDS
        for name in names:
            assert registry.find(kind, name).package == "srkit"
