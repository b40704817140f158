"""LR made from HR by a list of degradations: of each picture a pure function of a seed."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srkit.components import Pair, PairSequence
from srkit.data.made import claim_folder, file_in
from srkit.data.pairs import TooSmall, cropped, described
from srkit.errors import DataError, PluginError, SrkitError, one_line
from srkit.images import About, picture_from, write_picture
from srkit.imresize import imresize_torch
from srkit.nets import seed_torch

NOTE = ".degraded.json"  # in a folder of pairs: what made them
ONE_AT_A_TIME = Lock()  # torch's generator is one for all threads

Degrade = Callable[[Tensor, tuple[int, int], int], Tensor]


@dataclass(frozen=True)
class Step:
    """One of a list: `degrade` as in `srkit.Degradation`, the rest as in a run file's `[[degradation]]`."""

    name: str
    degrade: Degrade
    prob: float = 1.0
    shuffle: str = ""
    last: bool = False


class Degrader:
    """degrader(hr, scale, seed, white) -> LR of one picture, by the steps of a list.

    resized: whether the list has left any picture at another size than LR's; `imresize` has then brought it there.
    """

    def __init__(self, steps: Sequence[Step]):
        self.groups: list[list[Step]] = []
        for word, alike in groupby(steps, lambda step: step.shuffle):
            together = list(alike)
            self.groups += [together] if word else [[step] for step in together]
        self.names = [step.name for step in steps]
        self.resized = False

    @torch.no_grad()
    def __call__(self, hr: Tensor, scale: int, seed: int, white: int = 255) -> Tensor:
        """hr: 1,3,H,W float in [0, 1], its sides multiples of `scale`; LR is 1,3,H/scale,W/scale.

        white: 255, or 65535 for LR of 16 bits; LR is rounded to so many levels. Leaves torch's generator seeded anew.
        Raises PluginError, naming the degradation, where one fails.
        """
        seed_torch(seed, hr.device)
        size = (hr.shape[-2] // scale, hr.shape[-1] // scale)
        image = self.degraded(hr, size, scale)
        if image.shape[-2:] != torch.Size(size):
            self.resized = True
            image = shrunk(image, size, white)
        return (white * image).round().clamp(0, white) / white

    def degraded(self, image: Tensor, size: tuple[int, int], scale: int) -> Tensor:
        for group in self.groups:
            for index in torch.randperm(len(group)).tolist() if len(group) > 1 else [0]:
                step = group[index]
                if step.prob < 1 and torch.rand(()) >= step.prob:
                    continue
                image = applied(step, image, size, scale)
                if step.last:
                    return image
        return image


def shrunk(image: Tensor, size: tuple[int, int], white: int) -> Tensor:
    """`image` brought to a size by `imresize` of 8 or 16 bits: of HR as it is that gives the LR of a clean dataset."""
    kind = torch.uint8 if white == 255 else torch.uint16
    levels = (white * image).round().clamp(0, white).to(torch.int32).to(kind)
    return imresize_torch(levels, size=size).to(torch.int32).to(image.dtype) / white


def applied(step: Step, image: Tensor, size: tuple[int, int], scale: int) -> Tensor:
    """One step; PluginError, naming it, where its code fails or gives no picture."""
    try:
        out = step.degrade(image, size, scale)
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"degradation '{step.name}' fails: {one_line(error)}") from error
    if not isinstance(out, Tensor) or out.ndim != 4 or out.shape[:2] != image.shape[:2] or not out.numel():
        got = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
        raise PluginError(f"degradation '{step.name}' gave {got} of {tuple(image.shape)}; it must give B,3,H,W")
    return out


class Degraded:
    """A dataset whose LR is made by a list, alike whenever it is made: by the seed and the picture's name.

    about: what else decides its pixels, as text. A picture of 16 bits gets an LR of 16 bits.
    """

    def __init__(self, pairs: PairSequence, degrader: Degrader, scale: int, seed: int, about: str):
        self.pairs, self.degrader, self.scale, self.seed, self.about = pairs, degrader, scale, seed, about
        if hasattr(pairs, "fingerprint"):
            self.fingerprint = self.digest

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Pair:
        pair = self.pairs[index]
        hr = cropped(pair, self.scale, deep=True)
        return Pair(pair.name, self.low_res(pair.name, hr), hr)

    def low_res(self, name: str, hr: np.ndarray) -> np.ndarray:
        """h,w,3 of `hr`, scale*h,scale*w,3, with as many bits."""
        white = int(np.iinfo(hr.dtype).max)
        image = torch.from_numpy(hr.astype(np.float32) / np.float32(white)).permute(2, 0, 1)[None]
        with ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
            lr = self.degrader(image, self.scale, seed_of(self.seed, name), white)
        if not lr.isfinite().all():
            raise DataError(f"'{name}': its LR is not finite after {', '.join(self.degrader.names)}")
        values: np.ndarray = (white * lr[0].permute(1, 2, 0).double()).round().numpy().astype(hr.dtype)
        return values

    def digest(self) -> str:
        inner: Any = self.pairs
        return hashlib.sha256(json.dumps([inner.fingerprint(), self.about, self.seed]).encode()).hexdigest()

    def describe(self) -> str:
        return f"{described(self.pairs)}; degraded by {', '.join(self.degrader.names)}"


@dataclass(frozen=True)
class Written:
    """The pairs of a folder. kept: were there already. left_out: too small for the scale."""

    made: list[str]
    kept: list[str]
    left_out: list[str]


def write_degraded(pairs: Degraded, folder: Path, progress: Callable[[int], None]) -> Written:
    """Write `folder`/HR/NAME.png and `folder`/LR/X<scale>/NAME.png of each picture, whole or not at all.

    A folder that holds pairs of the same list, seed and scale is completed; progress(done) is called after each.
    Raises UsageError for a folder of other pairs, DataError for names that are no files' or are there twice.
    """
    claim(folder, pairs)
    found, names = Written([], [], []), known_names(pairs)
    seen: set[str] = set()
    for index in range(len(pairs)):
        name = names[index] if names else ""
        if not name or not all(path.exists() for path in places(folder, name, pairs.scale)):
            try:
                pair = pairs[index]
            except TooSmall:
                found.left_out.append(name or f"picture {index + 1}")
                progress(index + 1)
                continue
            name = pair.name
            for path, pixels in zip(places(folder, name, pairs.scale), (pair.lr, pair.hr), strict=True):
                assert pixels is not None
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(path, picture_from(pixels, About()))
            found.made.append(name)
        else:
            found.kept.append(name)
        if name in seen:
            raise DataError(f"two pictures are called '{name}', so that one file cannot hold both")
        seen.add(name)
        progress(index + 1)
    return found


def claim(folder: Path, pairs: Degraded) -> None:
    """Say in the folder what is made in it. UsageError where something else is."""
    about = {"scale": pairs.scale, "seed": pairs.seed, "degradation": json.loads(pairs.about)}
    claim_folder(folder, NOTE, about, "pairs of another list, seed or scale")


def places(folder: Path, name: str, scale: int) -> tuple[Path, Path]:
    """The files of LR and HR."""
    return file_in(folder / "LR" / f"X{scale}", name), file_in(folder / "HR", name)


def known_names(pairs: Degraded) -> list[str]:
    """The pictures' names where the dataset knows them without reading; else none."""
    sources = getattr(pairs.pairs, "sources", None)
    return [str(name) for name, _ in sources()] if callable(sources) else []


def seed_of(seed: int, name: str) -> int:
    """A seed for a picture, by its name: the others of a set do not change it."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest(), "big") >> 1
