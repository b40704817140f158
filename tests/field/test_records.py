"""What people wanted of training, data sets and records, from this field's public trackers: one test a complaint."""

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import srkit
from srkit.checkpoint import read_about, read_tensors, save_tensors
from srkit.cli import run
from srkit.evaluate.protocol import PROTOCOLS
from srkit.recipes import comment_of, expected_of
from srkit.run import read_run_file
from tests.cli.conftest import SMALL
from tests.server import picture, tarred

FETCHED = """
from srkit import Archive, Dataset, hookimpl

@hookimpl
def srkit_datasets():
    archive = Archive(url="{url}/mine.tar", folders={{"HR": 2}}, into="Mine")
    return [Dataset(name="mine", build=lambda root, split, scale: [], archives=[archive])]
"""


@pytest.fixture
def published(server, install) -> bytes:
    """A dataset `mine` of two pictures on a server that publishes no checksum; its archive."""
    install("srkit-mine", FETCHED.format(url=server.url))
    server.files["mine.tar"] = tarred({"HR/a.png": picture(1, 96, 96), "HR/b.png": picture(2, 96, 96)})
    return server.files["mine.tar"]


@pytest.mark.parametrize("left", ["mine.tar", "mine.tar.part"])
def test_a_forced_download_asks_the_server_whatever_is_there(run_srkit, server, published, tmp_path, left):
    """commercialhaskell/stack#372, CentEAP/eap-build#20: a corrupt archive is used again. Right: it is replaced."""
    (tmp_path / "Mine").mkdir()
    spoilt = published[:700] + b"\xff" * (len(published) - 700)
    (tmp_path / "Mine" / left).write_bytes(spoilt)
    about = {"url": f"{server.url}/mine.tar", "total": len(published)}
    (tmp_path / "Mine/mine.tar.part.json").write_text(json.dumps(about))
    if left == "mine.tar":
        code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path)
        assert code == 1
        assert "--force downloads it again" in err
    code, _, err = run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")
    assert code == 0, err
    assert server.seen == [("/mine.tar", None, None)]
    assert (tmp_path / "Mine/HR/a.png").read_bytes() == picture(1, 96, 96)
    assert sorted(path.name for path in (tmp_path / "Mine").iterdir()) == ["HR", "checksums.json"]


def test_an_interrupted_forced_download_goes_on_where_it_stopped(run_srkit, server, published, tmp_path, monkeypatch):
    """As the help of `data fetch` says. Right: --force begins anew once, not at each interruption."""
    monkeypatch.setattr("srkit.fetch.TRIES", 1)
    server.cuts = [5000]
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")[0] == 1
    assert run_srkit("data", "fetch", "mine", "--root", tmp_path, "--force")[0] == 0
    assert [wanted for _, wanted, _ in server.seen] == [None, "bytes=5000-"]


RECIPES = sorted((Path(__file__).parents[2] / "plugins").glob("*/**/recipes/*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_figure_that_a_recipe_promises_can_be_measured(path):
    """yinboc/liif#50: what is cropped, scale or scale + 6? Right: each figure names a set and a protocol of `bench`."""
    registry, recipe = srkit.load_plugins(), srkit.Run.from_dict(read_run_file(path))
    for line in comment_of(path):
        expected = expected_of(line)
        if expected is None:
            assert not re.search(r"^expected|\d\s*dB", line, re.I), f"a promise that cannot be checked: {line}"
            continue
        assert expected.protocol in PROTOCOLS
        assert expected.scale in recipe.scales
        registry.find("dataset", expected.set)
        registry.find("metric", expected.metric)


def test_the_recipes_are_listed_with_what_they_promise(run_srkit):
    """yinboc/liif#50, where one chooses a recipe. Right: each figure stands there with its set and its protocol."""
    code, out, _ = run_srkit("train", "--list")
    assert code == 0
    assert "psnr 34.63, 30.94, 28.97 (div2k, protocol div2k)" in " ".join(out.split())


@pytest.fixture(scope="module")
def weights(tmp_path_factory, cache) -> Path:
    """A checkpoint of a small EDSR with a run on the samples; of it others are made."""
    out = tmp_path_factory.mktemp("weights") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SRKIT_CACHE", str(cache))
        assert run(["train", "--model", "edsr", *SMALL, "--steps", "1", "--out", str(out)]) == 0
    return out / "last.safetensors"


def trained_on(weights: Path, dataset: str, path: Path) -> Path:
    about = {key: value for key, value in read_about(weights).items() if key != "format"}
    about["run"] = about["run"] | {"data": about["run"]["data"] | {"name": dataset}}
    save_tensors(path, read_tensors(weights), about)
    return path


@pytest.mark.parametrize(("licence", "asked"), [
    ("academic research only", True), ("CC-BY-NC-4.0", True), ("CC-BY-SA-4.0", True), ("MIT, research use", True),
    ("CC0-1.0", False), ("CC-BY-4.0 and MIT", False), ("", False),
])  # fmt: skip
def test_weights_are_not_published_under_a_licence_their_data_may_forbid(
    run_srkit, install, weights, tmp_path, licence, asked
):
    """freds0/free-svc#13: `mit` for weights whose data are not for any use. Right: the licence is asked for."""
    install(
        "srkit-mine",
        f"""
from srkit import Dataset, hookimpl

@hookimpl
def srkit_datasets():
    return [Dataset(name="mine", build=lambda root, split, scale: [], licence="{licence}")]
""",
    )
    file = trained_on(weights, "srkit-mine:mine", tmp_path / "m.safetensors")
    code, _, err = run_srkit("weights", "push", file, "anna/edsr", "--dry-run", "-o", "card")
    if not asked:
        assert code == 0, err
        return
    assert code == 2
    assert licence in err
    assert "--licence" in err
    assert not Path("card").exists()
    assert (
        run_srkit("weights", "push", file, "anna/edsr", "--dry-run", "-o", "card", "--licence", "CC-BY-NC-4.0")[0] == 0
    )
    assert "license: cc-by-nc-4.0" in Path("card/README.md").read_text()


def test_weights_of_div2k_are_not_mit_without_a_word(run_srkit, weights, tmp_path):
    """keras-team/keras-applications#140, of DIV2K: academic research only. Right: an error that says so."""
    file = trained_on(weights, "srkit:div2k", tmp_path / "m.safetensors")
    code, _, err = run_srkit("weights", "push", file, "anna/edsr", "--dry-run")
    assert code == 2
    assert "trained on div2k, which is 'academic research only" in err


@pytest.mark.parametrize(("kind", "name"), [
    ("model", "edsr"), ("model", "edsr-baseline"), ("model", "srkit-vdsr"), ("loss", "l1"), ("metric", "psnr"),
    ("command", "bench"),
])  # fmt: skip
def test_a_new_plugin_is_not_given_a_name_that_means_another_component(run_srkit, tmp_path, kind, name):
    """get-bb/bb#2411: a scaffold with a reserved name makes a plugin nobody can use. Right: said at once."""
    code, _, err = run_srkit("plugins", "new", name, "--kind", kind)
    assert code == 2
    assert name.removeprefix("srkit-") in err
    assert "choose another" in err
    assert list(tmp_path.iterdir()) == []
    assert run_srkit("plugins", "new", name, "--kind", "wrapper")[0] == 0, "names are taken within their kind"


@pytest.fixture
def div2k(tmp_path) -> Path:
    """A DIV2K of three pictures to train on and two to validate."""
    for part, numbers in (("train", (1, 2, 3)), ("valid", (801, 802))):
        for n in numbers:
            path = tmp_path / f"D/DIV2K_{part}_HR/{n:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(n, 96, 96))
    return tmp_path / "D"


def trained_with(run_srkit, *words: object) -> tuple[dict, str]:
    """The run.toml of a training of one step, and what was said."""
    code, _, err = run_srkit("train", *words, *SMALL, "--steps", "1", "--out", "out")
    assert code == 0, err
    return tomllib.loads(Path("out/run.toml").read_text()), err


def test_a_dataset_with_validation_pictures_is_validated_on_them(run_srkit, div2k):
    """limbee/NTIRE2017#14: which pictures was it validated on? Right: the dataset's own, and it is said and kept."""
    about, err = trained_with(run_srkit, "--model", "edsr", "--data", "div2k", "--set", f"data.root={div2k}")
    validation = about["validation"]
    assert (validation["name"], validation["root"], validation["split"]) == ("srkit:div2k", str(div2k), "valid")
    assert f"3 pictures of '{div2k}', validated on 2 of '{div2k}'" in err
    assert Path("out/images/0801_x2.png").is_file()


def test_validation_pictures_are_those_of_the_same_kind_but_not_of_the_same_numbers(run_srkit, div2k):
    """limbee/NTIRE2017#14, for a part of the data: `images` is of the training, `track` of both."""
    words = ["--set", f"data.root={div2k}", "--set", "data.images=1-2", "--model", "edsr"]
    about, err = trained_with(run_srkit, "--data", "div2k", *words)
    assert "2 pictures" in err
    assert about["validation"]["images"] == ""
    run = srkit.Run(data={"name": "div2k", "root": str(div2k), "track": "unknown", "images": "1-2"}, scale=2)
    own = run.resolved(srkit.load_plugins()).validation[0]
    assert (own.root, own.options) == (str(div2k), {"track": "unknown", "images": ""})
    run = srkit.Run(data={"name": "div2k", "root": str(div2k)}, validation={"images": "802"})
    assert run.resolved(srkit.load_plugins()).validation[0].options["images"] == "802"


def test_a_recipe_needs_the_root_of_its_data_once(run_srkit, div2k):
    """hieubkset/keras-image-super-resolution#1: found the training pictures, and not the others. Right: one root."""
    about, _ = trained_with(
        run_srkit, "--run", "edsr-baseline-x2", "--set", f"data.root={div2k}", "--set", "model.name=edsr"
    )
    assert about["validation"]["root"] == str(div2k)
    assert about["validation"]["images"] == "801-810"


def test_without_validation_pictures_it_is_said_on_which_it_is(run_srkit, div2k, tmp_path):
    """sanghyun-son/EDSR-PyTorch#340: `PSNR: nan`, no validation picture was found. Right: it is said what is used."""
    (div2k / "DIV2K_valid_HR").rename(tmp_path / "elsewhere")
    words = ["--data", "div2k", "--set", f"data.root={div2k}", "--model", "edsr"]
    about, err = trained_with(run_srkit, *words)
    assert about["validation"]["name"] == "srkit:samples"
    assert "validated on 2 of 'srkit:samples'" in err
    code, _, err = run_srkit("train", *words, *SMALL, "--set", "validation=div2k", "--steps", "1", "--out", "b")
    assert code == 1
    assert "[validation]" in err
    (tmp_path / "nothing").mkdir()
    code, _, err = run_srkit("train", *words, "--set", 'validation={name="div2k", root="nothing"}', "--out", "b")
    assert code == 2
    assert "--set validation.root=DIR" in err
    assert "data.root" not in err


def test_a_folder_with_train_and_valid_is_validated_on_valid(run_srkit, tmp_path):
    """The layout that the docs of `folder` name. Right: root/valid is for validation; a plain folder has none."""
    for n, name in enumerate(("train/a", "train/b", "train/c", "valid/d")):
        path = tmp_path / f"mine/{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(n, 96, 96))
    about, err = trained_with(run_srkit, "--model", "edsr", "--data", "mine")
    assert (about["validation"]["name"], about["validation"]["root"]) == ("srkit:folder", "mine")
    assert "3 pictures of 'mine', validated on 1 of 'mine'" in err
    plain = srkit.Run(data={"name": "folder", "root": "mine/train"}).resolved(srkit.load_plugins())
    assert plain.validation[0].name == "srkit:samples"


def test_weights_of_another_model_are_no_start(run_srkit, tmp_path):
    """pytorch/examples#1029: strict=False loads almost nothing, silently. Right: an error, unless it is forced."""
    few = ["--steps", "1", "--set", "batch=1", "--set", "patch=8"]
    small = ["--set", "model.n_feats=64", "--set", "model.n_resblocks=1"]
    code, _, err = run_srkit("train", "--model", "edsr", "--scale", "4", *small, *few, "--out", "edsr")
    assert code == 0, err
    words = ["train", "--model", "srresnet", "--scale", "4", "--init-from", "edsr", *few, "--out", "b"]
    code, _, err = run_srkit(*words)
    assert code == 1
    assert "of its" in err
    assert "of another model; --force" in err
    assert not Path("b").exists()
    assert run_srkit(*words, "--force")[0] == 0


def test_a_sweep_over_seeds_gives_their_mean_and_spread(run_srkit):
    """NVIDIA/runx#20: conferences require mean and deviation over seeds. Right: for each of the other values."""
    words = ["--vary", "seed=0,1,2", "--vary", "loss=l1,l2", "--steps", "2", "--set", "model.name=edsr", *SMALL]
    code, out, err = run_srkit("sweep", *words, "--out", "s", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert len(found["rows"]) == 6
    assert [(row["loss"], row["n"]) for row in found["over_seeds"]] == [("l1", 3), ("l2", 3)]
    for row in found["over_seeds"]:
        mine = [each["best_psnr"] for each in found["rows"] if each["loss"] == row["loss"]]
        assert row["best_psnr"] == pytest.approx(np.mean(mine))
        assert row["best_psnr_sd"] == pytest.approx(np.std(mine, ddof=1))
    table = Path("s/table.md").read_text()
    assert table.count("mean ± sd, n = 3") == 2
    assert table.count(" ± ") == 2 * 3
    lines = list(csv.DictReader(Path("s/table.csv").read_text(encoding="utf-8").splitlines()))
    assert [(line["cell"], line["loss"], line["n"]) for line in lines[6:]] == [("mean", "l1", "3"), ("mean", "l2", "3")]
    assert run_srkit("sweep", "--vary", "loss=l1,l2", *words[4:], "--out", "t", "--json")[1].count("_sd") == 0


@pytest.mark.parametrize("betas", ["[0.9]", "[0.9, 0.99, 0.999]", "[]", "0.9"])
def test_betas_are_as_many_as_the_optimizer_has(run_srkit, betas):
    """nanowell/AdEMAMix-Optimizer-Pytorch#1: more are ignored, less is an index error. Right: an error that says so."""
    code, _, err = run_srkit("train", "--model", "edsr", "--set", f"optimizer.betas={betas}", "--steps", "1")
    assert code == 2
    assert "optimizer 'adam': betas = " in err
    assert "unexpected" not in err


def test_a_misspelt_weight_of_a_loss_is_told_what_it_may_be(run_srkit):
    """UMEP-dev/SUEWS#1647: a key that is misspelt. Right: the nearest word that may stand there."""
    code, _, err = run_srkit("train", "--set", 'loss=[{name="l1", wieght=2}]', "--steps", "1")
    assert (code, "loss 'l1' has no option 'wieght'; did you mean 'weight'?" in err) == (2, True)


def test_a_negative_weight_of_a_loss_is_refused(run_srkit):
    """CAREamics/careamics#846, ultralytics/ultralytics#25518: negative weights are accepted. Right: an error."""
    code, _, err = run_srkit("train", "--set", 'loss=[{name="l1", weight=-1}]', "--steps", "1")
    assert (code, "weight = -1: input should be greater than or equal to 0" in err) == (2, True)
    with pytest.raises(srkit.OptionError, match="weight = -1"):
        srkit.Run(loss={"name": "l1", "weight": -1})


def test_all_mistakes_of_a_run_file_are_told_at_once(run_srkit):
    """koding/multiconfig#73: one mistake a round. Right: all of them, in one line."""
    Path("run.toml").write_text("""
lr = -1
bacth = 4
steps = "many"
[model]
name = "edsr"
n_feat = 3
n_resblocks = 0
[optimizer]
betas = [0.9]
[[loss]]
name = "l1"
wieght = 2
weight = -1
[validation]
metric = "psnrr"
""")
    code, _, err = run_srkit("train", "--run", "run.toml")
    assert (code, err.count("\n")) == (2, 1)
    wanted = ("lr = -1", "'bacth'; did you mean 'batch'?", "steps = 'many'", "'n_feat'; did you mean 'n_feats'?",
              "n_resblocks = 0", "betas = [0.9]", "'wieght'; did you mean 'weight'?", "weight = -1",
              "'psnrr'")  # fmt: skip
    assert [words for words in wanted if words not in err] == []
    assert err.startswith("srkit: 9 mistakes: (1) ")


LEARNING = """
import torch
from srkit import Loss, hookimpl

class Learns:
    def __call__(self, sr, hr):
        return (sr - hr).abs().mean() * 0 + 3
    def update(self, sr, hr):
        return {"own": torch.tensor(7.0)}

@hookimpl
def srkit_losses():
    return [Loss(name="learns", build=Learns)]
"""


def log_of(folder: str) -> list[dict]:
    return [json.loads(line) for line in Path(folder, "log.jsonl").read_text().splitlines()]


def test_each_loss_is_logged_and_what_a_discriminator_says(run_srkit, install):
    """ESAOpenSR/SRGAN#63, lucidrains/lightweight-gan#23: one loss of several is logged. Right: each, as it counts."""
    install("srkit-learns", LEARNING)
    losses = 'loss=["l1", {name="learns", weight=0.5}, {name="l1", weight=2}]'
    code, _, err = run_srkit("train", "--model", "edsr", *SMALL, "--set", losses, "--steps", "3", "--out", "out")
    assert code == 0, err
    first = log_of("out")[0]
    assert first["step"] == 3
    assert first["loss_learns"] == 1.5
    assert first["loss_learns_own"] == 7
    assert first["loss_l1_2"] == pytest.approx(2 * first["loss_l1"])
    assert first["loss"] == pytest.approx(first["loss_l1"] + first["loss_l1_2"] + first["loss_learns"])
    assert run_srkit("train", "--model", "edsr", *SMALL, "--steps", "3", "--out", "one")[0] == 0
    assert set(log_of("one")[0]) == {"step", "loss", "lr"}, "a single loss is the sum"


def test_the_last_steps_are_logged(run_srkit):
    """IndicoDataSolutions/finetune#455: what comes after the last round number is not logged. Right: it is."""
    assert run_srkit("train", "--model", "edsr", *SMALL, "--steps", "107", "--out", "out")[0] == 0
    assert [line["step"] for line in log_of("out") if "loss" in line] == [100, 107]


def test_several_scales_are_validated_each(run_srkit):
    """Found in a review: the mean of several scales, as if it were one figure. Right: each, as the tables have them."""
    small = ["--set", "model.n_resblocks=1", "--set", "model.n_feats=4", "--set", "batch=2", "--set", "patch=16"]
    words = ["train", "--model", "mdsr", "--set", "scale=[2,4]", *small]
    code, out, err = run_srkit(*words, "--steps", "2", "--out", "out")
    assert code == 0, err
    line = log_of("out")[-1]
    assert line["psnr_y"] == pytest.approx((line["psnr_y_x2"] + line["psnr_y_x4"]) / 2)
    assert (
        f"best PSNR {line['psnr_y']:.2f} dB, the mean of x2 {line['psnr_y_x2']:.2f}, x4 {line['psnr_y_x4']:.2f}" in out
    )
    code, out, err = run_srkit("train", "--resume", "out")
    assert "the mean of x2" in out, "a resume knows it"


@pytest.mark.parametrize("source", ["folder", "div2k"])
def test_a_missing_partner_does_not_hide_the_faults_of_the_others(run_srkit, tmp_path, source):
    """XPixelGroup/BasicSR#243, open-mmlab/mmagic#39: one message at a time. Right: what is there is checked."""
    hr = "mine/HR" if source == "folder" else "mine/DIV2K_train_HR"
    lr = "mine/LR" if source == "folder" else "mine/DIV2K_train_LR_bicubic/X2"
    for n in (1, 2, 3):
        for folder, name, side in ((hr, f"{n:04}", 96), (lr, f"{n:04}x2", 40 if n == 2 else 48)):
            if folder == hr or n != 3:
                Path(folder).mkdir(parents=True, exist_ok=True)
                Path(folder, f"{name}.png").write_bytes(picture(n, side, side))
    words = ["mine"] if source == "folder" else ["div2k", "--root", "mine"]
    code, out, _ = run_srkit("data", "check", *words, "--json")
    kinds = {(finding["kind"], finding["name"]) for finding in json.loads(out)["findings"]}
    assert code == 1
    assert ("partner", "") in kinds
    assert ("size", "0002") in kinds
    assert ("mismatch", "0001") in kinds
