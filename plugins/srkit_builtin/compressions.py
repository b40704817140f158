"""Steps from HR to LR that compress: JPEG, WebP, and a frame of a video. What they give is that program's own, decoded.

A patch may begin anywhere in the blocks, as a tile of a large picture does: it is continued to the top and left first.
"""

import io
from collections.abc import Callable
from typing import Annotated, Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from srkit import OptionError, UsageError
from srkit_builtin.degradations import Size, check_range
from srkit_builtin.photo import jpeg
from srkit_builtin.realistic import Probability, differentiable_jpeg, mirrored

BLOCK = 16  # pixels of a unit where colour has half the resolution
Whole = tuple[int, int]
Anywhere = Annotated[bool, "blocks begin anywhere, not at the picture's corner"]


class Jpeg(nn.Module):
    """Pillow's JPEG, on the CPU; or kornia's, on the device, which rounds softly and so loses a little less."""

    def __init__(
        self,
        *,
        quality: Annotated[Whole, "lowest and highest quality"] = (30, 95),
        full_colour_prob: Annotated[Probability, "probability of all its colour (4:4:4), not 4:2:0"] = 0.0,
        codec: Annotated[Literal["exact", "differentiable"], "Pillow's, or kornia's on the device"] = "exact",
        anywhere: Anywhere = True,
    ):
        super().__init__()
        check_range("jpeg", "quality", quality, 1, 100)
        if codec == "differentiable" and full_colour_prob:
            raise OptionError("degradation 'jpeg': codec = 'differentiable' has 4:2:0 alone; full_colour_prob = 0")
        self.quality, self.full_colour_prob, self.codec = quality, full_colour_prob, codec
        self.anywhere = anywhere

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        return each(image, self.compressed, anywhere=self.anywhere)

    def compressed(self, picture: Tensor) -> Tensor:
        quality, full = whole(self.quality), bool(torch.rand(()) < self.full_colour_prob)
        if self.codec == "exact":
            return by_bytes(picture, lambda pixels: jpeg(pixels, quality, full_colour=full))
        return differentiable_jpeg(picture.clamp(0, 1), torch.tensor([float(quality)])).clamp(0, 1)


class WebP(nn.Module):
    """Pillow's lossy WebP, on the CPU; its colour is 4:2:0."""

    def __init__(
        self,
        *,
        quality: Annotated[Whole, "lowest and highest quality"] = (30, 95),
        anywhere: Anywhere = True,
    ):
        super().__init__()
        check_range("webp", "quality", quality, 0, 100)
        self.quality, self.anywhere = quality, anywhere

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        return each(image, self.compressed, anywhere=self.anywhere)

    def compressed(self, picture: Tensor) -> Tensor:
        quality = whole(self.quality)
        return by_bytes(picture, lambda pixels: webp(pixels, quality))


class Video(nn.Module):
    """A frame of its own (an I-frame) of x264 by PyAV, on the CPU; its colour is 4:2:0, BT.601."""

    def __init__(
        self,
        *,
        crf: Annotated[Whole, "lowest and highest constant rate factor; higher is worse"] = (18, 36),
        anywhere: Anywhere = True,
    ):
        super().__init__()
        check_range("video", "crf", crf, 0, 51)
        self.crf, self.anywhere = crf, anywhere
        try:
            import av
        except ImportError:
            raise UsageError("degradation 'video' needs PyAV: pip install av") from None
        if "libx264" not in av.codecs_available:
            raise UsageError("degradation 'video' needs a PyAV with libx264, as its wheels have: pip install av")

    def forward(self, image: Tensor, size: Size, scale: int) -> Tensor:
        return each(image, self.compressed, anywhere=self.anywhere)

    def compressed(self, picture: Tensor) -> Tensor:
        crf = whole(self.crf)
        return by_bytes(picture, lambda pixels: h264(pixels, crf))


def each(image: Tensor, compress: Callable[[Tensor], Tensor], *, anywhere: bool) -> Tensor:
    """`compress` of each picture of `image`, B,3,H,W, with its blocks' corner drawn for each where `anywhere`."""
    done = []
    for picture in image.split(1):
        top, left = torch.randint(BLOCK, (2,)).tolist() if anywhere else (0, 0)
        height, width = picture.shape[-2:]
        wide = mirrored(picture, BLOCK)[..., BLOCK - top : BLOCK + height, BLOCK - left : BLOCK + width]
        done.append(compress(wide)[..., top:, left:])
    return torch.cat(done)


def by_bytes(picture: Tensor, code: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """picture: 1,3,H,W, rounded to 8 bits, through `code` of its pixels, H,W,3 uint8, on the CPU."""
    pixels = (255 * picture[0].clamp(0, 1)).round().byte().permute(1, 2, 0).cpu().numpy()
    return torch.from_numpy(code(np.ascontiguousarray(pixels)).copy()).permute(2, 0, 1)[None].to(picture) / 255


def whole(values: Whole) -> int:
    """A whole number from the range, both ends in it."""
    return int(torch.randint(values[0], values[1] + 1, ()))


def webp(pixels: np.ndarray, quality: int) -> np.ndarray:
    """pixels: H,W,3 uint8 through Pillow's encoder and decoder."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def h264(pixels: np.ndarray, crf: int) -> np.ndarray:
    """pixels: H,W,3 uint8 as the one frame of a film, through x264 in one thread, whose bits are the same each time."""
    import av

    height, width = pixels.shape[:2]
    even = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as film:
        stream: Any = film.add_stream("libx264", rate=25, options={"crf": str(crf), "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
        film.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        film.mux(stream.encode())
    file.seek(0)
    with av.open(file) as film:
        frame = next(film.decode(video=0))
        return np.asarray(frame.to_ndarray(format="rgb24"))[:height, :width]
