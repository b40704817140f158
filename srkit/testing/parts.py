"""Checks of the smaller kinds: losses, metrics, augmentations, degradations, optimizers, wrappers, trackers."""

import json
import math
import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srkit.components import Batch
from srkit.errors import PluginError, SrkitError
from srkit.plugins import Entry, Registry
from srkit.testing.kit import Check, Fault, Note, near
from srkit.train.asked import asked_of
from srkit.train.state import flatten, unflatten

LARGE_PARTS = 4  # to each side of a patch: its means over these tell where it is, and hide its noise
METRIC_SIZE = (192, 176)  # pixels; multi-scale metrics halve four times and still want a window


def made(registry: Registry, entry: Entry, *supplied: Any) -> Any:
    """The component with its default options; Note where it says itself what it lacks, as weights to fetch."""
    try:
        return registry.choose(entry.kind, entry.qualified).build(*supplied)
    except SrkitError as error:
        raise Note(f"it cannot be built here: {error}") from None


def buildable(registry: Registry, entry: Entry, *supplied: Any) -> None:
    made(registry, entry, *supplied)


def smooth(*shape: int, seed: int = 0) -> np.ndarray:
    """Something like a picture in [0, 1]: broad waves and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / 12.0
    waves = 0.5 + 0.3 * np.sin(x + 0.5 * y + seed) * np.cos(0.7 * y)
    image = np.repeat(waves[..., None], shape[2], axis=2) if len(shape) == 3 else waves
    return np.clip(image + rng.normal(0, 0.02, shape), 0.02, 0.98)


def pictures(batch: int = 2, side: int = 64, seed: int = 0) -> Tensor:
    return torch.stack(
        [torch.from_numpy(smooth(side, side, 3, seed=seed + i)).permute(2, 0, 1) for i in range(batch)]
    ).float()


def loss_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: buildable(registry, entry), essential=True)
    value = "it gives a finite scalar, nearer images a smaller one"
    yield Check("training offers what it asks for", lambda: loss_asks(made_loss(registry, entry)), essential=True)
    yield Check(value, lambda: loss_value(made_loss(registry, entry)), essential=True)
    yield Check("its gradient reaches sr and is finite", lambda: loss_gradient(made_loss(registry, entry)))
    yield Check("what it learns is in its state dict", lambda: loss_state(registry, entry))


def lost(loss: Any, sr: Tensor, hr: Tensor) -> Any:
    """What a loss gives of x2 patches, called as training calls it. The average of the weights errs half as much."""
    offered = {"lr": nn.functional.avg_pool2d(hr, 2), "average": ((sr + hr) / 2).detach()}
    return loss(sr, hr, **{name: offered[name] for name in asked_of(loss)})


def made_loss(registry: Registry, entry: Entry) -> Any:
    """A loss with its default options, told that it will be given x2 on the CPU."""
    loss = made(registry, entry)
    if hasattr(loss, "prepare"):
        try:
            loss.prepare((2,), torch.device("cpu"))
        except SrkitError as error:
            raise Note(f"it cannot be prepared here: {error}") from None
    return loss


def loss_asks(loss: Any) -> None:
    """Fault where it asks for what training does not offer."""
    try:
        asked_of(loss)
    except PluginError as error:
        raise Fault(str(error), "give that parameter a default, or take it as an option of build") from None


def loss_value(loss: Any) -> None:
    hr = pictures()
    value = lost(loss, hr, hr)
    if not isinstance(value, Tensor) or value.ndim != 0:
        raise Fault(
            f"loss(sr, hr) gave {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}",
            "return a scalar tensor: .mean()",
        )
    if not value.isfinite():
        raise Fault(f"identical images give {float(value)}", "add a small number under roots and in denominators")
    noise = 0.2 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0))
    far = lost(loss, (hr + noise).clamp(0, 1), hr)
    if hasattr(loss, "update"):
        return  # a discriminator's opinion of noise is its own
    if not far > value:
        raise Fault(
            f"noise costs {float(far):.3g}, identical images {float(value):.3g}",
            "a loss must fall as sr nears hr; check its sign and range",
        )


def loss_gradient(loss: Any) -> None:
    hr = pictures()
    sr = (hr + 0.1 * torch.randn(hr.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    lost(loss, sr, hr).backward()
    if sr.grad is None or not sr.grad.any():
        raise Fault("no gradient reaches sr", "compute with torch all the way; no detach(), numpy or rounding")
    if not sr.grad.isfinite().all():
        raise Fault("the gradient is not finite", "add a small number under roots and in denominators")
    same = hr.clone().requires_grad_()
    lost(loss, same, hr).backward()
    if same.grad is not None and not same.grad.isfinite().all():
        raise Fault(
            "the gradient at identical images is not finite", "add a small number under roots and in denominators"
        )


def loss_state(registry: Registry, entry: Entry) -> None:
    loss = made_loss(registry, entry)
    if not hasattr(loss, "update"):
        raise Note("it does not learn")
    if not hasattr(loss, "state_dict"):
        raise Fault(
            "it has update() but no state_dict()", "give it state_dict and load_state_dict, its optimizer included"
        )
    hr = pictures()
    for seed in range(2):
        loss.update(pictures(seed=seed + 5), hr)
    other = made_loss(registry, entry)
    other.load_state_dict(loss.state_dict())
    for each in (loss, other):
        each.update(pictures(seed=9), hr)
    a, b = (lost(each, pictures(seed=9), hr) for each in (loss, other))
    if not torch.equal(a, b):
        raise Fault(
            f"after its state is restored it goes on differently ({float(a):.6g} and {float(b):.6g})",
            "put the optimizer's state into state_dict too",
        )


def metric_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: buildable(registry, entry), essential=True)
    for colour, shape in (("luma", METRIC_SIZE), ("RGB", (*METRIC_SIZE, 3))):
        yield Check(f"{colour}: it gives a number", partial(metric_number, registry, entry, shape), essential=True)
        yield Check(
            f"{colour}: identical is best, worse is worse",
            partial(metric_order, registry, entry, shape),
        )
    yield Check("it reads pixels as 0..255", lambda: metric_range(made(registry, entry), entry))
    yield Check("swapping the two images", lambda: metric_symmetry(made(registry, entry), entry))


def values(metric: Any, shape: tuple[int, ...]) -> list[float]:
    """The metric of identical, slightly, more and very noisy images, in 0..255."""
    hr = 255 * smooth(*shape)
    noise = np.random.default_rng(1).normal(0, 1, shape)
    found = [metric(np.clip(hr + sigma * noise, 0, 255), hr) for sigma in (0, 2, 10, 40)]
    for value in found:
        if not isinstance(value, float):
            raise Fault(f"it gives a {type(value).__name__}", "return a plain float: float(...)")
    return found


def metric_number(registry: Registry, entry: Entry, shape: tuple[int, ...]) -> None:
    found = values(made(registry, entry), shape)
    if any(math.isnan(value) for value in found):
        raise Fault(f"it gives NaN: {found}", f"images of {METRIC_SIZE} pixels must have a value")


def metric_order(registry: Registry, entry: Entry, shape: tuple[int, ...]) -> None:
    found = values(made(registry, entry), shape)
    if not entry.component.needs_reference:
        raise Note("without a reference there is no identical image to compare with")
    ordered = found if not entry.component.higher_is_better else [-value for value in found]
    if not all(a < b for a, b in pairwise(ordered)):
        told = ", ".join(f"{value:.5g}" for value in found)
        raise Fault(
            f"identical, slightly, more and very noisy images score {told}",
            f"the record says higher_is_better={entry.component.higher_is_better}; check that, and the sign",
        )


def metric_range(metric: Any, entry: Entry) -> None:
    """A metric that takes 255 for 1 sees ruin in the faintest noise, or nothing at all behind a clip."""
    found = values(metric, METRIC_SIZE)
    low, high = entry.component.range
    outside = [value for value in found if not low <= value <= high]
    if outside:
        raise Fault(
            f"it gives {outside[0]:.5g}, outside its range {low:g} to {high:g}",
            "images come in 0..255: divide by 255 where the formula wants 0..1, use 255 as its peak, or mend the range",
        )
    if found[1] == found[2] == found[3]:
        raise Fault(
            f"all noise scores {found[1]:.5g}", "images come in 0..255, not 0..1: divide by 255 before clipping"
        )
    if (low, high) == (-math.inf, math.inf):
        raise Fault(
            "its range is not declared",
            "give the record range=(lowest, highest) of its values, so that a wrong peak or scale is seen",
        )


def metric_symmetry(metric: Any, entry: Entry) -> None:
    if not entry.component.needs_reference:
        raise Note("it has no reference")
    hr, other = 255 * smooth(*METRIC_SIZE), 255 * smooth(*METRIC_SIZE, seed=1)
    one, two = metric(hr, other), metric(other, hr)
    if not math.isclose(one, two, rel_tol=1e-6, abs_tol=1e-9):
        raise Note(f"it is not symmetric ({one:.5g} and {two:.5g}): mind which image is the reference")


def augmentation_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: buildable(registry, entry), essential=True)
    yield Check("a batch stays a batch", lambda: augmented_shape(made(registry, entry)), essential=True)
    yield Check("both images are changed alike", lambda: augmented_alike(made(registry, entry)))
    yield Check("the seed decides", lambda: augmented_seed(made(registry, entry)))


def blocks(scale: int = 2, count: int = 16) -> Batch:
    """HR is LR with each pixel repeated, so that whatever is done to both alike can be seen."""
    lr = pictures(count, 24)
    return Batch(lr, lr.repeat_interleave(scale, -1).repeat_interleave(scale, -2))


def augmented_shape(module: Any) -> None:
    if not isinstance(module, nn.Module):
        raise Fault(
            f"build gave a {type(module).__name__}",
            "return a torch.nn.Module whose forward takes and returns srkit.Batch",
        )
    before = blocks()
    kept = Batch(before.lr.clone(), before.hr.clone())
    for seed in range(5):
        torch.manual_seed(seed)
        out = module(before)
        if not isinstance(out, Batch):
            raise Fault(f"it returned a {type(out).__name__}", "return srkit.Batch(lr, hr)")
        if out.lr.shape != before.lr.shape or out.hr.shape != before.hr.shape or out.lr.dtype != before.lr.dtype:
            raise Fault(
                f"LR {tuple(out.lr.shape)} {out.lr.dtype}, HR {tuple(out.hr.shape)}",
                "keep shapes and dtype; patches are square",
            )
        for name, images in (("lr", out.lr), ("hr", out.hr)):
            if not images.isfinite().all() or images.min() < -1e-3 or images.max() > 1 + 1e-3:
                raise Fault(
                    f"{name} leaves [0, 1]: {float(images.min()):.3g} to {float(images.max()):.3g}",
                    "clamp the result to [0, 1]",
                )
    if not (torch.equal(kept.lr, before.lr) and torch.equal(kept.hr, before.hr)):
        raise Fault("it changes its input in place", "work on new tensors")


def augmented_alike(module: Any) -> None:
    """LR must show what HR shows: pixel by pixel, or, where it was degraded on purpose, in its large parts.

    Noise and blur may take much from the single pixels of a patch. But a flip or another picture shows in
    the large parts of each patch it happens to, and a shift in what fits best in the mean of all patches.
    """
    before = blocks()
    small, seen = [], []
    for seed in range(5):
        torch.manual_seed(seed)
        out = module(before)
        small.append(nn.functional.avg_pool2d(out.hr, 2))
        seen.append(out.lr)
    hr, lr = torch.cat(small), torch.cat(seen)
    fine = likeness(hr, lr)
    if fine.min() >= 0.8:
        return
    coarse = likeness(*(nn.functional.adaptive_avg_pool2d(images, LARGE_PARTS) for images in (hr, lr)))
    if coarse.min() < 0.3 or coarse.mean() < 0.8:
        raise Fault(
            f"LR and HR no longer show the same (correlation {fine.min():.2f})",
            "draw the random numbers once and do the same to both images",
        )
    down, right = best_shift(hr, lr)
    if (down, right) != (0, 0):
        raise Fault(
            f"LR fits HR best when shifted by {right} pixels right and {down} down",
            "resize about the middle of the picture (align_corners=False) and cut both images at the same place",
        )
    raise Note(
        f"LR is degraded: its correlation with HR falls to {fine.min():.2f} pixel by pixel, "
        f"and is {coarse.mean():.2f} in large parts"
    )


def best_shift(hr: Tensor, lr: Tensor, reach: int = 2) -> tuple[int, int]:
    """(down, right): by how many pixels to shift `lr` so that it fits `hr`, both N,3,H,W, best.

    (0, 0) unless another shift fits better by more than chance would have it.
    """

    def fit(shift: tuple[int, int]) -> Tensor:
        return likeness(inner(hr), inner(lr.roll(shift, (-2, -1))))

    def inner(images: Tensor) -> Tensor:
        return images[..., reach:-reach, reach:-reach]

    steps = range(-reach, reach + 1)
    best = max(product(steps, steps), key=lambda shift: float(fit(shift).mean()))
    gain = fit(best) - fit((0, 0))
    return best if gain.mean() > 4 * gain.std() / len(gain) ** 0.5 else (0, 0)


def likeness(one: Tensor, other: Tensor) -> Tensor:
    """The correlation of each image of `one` with that of `other`, N; 1 where one of them is of a single colour."""
    a, b = (images.flatten(1).double() - images.flatten(1).double().mean(1, keepdim=True) for images in (one, other))
    spread = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(spread > 1e-6, (a * b).sum(1) / spread, 1.0)


def augmented_seed(module: Any) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(module(blocks()))
    if not torch.equal(results[0].lr, results[1].lr) or not torch.equal(results[0].hr, results[1].hr):
        raise Fault(
            "one seed gives two results", "take all randomness from torch's global generator, or a resumed run differs"
        )


def degradation_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: buildable(registry, entry), essential=True)
    yield Check("a picture stays a picture", lambda: degraded_shape(made(registry, entry)), essential=True)
    yield Check("it shows the same, in the same place", lambda: degraded_place(made(registry, entry)))
    yield Check("the seed decides", lambda: degraded_seed(made(registry, entry)))


def optimizer_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: optimizer_built(registry, entry), essential=True)
    yield Check("it finds a minimum", lambda: optimizer_finds(registry, entry))
    yield Check("its state is all that it remembers", lambda: optimizer_state(registry, entry))


Optimized = tuple[list[nn.Parameter], Any]


def optimizer_made(registry: Registry, entry: Entry, seed: int = 0) -> Optimized:
    """Two parameters, as of a convolution, and the optimizer over them, ready to step."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [nn.Parameter(torch.rand(shape, generator=generator)) for shape in ((4, 3, 3, 3), (4,))]
    optimizer = made(registry, entry, parameters, 0.01)
    if hasattr(optimizer, "train"):
        optimizer.train()
    return parameters, optimizer


def optimizer_built(registry: Registry, entry: Entry) -> None:
    _, optimizer = optimizer_made(registry, entry)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise Fault(f"it is a {type(optimizer).__name__}", "build gives a torch.optim.Optimizer")
    if hasattr(optimizer, "train") != hasattr(optimizer, "eval"):
        raise Fault("it has one of train() and eval()", "give it both, or neither: see srkit.Optimizer")


def optimized(made: Optimized, steps: int) -> float:
    """Steps towards the parameters 0.5; their square distance from there before the last one."""
    parameters, optimizer = made
    loss = torch.zeros(())
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.cat([(parameter - 0.5).flatten() for parameter in parameters]).square().sum()
        loss.backward()
        optimizer.step()
    return loss.item()


def optimizer_finds(registry: Registry, entry: Entry) -> None:
    each = optimizer_made(registry, entry)
    before, after = optimized(each, 1), optimized(each, 300)
    if not after < 0.9 * before:
        raise Fault(f"300 steps took a loss from {before:.3g} to {after:.3g}", "step() goes against the gradient")


def optimizer_state(registry: Registry, entry: Entry) -> None:
    """A state that was saved, as a run saves it, and loaded into another one goes on bit for bit."""
    first, second = optimizer_made(registry, entry), optimizer_made(registry, entry, seed=1)
    optimized(first, 5)
    tensors: dict[str, Tensor] = {}
    saved = json.loads(json.dumps(flatten(first[1].state_dict(), "optimizer", tensors)))
    with torch.no_grad():
        for mine, others in zip(second[0], first[0], strict=True):
            mine.copy_(others)
    second[1].load_state_dict(unflatten(saved, tensors))
    for each in (first, second):
        optimized(each, 5)
    if not all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True)):
        raise Fault("after load_state_dict() it goes on otherwise", "keep all that step() uses in state_dict()")


def degraded_shape(degrade: Any) -> None:
    """Of a patch, of a picture of odd sides, and of a few pixels; several pictures at once."""
    for count, height, width in ((1, 48, 48), (3, 31, 26), (1, 4, 2)):
        before = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(height))
        kept = before.clone()
        for seed in range(5):
            torch.manual_seed(seed)
            out = degrade(before, (height // 2, max(width // 2, 1)), 2)
            if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[:2] != before.shape[:2] or not out.numel():
                got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise Fault(f"of {tuple(before.shape)} it gave {got}", "return B,3,h,w, of any height and width")
            if out.dtype != before.dtype:
                raise Fault(f"it gave {out.dtype} of {before.dtype}", "return what it was given: .to(image)")
            if not out.isfinite().all():
                raise Fault(
                    "it gave values that are not finite", "look for a division by zero, or a root of less than 0"
                )
            if out.min() < -0.5 or out.max() > 1.5:
                raise Fault(
                    f"its values are {float(out.min()):.3g} to {float(out.max()):.3g}",
                    "images are in [0, 1], not 0..255",
                )
        if not torch.equal(kept, before):
            raise Fault("it changes its input in place", "work on new tensors")


def degraded_place(degrade: Any) -> None:
    """In the mean over many draws what it gives fits the picture best where it is."""
    before, seen = pictures(16, 48), []
    for seed in range(5):
        torch.manual_seed(seed)
        seen.append(nn.functional.interpolate(degrade(before, (24, 24), 2), size=48, mode="bilinear"))
    hr, lr = before.repeat(5, 1, 1, 1), torch.cat(seen)
    coarse = likeness(*(nn.functional.adaptive_avg_pool2d(images, LARGE_PARTS) for images in (hr, lr)))
    if coarse.mean() < 0.8:
        raise Fault(f"it shows something else (correlation {coarse.mean():.2f})", "degrade the picture, do not move it")
    down, right = best_shift(hr, lr)
    if (down, right) != (0, 0):
        raise Fault(
            f"it moves the picture by {-right} pixels right and {-down} down",
            "resize about the middle of the picture (align_corners=False), and centre kernels",
        )


def degraded_seed(degrade: Any) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(7)
        results.append(degrade(pictures(), (32, 32), 2))
    if results[0].shape != results[1].shape or not torch.equal(*results):
        raise Fault(
            "one seed gives two results", "take all randomness from torch's global generator, or a resumed run differs"
        )


def wrapper_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it can be built", lambda: buildable(registry, entry, repeat), essential=True)
    yield Check("it gives an upscaler of the same size", lambda: wrapped_size(registry, entry), essential=True)
    yield Check("it keeps nothing and leaves its input as it is", lambda: wrapped_twice(registry, entry))
    if entry.component.changes:
        yield Check("it changes pictures, as it says", lambda: wrapped_changes(registry, entry))
    else:
        yield Check("around an exact upscaler it changes nothing", lambda: wrapped_exact(registry, entry))
    if entry.component.local:
        yield Check("a part of a picture gives that part, as local=True says", lambda: wrapped_local(registry, entry))


def repeat(lr: Tensor) -> Tensor:
    return lr.repeat_interleave(2, -1).repeat_interleave(2, -2)


def wrapped_size(registry: Registry, entry: Entry) -> None:
    for height, width in ((1, 1), (17, 13), (8, 24)):
        lr = torch.rand(1, 3, height, width)
        sr = made(registry, entry, repeat)(lr)
        if sr.shape != (1, 3, 2 * height, 2 * width):
            raise Fault(
                f"of {width}x{height} it made {tuple(sr.shape)}",
                "return what the upscaler would, turned back and cropped",
            )
        if not sr.isfinite().all():
            raise Fault(f"of {width}x{height} it made values that are not finite", "look for a division by zero")


def wrapped_twice(registry: Registry, entry: Entry) -> None:
    lr = pictures(1, 24)
    kept = lr.clone()
    wrapped = made(registry, entry, repeat)
    one = wrapped(lr).clone()
    if not torch.equal(lr, kept):
        raise Fault("it changes its input in place", "work on a new tensor")
    wrapped(pictures(1, 24, seed=5))
    near(one, wrapped(lr), "one picture gives two results", "keep nothing between two calls, draw nothing at random")


def around(lr: Tensor) -> Tensor:
    """x2 by pixels and their neighbours: it sees one pixel far."""
    wide = torch.nn.functional.pad(lr, (1, 1, 1, 1), mode="replicate")
    return repeat((wide[..., 1:-1, :-2] + wide[..., 2:, 1:-1] + 2 * lr) / 4)


def wrapped_local(registry: Registry, entry: Entry) -> None:
    lr = pictures(1, 40)
    wrapped = made(registry, entry, around)
    part = wrapped(lr[..., :24, 8:])[..., :46, 2:]
    near(
        part, wrapped(lr)[..., :46, 18:], "a part gives something else than it has in the whole picture",
        "leave out local=True; then it is given whole pictures",
    )  # fmt: skip


def difference_of(registry: Registry, entry: Entry) -> float:
    lr = pictures(1, 24)
    return float((made(registry, entry, repeat)(lr) - repeat(lr)).abs().max())


def wrapped_exact(registry: Registry, entry: Entry) -> None:
    difference = difference_of(registry, entry)
    if difference > 1e-5:
        raise Fault(
            f"repeating each pixel commutes with flips, turns and tiles, yet the result differs by {difference:.3g}",
            "a wrapper that is meant to change pictures says changes=True; any other undoes each transform exactly, in "
            "the reverse order, and weighs overlapping parts to a sum of one",
        )


def wrapped_changes(registry: Registry, entry: Entry) -> None:
    if difference_of(registry, entry) == 0:
        raise Note("it says changes=True, and changes nothing in the picture that was tried")


def tracker_checks(registry: Registry, entry: Entry) -> Iterator[Check]:
    yield Check("it writes into the run's folder and can be opened again", lambda: tracked(registry, entry))


def tracked(registry: Registry, entry: Entry) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for start in (1, 2):  # the second time as after a resume
            tracker = made(registry, entry, folder)
            tracker.scalars(start, {"loss": 0.5})
            tracker.scalars(start + 1, {"loss": 0.25, "psnr_y": 30.0})
            tracker.images(start + 1, {"a_x2": np.zeros((8, 8, 3), np.uint8)})
            tracker.close()
        if not any(path.is_file() for path in folder.rglob("*")):
            raise Note("it wrote nothing into the run's folder")
