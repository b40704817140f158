"""What is computed in parts, box by box, equals the whole to the last bit; where it cannot, no seam is seen."""

import errno
from dataclasses import dataclass, field
from threading import Event, Thread

import numpy as np
import pytest
import torch
from torch import nn

from srkit import Model, SrkitError, Wrapper
from srkit.images import About, picture_from
from srkit.nets import Loaded
from srkit.upscale import memory, scratch
from srkit.upscale.areas import Blended, Box, Mixed, PixelArray, Resized, Whole, cut, ramps
from srkit.upscale.file import How, made_of
from srkit.upscale.keep import colour_kept
from srkit.upscale.render import Result, divided, render
from srkit.upscale.sizes import Wanted
from srkit.upscale.stages import Stage, at_size, stage_of, upscaled
from srkit.upscale.tiles import spans

NETS = {
    "edsr": {"n_resblocks": 2, "n_feats": 32},
    "mdsr": {"n_resblocks": 2, "n_feats": 32},
    "srresnet": {"n_resblocks": 2, "n_feats": 32},
    "vdsr": {"n_feats": 32, "depth": 8},
}
TILES = (20, 41, 64)  # in pixels of an input that has 131x97
LARGE = (97, 131)


def pixels_of(dtype=np.uint8, height=47, width=61, channels=3):
    """H,W,C: smooth, with noise and a hard edge, in all levels of its type."""
    y, x = np.mgrid[:height, :width]
    wave = 0.5 + 0.2 * np.sin(x / 5 + y / 9)[..., None] * np.linspace(0.6, 1, channels)
    wave = wave + np.random.default_rng(0).normal(0, 0.03, wave.shape)
    wave[height // 3 :, : width // 4] *= 0.7
    return (wave.clip(0, 1) * np.iinfo(dtype).max + 0.5).astype(dtype)


def stage(registry, name, scale=2, **how):
    torch.manual_seed(0)
    model = registry.choose("model", name, NETS.get(name, {}))
    net = model.build((scale,) if model.component.multi_scale else scale)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    if name == "vdsr":  # what it adds to the enlargement is large before it is trained
        net.body[-1].weight.data.mul_(0.05)
    return stage_of(Loaded(net, model, scale), **how)


def assert_parts_equal_the_whole(source, stages, tile, size):
    whole = at_size(upscaled(source, stages, 0), *size)
    expected = whole.read(Box(0, whole.height, 0, whole.width))
    told = []
    area = upscaled(source, stages, tile, told.append)
    result = Result(at_size(area, *size), None, False, size)
    assert told == []
    boxes = result.boxes(*(-(-side // (2 * tile)) for side in reversed(size)))
    assert len(boxes) > 1
    for box in boxes:
        assert torch.equal(result.colour.read(box), cut(expected, box, 0, 0)), box


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", NETS)
def test_tiles_equal_the_whole_at_odd_sizes(registry, name, tile):
    source = PixelArray(pixels_of(np.uint16 if tile == TILES[1] else np.uint8, *LARGE))
    assert_parts_equal_the_whole(source, [stage(registry, name)], tile, (262, 194))


@pytest.mark.parametrize(("size", "scales"), [((355, 263), (2,)), ((244, 188), (2, 2)), ((275, 212), (2, 2))])
def test_tiles_equal_the_whole_through_a_chain_and_a_final_resize(registry, size, scales):
    stages = [stage(registry, "edsr")] * len(scales)
    shape = LARGE if len(scales) == 1 else (47, 61)
    for tile in TILES:
        assert_parts_equal_the_whole(PixelArray(pixels_of(np.uint16, *shape)), stages, tile, size)


def test_tiles_equal_the_whole_with_self_ensemble_and_with_the_colours_kept(registry):
    wrapped = stage(registry, "edsr", wrappers=[registry.choose("wrapper", "self-ensemble")])
    assert_parts_equal_the_whole(PixelArray(pixels_of(np.uint8, *LARGE)), [wrapped], 64, (262, 194))
    kept = stage(registry, "edsr", change=colour_kept)
    assert_parts_equal_the_whole(PixelArray(pixels_of(np.uint8, 99, 121)), [kept], 33, (242, 198))


def test_pixels_of_tiles_equal_those_of_the_whole_with_alpha_gray_and_16_bits(registry):
    networks = Networks({2: stage(registry, "edsr")})
    for dtype, channels in ((np.uint8, 4), (np.uint16, 4), (np.uint16, 1), (np.uint16, 2)):
        picture = picture_from(pixels_of(dtype, 70, 90, channels=channels), About())
        for wanted in (Wanted(scale=2), Wanted(paper="2x3in", dpi=60, bleed="3mm", crop=True)):
            whole, tiled = (made_of(picture, How(networks, wanted, tile=tile)) for tile in (0, 41))
            assert whole.dtype == dtype
            np.testing.assert_array_equal(tiled, whole)


def test_margins_that_are_too_small_would_be_seen(registry):
    """The tests above can fail."""
    honest = stage(registry, "edsr")
    liar = Stage(honest.call, 2, 3)
    with pytest.raises(AssertionError, match="Box"):
        assert_parts_equal_the_whole(PixelArray(pixels_of(np.uint8, *LARGE)), [liar], 41, (262, 194))


@dataclass
class Networks:
    """Stages by their scales, as `How` wants them."""

    stages: dict
    names: dict = field(default_factory=dict)

    def scales(self):
        return tuple(sorted(self.stages))

    def stage(self, scale):
        return self.stages[scale]

    def resize(self):
        return ""

    def identity(self, steps):
        return {"steps": list(steps)}


def repeated(lr):
    return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


# --- without a bound -------------------------------------------------------------------------------------------------


def of_the_mean(lr):
    """Sees all it is given: brightness corrected a little towards the mean of it."""
    return repeated(lr) + 0.05 * (lr.mean() - 0.5)


@pytest.mark.parametrize(("length", "tile", "overlap", "multiple"), [(61, 20, 8, 1), (200, 16, 32, 1), (90, 24, 8, 8)])
def test_the_shares_of_windows_sum_to_one_everywhere(length, tile, overlap, multiple):
    places = list(spans(length, tile, overlap, multiple))
    shares = ramps(places, length * 2, 2)
    torch.testing.assert_close(shares.sum(0), torch.ones(length * 2))
    for (start, stop, *_), share in zip(places, shares, strict=True):
        assert (share[: start * 2] == 0).all()
        assert (share[stop * 2 :] == 0).all()


def test_blended_windows_have_no_seam_and_are_said_to_be_inexact():
    pixels = np.zeros((90, 120, 3), np.uint8)
    pixels[:] = np.linspace(20, 220, 120, dtype=np.uint8)[None, :, None]
    unbounded = Stage(of_the_mean, 2, None, label="mean")
    told = []
    area = upscaled(PixelArray(pixels), [unbounded], 40, told.append)
    assert told == ["mean has no bounded receptive field: its tiles are blended, not exact"]
    read = torch.cat([area.read(Box(0, 180, left, left + 60)) for left in range(0, 240, 60)], -1)[0, 0]
    steps = read.diff(dim=-1).abs()
    plain = repeated(torch.from_numpy(pixels[None, ..., 0]).float() / 255)[0].diff(dim=-1).abs()
    assert (steps - plain).abs().max() < 0.5 / 255, "no step is larger than the picture's own by half a level"
    cut_hard = [of_the_mean(torch.from_numpy(pixels[:, at : at + 40, 0]).float()[None, None] / 255) for at in (0, 40)]
    assert (cut_hard[1][..., 0] - cut_hard[0][..., -1]).max() > 3 / 255, "without blending one would be"
    small = upscaled(PixelArray(pixels[:40, :40]), [unbounded], 40, told.append)
    expected = of_the_mean(PixelArray(pixels[:40, :40]).read(Box(0, 40, 0, 40)))
    assert torch.equal(small.read(Box(0, 80, 0, 80)), expected), "one window is the whole"
    assert len(told) == 1


def test_blended_windows_are_computed_once_and_few_are_kept():
    calls = []

    def call(lr):
        calls.append(lr.shape)
        return repeated(lr)

    source = PixelArray(pixels_of(height=400, width=160))
    area = Blended(source, call, 2, tile=40, overlap=8)
    most = 0
    for box in Result(area, None, False, (320, 800)).boxes(10, 4):
        expected = repeated(source.read(Box(box.top // 2, box.bottom // 2, box.left // 2, box.right // 2)))
        torch.testing.assert_close(area.read(box), expected)
        most = max(most, len(area.kept))
    assert len(calls) == area.windows == 40
    assert most <= 3 * 4


# --- what cannot be computed in parts --------------------------------------------------------------------------------


def test_a_wrapper_that_is_not_local_is_given_the_whole_picture(registry):
    seen = []

    class Looks:
        def __init__(self, upscaler):
            self.upscaler = upscaler

        def __call__(self, lr):
            seen.append(tuple(lr.shape[-2:]))
            return self.upscaler(lr)

    registry.add("wrapper", Wrapper(name="looks", build=Looks))
    one = stage(registry, "edsr", wrappers=[registry.choose("wrapper", "looks")])
    assert "looks" in one.whole
    picture = picture_from(pixels_of(), About())
    tiled = made_of(picture, How(Networks({2: one}), Wanted(scale=2), tile=20))
    assert seen == [(47, 61)]
    np.testing.assert_array_equal(tiled, made_of(picture, How(Networks({2: stage(registry, "edsr")}), Wanted(scale=2))))


def test_a_network_of_windows_turned_over_is_blended_unless_it_has_whole_windows(registry):
    """Turned over, its windows begin at the other end of the picture, where a part has others."""
    registry.add("model", Model(name="w", build=lambda scale: Eights(), size_multiple=8, receptive_field=7))
    one = stage(registry, "w", wrappers=[registry.choose("wrapper", "self-ensemble")])
    assert_parts_equal_the_whole(PixelArray(pixels_of(height=48, width=64)), [one], 16, (128, 96))
    told = []
    upscaled(PixelArray(pixels_of()), [one], 16, told.append)
    assert told == ["w needs whole windows of 8 pixels: its tiles are blended, not exact"]


class Eights(nn.Module):
    """Each window of 8x8 pixels is changed towards its mean."""

    def forward(self, lr):
        mean = nn.functional.avg_pool2d(lr, 8)
        return repeated(0.5 * lr + 0.5 * mean.repeat_interleave(8, -1).repeat_interleave(8, -2))


# --- memory ----------------------------------------------------------------------------------------------------------


def fits(most, call):
    """`call`, for parts of at most so many pixels."""

    def limited(lr):
        if lr.shape[-1] * lr.shape[-2] > most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        return call(lr)

    return limited


def test_out_of_memory_halves_the_tiles_says_so_and_changes_nothing(registry):
    whole = stage(registry, "edsr")
    tight = Stage(fits(90 * 90, whole.call), 2, whole.margin)
    picture = picture_from(pixels_of(height=201, width=257), About())
    told = []
    made = made_of(picture, How(Networks({2: tight}), Wanted(scale=2), tile=140), tell=told.append)
    np.testing.assert_array_equal(made, made_of(picture, How(Networks({2: whole}), Wanted(scale=2), tile=0)))
    assert told == ["out of memory: on with tiles of 128x100 pixels"]
    hopeless = How(Networks({2: Stage(fits(9, whole.call), 2, whole.margin)}), Wanted(scale=2), tile=140)
    with pytest.raises(SrkitError, match="out of memory, even in tiles of 64x50 pixels"):
        made_of(picture, hopeless)


def test_out_of_memory_halves_the_windows_of_a_network_without_bound():
    source = PixelArray(pixels_of(height=150, width=300))
    told = []
    tight = Stage(fits(150 * 150, repeated), 2, None, label="wide")
    area = upscaled(source, [tight], 300, told.append)
    torch.testing.assert_close(area.read(Box(0, 300, 0, 600)), repeated(source.read(Box(0, 150, 0, 300))))
    assert told == ["out of memory: on with windows of 150 pixels", "out of memory: on with windows of 75 pixels"]


def test_out_of_memory_on_the_whole_picture_says_what_can_be_done():
    area = Whole(PixelArray(pixels_of()), fits(9, repeated), 2, "--tile 512 computes them in parts")
    result, pixels = Result(area, None, False, (122, 94)), np.empty((94, 122, 3), np.uint8)
    told = []
    with pytest.raises(SrkitError, match="memory does not suffice for 61x47 pixels at once: --tile 512 computes"):
        render(result, pixels, result.boxes(1, 1), tell=told.append)
    assert told == [], "smaller boxes of the result would not help"


def test_a_box_that_is_thinner_than_its_parts_is_divided_too():
    for box in (Box(5, 6, 0, 300), Box(0, 3, 7, 9), Box(0, 64, 0, 64)):
        parts = divided(box, 4)
        assert all(part.height and part.width for part in parts)
        assert sum(part.height * part.width for part in parts) == box.height * box.width


def test_a_disk_that_cannot_reserve_is_filled_instead(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    for has, call in ((True, unknown), (False, None)):
        if has:
            monkeypatch.setattr("os.posix_fallocate", call, raising=False)
        else:
            monkeypatch.delattr("os.posix_fallocate", raising=False)
        path = tmp_path / f"pixels-{has}"
        for size in (3_000_001, 5_000_000, 1_000_000):
            scratch.reserve(path, size)
            assert path.stat().st_size == size
            assert path.stat().st_blocks * 512 >= size, "with no hole in it"


def test_a_target_of_any_name_has_a_folder_of_its_own_for_its_pixels(tmp_path):
    names = ["ž" * 125 + ".png", "ž" * 124 + "a.png", "a" * 251 + ".png", "b.png"]
    folders = {scratch.folder_of(tmp_path / name) for name in names}
    assert len(folders) == len(names)
    for folder in folders:
        folder.mkdir()
        assert folder.name.startswith(".")


def test_files_that_are_read_and_mapped_are_no_memory_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CONTROL", tmp_path)
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 700\nactive_file 100\n")
    assert memory.below_limit() == 800
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.below_limit() is None


# --- mixed and resized -----------------------------------------------------------------------------------------------


def test_what_a_mask_leaves_is_exactly_one_of_both_in_parts_as_in_the_whole():
    mask = np.zeros((47, 61), np.uint8)
    mask[10:30, 20:45] = 255
    one, other = PixelArray(pixels_of(height=94, width=122)), PixelArray(pixels_of(height=94, width=122)[::-1])
    share = Resized(PixelArray(mask), 94, 122)
    assert share.read(Box(0, 94, 0, 122)).min() < -0.01, "a resized mask overshoots"
    area = Mixed(one, other, share)
    whole = area.read(Box(0, 94, 0, 122))
    for box in Result(area, None, False, (122, 94)).boxes(6, 8):
        assert torch.equal(area.read(box), cut(whole, box, 0, 0))
    assert torch.equal(whole[..., :16, :], other.read(Box(0, 16, 0, 122)))
    assert torch.equal(whole[..., 26:54, 46:84], one.read(Box(26, 54, 46, 84)))


class Watched(nn.Module):
    """Two calls that run into each other where they can; in which mode they end."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.one_is_over = Event(), Event(), Event()
        self.modes = []

    def forward(self, lr):
        if not self.one.is_set():
            self.one.set()
            self.two.wait(0.2)
        else:
            self.two.set()
            self.one_is_over.wait(0.2)
        self.modes.append(self.training)
        return repeated(lr)


def test_a_call_that_ends_sets_no_other_back_to_training(registry):
    net = Watched()
    registry.add("model", Model(name="watched", build=lambda scale: net, receptive_field=0))
    one = stage(registry, "watched")
    lr = torch.rand(1, 3, 8, 8)

    def first():
        one.call(lr)
        net.one_is_over.set()

    thread = Thread(target=first)
    thread.start()
    net.one.wait()
    one.call(lr)
    thread.join()
    assert net.modes == [False, False]
    assert net.training
