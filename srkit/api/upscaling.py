"""`load`: a model with its weights, as an `Upscaler` of pictures."""

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from srkit import defaults
from srkit.errors import ImageError, SrkitError, UsageError, naming, one_line
from srkit.plugins import Registry, load_plugins
from srkit.progress import Meter

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from srkit.nets import Loaded


def load(
    model: "str | os.PathLike[str] | None" = None,
    scale: int | None = None,
    *,
    device: str = "auto",
    tile: int | None = None,
    ensemble: bool = False,
    precision: str = "fp32",
    progress: bool = True,
    registry: Registry | None = None,
) -> "Upscaler":
    """A model with its weights, ready to upscale.

    model: a name, also `name@tag`, a checkpoint, a run's folder, or `owner/name` on the Hugging Face hub; the best
    weights that are installed if not given. scale: the weights' own,
    or 2, if not given. device: "auto" is the accelerator where there is one. tile: side of a tile in input pixels,
    to bound memory; 0 for none. ensemble: the mean over eight flips and transposes, eight times the work. precision:
    fp32, exact to the bit; bf16 or fp16; "auto" is bf16 where the device multiplies it. progress: of a download, on
    stderr or in the notebook's cell. registry: where names are looked up; the installed plugins when not said.

    Raises UnknownName, UsageError, CheckpointError, FetchError, or NoWeights; all are SrkitError.
    """
    from srkit.nets import pick_device, precision_of, precision_on
    from srkit.upscale.marks import mark
    from srkit.upscale.wrap import make_upscaler
    from srkit.weights.find import quietly
    from srkit.weights.loading import load_model
    from srkit.weights.offered import for_pictures

    registry = load_plugins() if registry is None else registry
    if model is None:
        offer, scale = for_pictures(registry, scale)
        model = offer.word
    place = pick_device(device)
    precision_on(place, precision)  # a wrong word is told before a download
    with Meter() if progress else nullcontext(quietly) as downloads:
        loaded = load_model(registry, os.fspath(model), scale, place, downloads)
    wrappers = [registry.choose("wrapper", defaults.ENSEMBLE)] if ensemble else []
    used = precision_of(loaded, place, precision)
    call = make_upscaler(loaded.net, loaded.model, loaded.scale, tile=tile, wrappers=wrappers, precision=used)
    return Upscaler(loaded, place, call, mark(wrappers), precision=used)


class Upscaler:
    """What `srkit.load` gives.

    Attributes:
        scale: how many times larger.
        name: of the model, or of its preset; with a "+" where it is a self-ensemble.
        parameters: how many are trained, as tables count them.
        origin: the weight file; empty for an interpolation.
        device: where it computes.
        precision: "fp32", or what the network was asked to compute in.
        net: the `torch.nn.Module`.
    """

    def __init__(self, loaded: "Loaded", device: "torch.device", call: Any, mark: str = "", *, precision: str = "fp32"):
        self.net: nn.Module = loaded.net
        self.scale, self.name, self.parameters = loaded.scale, loaded.label + mark, loaded.parameters
        self.origin, self.device, self.precision = loaded.origin, device, precision
        self._call = call

    def __repr__(self) -> str:
        half = "" if self.precision == "fp32" else f" in {self.precision}"
        return f"<srkit {self.name} x{self.scale}, {self.parameters:,} parameters, on {self.device}{half}>"

    def upscale(self, picture: Any, *, range: Any = None) -> Any:  # noqa: A002 - the option's name
        """The picture `scale` times larger, as what it came.

        A PIL image gives a PIL image: upright, with its transparency, gray if it was gray. An array of H,W,3 uint8
        gives such an array. A tensor of B,3,H,W or 3,H,W float in [0, 1] gives such a tensor, clipped, of the same
        type on the same device. range: of a gray PIL image of more than 8 bits, what black and white are: `(0, 4095)`;
        else 16 bits are 0 to 65535, and float is 0 to 1.

        Raises UsageError for anything else, ImageError for an image that cannot be decoded, OutputError where what the
        model makes is no picture (not finite, a wrong size, not in [0, 1]), SrkitError when memory does not suffice.
        """
        import numpy as np
        import torch
        from PIL import Image

        from srkit.images import LOG, image_of, picture_of
        from srkit.upscale.picture import upscale_picture
        from srkit.upscale.wrap import to_pixels, to_tensor

        if isinstance(picture, Image.Image):
            try:
                read = picture_of(picture, range=range)
            except SrkitError:
                raise
            except Exception as error:  # a damaged file makes Pillow raise about anything
                raise ImageError(f"the image cannot be decoded: {one_line(error)}") from None
            if read.notice:
                LOG.warning("the image: %s", read.notice)
            with naming(getattr(picture, "filename", "") or "the image"):
                return image_of(upscale_picture(self._call, read, self.scale, self.device))
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
                raise UsageError(f"an array must be H,W,3 uint8, not {shape_of(picture)} {picture.dtype}")
            with naming("the array"):
                return to_pixels(self._call(to_tensor(picture, self.device)))
        if isinstance(picture, torch.Tensor):
            return self._tensor(picture)
        raise UsageError(f"a picture is a PIL image, an array or a tensor, not {type(picture).__name__}")

    def _tensor(self, lr: "Tensor") -> "Tensor":
        import torch

        if not lr.is_floating_point() or lr.ndim not in (3, 4) or lr.shape[-3] != 3 or not lr.numel():
            raise UsageError(f"a tensor must be B,3,H,W or 3,H,W float in [0, 1], not {shape_of(lr)} {lr.dtype}")
        if not lr.isfinite().all():
            raise UsageError("a tensor must be in [0, 1]; this one has values that are not finite")
        if lr.max() > 2:  # a little outside is what interpolation leaves
            raise UsageError(f"a tensor must be in [0, 1]; this one goes up to {float(lr.max()):g}: divide it by 255")
        if lr.min() < -1:
            raise UsageError(f"a tensor must be in [0, 1]; this one goes down to {float(lr.min()):g}")
        batch = lr if lr.ndim == 4 else lr[None]
        with naming("the tensor"):
            sr: Tensor = self._call(batch.detach().to(self.device, torch.float32)).clamp(0, 1).to(lr.device, lr.dtype)
        return sr if lr.ndim == 4 else sr[0]


def shape_of(picture: Any) -> str:
    return ",".join(map(str, picture.shape))
