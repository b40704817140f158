"""`upscale_file` as a server or a page calls it: the command's bytes, a plan, progress, an end to it."""

import json
from pathlib import Path

import pytest
from PIL import Image

import srkit


@pytest.fixture(scope="module")
def upscaler() -> srkit.Upscaler:
    return srkit.load("edsr-small", device="cpu", tile=24)


@pytest.fixture
def picture(photo) -> Path:
    Image.fromarray(photo[40:100, 60:130]).save("p.png")
    return Path("p.png")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scale": 2, "receipt": "xmp"}, ["--scale", "2", "--receipt", "xmp"]),
        (
            {"paper": "10x15cm", "dpi": 60, "crop": True, "format": "tiff", "receipt": "xmp", "strength": 1},
            ["--print", "10x15cm", "--dpi", "60", "--crop", "--format", "tiff", "--receipt", "xmp", "--strength", "1"],
        ),
        (
            {"long_edge": 160, "protect": "text", "format": "jpeg", "quality": 80, "strength": 0.5},
            ["--long-edge", "160", "--protect", "text", "--format", "jpeg", "--quality", "80", "--strength", "0.5"],
        ),
    ],
)
def test_a_file_has_the_bytes_of_the_command(run_srkit, upscaler, picture, options, words):
    suffix = {"tiff": ".tif", "jpeg": ".jpg"}.get(options.get("format"), ".png")
    common = ("upscale", picture, "--model", "edsr-small", "--tile", "24", "--device", "cpu", "-o", f"cli{suffix}")
    code, _, err = run_srkit(*common, *words)
    assert code == 0, err
    made = upscaler.upscale_file(picture, f"python{suffix}", **options)
    assert made.read_bytes() == Path(f"cli{suffix}").read_bytes()


def test_what_load_is_told_is_in_the_receipt_and_made_again(run_srkit, picture):
    upscaler = srkit.load("edsr-small", device="cpu", ensemble=True, keep_colour=True)
    made = upscaler.upscale_file(picture, "large.png", receipt="sidecar")
    kept = json.loads(Path("large.png.srkit.json").read_text())
    assert kept["options"] == {
        "model": "edsr-small", "self_ensemble": True, "keep_colour": True, "receipt": "sidecar", "scale": 2.0,
    }  # fmt: skip
    code, _, err = run_srkit("upscale", "--again", made, "--device", "cpu")
    assert code == 0, err
    assert Path("large_again.png").read_bytes() == made.read_bytes()


def test_a_plan_says_what_is_made_and_makes_nothing(run_srkit, upscaler, picture):
    plan = upscaler.plan(picture, paper="10x15cm", dpi=60, crop=True)
    code, out, err = run_srkit(
        "upscale", picture, "--model", "edsr-small", "--tile", "24", "--print", "10x15cm", "--dpi", "60", "--crop",
        "--dry-run", "--json", "--device", "cpu",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert (plan.source, plan.size) == ((70, 60), (told["width"], told["height"]))
    assert [list(plan.chain), plan.dpi, plan.tiles, plan.tile] == [told[k] for k in ("chain", "dpi", "tiles", "tile")]
    assert plan.seconds > 0
    assert [*plan.models] == [f"x{step}" for step in plan.chain]
    assert len(plan.models["x3"]["weights_sha256"]) == 64
    assert any("cut off" in line for line in plan.notices)
    larger = (max(plan.size[0], plan.whole[0]), max(plan.size[1], plan.whole[1]))
    assert plan.whole == larger != plan.size
    assert plan.offset == tuple(-((whole - side) // 2) for whole, side in zip(plan.whole, plan.size, strict=True))
    assert upscaler.plan(picture, scale=2, measure=False).seconds is None
    assert sorted(path.name for path in Path().iterdir()) == ["p.png"]


def test_progress_goes_up_to_one_and_notices_are_told(upscaler, picture):
    shares, lines = [], []
    upscaler.upscale_file(
        picture,
        "a.png",
        paper="10x15cm",
        dpi=60,
        crop=True,
        tell=lines.append,
        progress=lambda s, left: shares.append(s),
    )
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert any("cut off" in line for line in lines)


def test_cancelled_within_a_tile_and_nothing_is_left(upscaler, picture):
    shares = []
    with pytest.raises(srkit.Cancelled):
        upscaler.upscale_file(
            picture, "a.png", scale=2, progress=lambda s, left: shares.append(s), cancel=lambda: len(shares) == 2
        )
    assert len(shares) == 2
    assert [path.name for path in Path().iterdir()] == ["p.png"]


def test_cancelled_before_it_begins_and_between_pictures(upscaler, picture, photo):
    with pytest.raises(srkit.Cancelled):
        upscaler.upscale_file(picture, "a.png", scale=2, cancel=lambda: True)
    Image.fromarray(photo[:20, :20]).save("q.png")
    shares = []
    with pytest.raises(srkit.Cancelled):
        upscaler.upscale_files(
            ["q.png", picture], "out", scale=2, progress=lambda s, left: shares.append(s), cancel=lambda: bool(shares)
        )
    assert not list(Path("out").glob("p*"))


def test_a_confidence_map_is_drawn(upscaler, picture):
    lines = []
    upscaler.upscale_file(picture, "a.png", scale=2, confidence="map.png", tell=lines.append)
    with Image.open("map.png") as drawn:
        assert drawn.width >= 70
    assert any("guess" in line for line in lines), lines


def test_models_that_can_be_used_are_listed_by_the_words_load_takes():
    found = {model.name: model for model in srkit.list_models()}
    assert {"edsr-small", "edsr-small@photo", "bicubic"} <= set(found)
    assert 2 in found["edsr-small"].scales
    assert found["edsr-small"].licence
    assert found["edsr-small"].claims[2]["set5 y psnr"] > 37
    assert "edsr" not in found, "it has no weights here"
    for name, model in found.items():
        assert srkit.load(name, device="cpu").scale in model.scales


def test_wrong_options_are_told(upscaler, picture):
    with pytest.raises(srkit.UsageError, match="a receipt is xmp or sidecar, not 'png'"):
        upscaler.upscale_file(picture, receipt="png")
    with pytest.raises(srkit.UsageError, match="no option 'protct'; did you mean 'protect'"):
        upscaler.upscale_file(picture, protct="text")
