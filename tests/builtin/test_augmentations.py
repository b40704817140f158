"""The augmentations, each against its formula restated: by numpy, Pillow, torchvision or colorsys."""

import colorsys
from itertools import permutations

import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from srkit import Batch, imresize
from srkit.data.sampler import Batches, Cut
from tests.builtin.conftest import apply, build, cut, numbers

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [
    "dihedral", "colour-jitter", "channel-shuffle", "mixup", "blend", "cutmix", "cutblur", "rescale", "realistic",
    "photo",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("scale", "side", "count"), [(2, 17, 5), (3, 16, 1), (4, 17, 1), (4, 16, 5)])
def test_shape_type_range_and_seed(registry, photo, name, scale, side, count):
    before = cut(photo, scale, side, count)
    kept = Batch(before.lr.clone(), before.hr.clone())
    augmentation = build(registry, name)
    results = [apply(augmentation, before, seed) for seed in (3, 0, 1, 2, 3)]
    for out in results:
        for images, wanted in ((out.lr, before.lr), (out.hr, before.hr)):
            assert (images.shape, images.dtype) == (wanted.shape, wanted.dtype)
            assert images.isfinite().all()
            assert 0 <= images.min() <= images.max() <= 1
    assert torch.equal(results[0].lr, results[-1].lr)
    assert torch.equal(results[0].hr, results[-1].hr)
    if (name, count) not in [("mixup", 1), ("cutmix", 1)]:  # of one pair there is no other
        assert any(not torch.equal(out.lr, results[0].lr) for out in results)
    assert torch.equal(before.lr, kept.lr), "the input is not changed in place"
    assert torch.equal(before.hr, kept.hr)


@pytest.mark.parametrize("name", ["colour-jitter", "channel-shuffle", "mixup", "blend", "cutmix", "cutblur", "rescale"])
def test_a_probability_of_nought_changes_nothing_and_of_one_half_about_half(registry, photo, name):
    pair = cut(photo, 2, 16, 40)
    out = apply(build(registry, name, p=0), pair)
    assert torch.equal(out.lr, pair.lr)
    assert torch.equal(out.hr, pair.hr)
    noisy = Batch((pair.lr + 0.05 * torch.rand(pair.lr.shape)).clamp(0, 1), pair.hr)  # so that cutblur has work
    out = apply(build(registry, name, p=0.5), noisy)
    changed = (out.lr != noisy.lr).flatten(1).any(dim=1).sum()
    assert 8 <= changed <= 30


def test_only_what_makes_photographs_is_left_to_each_rank(registry):
    records = {entry.component.name: entry.component for entry in registry.of("augmentation")}
    assert [name for name in NAMES if records[name].per_rank] == ["realistic", "photo"]
    drawn = {}
    for rank in (0, 1):
        sampler = FixedSampler()
        module = build(registry, "realistic")
        drawn[rank] = Batches({2: sampler}, [(module, records["realistic"].per_rank)], 0, rank, 2)(0)[1].lr
    assert not torch.equal(drawn[0], drawn[1])


class FixedSampler:
    batch, patch, device = 4, 16, torch.device("cpu")
    resident = ()  # nothing to cut ahead of the step

    def cut(self, step, rows):
        ramp = torch.linspace(0, 1, 32).expand(4, 3, 32, 32)
        return Cut(ramp[rows], ramp[rows, :, ::2, ::2], torch.ones(len(rows), dtype=torch.bool))

    def finish(self, cut):
        return Batch(cut.lr, cut.hr)


# colour -------------------------------------------------------------------------------------------------------------


def alone(name, amount=0.3):
    return {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0, "p": 1} | {name: amount}


def inside(images):
    """Where nothing was clipped."""
    return (images > 0.01) & (images < 0.99)


def test_brightness_is_torchvisions(registry, batch):
    out = apply(build(registry, "colour-jitter", **alone("brightness")), batch)
    factors = []
    for i in range(len(out.lr)):
        for before, after in ((batch.lr[i], out.lr[i]), (batch.hr[i], out.hr[i])):
            ok = inside(after) & (before > 0.1)
            factors.append(float((after / before)[ok].median()))
            torch.testing.assert_close(reference.adjust_brightness(before, factors[-1]), after, atol=1e-5, rtol=0)
    lr, hr = factors[::2], factors[1::2]
    np.testing.assert_allclose(lr, hr, rtol=1e-4)
    assert len(set(np.round(lr, 3))) == len(lr), "each pair has its own factor"
    assert 0.7 <= min(lr) < max(lr) <= 1.3


def test_saturation_is_torchvisions(registry, batch):
    out = apply(build(registry, "colour-jitter", **alone("saturation")), batch)
    for i in range(len(out.lr)):
        factors = []
        for before, after in ((batch.lr[i], out.lr[i]), (batch.hr[i], out.hr[i])):
            gray = reference.rgb_to_grayscale(before)
            ok = inside(after) & ((before - gray).abs() > 0.05)
            factors.append(float(((after - gray) / (before - gray))[ok].median()))
            torch.testing.assert_close(reference.adjust_saturation(before, factors[-1]), after, atol=1e-3, rtol=0)
        assert factors[0] == pytest.approx(factors[1], abs=2e-3)


def test_contrast_is_one_line_for_both_images_about_their_mean(registry, batch):
    out = apply(build(registry, "colour-jitter", **alone("contrast")), batch)
    for i in range(len(out.lr)):
        before, after = (np.concatenate([b[i].flatten().numpy() for b in (x.lr, x.hr)]) for x in (batch, out))
        ok = (after > 0.01) & (after < 0.99)
        slope, offset = np.polyfit(before[ok], after[ok], 1)
        np.testing.assert_allclose(after, np.clip(slope * before + offset, 0, 1), atol=1e-4)
        assert 0.7 <= slope <= 1.3
        gray = np.concatenate([reference.rgb_to_grayscale(b[i]).flatten().numpy() for b in (batch.lr, batch.hr)])
        assert offset / (1 - slope) == pytest.approx(gray.mean(), abs=2e-3)


def test_hue_turns_every_colour_by_one_angle(registry):
    colours = torch.tensor([colorsys.hsv_to_rgb(h / 48, 0.8, 0.7) for h in range(48)]).T.reshape(1, 3, 4, 12)
    out = apply(build(registry, "colour-jitter", **alone("hue", 0.2)), Batch(colours, colours))
    assert torch.equal(out.lr, out.hr)
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in out.lr[0].flatten(1).T.tolist()]
    turns = [(h - i / 48 + 0.5) % 1 - 0.5 for i, (h, _, _) in enumerate(hsv)]
    assert 0.005 < abs(turns[0]) <= 0.2
    np.testing.assert_allclose(turns, turns[0], atol=1e-4)
    np.testing.assert_allclose([(s, v) for _, s, v in hsv], [(0.8, 0.7)] * 48, atol=1e-4)


def test_channels_are_shuffled_alike_into_all_six_orders(registry, photo):
    pair = cut(photo, 2, 4, 60)
    out = apply(build(registry, "channel-shuffle", p=1), pair)
    seen = set()
    for i in range(60):
        orders = [o for o in permutations(range(3)) if torch.equal(pair.hr[i, list(o)], out.hr[i])]
        assert len(orders) == 1
        assert torch.equal(pair.lr[i, list(orders[0])], out.lr[i])
        seen.add(orders[0])
    assert len(seen) == 6


# mixing -------------------------------------------------------------------------------------------------------------


def test_mixup_is_a_weighted_mean_with_a_beta_weight(registry, photo):
    pair = cut(photo, 2, 8, 12)
    module = build(registry, "mixup", p=1)
    weights = []
    for seed in range(30):
        out = apply(module, pair, seed)
        for i in range(12):
            if torch.allclose(out.lr[i], pair.lr[i], atol=1e-6):
                continue  # it was its own partner
            found = [(partner, weight_of(pair.lr, out.lr, i, partner)) for partner in range(12) if partner != i]
            ((partner, v),) = [(j, v) for j, v in found if mixed_error(pair.lr, out.lr, i, j, v) < 1e-6]
            assert mixed_error(pair.hr, out.hr, i, partner, v) < 1e-5
            weights.append(float(v))
    assert len(weights) > 250
    assert np.mean(weights) == pytest.approx(0.5, abs=0.05)
    assert np.var(weights) == pytest.approx(1 / (4 * (2 * 1.2 + 1)), rel=0.2)  # of Beta(1.2, 1.2)


def weight_of(images, mixed, i, partner):
    away = images[i] - images[partner]
    return ((mixed[i] - images[partner]) * away).sum() / (away * away).sum()


def mixed_error(images, mixed, i, partner, v):
    return float((v * images[i] + (1 - v) * images[partner] - mixed[i]).abs().max())


def test_blend_is_a_weighted_mean_with_one_colour(registry, batch):
    out = apply(build(registry, "blend", p=1, least=0.5), batch)
    for i in range(len(out.lr)):
        lines = []
        for c in range(3):
            before, after = (np.concatenate([b[i, c].flatten().numpy() for b in (x.lr, x.hr)]) for x in (batch, out))
            slope, offset = np.polyfit(before, after, 1)
            np.testing.assert_allclose(after, slope * before + offset, atol=1e-5)
            lines.append((slope, offset))
        v = lines[0][0]
        assert 0.5 <= v <= 1
        np.testing.assert_allclose([slope for slope, _ in lines], v, atol=1e-4)
        assert all(-1e-4 <= offset <= 1 - v + 1e-4 for _, offset in lines)


def rectangle_of(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    assert mask[place].all()
    assert mask.sum() == mask[place].size
    return place


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_cutmix_lays_one_rectangle_at_the_same_place_of_both_images(registry, scale):
    count, side = 12, 17
    shade = torch.linspace(0, 1, count)[:, None, None, None]
    pair = Batch(shade.expand(-1, 3, side, side), shade.expand(-1, 3, scale * side, scale * side))
    out = apply(build(registry, "cutmix", p=1), pair)
    places = set()
    for i in range(count):
        mask = numbers(out.lr)[i, ..., 0] != pair.lr[i, 0].numpy()
        if not mask.any():  # its own partner
            continue
        rows, columns = rectangle_of(mask)
        assert rows.stop - rows.start == columns.stop - columns.start == int(0.7 * side)
        partners = out.lr[i, 0][torch.from_numpy(mask)].unique()
        assert len(partners) == 1
        wanted = pair.hr[i].clone()
        wanted[:, rows.start * scale : rows.stop * scale, columns.start * scale : columns.stop * scale] = partners[0]
        assert torch.equal(out.hr[i], wanted)
        places.add((rows.start, columns.start))
    assert len(places) > 5


def test_cutblur_cleans_a_rectangle_or_what_is_around_it(registry, batch):
    noisy = Batch(torch.where(batch.lr < 0.5, batch.lr + 0.3, batch.lr - 0.3), batch.hr)
    ways = []
    for seed in range(6):
        out = apply(build(registry, "cutblur", p=1), noisy, seed)
        assert torch.equal(out.hr, batch.hr)
        for i in range(len(out.lr)):
            clean = np.clip(imresize(numbers(batch.hr)[i].astype(np.float64), 1 / 2), 0, 1)
            changed = (out.lr[i] != noisy.lr[i]).any(dim=0).numpy()
            np.testing.assert_allclose(numbers(out.lr)[i][changed], clean[changed], atol=0.5 / 255 + 1e-6)
            assert np.array_equal(numbers(out.lr)[i][~changed], numbers(noisy.lr)[i][~changed])
            around = changed.sum() != int(0.7 * 24) ** 2
            rows, columns = rectangle_of(~changed if around else changed)
            assert rows.stop - rows.start == columns.stop - columns.start == int(0.7 * 24)
            ways.append(around)
    assert {False, True} == set(ways)


def test_cutblur_leaves_bicubic_lr_as_it_is_but_for_the_edge(registry, batch):
    out = apply(build(registry, "cutblur", p=1), batch)
    inner = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    assert (out.lr[inner] - batch.lr[inner]).abs().max() < 1.5 / 255  # it is rounded once here, twice in the store


# rescale ------------------------------------------------------------------------------------------------------------


def test_rescale_is_a_window_of_the_mirrored_smaller_picture_and_lr_is_made_from_it(registry, photo):
    pair = cut(photo, 2, 12, 5)
    out = apply(build(registry, "rescale", p=1), pair)
    sizes = set()
    for i in range(5):
        before, after = numbers(pair.hr)[i].astype(np.float64), numbers(out.hr)[i]
        found = [size for size in range(12, 25) if is_window(imresize(before, size=(size, size)), after)]
        assert len(found) == 1
        sizes.add(found[0])
        lr = np.clip(imresize(after.astype(np.float64), 1 / 2), 0, 1)
        np.testing.assert_allclose(numbers(out.lr)[i], lr, atol=0.5 / 255 + 1e-6)
    assert len(sizes) > 2


def is_window(small: np.ndarray, window: np.ndarray) -> bool:
    side = len(window)
    wide = np.pad(np.clip(small, 0, 1), ((0, 3 * side), (0, 3 * side), (0, 0)), mode="symmetric")
    corner = np.abs(wide - window[0, 0]).max(axis=2) < 1e-5
    return any(
        np.allclose(wide[y : y + side, x : x + side], window, atol=1e-5)
        for y, x in np.argwhere(corner)
        if y + side <= len(wide) and x + side <= len(wide)
    )
