"""`srkit upscale`: the fourth use, somebody with one small photo."""

import numpy as np
import pytest
import torch
from PIL import Image

from srkit import imresize, load, load_plugins, read_rgb
from srkit.checkpoint import save_tensors
from srkit.upscale.wrap import to_pixels, to_tensor
from srkit.weights.loading import load_model
from srkit.weights.offered import for_pictures
from tests.fixtures import loaded


@pytest.fixture
def put(tmp_path):
    def save(name, pixels, **options):
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return tmp_path / name

    return save


def test_a_photo_becomes_a_larger_one_beside_it(run_srkit, put, photo, trained, tmp_path, registry):
    put("photo.png", photo[:61, :83])
    code, out, err = run_srkit("upscale", "photo.png", "--model", trained)
    assert code == 0
    assert out == "photo_edsr_x2.png  (83x61 -> 166x122)\n"
    assert f"edsr x2 from {trained / 'best.safetensors'}" in err
    net = load_model(registry, str(trained), 2).net.eval()
    with torch.inference_mode():
        expected = to_pixels(net(to_tensor(photo[:61, :83]).contiguous(memory_format=torch.channels_last)))
    assert np.abs(read_rgb("photo_edsr_x2.png").astype(int) - expected).max() <= 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png", "photo_edsr_x2.png"]


def test_tiled_equals_untiled_on_an_odd_sized_photo(run_srkit, put, photo, registry, tmp_path):
    put("photo.png", photo)
    assert photo.shape == (299, 451, 3)
    torch.manual_seed(0)
    model = registry.choose("model", "edsr", {"n_resblocks": 1, "n_feats": 32})
    described = {"name": "srkit:edsr", "version": "0", "options": model.options}
    save_tensors(tmp_path / "net.safetensors", model.build(2).state_dict(), {"model": described, "scales": [2]})
    for tile, name in ((0, "whole.png"), (64, "tiled.png")):
        assert run_srkit("upscale", "photo.png", "--model", "net.safetensors", "--tile", tile, "-o", name)[0] == 0
    np.testing.assert_array_equal(read_rgb("whole.png"), read_rgb("tiled.png"))


def test_interpolation_is_matlabs(run_srkit, put, photo):
    put("photo.png", photo)
    assert run_srkit("upscale", "photo.png", "--model", "bicubic", "--scale", "3")[0] == 0
    np.testing.assert_array_equal(read_rgb("photo_bicubic_x3.png"), imresize(photo, 3))
    assert run_srkit("upscale", "photo.png", "--model", "lanczos", "-o", "l.png")[0] == 0
    np.testing.assert_array_equal(read_rgb("l.png"), imresize(photo, 2, method="lanczos3"))
    assert run_srkit("upscale", "photo.png", "--model", "nearest", "-o", "n.png")[0] == 0
    np.testing.assert_array_equal(read_rgb("n.png")[::2, 1::2], photo)


def test_one_pixel(run_srkit, put, trained):
    put("dot.png", np.full((1, 1, 3), (10, 200, 30), np.uint8))
    for model in ("bicubic", "nearest", "lanczos"):
        assert run_srkit("upscale", "dot.png", "--model", model, "--scale", "4")[0] == 0
        assert np.unique(read_rgb(f"dot_{model}_x4.png").reshape(-1, 3), axis=0).tolist() == [[10, 200, 30]]
    code, out, _ = run_srkit("upscale", "dot.png", "--model", trained, "--self-ensemble")
    assert code == 0
    assert out == "dot_edsr+_x2.png  (1x1 -> 2x2)\n"


def test_gray_alpha_and_orientation_come_out_right(run_srkit, put, photo, trained):
    put("gray.png", photo[:40, :30, 1])
    assert run_srkit("upscale", "gray.png", "--model", "bicubic")[0] == 0
    gray = loaded("gray_bicubic_x2.png")
    assert (gray.mode, gray.size) == ("L", (60, 80))
    np.testing.assert_array_equal(np.asarray(gray), imresize(photo[:40, :30, 1], 2))
    assert run_srkit("upscale", "gray.png", "--model", trained)[0] == 0
    assert loaded("gray_edsr_x2.png").mode == "L"

    alpha = np.zeros((40, 30), np.uint8)
    alpha[10:30, 5:25] = 255
    put("logo.png", np.dstack([photo[:40, :30], alpha]))
    assert run_srkit("upscale", "logo.png", "--model", trained)[0] == 0
    logo = loaded("logo_edsr_x2.png")
    assert (logo.mode, logo.size) == ("RGBA", (60, 80))
    np.testing.assert_array_equal(np.asarray(logo)[..., 3], imresize(alpha, 2))

    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side
    put("turned.jpg", np.ascontiguousarray(np.rot90(photo[:40, :30])), exif=exif, quality=100, subsampling=0)
    assert run_srkit("upscale", "turned.jpg", "--model", "bicubic")[0] == 0
    upright = loaded("turned_bicubic_x2.png")
    assert upright.size == (60, 80)
    assert upright.getexif().get(0x0112, 1) == 1
    assert np.abs(np.asarray(upright).astype(int) - imresize(photo[:40, :30], 2)).mean() < 3


def test_without_weights_it_says_so_and_offers_what_to_do(run_srkit, put, photo, tmp_path):
    put("photo.png", photo[:20, :20])
    code, out, err = run_srkit("upscale", "photo.png", "--model", "edsr-large")
    assert code == 1
    assert out == ""
    assert err == (
        "srkit: 'edsr-large' has no trained weights for x2 here. Get some with 'srkit weights pull OWNER/NAME', name "
        "a file with --model FILE, train with 'srkit train --model edsr-large --scale 2', or use --model bicubic\n"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photo.png"]


def test_a_run_below_here_gives_a_name_its_weights(run_srkit, put, photo):
    put("photo.png", photo[:20, :20])
    words = ["--model", "edsr-baseline", "--scale", "8"]  # none ship for x8
    assert run_srkit("train", *words, "--steps", "1", "--set", "batch=1", "--set", "patch=8")[0] == 0
    code, out, err = run_srkit("upscale", "photo.png", *words)
    assert code == 0, err
    assert out.startswith("photo_edsr-baseline_x8.png")
    assert "from runs/edsr-baseline_x8/best.safetensors" in err


def test_without_a_model_the_best_installed_weights_upscale_and_are_told(run_srkit, put, photo, monkeypatch):
    """Offline: nothing may open a connection."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection is opened"))
    put("photo.jpg", photo[:60, :80], quality=90)
    code, out, err = run_srkit("upscale", "photo.jpg")
    offer, _ = for_pictures(load_plugins(), None)
    assert (code, out) == (0, f"photo_{offer.word}_x2.png  (80x60 -> 160x120)\n")
    assert f"{offer.word} x2, the best weights that are installed: licence CC-BY-SA-4.0" in err
    assert "larger ones: srkit weights pull OWNER/NAME" in err
    assert ("; trained on clean pictures" in err) == (offer.weights.tag == "bicubic")
    sharper = read_rgb(f"photo_{offer.word}_x2.png").astype(int)
    assert np.abs(sharper - imresize(photo[:60, :80], 2)).mean() < 6
    assert load(progress=False).name == offer.word


def test_a_scale_without_weights_is_a_chain_and_one_resize(run_srkit, put, photo):
    put("photo.png", photo[:20, :21])
    code, out, _ = run_srkit("upscale", "photo.png", "--scale", "5", "--tile", "0", "-o", "five.png")
    assert (code, out) == (0, "five.png  (21x20 -> 105x100)\n")
    code, out, _ = run_srkit("upscale", "photo.png", "--scale", "5", "--dry-run")
    assert "x2 then x3" in out
    code, _, err = run_srkit("upscale", "photo.png", "--scale", "65")
    assert code == 2
    assert "beyond the limit of 64" in err


def test_several_pictures_and_folders(run_srkit, put, photo, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("in/a.png", "in/b.jpg", "c.png"):
        put(name, photo[:20, :20])
    code, out, _ = run_srkit("upscale", "in", "c.png", "--model", "bicubic", "-o", "out")
    assert code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"{n}_bicubic_x2.png" for n in "abc"]
    assert out.count("\n") == 3
    code, _, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "one.png")
    assert code == 2
    assert "one file for 2 pictures" in err
    (tmp_path / "in" / "broken.png").write_text("")
    code, out, err = run_srkit("upscale", "in", "--model", "bicubic", "-o", "out")
    assert code == 1
    assert out.count("\n") == 2, "the good ones are done"
    assert "1 of 3 pictures could not be upscaled" in err


@pytest.mark.parametrize("flags", ["avx512_bf16", "avx2"])
def test_the_precision_is_fp32_unless_asked_and_its_cost_is_printed(run_srkit, put, photo, monkeypatch, flags):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flags: True}, raising=False)
    put("photo.png", photo[:32, :32])
    words = ["upscale", "photo.png", "--device", "cpu", "--model", "edsr-small@bicubic", "--scale", "2"]
    pixels = {}
    for precision in ("", "fp32", "bf16", "auto"):
        code, _, err = run_srkit(*words, *(["--precision", precision] if precision else []), "-o", "out.png")
        assert code == 0, err
        half = precision == "bf16" or (precision == "auto" and flags == "avx512_bf16")
        assert ("computed in bf16 by PyTorch; PSNR on Set5 (protocol y) changes by -0.00" in err) == half
        assert ("computed in" in err) == half
        pixels[precision] = read_rgb("out.png").astype(int)
    assert (pixels[""] == pixels["fp32"]).all()
    assert 0 < np.abs(pixels["bf16"] - pixels["fp32"]).max() <= 4
    wanted = "bf16" if flags == "avx512_bf16" else "fp32"
    assert (pixels["auto"] == pixels[wanted]).all()


def test_a_precision_for_an_interpolation_or_a_backend(run_srkit, put, photo):
    put("photo.png", photo[:32, :32])
    code, _, err = run_srkit("upscale", "photo.png", "--model", "bicubic", "--precision", "bf16", "-o", "out.png")
    assert code == 0
    assert "bicubic is an interpolation and is computed in fp32" in err
    np.testing.assert_array_equal(read_rgb("out.png"), imresize(photo[:32, :32], 2))
    words = ["upscale", "photo.png", "--model", "edsr-small", "--scale", "2", "-o", "out.png", "--precision"]
    code, _, err = run_srkit(*words, "bf16", "--backend", "torch")
    assert code == 0
    assert "computed in bf16" in err
    assert (
        "backend 'torch' computes in fp32, bf16, fp16, not in 'int8'"
        in run_srkit(*words, "int8", "--backend", "torch")[2]
    )
    assert "no precision called 'int8'" in run_srkit(*words, "int8")[2]
