"""`srkit upscale`: sizes, formats, what is kept, pipes and addresses, receipts, and words that do not fit."""

import hashlib
import io
import json
import subprocess
import sys
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest
import pyvips
import torch
from PIL import Image, ImageCms

from srkit import imresize
from srkit.checkpoint import save_tensors
from srkit.images import Encoding
from srkit.upscale.file import How, planned
from srkit.upscale.papers import PAPERS
from srkit.upscale.sizes import Wanted
from tests.fixtures import loaded
from tests.odd_files import profile

MM = {"mm": Decimal(1), "cm": Decimal(10), "in": Decimal("25.4")}


class Interpolation:
    """Networks of none."""

    def scales(self):
        return (2,)

    def resize(self):
        return "bicubic"

    def identity(self, steps):
        return {}


@pytest.fixture
def picture(photo):
    Image.fromarray(photo[:60, :80]).save("p.png")
    return photo[:60, :80]


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bleed", [None, "3mm", "0.125in"])
def test_every_paper_has_exactly_its_pixels_at_300_dpi(bleed):
    buffer = io.BytesIO()
    Image.new("RGB", (1024, 768)).save(buffer, "PNG")
    more = {None: Decimal(0), "3mm": Decimal(6), "0.125in": Decimal("6.35")}[bleed]
    for paper in PAPERS:
        words = f"{float(paper.width):g}x{float(paper.height):g}{paper.unit}"
        sides = sorted(Decimal(f"{float(side):g}") * MM[paper.unit] + more for side in (paper.width, paper.height))
        expected = [int((side / Decimal("25.4") * 300).quantize(Decimal(1), ROUND_HALF_UP)) for side in sides]
        name = paper.name + (paper.unit if sum(each.name == paper.name for each in PAPERS) > 1 else "")
        for word in (name, words):
            how = How(Interpolation(), Wanted(paper=word, dpi=300, bleed=bleed, crop=True))
            size = planned(buffer.getvalue(), how, Encoding("png")).size
            assert size.canvas == (max(expected), min(expected)), word
            assert size.dpi == 300
            assert "source pixels to the printed inch: sharp from" in size.lines[-1]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.webp"])
def test_a_print_has_the_pixels_and_the_dpi_in_its_file(run_srkit, photo, name):
    """Read back by another library."""
    Image.fromarray(photo[:200, :300]).save("p.png")
    words = ["upscale", "p.png", "--model", "nearest", "--print", "A7", "--dpi", "240", "--bleed", "3mm", "--crop"]
    code, out, err = run_srkit(*words, "-o", name)
    assert code == 0, err
    assert out == f"{name}  (300x200 -> 1049x756)\n"  # 105+6 and 74+6 mm
    assert "p.png: A7 landscape with 3 mm bleed at 240 dpi: 1049x756 pixels" in err
    assert "p.png: cut off: 7.5 % of the picture at the left and right" in err
    assert "63 source pixels to the printed inch: sharp from 1.4 m" in err
    image = loaded(name)
    assert image.size == (1049, 756)
    exact = 9449 * 0.0254 if name == "a.png" else 240  # PNG has whole pixels to the metre
    dpi = image.info["dpi"] if name != "a.webp" else [image.getexif()[tag] for tag in (0x011A, 0x011B)]
    assert [float(each) for each in dpi] == pytest.approx([exact, exact], abs=1e-4)


def test_a_padded_sheet_shows_all_of_the_picture_on_its_colour(run_srkit, photo):
    Image.fromarray(photo[:100, :200]).save("p.png")
    words = ["--print", "5x5in", "--dpi", "80", "--model", "bicubic"]
    code, _, err = run_srkit("upscale", "p.png", *words)
    assert code == 2
    assert "another shape: --crop cuts off 50.0 % of the picture at the left and right, --pad COLOUR fills" in err
    assert run_srkit("upscale", "p.png", *words, "--pad", "#0a141e", "-o", "o.png")[0] == 0
    made = np.asarray(loaded("o.png"))
    assert made.shape == (400, 400, 3)
    np.testing.assert_array_equal(made[100:300], imresize(photo[:100, :200], 2))
    assert (np.concatenate([made[:100], made[300:]]) == (10, 20, 30)).all()


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bits_at_scale_1_come_back_to_the_last_bit(run_srkit, kind, bands):
    """All levels there are; written and read by another library."""
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    pixels = np.dstack([levels, levels[::-1], levels.T, np.maximum(levels, 1)][4 - bands :])
    form = {1: "grey16", 2: "grey16", 3: "rgb16", 4: "rgb16"}[bands]
    memory = pyvips.Image.new_from_memory(np.ascontiguousarray(pixels).tobytes(), 256, 256, bands, "ushort")
    memory.copy(interpretation=form).write_to_file(f"in.{kind}")
    code, _, err = run_srkit("upscale", f"in.{kind}", "--model", "bicubic", "--scale", "1", "-o", f"out.{kind}")
    assert code == 0, err
    read = pyvips.Image.new_from_file(f"out.{kind}")
    assert (read.format, read.bands) == ("ushort", bands)
    np.testing.assert_array_equal(read.numpy().reshape(pixels.shape), pixels)


def test_16_bits_are_enlarged_with_all_of_them(run_srkit):
    """Against double precision, within a level of 65535."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (30, 40, 3), dtype=np.uint16)
    memory = pyvips.Image.new_from_memory(pixels.tobytes(), 40, 30, 3, "ushort").copy(interpretation="rgb16")
    memory.write_to_file("in.png")
    assert run_srkit("upscale", "in.png", "--model", "bicubic", "--scale", "2.5", "-o", "out.tif")[0] == 0
    exact = imresize(pixels.astype(np.float64), size=(75, 100)).clip(0, 65535)
    assert np.abs(pyvips.Image.new_from_file("out.tif").numpy() - exact).max() <= 1


def test_a_photograph_in_display_p3_keeps_its_look_through_a_network(run_srkit, photo):
    """Converted to sRGB by LittleCMS, before and after."""
    Image.fromarray(photo[:60, :80]).save("p3.png", icc_profile=profile("p3"))

    def look(path, small=False):
        image = loaded(path)
        pixels = imresize(np.asarray(image), 0.5) if small else np.asarray(image)
        own = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        made = ImageCms.profileToProfile(Image.fromarray(pixels), own, ImageCms.createProfile("sRGB"), 1)
        return np.asarray(made).astype(float)

    wanted = look("p3.png")
    assert np.abs(wanted - photo[:60, :80]).mean() > 2, "the two differ"
    words = ["upscale", "p3.png", "--model", "edsr-small", "--scale", "2"]
    for format, more in (("png", []), ("jpg", []), ("tif", ["--depth", "16"]), ("webp", [])):  # noqa: A001
        code, _, err = run_srkit(*words, *more, "-o", f"o.{format}")
        assert code == 0, err
        if format != "tif":
            assert np.abs(look(f"o.{format}", small=True) - wanted).mean() < 1
    assert pyvips.Image.new_from_file("o.tif").format == "ushort"
    assert run_srkit(*words, "--profile", "srgb", "-o", "s.png")[0] == 0
    assert np.abs(imresize(np.asarray(loaded("s.png")), 0.5).astype(float) - wanted).mean() < 1


def test_gray_alpha_palette_cmyk_and_orientation_come_out_right(run_srkit, photo):
    rgb = photo[:20, :30]
    alpha = np.zeros((20, 30), np.uint8)
    alpha[5:15, 5:25] = 255
    alpha[8, 8] = 100
    Image.fromarray(rgb[..., 0]).save("gray.png")
    Image.fromarray(np.dstack([rgb[..., 0], alpha])).save("la.png")
    Image.fromarray(np.dstack([rgb, alpha])).save("rgba.png")
    palette = Image.fromarray(rgb).quantize(16)
    palette.save("palette.png")
    Image.fromarray(rgb).convert("CMYK").save("cmyk.tif")
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.ascontiguousarray(np.rot90(rgb, -1))).save("turned.png", exif=exif)
    names = ["gray.png", "la.png", "rgba.png", "palette.png", "cmyk.tif", "turned.png"]
    code, _, err = run_srkit("upscale", *names, "--model", "bicubic", "-o", "out")
    assert code == 0, err
    made = {name: loaded(f"out/{Path(name).stem}_bicubic_x2.png") for name in names}
    assert [image.mode for image in made.values()] == ["L", "LA", "RGBA", "RGB", "RGB", "RGB"]
    assert {image.size for image in made.values()} == {(60, 40)}
    np.testing.assert_array_equal(np.asarray(made["gray.png"]), imresize(rgb[..., 0], 2))
    np.testing.assert_array_equal(np.asarray(made["palette.png"]), imresize(np.asarray(palette.convert("RGB")), 2))
    np.testing.assert_array_equal(np.asarray(made["turned.png"]), imresize(rgb, 2))
    assert made["turned.png"].getexif().get(0x0112, 1) == 1
    for name, shown in (("la.png", rgb[..., :1]), ("rgba.png", rgb)):
        pixels = np.asarray(made[name]).astype(int)
        np.testing.assert_array_equal(pixels[..., -1], imresize(alpha, 2))
        inside = np.s_[14:26, 20:46]  # nothing transparent is near
        np.testing.assert_array_equal(pixels[..., :-1][inside], imresize(shown, 2)[inside])
    assert np.abs(np.asarray(made["cmyk.tif"]).astype(int) - imresize(rgb, 2)).mean() < 4
    assert "cmyk.tif: " in err, "that it went to RGB is said"
    code, _, err = run_srkit("upscale", "rgba.png", "--model", "nearest", "-o", "o.jpg", "--background", "#ff0000")
    assert code == 0
    assert "#ff0000 is laid under what is transparent" in err
    assert np.abs(np.asarray(loaded("o.jpg"))[:6].astype(int) - (254, 0, 0)).max() <= 2


@pytest.mark.parametrize(
    ("form", "suffix", "kind"),
    [("png", ".png", "PNG"), ("jpeg", ".jpg", "JPEG"), ("webp", ".webp", "WEBP"), ("tiff", ".tif", "TIFF"),
     ("bmp", ".bmp", "BMP"), ("avif", ".avif", "AVIF"), ("jp2", ".jp2", "JPEG2000")],
)  # fmt: skip
def test_every_format_is_written_by_name_and_by_option(run_srkit, picture, form, suffix, kind):
    assert run_srkit("upscale", "p.png", "--model", "bicubic", "-o", f"a{suffix}")[0] == 0
    code, out, _ = run_srkit("upscale", "p.png", "--model", "bicubic", "--format", form)
    assert (code, out) == (0, f"p_bicubic_x2{suffix}  (80x60 -> 160x120)\n")
    assert Path(f"a{suffix}").read_bytes() == Path(f"p_bicubic_x2{suffix}").read_bytes()
    image = loaded(f"a{suffix}")
    assert (image.format, image.size, image.mode) == (kind, (160, 120), "RGB")
    lossy = kind in ("JPEG", "AVIF")
    assert np.abs(np.asarray(image).astype(int) - imresize(picture, 2)).mean() <= (4 if lossy else 0)


def test_quality_and_depth_are_for_the_format_that_the_target_has(run_srkit, picture):
    words = ["upscale", "p.png", "--model", "bicubic"]
    assert run_srkit(*words, "-o", "a.jpg", "--quality", "30")[0] == 0
    assert run_srkit(*words, "--name", "{stem}.jpg", "-o", ".", "--quality", "95")[0] == 0
    assert Path("a.jpg").stat().st_size < Path("p.jpg").stat().st_size / 2
    assert run_srkit(*words, "-o", "a.png", "--depth", "16")[0] == 0
    assert pyvips.Image.new_from_file("a.png").format == "ushort"
    code, _, err = run_srkit(*words, "--quality", "30")
    assert code == 2
    assert "png loses nothing, so it has no quality" in err


# --- strength, colour -----------------------------------------------------------------------------------------------


def test_strength_0_is_lanczos_and_1_the_network(run_srkit, photo):
    picture = photo[90:150, 130:210]  # an eye and fur: there is something to sharpen
    Image.fromarray(picture).save("p.png")
    words = ["upscale", "p.png", "--model", "edsr-small", "--scale", "2"]
    for strength in ("0", "0.5", "1"):
        assert run_srkit(*words, "--strength", strength, "-o", f"{strength}.png")[0] == 0
    assert run_srkit(*words, "-o", "plain.png")[0] == 0
    none, half, full, plain = (np.asarray(loaded(f"{n}.png")) for n in ("0", "0.5", "1", "plain"))
    np.testing.assert_array_equal(none, imresize(picture, 2, method="lanczos3"))
    np.testing.assert_array_equal(full, plain)
    assert np.abs(none.astype(int) - full).max() > 4
    assert np.abs(half - (none.astype(float) + full) / 2).max() <= 3  # MATLAB's Lanczos is rounded twice, and clipped
    assert np.abs(half - (none.astype(float) + full) / 2).mean() < 0.5


def test_with_the_colours_kept_the_small_result_is_the_input(run_srkit, picture):
    words = ["upscale", "p.png", "--model", "edsr-small", "--scale", "2", "--depth", "16"]
    apart = []
    for name, more in (("free.png", []), ("kept.png", ["--keep-colour"])):
        assert run_srkit(*words, *more, "-o", name)[0] == 0
        made = pyvips.Image.new_from_file(name).numpy().astype(np.float64) / 257
        apart.append(np.abs(imresize(made, 0.5) - picture).max())
    assert apart[1] <= 0.5 < apart[0]


# --- pipes and addresses --------------------------------------------------------------------------------------------


class Pipe(io.TextIOWrapper):
    """stdin or stdout as bytes."""


def test_from_stdin_to_stdout(run_srkit, picture, monkeypatch):
    monkeypatch.setattr("sys.stdin", Pipe(io.BytesIO(Path("p.png").read_bytes())))
    made = io.BytesIO()
    monkeypatch.setattr("srkit.cli.display.binary_result", made.write)
    code, out, err = run_srkit("upscale", "-", "--format", "webp", "--model", "bicubic", "--scale", "2")
    assert (code, out) == (0, ""), err
    np.testing.assert_array_equal(np.asarray(Image.open(made)), imresize(picture, 2))
    monkeypatch.setattr("sys.stdin", Pipe(io.BytesIO(b"")))
    code, _, err = run_srkit("upscale", "-", "--format", "png", "--model", "bicubic")
    assert code == 1
    assert "'stdin' is empty" in err
    code, _, err = run_srkit("upscale", "-", "--model", "bicubic")
    assert code == 2
    assert "'-' does not say the format; --format does" in err


def test_from_an_address_to_another_with_a_receipt(run_srkit, picture):
    import fsspec

    data = Path("p.png").read_bytes()
    with fsspec.open("memory://in/p.png", "wb") as file:
        file.write(data)
    words = ["--model", "bicubic", "--receipt", "xmp"]
    code, out, err = run_srkit("upscale", "memory://in/p.png", "-o", "memory://out/q.png", *words)
    assert (code, out) == (0, "memory://out/q.png  (80x60 -> 160x120)\n"), err
    with fsspec.open("memory://out/q.png") as file:
        made = file.read()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(made))), imresize(picture, 2))
    assert hashlib.sha256(data).hexdigest().encode() in made
    Path("q.png").write_bytes(made)
    code, _, err = run_srkit("upscale", "--again", "q.png", "p.png")
    assert code == 0, err
    assert Path("q_again.png").read_bytes() == made
    code, out, _ = run_srkit("upscale", f"file://{Path('p.png').absolute()}", "-o", "local.png", *words, "--json")
    assert code == 0
    assert json.loads(out)["target"] == "local.png"
    np.testing.assert_array_equal(np.asarray(loaded("local.png")), imresize(picture, 2))


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["memory://in/none.png", "-o", "a.png"], 1, "'memory://in/none.png' cannot be read"),
        (["memory://in/a.png"], 2, "say with -o where the result of 'memory://in/a.png' goes"),
        (["p.png", "-o", "nosuch://a.png"], 2, "nosuch"),
        (["p.png", "-o", "memory://folder"], 2, "'memory://folder' names no file"),
        (["p.png", "p.png", "-o", "-"], 2, "is for one picture at a time, not for 2"),
        (["p.png", "-o", "-", "--json", "--format", "png"], 2, "cannot both go to stdout"),
        (["p.png", "-o", "memory://a.png", "--receipt", "sidecar"], 2, "a receipt beside the picture wants a file"),
        (["memory://in/p.png", "-o", "missing/a.png"], 2, "no folder 'missing'"),
    ],
)
def test_ends_that_cannot_be_are_one_line(run_srkit, picture, words, code, line):
    result, out, err = run_srkit("upscale", *words, "--model", "bicubic")
    assert (result, out) == (code, "")
    assert line in err
    assert err.count("\n") == 1


# --- receipts -------------------------------------------------------------------------------------------------------


@pytest.fixture
def net(registry):
    """A small checkpoint; net(seed) writes another one."""

    def write(seed):
        torch.manual_seed(seed)
        model = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 8})
        tensors = {name: value * 0.1 for name, value in model.build(2).state_dict().items() if "mean" not in name}
        tensors |= {name: value for name, value in model.build(2).state_dict().items() if "mean" in name}
        described = {"name": "srkit:edsr", "version": "0", "options": model.options}
        save_tensors(Path("net.safetensors"), tensors, {"model": described, "scales": [2]})

    write(0)
    return write


@pytest.mark.parametrize("where", ["xmp", "sidecar"])
def test_a_picture_is_repeated_by_its_receipt_to_the_byte(run_srkit, picture, net, where):
    words = ["--model", "net.safetensors", "--scale", "2.5", "--self-ensemble", "--quality", "80", "--strength", "0.7"]
    assert run_srkit("upscale", "p.png", *words, "--receipt", where, "-o", "o.jpg")[0] == 0
    code, out, err = run_srkit("upscale", "--again", "o.jpg")
    assert code == 0, err
    assert out == "o_again.jpg  (80x60 -> 200x150)\n"
    assert Path("o_again.jpg").read_bytes() == Path("o.jpg").read_bytes()
    sidecars = [Path(f"{name}.jpg.srkit.json") for name in ("o", "o_again")]
    assert [path.is_file() for path in sidecars] == [where == "sidecar"] * 2
    if where == "sidecar":
        about = json.loads(sidecars[0].read_text())
        assert about == json.loads(sidecars[1].read_text())
        assert (
            about["models"]["x2"]["weights_sha256"] == hashlib.sha256(Path("net.safetensors").read_bytes()).hexdigest()
        )
        assert about["options"]["strength"] == 0.7


def test_what_has_changed_since_a_receipt_is_one_line(run_srkit, picture, net, photo):
    words = ["--model", "net.safetensors", "--scale", "2", "--receipt", "sidecar"]
    assert run_srkit("upscale", "p.png", *words, "-o", "o.png")[0] == 0
    receipt = Path("o.png.srkit.json")
    text = receipt.read_text()

    def refused(*more):
        code, out, err = run_srkit("upscale", "--again", "o.png", *more)
        assert out == ""
        assert not Path("o_again.png").exists()
        return code, err.splitlines()[-1]

    net(1)
    code, line = refused()
    assert code == 1
    assert "'o_again.png' would be another picture: the weights of edsr x2 are others than those that made it" in line
    net(0)
    Image.fromarray(photo[:60, 1:81]).save("other.png")
    code, line = refused("other.png")
    assert (code, "its content is another" in line) == (2, True)
    Path("p.png").rename("moved.png")
    code, line = refused()
    assert code == 2
    assert "which is not there; name it: --again 'o.png' PHOTO" in line
    assert run_srkit("upscale", "--again", "o.png", "moved.png", "-o", "third.png")[0] == 0
    assert Path("third.png").read_bytes() == Path("o.png").read_bytes()
    assert refused("--scale", "3")[1].startswith("srkit: --again takes --scale from the receipt")
    Path("net.safetensors").rename("there.safetensors")
    assert refused("moved.png")[0] == 2
    assert run_srkit("upscale", "--again", "o.png", "moved.png", "-o", "f.png", "--model", "there.safetensors")[0] == 0
    for bad in ("{", "[]", text.replace("srkit upscale 1", "other"), text.replace('"models"', '"mode"')):
        receipt.write_text(bad)
        assert refused("moved.png") == (1, "srkit: the receipt of 'o.png' is damaged")
    for bad in ({"out": "/elsewhere.png"}, {"overwrite": True}, {"scale": "2"}, {"wanted": 1}):
        receipt.write_text(json.dumps(json.loads(text) | {"options": bad}))
        code, line = refused("moved.png")
        assert (code, "the receipt of 'o.png' is damaged" in line) == (1, True)
    receipt.unlink()
    assert "'o.png' has no receipt; one is written by --receipt xmp" in refused()[1]


# --- wrong words ----------------------------------------------------------------------------------------------------

WRONG = {
    "--strength nan": "--strength",
    "--strength 1.5": "--strength",
    "--scale nan": "--scale nan is not a factor",
    "--scale 0": "--scale 0 is not a factor",
    "--scale 2 --width 100": "--scale and --width each say how large",
    "--fit 30": "--fit '30' is not a box of pixels",
    "--print A11": "no paper is called 'A11'",
    "--bleed 3mm": "--bleed is for a sheet of paper",
    "--print A4 --crop --pad red": "--crop and --pad exclude each other",
    "--print A4 --pad reddish": "reddish",
    "--dpi 0": "--dpi 0 is not a number of pixels to the inch",
    "--format psd": "'psd' is no format that is written",
    "--format png -o a.jpg": "'a.jpg' is a jpeg by its name, and --format says png",
    "--quality 101 -o a.jpg": "quality 101 is not between 1 and 100",
    "--depth 12": "a depth of 12 bits is neither 8 nor 16",
    "--depth 16 -o a.jpg": "jpeg has 8 bits; 16 are for png",
    "--background nocolour": "'nocolour' is no colour",
    "--profile cmyk": "--profile is keep or srgb, not 'cmyk'",
    "--receipt paper": "--receipt is xmp or sidecar, not 'paper'",
    "--range black": "range 'black' is neither a number",
    "--tile -1": "--tile",
    "--max-pixels 0": "--max-pixels",
    "--overwrite --skip-existing": "--overwrite and --skip-existing exclude each other",
    "--name {stom}": "has no field 'stom'; did you mean 'stem'?",
    "-o p.png": "-o 'p.png' is the picture itself",
    "-o missing/a.png": "no folder 'missing'",
    "-o a.psd": "the suffix '.psd' is not a picture format",
    "absent.png": "no picture 'absent.png'",
    "p.png -o a.png q.png": "-o 'a.png' is one file for 2 pictures",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_word_is_one_line_and_exit_code_2(run_srkit, picture, tmp_path, words):
    Image.fromarray(picture).save("q.png")
    before = sorted(tmp_path.iterdir())
    code, out, err = run_srkit("upscale", "p.png", "--model", "bicubic", *words.split())
    assert (code, out) == (2, "")
    assert WRONG[words] in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_words_are_told_before_torch_is_imported(picture):
    lines = [line.split() for line in WRONG if "--name" not in line]  # whose fields are the model's
    code = f"""
import sys
from srkit.cli import run
for words in {lines}:
    assert run(["upscale", "p.png", *words]) == 2, words
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "False\n", done.stderr
