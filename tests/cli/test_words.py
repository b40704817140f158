"""Help is instant, and every wrong word gets one line with the nearest right one and exit code 2."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "kornia")


INSTANT = [
    "--help",
    "--version",
    "plugins",
    "plugins --json",
    "train --help",
    "bench --help",
    "upscale --help",
    "sweep --help",
    "gallery --help",
    "try --help",
    "data check --help",
    "weights --help",
]


@pytest.mark.parametrize("line", INSTANT)
def test_help_and_listing_import_no_torch(line):
    code = (
        "import sys; from srkit.cli import run; code = run(sys.argv[1:]);"
        f"heavy = [m for m in {HEAVY} if m in sys.modules]; assert not heavy, heavy; sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *line.split()], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_file_per_command_and_python_dash_m():
    done = subprocess.run([sys.executable, "-m", "srkit", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for command in ("train", "bench", "upscale", "plugins"):
        assert command in done.stdout


WRONG = {
    "command": ("trian", "no command 'trian'; did you mean 'train'?"),
    "option": ("train --modle edsr", "no option '--modle'; did you mean '--model'?"),
    "missing value": ("train --model", "--model"),
    "missing photo": ("upscale", "no picture is named"),
    "no number": ("train --scale two", "invalid value for '--scale'"),
    "model": ("train --model edsr-basline", "no model called 'edsr-basline'; did you mean 'edsr-baseline'?"),
    "model to upscale": ("upscale photo.png --model bicubc", "no model called 'bicubc'; did you mean 'bicubic'?"),
    "model to score": ("bench --models bicubc", "no model called 'bicubc'; did you mean 'bicubic'?"),
    "model option": ("train --set model.n_feat=3", "no option 'n_feat'; did you mean 'n_feats'?"),
    "model option's value": ("train --set model.n_feats=-3", "n_feats = -3: input should be greater than 0"),
    "run key": ("train --set stesp=3", "a run has no key 'stesp'; did you mean 'steps'?"),
    "run value": ("train --set lr=fast", "lr = 'fast'"),
    "no assignment": ("train --set lr", "--set wants key=value"),
    "loss": ("train --set loss=l3", "no loss called 'l3'"),
    "augmentation": ("train --set augmentation=dihedrl", "did you mean 'dihedral'?"),
    "data": ("train --data sampels", "'sampels' is neither a folder nor a dataset; did you mean 'samples'?"),
    "data folder": ("train --data ./fotos", "no folder 'fotos'; did you mean"),
    "run file": ("train --run runn.toml", "no run file 'runn.toml'; did you mean"),
    "resume": ("train --resume photos", "no run to resume in 'photos'"),
    "resume nowhere": ("train --resume photoss", "no folder 'photoss'; did you mean"),
    "resume and more": ("train --resume photos --model edsr", "--resume takes the run as it is"),
    "time": ("train --max-time soon", "'soon' is not a length of time"),
    "device": ("train --device gpu", "gpu"),
    "scale": ("train --scale 7", "'edsr-baseline' does not upscale x7; it offers x1, x2, x3, x4, x8"),
    "nothing to train": ("train --model bicubic", "'bicubic' has no parameters to train"),
    "set": ("bench --models bicubic --sets set55", "no dataset called 'set55'; did you mean 'set5'?"),
    "set not there": ("bench --models bicubic --sets set5", "Set5 is not found"),
    "root": ("bench --root photoss", "no folder 'photoss'; did you mean"),
    "protocol": ("bench --protocol rbg", "no protocol called 'rbg'; did you mean 'rgb'?"),
    "metric": ("bench --models bicubic --metrics psrn", "no metric called 'psrn'; did you mean 'psnr'?"),
    "scales": ("bench --scales two", "'two' is not a scale"),
    "json and csv": ("bench --json --csv", "not both"),
    "photo": ("upscale phto.png --model bicubic", "no picture 'phto.png'; did you mean"),
    "target": ("upscale photo.png --model bicubic -o out.pgn", "not a picture format; did you mean '.png'?"),
    "target folder": ("upscale photo.png --model bicubic -o nowhere/out.png", "no folder 'nowhere'"),
    "target itself": ("upscale photo.png --model bicubic -o photo.png", "is the picture itself"),
    "no pictures": ("upscale empty --model bicubic", "no pictures in 'empty'"),
    "plugin": ("plugins edsrr", "nothing is called 'edsrr'; did you mean 'edsr'?"),
    "checkpoint": ("upscale photo.png --model best.safetensor", "best.safetensor"),
    "scale of a model": ("upscale photo.png --model nearest --scale 99", "beyond the limit of 64"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_word_gets_one_line_and_exit_code_2(run_srkit, tmp_path, photo, case):
    from PIL import Image

    (tmp_path / "photos").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "run.toml").write_text("")
    Image.fromarray(photo[:20, :20]).save(tmp_path / "photo.png")
    Image.fromarray(photo[:20, :20]).save(tmp_path / "photos" / "photo.png")
    line, words = WRONG[case]
    code, out, err = run_srkit(*line.split())
    assert code == 2, err
    assert words in err
    assert err.startswith("srkit: ")
    assert err.count("\n") == 1
    assert out == ""
    assert not (tmp_path / "runs").exists(), "nothing is left behind"


def test_a_failure_is_exit_code_1(run_srkit, tmp_path):
    (tmp_path / "broken.png").write_text("no picture")
    code, _, err = run_srkit("upscale", "broken.png", "--model", "bicubic")
    assert (code, err.count("\n")) == (1, 1)
    assert "broken.png' is not a picture" in err


def test_plugins_lists_and_shows(run_srkit):
    code, out, _ = run_srkit("plugins", "--json")
    listed = json.loads(out)["plugins"]
    assert code == 0
    assert [f"{p['kind']} {p['name']}" for p in listed] == [
        "model nearest", "model bicubic", "model lanczos", "model edsr", "model mdsr", "model vdsr", "model srresnet",
        "model srcnn", "loss l1", "loss l2", "loss luma-l1", "loss distillation",
        "dataset folder", "dataset shards", "dataset samples", "dataset div2k", "dataset flickr2k", "dataset set5",
        "dataset set14", "dataset b100", "dataset urban100", "dataset manga109",
        "metric psnr", "metric ssim", "augmentation dihedral", "augmentation colour-jitter",
        "augmentation channel-shuffle", "augmentation mixup", "augmentation blend", "augmentation cutmix",
        "augmentation cutblur", "augmentation rescale", "augmentation realistic", "augmentation photo",
        "degradation blur", "degradation resize", "degradation noise", "degradation jpeg", "degradation webp",
        "degradation video", "degradation sharpen",
        "wrapper self-ensemble", "tracker jsonl", "backend torch",
    ]  # fmt: skip
    assert all(p["package"] == "srkit" and p["version"] for p in listed)
    _, table, _ = run_srkit("plugins")
    assert "edsr, edsr-small, edsr-baseline, edsr-large" in table
    _, shown, _ = run_srkit("plugins", "edsr")
    for word in ("n_resblocks", "> 0", "64", "channels in the trunk", "edsr-large: n_resblocks=32", "Lim et al."):
        assert word in shown
    _, as_json, _ = run_srkit("plugins", "edsr-large", "--json")
    assert json.loads(as_json)[0]["presets"]["edsr-large"] == {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1}


def test_a_plugin_that_raises_on_import_leaves_every_command_working(run_srkit, install, trained, tmp_path, photo):
    from PIL import Image

    install("srkit-broken", "raise SystemExit(3)")
    Image.fromarray(photo[:30, :30]).save(tmp_path / "p.png")
    for words in (
        ["plugins"],
        ["bench", trained, "--models", "bicubic", "--sets", "samples", "--scales", "2"],
        ["upscale", "p.png", "--model", trained],
        ["train", "--steps", "1", "--set", "model.n_resblocks=1", "--set", "model.n_feats=4"],
    ):
        code, out, err = run_srkit(*words)
        assert code == 0, err
        assert out
        assert "plugin srkit-broken:srkit_broken is left out: SystemExit: 3" in err
