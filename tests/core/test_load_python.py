"""`srkit.load(...).upscale(...)`: what goes in comes out larger, with the pixels of the command line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import srkit
from srkit import ImageError, NoWeights, SrkitError, UnknownName, UsageError, imresize
from srkit.checkpoint import save_tensors

BF16 = {"precision": "bf16"}


@pytest.fixture
def checkpoint(registry, photo) -> Path:
    """A small EDSR x2 whose output is no flat picture."""
    torch.manual_seed(1)
    model = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 32})
    net = model.build(2)
    with torch.no_grad():
        net.tail[1].weight *= 20
    described = {"name": "srkit:edsr", "version": "0", "options": model.options}
    save_tensors(Path("net.safetensors"), net.state_dict(), {"model": described, "scales": [2]})
    return Path("net.safetensors")


def test_importing_srkit_imports_no_torch_and_no_module_hides_a_function():
    program = (
        "import sys; from srkit import *; assert 'torch' not in sys.modules; "
        "import srkit, pkgutil, importlib; "
        "[importlib.import_module(found.name) for found in pkgutil.walk_packages(srkit.__path__, 'srkit.') "
        "if found.name != 'srkit.__main__']; "
        "assert [name.__module__ for name in (srkit.load, srkit.fit, srkit.score)] "
        "== ['srkit.api.upscaling', 'srkit.api.fitting', 'srkit.api.scoring']"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_the_attributes(checkpoint):
    loaded = srkit.load(str(checkpoint))
    assert (loaded.scale, loaded.name, loaded.parameters) == (2, "edsr", 66499)
    assert isinstance(loaded.net, torch.nn.Module)
    assert loaded.device == srkit.load(checkpoint, device=str(loaded.device)).device
    assert repr(loaded) == f"<srkit edsr x2, 66,499 parameters, on {loaded.device}>"
    assert (srkit.load("bicubic").scale, srkit.load("bicubic", scale=3).scale) == (2, 3)
    assert (loaded.scales, loaded.licence) == ((2,), "")
    assert loaded.model.component.name == "edsr"
    small = srkit.load("edsr-small@bicubic")
    assert (small.scales, small.licence) == ((2, 3, 4), "CC-BY-SA-4.0")


def test_a_multi_scale_network_at_its_scale_is_called_as_any_other(registry):
    model = registry.choose("model", "mdsr", {"n_resblocks": 1, "n_feats": 8})
    net = model.build((2, 3))
    described = {"name": "srkit:mdsr", "version": "0", "options": model.options}
    save_tensors(Path("net.safetensors"), net.state_dict(), {"model": described, "scales": [2, 3], "licence": "MIT"})
    loaded = srkit.load("net.safetensors", scale=3, device="cpu")
    assert (loaded.scales, loaded.licence) == ((2, 3), "MIT")
    single, lr = loaded.single_scale(), torch.rand(1, 3, 9, 8)
    with torch.inference_mode():
        assert torch.equal(single(lr), loaded.net(lr, 3))
    assert not any(module.training for module in single.modules())


def test_what_a_package_keeps_and_says(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SRKIT_CACHE", str(tmp_path / "cache"))
    path = srkit.cache_folder() / "mine" / "a.bin"
    path.parent.mkdir(parents=True)
    srkit.write_atomically(path, lambda file: file.write(b"1"))

    def half(file):
        file.write(b"2")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        srkit.write_atomically(path, half)
    assert [each.name for each in path.parent.iterdir()] == ["a.bin"]
    assert path.read_bytes() == b"1"
    srkit.say("done")
    with srkit.Progress("counting", 2) as progress:
        progress.one_more("a")
    assert capsys.readouterr().err == "srkit: done\n"


@pytest.mark.parametrize("ensemble", [False, True])
def test_a_pil_image_gives_the_pixels_of_the_command_line(run_srkit, checkpoint, photo, ensemble):
    picture = Image.fromarray(photo[40:75, 60:101])
    picture.save("p.png")
    words = ["--self-ensemble"] if ensemble else []
    assert run_srkit("upscale", "p.png", "--model", checkpoint, "-o", "cli.png", "--device", "cpu", *words)[0] == 0
    large = srkit.load(checkpoint, device="cpu", ensemble=ensemble).upscale(picture)
    assert (large.mode, large.size) == ("RGB", (82, 70))
    np.testing.assert_array_equal(np.asarray(large), np.asarray(Image.open("cli.png")))
    assert len(np.unique(np.asarray(large))) > 50


def test_arrays_and_tensors_give_the_same_pixels(checkpoint, photo):
    lr = photo[40:75, 60:101]
    loaded = srkit.load(checkpoint, device="cpu")
    expected = np.asarray(loaded.upscale(Image.fromarray(lr)))
    sr = loaded.upscale(lr)
    assert sr.dtype == np.uint8
    np.testing.assert_array_equal(sr, expected)
    tensor = torch.from_numpy(lr.copy()).permute(2, 0, 1) / 255
    one = loaded.upscale(tensor)
    assert (one.shape, one.dtype) == ((3, 70, 82), torch.float32)
    np.testing.assert_array_equal(np.floor(one.permute(1, 2, 0).numpy() * 255 + np.float32(0.5)), expected)
    with torch.no_grad():
        whole = loaded.net(tensor[None]).clamp(0, 1)
    torch.testing.assert_close(one[None], whole, rtol=0, atol=1e-6)
    two = loaded.upscale(torch.stack([tensor, tensor.flip(-1)]))
    assert two.shape == (2, 3, 70, 82)
    torch.testing.assert_close(two[0], one, rtol=0, atol=1e-6)
    assert not torch.equal(two[0], two[1])
    doubled = loaded.upscale(tensor.double().requires_grad_())
    assert (doubled.dtype, doubled.requires_grad, doubled.is_inference()) == (torch.float64, False, False)


def test_tiles_cannot_be_seen(checkpoint, photo):
    lr = photo[:90, :101]
    whole = srkit.load(checkpoint, tile=0, device="cpu").upscale(lr)
    np.testing.assert_array_equal(srkit.load(checkpoint, tile=40, device="cpu").upscale(lr), whole)


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 1), (9, 7, 2), (9, 7, 3), (9, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_arrays_of_every_kind_come_back_as_they_are(shape, dtype):
    """Strides may be negative, and each channel is enlarged as imresize does."""
    white = np.iinfo(dtype).max
    pixels = (np.random.default_rng(0).random(shape) * white).astype(dtype)[::-1, ::-1]
    channels = pixels.reshape(9, 7, -1)
    if channels.shape[2] in (2, 4):
        channels[..., -1] = np.maximum(channels[..., -1], 1)  # colour under alpha 0 is another matter
    large = srkit.load("bicubic").upscale(pixels)
    assert (large.shape, large.dtype) == ((18, 14, *shape[2:]), dtype)
    ends = (0, white)
    wanted = imresize(pixels, 2) if dtype == np.uint8 else imresize(pixels.astype(float), 2).clip(*ends)
    np.testing.assert_allclose(large, wanted, atol=1.01)


def test_files_and_folders(photo, tmp_path):
    """The result is the command's; sizes are people's; a folder's names are kept; one bad file costs no other."""
    Path("in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.png"):
        Image.fromarray(photo[:30, :40]).save(name)
    bicubic = srkit.load("bicubic")
    assert bicubic.upscale_file("in/a.png") == Path("in/a_bicubic_x2.png")
    made = bicubic.upscale_file("in/a.png", tmp_path / "a.jpg", paper="10x15", crop=True, dpi=72)
    with Image.open(made) as image:
        assert (image.size, image.info["dpi"], image.format) == ((425, 283), (72, 72), "JPEG")
    names = [path.as_posix() for path in bicubic.upscale_files(["in"], "out", scale=1.5)]
    assert names == ["out/a_bicubic_x1.5.png", "out/deep/b_bicubic_x1.5.png"]
    Path("in/c.png").write_bytes(b"none")
    with pytest.raises(SrkitError, match="1 of 3 pictures could not be upscaled: 'in/c.png'"):
        bicubic.upscale_files(["in"], "out")
    assert Path("out/deep/b_bicubic_x2.png").is_file()
    with pytest.raises(UsageError, match="no option 'scael'; did you mean 'scale'"):
        bicubic.upscale_file("in/a.png", scael=2)


def test_confidence_is_the_commands_and_its_layer_covers_what_is_guessed(run_srkit, photo):
    drawn = photo[:60, :90].copy()
    drawn[20:40, 30:60] = 255 * (np.indices((20, 30, 1)).sum(0) % 2)  # a network does not know what that was
    Image.fromarray(drawn).save("in.png")
    tiles = []
    found = srkit.load("edsr-small").confidence("in.png", done=lambda *done: tiles.append(done))
    code, _, err = run_srkit("upscale", "in.png", "--model", "edsr-small", "--scale", 2, "--confidence", "map.png")
    assert (code, found.words in err) == (0, True)
    assert (found.levels.shape, tiles) == ((60, 90), [(1, 1)])
    assert found.share == (found.levels > 10).mean() > 0
    layer = found.layer()
    assert (layer.shape, layer.dtype) == ((60, 90, 4), np.uint8)
    assert (layer[found.levels > 10, 3] == 255).all()
    assert (layer[found.levels < 5, 3] <= 128).all()
    with pytest.raises(UsageError, match="an interpolation adds nothing"):
        srkit.load("bicubic").confidence("in.png")
    with pytest.raises(UnknownName, match=r"none\.png"):
        srkit.load("edsr-small").confidence("none.png")
    with pytest.raises(KeyError):
        srkit.load("edsr-small").confidence("in.png", done=lambda *done: {}["stop"])


def test_several_models_are_tried_on_a_photo(photo):
    Image.fromarray(photo[:60, :90]).save("cat.png")
    done = []
    trial = srkit.try_models("cat.png", ["edsr-small"], 2, count=1, crop=40, done=done.append)
    assert (trial.title, done) == ("cat.png x2: 2 models", ["bicubic", "edsr-small"])
    crop = trial.crops[0]
    inside = np.s_[crop.top : crop.top + 20, crop.left : crop.left + 20]
    np.testing.assert_array_equal(crop.pixels["input"], photo[:60, :90][inside])
    assert crop.pixels["edsr-small"].shape == (40, 40, 3)
    assert "<article" in trial.page()
    assert trial.sheet().ndim == 3
    with pytest.raises(UsageError, match="does not upscale x7"):
        srkit.try_models("cat.png", ["edsr-small"], 7)


def test_transparency_gray_orientation_and_profile_survive(photo):
    bicubic = srkit.load("bicubic")
    alpha = photo[:20, :30, 0].copy()
    picture = Image.fromarray(photo[:20, :30])
    expected = imresize(photo[:20, :30], 2)
    picture.putalpha(Image.fromarray(alpha))
    large = bicubic.upscale(picture)
    assert large.mode == "RGBA"
    np.testing.assert_array_equal(np.asarray(large)[..., :3], expected)
    np.testing.assert_array_equal(np.asarray(large)[..., 3], imresize(alpha, 2))
    gray = bicubic.upscale(Image.fromarray(alpha))
    assert gray.mode == "L"
    np.testing.assert_array_equal(np.asarray(gray), imresize(alpha, 2))
    assert bicubic.upscale(Image.fromarray(alpha).convert("LA")).mode == "LA"
    for mode in ("P", "1", "CMYK", "I;16"):
        assert bicubic.upscale(Image.fromarray(alpha).convert(mode)).size == (60, 40)
    deep = bicubic.upscale(Image.fromarray(alpha).convert("I;16"), range=255)
    assert deep.mode == "I;16"
    np.testing.assert_allclose(np.asarray(deep) / 257, imresize(alpha.astype(float), 2).clip(0, 255), atol=0.51)
    for mode in ("I", "F"):
        same = bicubic.upscale(Image.fromarray(alpha).convert(mode), range=255)
        np.testing.assert_array_equal(np.asarray(same), imresize(alpha, 2))
    with pytest.raises(ImageError, match="its float pixels go from .* --range"):
        bicubic.upscale(Image.fromarray(alpha).convert("F"))

    turned = Image.fromarray(photo[:20, :30])
    turned.getexif()[0x0112] = 6  # its top is at the right
    turned.info["icc_profile"] = b"profile"
    upright = bicubic.upscale(turned)
    assert (upright.size, upright.info["icc_profile"]) == ((40, 60), b"profile")
    np.testing.assert_array_equal(np.asarray(upright), imresize(np.rot90(photo[:20, :30], -1), 2))


def test_wrong_pictures_are_told_in_one_line(checkpoint, tmp_path, photo):
    loaded = srkit.load("bicubic")
    wrong = {
        "an array must be H,W or H,W,C of .* not 4,4,5 uint8": np.zeros((4, 4, 5), np.uint8),
        "uint8 or uint16, not 4,4,3 float64": np.zeros((4, 4, 3)),
        "not 0,4,3 uint8": np.zeros((0, 4, 3), np.uint8),
        "a tensor must be B,3,H,W or 3,H,W float in .0, 1., not 4,4,3 torch.float32": torch.zeros(4, 4, 3),
        "not 3,4,4 torch.uint8": torch.zeros(3, 4, 4, dtype=torch.uint8),
        "this one goes up to 255: divide it by 255": torch.full((3, 4, 4), 255.0),
        "a picture is a PIL image, an array or a tensor, not str": "photo.jpg",
    }
    for words, picture in wrong.items():
        with pytest.raises(UsageError, match=words):
            loaded.upscale(picture)
    Image.fromarray(photo).save("p.jpg")
    Path("p.jpg").write_bytes(Path("p.jpg").read_bytes()[:900])
    with Image.open("p.jpg") as truncated, pytest.raises(ImageError, match="cannot be decoded"):
        loaded.upscale(truncated)


def test_wrong_words_are_srkit_errors(checkpoint):
    with pytest.raises(UnknownName, match="did you mean 'edsr-baseline'?"):
        srkit.load("edsr-basline")
    with pytest.raises(NoWeights, match="no trained weights for x3"):
        srkit.load("edsr-large", scale=3)
    with pytest.raises(UsageError, match="upscales x2, not x4"):
        srkit.load(checkpoint, 4)
    with pytest.raises(UsageError, match="no device called 'gpu'"):
        srkit.load(checkpoint, device="gpu")
    with pytest.raises(SrkitError, match="no checkpoint"):
        srkit.load("here/none.safetensors")


def test_python_computes_in_the_precision_asked_for(checkpoint, photo):
    exact, same, half = (srkit.load(checkpoint, device="cpu", **words) for words in ({}, {"precision": "fp32"}, BF16))
    assert (exact.precision, half.precision, srkit.load("bicubic", **BF16).precision) == ("fp32", "bf16", "fp32")
    assert repr(half).endswith("on cpu in bf16>")
    pixels = [each.upscale(photo[:32, :32]).astype(int) for each in (exact, same, half)]
    assert (pixels[0] == pixels[1]).all()
    assert 0 < np.abs(pixels[0] - pixels[2]).max() <= 4
    with pytest.raises(UsageError, match="no precision called 'half'"):
        srkit.load(checkpoint, precision="half")
