"""Run files: what is written reads back, layers lie over one another, wrong keys are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srkit import OptionError, Run, UnknownName, UsageError, load_plugins
from srkit.run import Part, merge, parse_assignment, read_run_file

FILE = """
scale = 3
steps = 300_000
[model]
name = "edsr"
n_feats = 48
[data]
name = "folder"
root = "~/data/DIV2K"
[[loss]]
name = "l1"
[[loss]]
name = "l2"
weight = 0.5
"""


def test_a_run_file_becomes_a_run(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(FILE)
    run = Run.from_dict(read_run_file(path))
    assert run.scale == 3
    assert run.model == Part(name="edsr", options={"n_feats": 48})
    assert run.data == (Part(name="folder", root="~/data/DIV2K", split="train"),)
    assert run.loss == (Part(name="l1"), Part(name="l2", weight=0.5))
    assert (run.batch, run.patch, run.lr, run.optimizer.name, run.schedule.name) == (16, 48, 1e-4, "adam", "step")


def test_python_is_checked_like_a_file(tmp_path):
    run = Run(model="edsr", data={"name": "folder", "root": tmp_path}, loss=["l1", Part(name="l2", weight=0.5)])
    assert run.model == Part(name="edsr")
    assert run.data == (Part(name="folder", root=str(tmp_path), split="train"),)
    assert run.loss == (Part(name="l1"), Part(name="l2", weight=0.5))
    assert Run(data=Part(name="samples")) == Run(), "a split that is not said is that of the section"
    assert Run(model=run.model, loss=run.loss, data=run.data) == run
    wrong = {
        "the run: lr = -1: input should be greater than 0": {"lr": -1},
        "the run: scale = 'x2'": {"scale": "x2"},
        "clip_by = 'norms': .*; did you mean 'norm'": {"clip_by": "norms"},
        "model = 3: a name or a table with a name is wanted": {"model": 3},
        "loss: weight = 'much'": {"loss": Part(name="l1", weight="much")},
        "model has no option 'weight'": {"model": Part(name="edsr", weight=2.0)},
    }
    for words, values in wrong.items():
        with pytest.raises((OptionError, UnknownName), match=words):
            Run(**values)


@pytest.mark.parametrize("text", ['loss = "l2"', '[loss]\nname = "l2"', '[[loss]]\nname = "l2"'])
def test_one_loss_can_be_written_three_ways(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    assert Run.from_dict(read_run_file(path)).loss == (Part(name="l2"),)


@given(
    lr=st.floats(1e-12, 1), seed=st.integers(0, 2**32 - 1), scale=st.one_of(st.integers(2, 4), st.just([2, 3, 4])),
    root=st.text(st.characters(exclude_categories=["Cs"])), weight=st.floats(0, 10), n_feats=st.integers(1, 999),
)  # fmt: skip
def test_toml_out_is_toml_in(lr, seed, scale, root, weight, n_feats):
    import tomllib

    run = Run(
        lr=lr, seed=seed, scale=scale, loss=(Part(name="l1", weight=weight), Part(name="l2")),
        data=Part(name="folder", root=root, split="train"), model=Part(name="edsr", options={"n_feats": n_feats}),
    )  # fmt: skip
    assert Run.from_dict(tomllib.loads(run.to_toml())) == run


def test_a_resolved_run_says_everything_and_resolves_to_itself(registry):
    run = Run().resolved(registry)
    assert run.model == Part(name="srkit:edsr", options={"n_resblocks": 16, "n_feats": 64, "res_scale": 1.0})
    assert run.resolved(registry) == run
    assert Run.from_dict(run.to_dict()) == run


def test_layers():
    below = {"scale": 2, "model": {"name": "edsr", "n_feats": 64}, "loss": "l1"}
    assert merge(below, {"model": {"n_feats": 32}})["model"] == {"name": "edsr", "n_feats": 32}
    assert merge(below, {"model": "edsr"})["model"] == {"name": "edsr", "n_feats": 64}
    assert merge(below, {"model": "tiny"})["model"] == {"name": "tiny"}, "another model's options mean nothing to it"
    assert merge(below, {"loss": {"weight": 2.0}})["loss"] == {"name": "l1", "weight": 2.0}
    unnamed = {"validation": {"root": "photos"}}  # --set validation.root=photos --set validation.name=folder
    assert merge(unnamed, {"validation": "folder"})["validation"] == {"root": "photos", "name": "folder"}
    with pytest.raises(UsageError, match="'loss' is a list"):
        merge({"loss": [{"name": "l1"}]}, {"loss": {"weight": 2.0}})


def test_assignments_are_a_line_of_toml_or_a_word():
    assert parse_assignment("model.n_feats=48") == {"model": {"n_feats": 48}}
    assert parse_assignment("lr=1e-3") == {"lr": 1e-3}
    assert parse_assignment("data.root=../some/place") == {"data": {"root": "../some/place"}}
    assert parse_assignment('loss = [{name="l1"}]') == {"loss": [{"name": "l1"}]}
    for wrong in ("lr", "=3", "a b=3"):
        with pytest.raises(UsageError, match="--set"):
            parse_assignment(wrong)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"stesp": 3}, UnknownName, "a run has no key 'stesp'; did you mean 'steps'?"),
        ({"steps": 0}, OptionError, "the run: steps = 0: input should be greater than 0"),
        ({"model": 3}, OptionError, "model = 3"),
        ({"model": {"name": 3}}, OptionError, "model.name = 3"),
        ({"loss": {"weight": 1.0}}, OptionError, "[loss] has no name"),
        ({"loss": {"name": "l1", "weight": "much"}}, OptionError, "loss: weight = 'much'"),
        ({"scale": "two"}, OptionError, "scale = 'two'"),
    ],
)
def test_wrong_values_are_told_in_one_line(values, kind, words):
    with pytest.raises(kind) as error:
        Run.from_dict(values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none(tmp_path):
    (tmp_path / "run.toml").write_text("")
    with pytest.raises(UnknownName, match="did you mean"):
        read_run_file(tmp_path / "runn.toml")
    (tmp_path / "bad.toml").write_text("scale = = 3")
    with pytest.raises(UsageError, match="bad.toml' is not valid TOML"):
        read_run_file(tmp_path / "bad.toml")


def test_the_old_name_of_make_low_res_is_read_and_written_anew():
    run = Run.from_dict({"make_lr": "device"})
    assert run.make_low_res == "device"
    assert "make_lr" not in run.to_dict()
    with pytest.raises(OptionError, match="'make_lr' is the old name of 'make_low_res'"):
        Run.from_dict({"make_lr": "device", "make_low_res": "store"})


def test_validation_names_a_metric_and_a_protocol():
    registry = load_plugins()
    assert Run().resolved(registry).validation[0].table() == {
        "name": "srkit:samples", "split": "valid", "metric": "srkit:psnr", "protocol": "y"
    }  # fmt: skip
    run = Run.from_dict({"validation": {"metric": {"name": "ssim"}, "protocol": "rgb"}}).resolved(registry)
    assert (run.metric.name, run.protocol) == ("srkit:ssim", "rgb")
    assert Run.from_dict(run.to_dict()) == run
    with pytest.raises(OptionError, match="a name or a table with a name is wanted"):
        Run.from_dict({"validation": {"metric": {"net": "vgg"}}})
    with pytest.raises(UnknownName, match="did you mean 'psnr'"):
        Run.from_dict({"validation": {"metric": "psnrr"}}).resolved(registry)
