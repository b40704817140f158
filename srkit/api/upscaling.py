"""`load`: a model with its weights, as an `Upscaler` of pictures."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from srkit import defaults
from srkit.errors import ImageError, SrkitError, UsageError, did_you_mean, naming, one_line
from srkit.plugins import Registry, load_plugins
from srkit.progress import Meter

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from srkit.images import Encoding, Picture
    from srkit.nets import Loaded
    from srkit.upscale.file import How
    from srkit.upscale.targets import Job
    from srkit.weights.ladder import Ladder


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
    from srkit.upscale.wrap import make_upscaler
    from srkit.weights.find import quietly
    from srkit.weights.ladder import Ladder
    from srkit.weights.loading import load_model
    from srkit.weights.offered import for_pictures

    registry = load_plugins() if registry is None else registry
    word = None if model is None else os.fspath(model)
    if word is None:
        offer, scale = for_pictures(registry, scale)
    place = pick_device(device)
    precision_on(place, precision)  # a wrong word is told before a download
    with Meter() if progress else nullcontext(quietly) as downloads:
        loaded = load_model(registry, word or offer.word, scale, place, downloads)
    wrappers = [registry.choose("wrapper", defaults.ENSEMBLE)] if ensemble else []
    used = precision_of(loaded, place, precision)
    call = make_upscaler(loaded.net, loaded.model, loaded.scale, tile=tile, wrappers=wrappers, precision=used)
    ladder = Ladder(
        registry, word, scale=scale, device=place, precision=precision, wrappers=wrappers, loaded={loaded.scale: loaded}
    )
    return Upscaler(ladder, loaded, call, tile=tile, precision=used)


class Size(TypedDict, total=False):
    """How large a result is to be, as the options of `srkit upscale`: at most one of the first six."""

    scale: float
    width: int
    height: int
    long_edge: int
    fit: str
    paper: str
    dpi: float
    bleed: str
    crop: bool
    pad: str


class FileOptions(Size, total=False):
    """Of `upscale_file`, as the options of `srkit upscale`; its --range is `range`, its --print is `paper`."""

    format: str
    quality: int
    depth: int
    background: str
    profile: Literal["keep", "srgb"]
    strip: bool
    strength: float
    range: Any
    max_pixels: int


SIZE = tuple(Size.__annotations__)
ENCODING = ("format", "quality", "depth", "background", "strip")
READING = ("profile", "range", "max_pixels")


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

    def __init__(self, ladder: "Ladder", loaded: "Loaded", call: Any, *, tile: int | None, precision: str):
        self.net: nn.Module = loaded.net
        self.scale, self.name, self.parameters = loaded.scale, ladder.label(loaded.scale), loaded.parameters
        self.origin, self.device, self.precision = loaded.origin, ladder.device, precision
        self._ladder, self._call, self._tile = ladder, call, tile

    def __repr__(self) -> str:
        half = "" if self.precision == "fp32" else f" in {self.precision}"
        return f"<srkit {self.name} x{self.scale}, {self.parameters:,} parameters, on {self.device}{half}>"

    def upscale(self, picture: Any, *, range: Any = None) -> Any:  # noqa: A002 - the option's name
        """The picture `scale` times larger, as what it came.

        A PIL image gives a PIL image: upright, with its transparency, gray if it was gray, 16 bits if it had them. An
        array of uint8 or uint16, H,W for gray or H,W,C with 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA, gives such an
        array. A tensor of B,3,H,W or 3,H,W float in [0, 1] gives such a tensor, clipped, of the same type on the same
        device. range: of a gray PIL image of 32 bits or float, what black and white are: `(0, 4095)`; else float is 0
        to 1. Such images are reduced to 8 bits.

        Raises UsageError for anything else, ImageError for an image that cannot be decoded, OutputError where what the
        model makes is no picture (not finite, a wrong size, not in [0, 1]), SrkitError when memory does not suffice.
        """
        import numpy as np
        import torch
        from PIL import Image

        from srkit.images import About, picture_from

        if isinstance(picture, Image.Image):
            return self._image(picture, range)
        if isinstance(picture, np.ndarray):
            channels = picture.shape[2] if picture.ndim == 3 else int(picture.ndim == 2)
            if picture.dtype not in (np.uint8, np.uint16) or channels not in (1, 2, 3, 4) or not picture.size:
                raise UsageError(
                    f"an array must be H,W or H,W,C of 1 to 4 channels, uint8 or uint16, not {shape_of(picture)} "
                    f"{picture.dtype}"
                )
            pixels = np.ascontiguousarray(picture).reshape(*picture.shape[:2], channels)
            with naming("the array"):
                made = self._pixels(picture_from(pixels, About()))
            return made if picture.ndim == 3 else made[..., 0]
        if isinstance(picture, torch.Tensor):
            return self._tensor(picture)
        raise UsageError(f"a picture is a PIL image, an array or a tensor, not {type(picture).__name__}")

    def upscale_file(
        self,
        source: "str | os.PathLike[str]",
        target: "str | os.PathLike[str] | None" = None,
        **options: Unpack[FileOptions],
    ) -> Path:
        """Make one picture file of another, as `srkit upscale` does, in tiles that are never held whole.

        target: its suffix says the format; PHOTO_MODEL_xSCALE.png beside the picture if not given. options: those of
        the command (`FileOptions`): a size (scale=2.7, width=3000, paper="A2", dpi=300, crop=True), an encoding
        (quality=90, depth=16), what is kept (profile="srgb", strip=True). Without a size it is `scale` times larger.

        Returns the target. It is written whole or not at all; what is killed goes on when it is called again. What had
        to be given up is logged. Raises UnknownName, UsageError, ImageError, OutputError; all are SrkitError.
        """
        if target is not None:
            target = Path(target)
            if not target.suffix:
                raise UsageError(f"'{target}' does not say the format; name a file, photo.png")
        return self.upscale_files([source], target, **options)[0]

    def upscale_files(
        self,
        sources: "Sequence[str | os.PathLike[str]]",
        target: "str | os.PathLike[str] | None" = None,
        **options: Unpack[FileOptions],
    ) -> list[Path]:
        """`upscale_file` of several pictures, folders with their subfolders, or globs, into the folder `target`.

        The next picture is read and the last one written while the network runs. One that fails costs no other; at the
        end SrkitError names how many did.
        """
        from srkit.images import LOG
        from srkit.upscale.batch import Batch

        how, encode = how_of(self._ladder, self.scale, self._tile, options)
        jobs = jobs_of(sources, target, how, encode, self.name)
        made: list[Path] = []
        batch = Batch(how, encode, tell=LOG.warning, made=lambda job, work, seconds: made.append(job.target))
        failures = batch.run(jobs)
        if failures and len(jobs) > 1:
            raise SrkitError(f"{len(failures)} of {len(jobs)} pictures could not be upscaled: {one_line(failures[0])}")
        if failures:
            raise failures[0]
        return made

    def _image(self, image: Any, range: Any) -> Any:  # noqa: A002 - the option's name
        from srkit.images import LOG, About, image_of, picture_from, picture_of

        try:
            deep = About(icc=image.info.get("icc_profile")) if image.mode.startswith("I;16") else None
            read = picture_of(image, range=range, about=deep)
        except SrkitError:
            raise
        except Exception as error:  # a damaged file makes Pillow raise about anything
            raise ImageError(f"the image cannot be decoded: {one_line(error)}") from None
        if read.notice:
            LOG.warning("the image: %s", read.notice)
        with naming(getattr(image, "filename", "") or "the image"):
            return image_of(picture_from(self._pixels(read), read.about))

    def _pixels(self, picture: "Picture") -> "np.ndarray":
        """H,W,C of what is made of a picture, in memory."""
        from srkit.images import LOG
        from srkit.upscale.file import How, made_of
        from srkit.upscale.sizes import Wanted

        how = How(self._ladder, Wanted(scale=self.scale), tile=self._tile)
        return made_of(picture, how, tell=LOG.warning)

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


def how_of(
    ladder: "Ladder", scale: int, tile: int | None, options: Mapping[str, Any]
) -> "tuple[How, Callable[[Path], Encoding]]":
    """(how pictures are made, the encoding of a target), of the options of `upscale_file`."""
    from srkit.images import encoding_for
    from srkit.upscale.file import How
    from srkit.upscale.sizes import Wanted

    known = (*SIZE, *ENCODING, *READING, "strength")
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"no option '{unknown[0]}'{did_you_mean(unknown[0], known)}")
    wanted = Wanted(**{key: options[key] for key in SIZE if key in options})
    if not wanted.way:
        wanted = replace(wanted, scale=float(scale))
    reading = {key: options[key] for key in READING if key in options}
    how = How(ladder, wanted, tile=tile, strength=options.get("strength", 1.0), reading=reading, identity=repr(options))
    encoding = {key: options[key] for key in ENCODING if key in options}
    return how, partial(encoding_for, **encoding)


def jobs_of(
    sources: "Sequence[str | os.PathLike[str]]", target: Any, how: "How", encode: Any, model: str
) -> "Sequence[Job]":
    """What is made of which picture. target: one file, a folder, or None."""
    from srkit.images import FORMATS, LOG
    from srkit.upscale.inputs import inputs_of
    from srkit.upscale.targets import DEFAULT_NAMES, Job, targets_of

    found = inputs_of([os.fspath(source) for source in sources])
    if target is not None and Path(target).suffix and not Path(target).is_dir():
        if len(found.sources) > 1:
            raise UsageError(f"'{target}' is one file for {len(found.sources)} pictures; name a folder")
        encode(Path(target))
        return [Job(found.sources[0].path, Path(target))]
    suffix = FORMATS[encode("-" if "format" in encode.keywords else "result.png").format][0]
    scale = how.wanted.scale
    planned = targets_of(
        found.sources,
        None if target is None else Path(target),
        name=DEFAULT_NAMES[scale is None],
        model=model,
        scale=how.wanted.word,
        suffix=suffix,
    )
    for notice in (*found.notices, *planned.notices):
        LOG.warning("%s", notice)
    return planned.todo
