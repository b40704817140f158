"""LR made from HR as small photographs are made: slightly blurred, resized, a little noise, one JPEG; or left clean.

`realistic` degrades twice and strongly, for old pictures. This is one pass, for photographs that only are small.
"""

import io
from functools import lru_cache
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Le
from PIL import Image
from torch import Tensor, nn

from srkit import Batch, OptionError
from srkit_builtin.realistic import Probability

KINDS = (Image.Resampling.BOX, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
BLOCK = 16  # pixels of LR: of a JPEG's units where colour has half the resolution


class Photo(nn.Module):
    """LR by blur, resize, noise and JPEG of HR, drawn for each picture; HR, and the clean LR of a part, stay.

    blur, Gaussian; resize by area, bilinear, bicubic or Lanczos, each of which smooths what it leaves out; Gaussian
    noise, gray or in colour; Pillow's JPEG, on the CPU. A patch may begin anywhere in the blocks of its JPEG, as a
    tile of a large picture does.
    """

    def __init__(
        self,
        *,
        clean_prob: Annotated[Probability, "probability that LR stays as it is, clean"] = 0.3,
        blur_sigma: Annotated[float, Ge(0), Le(4), "largest deviation of the blur, in pixels of LR"] = 0.3,
        noise: Annotated[float, Ge(0), Le(64), "largest deviation of the noise, of 255"] = 1.0,
        jpeg_prob: Annotated[Probability, "probability of JPEG, of those that are not clean"] = 0.7,
        jpeg_range: Annotated[tuple[int, int], "lowest and highest quality of JPEG"] = (40, 95),
        full_colour_prob: Annotated[Probability, "probability of a JPEG with all its colour (4:4:4), not 4:2:0"] = 0.2,
    ):
        super().__init__()
        if not 1 <= jpeg_range[0] <= jpeg_range[1] <= 100:
            wanted = "two numbers, the smaller first, at least 1, at most 100"
            raise OptionError(f"augmentation 'photo': jpeg_range = {list(jpeg_range)}: {wanted}")
        self.clean_prob, self.blur_sigma, self.noise = clean_prob, blur_sigma, noise
        self.jpeg_prob, self.jpeg_range, self.full_colour_prob = jpeg_prob, jpeg_range, full_colour_prob

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        count = len(batch.hr)
        clean = torch.rand(count) < self.clean_prob
        lr = resized(batch.hr.float(), batch.lr.shape[-2:], self.blur_sigma * torch.rand(count))
        lr = lr + self.grain(lr)
        pixels = (255 * lr).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        pixels = np.stack([self.compressed(picture) for picture in pixels])
        lr = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(batch.lr) / 255
        return Batch(torch.where(clean[:, None, None, None].to(lr.device), batch.lr, lr), batch.hr)

    def grain(self, lr: Tensor) -> Tensor:
        """Noise for LR, B,3,H,W: of another deviation for each picture, the same in all channels of every second."""
        count = len(lr)
        sigma = self.noise / 255 * torch.rand(count, 1, 1, 1)
        gray = torch.rand(count, 1, 1, 1) < 0.5
        noise = torch.randn(lr.shape)
        return (sigma * torch.where(gray, noise[:, :1], noise)).to(lr)

    def compressed(self, pixels: np.ndarray) -> np.ndarray:
        """pixels: H,W,3 uint8, compressed or not, continued to the top and left so that blocks begin anywhere."""
        low, high = self.jpeg_range
        quality, top, left = int(torch.randint(low, high + 1, ())), *torch.randint(BLOCK, (2,)).tolist()
        wanted, full = (torch.rand(2) < torch.tensor([self.jpeg_prob, self.full_colour_prob])).tolist()
        if not wanted:
            return pixels
        wide = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), mode="symmetric")
        return jpeg(wide, quality, full_colour=full)[top:, left:]


def resized(hr: Tensor, size: torch.Size, sigma: Tensor) -> Tensor:
    """hr: B,3,H,W; sigma: B, deviation of its blur in pixels of the result, B,3,*size. The edges are mirrored.

    Blur and resize are linear in each direction, so both together are a product with one matrix a picture.
    """
    kinds = torch.randint(len(KINDS), (len(hr),))
    lengths = list(zip(hr.shape[-2:], size, strict=True))
    matrices = {
        (length, out): resize_matrices(length, out)[kinds] @ blur_matrices(length, sigma * length / out)
        for length, out in set(lengths)
    }
    down, across = (matrices[each].to(hr)[:, None] for each in lengths)
    return down @ hr @ across.mT


@lru_cache(maxsize=16)
def resize_matrices(length: int, out: int) -> Tensor:
    """KINDS,out,length: Pillow's resize of a line, in each of the ways."""
    identity = Image.fromarray(np.eye(length, dtype=np.float32))
    return torch.from_numpy(np.stack([np.asarray(identity.resize((length, out), kind)) for kind in KINDS]))


def blur_matrices(length: int, sigma: Tensor) -> Tensor:
    """B,length,length: the Gaussian blur of a line, mirrored at its ends. sigma: B, in pixels."""
    at = torch.arange(length, dtype=torch.float32)
    offsets = torch.arange(-2 * length, 2 * length)
    bell = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)  # B,4*length
    here, there = at.int()[:, None], at.int()
    mirrored = (here - there, here + there + 1, 2 * length - 1 - here - there)  # itself and its two mirror images
    weights = torch.stack([bell[:, distance + 2 * length] for distance in mirrored]).sum(0)
    return weights / weights.sum(-1, keepdim=True)


def jpeg(pixels: np.ndarray, quality: int, *, full_colour: bool = False) -> np.ndarray:
    """pixels: H,W,3 uint8 through Pillow's encoder and decoder, 4:2:0 or 4:4:4."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=0 if full_colour else 2)
    return np.asarray(Image.open(file))
