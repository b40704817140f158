"""`load`: a model with its weights, as an `Upscaler` of pictures."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from srkit import defaults
from srkit.errors import Cancelled, ImageError, SrkitError, UsageError, did_you_mean, naming, one_line
from srkit.plugins import Choice, Registry, load_plugins
from srkit.progress import Meter

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from srkit.images import Encoding, Picture
    from srkit.nets import Loaded
    from srkit.upscale.file import How, Work
    from srkit.upscale.guesswork import Confidence
    from srkit.upscale.targets import Job
    from srkit.weights.ladder import Ladder


def load(
    model: "str | os.PathLike[str] | None" = None,
    scale: int | None = None,
    *,
    device: str = "auto",
    tile: int | None = None,
    ensemble: bool = False,
    keep_colour: bool = False,
    precision: str | None = None,
    backend: str = "",
    progress: bool = True,
    registry: Registry | None = None,
) -> "Upscaler":
    """A model with its weights, ready to upscale.

    model: a name, also `name@tag`, a checkpoint, a run's folder, or `owner/name` on the Hugging Face hub; the best
    weights that are installed if not given. scale: the weights' own, or 2, if not given. device: "auto" is the
    accelerator where there is one. tile: side of a tile in input pixels, to bound memory; 0 for none. ensemble: the
    mean over eight flips and transposes, eight times the work. keep_colour: a result, made small, has the colours that
    the picture had. precision: fp32, exact to the bit, if not given; bf16 or fp16; "auto" is bf16 where the device
    multiplies it. backend: what the network runs in, PyTorch if not given; "auto" is the fastest here that loses at
    most 0.01 dB, in any precision if none is given, which is tried once and takes some seconds then.
    progress: of a download, on stderr or in the notebook's cell. registry: where names are looked up; the installed
    plugins when not said.

    Raises UnknownName, UsageError, CheckpointError, FetchError, or NoWeights; all are SrkitError.
    """
    from srkit.images import LOG
    from srkit.nets import pick_device, precision_of
    from srkit.upscale.keep import colour_kept
    from srkit.upscale.wrap import make_upscaler
    from srkit.weights.find import quietly
    from srkit.weights.ladder import Ladder
    from srkit.weights.loading import load_model
    from srkit.weights.offered import for_pictures
    from srkit.weights.runtimes import AUTO, EXACT, chosen_backend

    registry = load_plugins() if registry is None else registry
    word = None if model is None else os.fspath(model)
    if word is None:
        offer, scale = for_pictures(registry, scale)
    place = pick_device(device)
    chosen = chosen_backend(registry, backend, precision, place)  # a wrong word is told before a download
    auto = backend == AUTO
    with Meter() if progress else nullcontext(quietly) as downloads:
        loaded = load_model(registry, word or offer.word, scale, place, downloads)
    wrappers = [registry.choose("wrapper", defaults.ENSEMBLE)] if ensemble else []
    ladder = Ladder(
        registry,
        word,
        scale=scale,
        device=place,
        precision=precision or (AUTO if auto else EXACT),
        wrappers=wrappers,
        backend=chosen,
        auto=auto,
        tell=LOG.info,
        change=colour_kept if keep_colour else None,
        loaded={loaded.scale: loaded},
    )
    runs = ladder.runtime(loaded.scale)
    used = precision_of(loaded, place, EXACT if runs or auto else ladder.precision)
    how: dict[str, Any] = {"tile": tile, "wrappers": wrappers, "precision": used, "backend": runs}
    call = make_upscaler(loaded.net, loaded.model, loaded.scale, **how)
    if keep_colour:
        call, _ = colour_kept(call, loaded.scale)
    half = "" if precision == EXACT else precision
    given = {
        "model": word, "self_ensemble": ensemble, "keep_colour": keep_colour, "precision": half, "backend": backend,
    }  # fmt: skip
    said = {key: value for key, value in given.items() if value}
    return Upscaler(ladder, loaded, call, tile=tile, precision=used, runs=runs, said=said)


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
    protect: str
    range: Any
    max_pixels: int
    receipt: Literal["", "xmp", "sidecar"]


@dataclass(frozen=True, kw_only=True)
class FilePlan:
    """What `Upscaler.plan` gives: what would be made of a picture file, as `srkit upscale --dry-run` says it.

    Attributes:
        source: (width, height) of the picture in pixels, upright.
        size: (width, height) of the result in pixels.
        whole: (width, height) that the whole picture has at the result's size; another where a sheet crops or pads it.
        offset: (x, y) of the whole picture's corner in the result: negative where it is cropped, positive where padded.
        chain: the scales of the networks, one after the other; empty where none enlarges.
        models: `{"x2": {"name": ..., "weights_sha256": ...}}` for each of them; with the backend "auto" also "backend"
            (empty for PyTorch) and "precision".
        depth: bits of a channel of the result.
        dpi: what the result says of its pixels to the inch; None for nothing.
        notices: what the user should know: of the sheet, of sharpness in print, of what the format cannot keep.
        tiles: how many; None, as what follows, where it was not measured.
        tile: their side in pixels of what the last network is given; 0 where no network enlarges.
        memory: bytes that a tile takes.
        seconds: all will take about.
    """

    source: tuple[int, int]
    size: tuple[int, int]
    whole: tuple[int, int]
    offset: tuple[int, int]
    chain: tuple[int, ...]
    models: Mapping[str, Mapping[str, str]]
    depth: int
    dpi: float | None
    notices: tuple[str, ...]
    tiles: int | None = None
    tile: int | None = None
    memory: float | None = None
    seconds: float | None = None


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
        licence: of the weights, where their plugin or their file says it.
        model: the `srkit.plugins.Choice` that the network is of: `model.component` is its record.
        device: where it computes.
        precision: "fp32", or what the network computes in.
        backend: what it runs in, as `package:name`; empty for PyTorch, where none was asked for.
        net: the `torch.nn.Module`.
    """

    def __init__(
        self,
        ladder: "Ladder",
        loaded: "Loaded",
        call: Any,
        *,
        tile: int | None,
        precision: str,
        runs: Choice | None = None,
        said: Mapping[str, Any] | None = None,
    ):
        self.net: nn.Module = loaded.net
        self.scale, self.name, self.parameters = loaded.scale, ladder.label(loaded.scale), loaded.parameters
        self.origin, self.device = loaded.origin, ladder.device
        self.precision = runs.options["precision"] if runs else precision
        self.backend = runs.entry.qualified if runs else ""
        self.licence, self.model = loaded.licence, loaded.model
        self._ladder, self._call, self._tile, self._said = ladder, call, tile, dict(said or {})

    def __repr__(self) -> str:
        half = "" if self.precision == "fp32" else f" in {self.precision}"
        return f"<srkit {self.name} x{self.scale}, {self.parameters:,} parameters, on {self.device}{half}>"

    @property
    def scales(self) -> tuple[int, ...]:
        """All scales that it has weights for, ascending."""
        return self._ladder.scales()

    def single_scale(self) -> "nn.Module":
        """The network at its scale, called `net(lr)` and in evaluation mode: what a `Backend` is given.

        It takes a height and width that are multiples of `model.component.size_multiple`.
        """
        from srkit.upscale.backend import AtScale

        net = self.net.eval()
        return AtScale(net, self.scale) if self.model.component.multi_scale else net

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
        *,
        progress: Callable[[float, float], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        tell: Callable[[str], None] | None = None,
        confidence: "str | os.PathLike[str] | None" = None,
        **options: Unpack[FileOptions],
    ) -> Path:
        """Make one picture file of another, as `srkit upscale` does, in tiles that are never held whole.

        target: its suffix says the format; PHOTO_MODEL_xSCALE.png beside the picture if not given. options: those of
        the command (`FileOptions`): a size (scale=2.7, width=3000, paper="A2", dpi=300, crop=True), an encoding
        (quality=90, depth=16), what is kept (profile="srgb", strip=True, receipt="xmp"). Without a size it is `scale`
        times larger.

        progress(share, left): after each tile, the share that is done, in [0, 1], and the seconds that are left.
        cancel(): asked before the picture is read and after each tile; True raises Cancelled, and nothing is written.
        All are called on this thread or one that reads or writes. tell(line): what had to be given up, in place of the
        log. confidence: a picture to draw how much of the result is guesswork, at the size of the source.

        Returns the target. It is written whole or not at all; what is killed goes on when it is called again. Raises
        UnknownName, UsageError, ImageError, OutputError, Cancelled; all are SrkitError.
        """
        if target is not None:
            target = Path(target)
            if not target.suffix:
                raise UsageError(f"'{target}' does not say the format; name a file, photo.png")
        watch = Watch(progress, cancel, tell, None if confidence is None else Path(confidence))
        return self._files([source], target, options, watch)[0]

    def upscale_files(
        self,
        sources: "Sequence[str | os.PathLike[str]]",
        target: "str | os.PathLike[str] | None" = None,
        *,
        progress: Callable[[float, float], None] | None = None,
        cancel: Callable[[], bool] | None = None,
        tell: Callable[[str], None] | None = None,
        **options: Unpack[FileOptions],
    ) -> list[Path]:
        """`upscale_file` of several pictures, folders with their subfolders, or globs, into the folder `target`.

        The next picture is read and the last one written while the network runs. One that fails costs no other; at the
        end SrkitError names how many did. progress: of all. cancel: those that are written stay.
        """
        return self._files(sources, target, options, Watch(progress, cancel, tell))

    def plan(
        self,
        source: "str | os.PathLike[str]",
        target: "str | os.PathLike[str] | None" = None,
        *,
        measure: bool = True,
        **options: Unpack[FileOptions],
    ) -> FilePlan:
        """What `upscale_file` would make of a picture, from its header: sizes, tiles, memory, seconds; makes nothing.

        measure: False leaves out what the networks' pace is measured for, which takes a second at its first time.
        Raises what `upscale_file` raises for a size or a format that cannot be, ImageError for no picture.
        """
        from srkit.upscale.estimate import estimate
        from srkit.upscale.file import planned

        how, encode = how_of(self._ladder, self.scale, self._tile, options)
        (job,) = jobs_of([source], target, how, encode, self.name)
        with naming(str(source)):
            found = planned(job.source, how, encode(job.target))
        measured = vars(estimate(found, how)) if measure else {}
        return FilePlan(
            source=(found.head.width, found.head.height),
            size=found.size.canvas,
            whole=found.size.virtual,
            offset=found.size.offset,
            chain=found.steps,
            models=how.networks.identity(found.steps)["models"],
            depth=found.depth,
            dpi=found.size.dpi,
            notices=(*found.size.lines, *found.notices),
            **measured,
        )

    def _files(
        self, sources: "Sequence[str | os.PathLike[str]]", target: Any, options: Mapping[str, Any], watch: "Watch"
    ) -> list[Path]:
        from srkit.images import LOG, check_output
        from srkit.upscale.batch import Batch

        how, encode = how_of(self._ladder, self.scale, self._tile, options)
        if watch.confidence is not None:
            check_output(watch.confidence)
        jobs = jobs_of(sources, target, how, encode, self.name)
        made: list[Path] = []
        batch = Batch(
            how,
            encode,
            receipt=options.get("receipt", ""),
            said=self._said | said_of(options, how.wanted.scale),
            tell=watch.tell or LOG.warning,
            made=lambda job, work, seconds: made.append(job.target),
            at=watch.at,
            more=partial(watch.draw, how),
            cancel=watch.cancelled,
        )
        failures = batch.run(jobs)
        if failures and len(jobs) > 1:
            raise SrkitError(f"{len(failures)} of {len(jobs)} pictures could not be upscaled: {one_line(failures[0])}")
        if failures:
            raise failures[0]
        return made

    def confidence(
        self,
        source: "str | os.PathLike[str]",
        *,
        done: Callable[[int, int], None] = lambda tiles, total: None,
        **options: Unpack[FileOptions],
    ) -> "Confidence":
        """How much of the result of a picture file is guesswork, as `srkit upscale --confidence` draws it.

        Eight passes of the networks, whatever the size of the result. options: those of `upscale_file`; a size decides
        which networks are used. done(tiles, total) is called after each tile; what it raises ends the work. Raises
        UsageError where no network enlarges, UnknownName, ImageError, OutputError; all are SrkitError.
        """
        from srkit.images import read_picture
        from srkit.upscale.doubt import confidence_of
        from srkit.upscale.file import steps_of
        from srkit.upscale.sizes import size_of

        how, _ = how_of(self._ladder, self.scale, self._tile, options)
        picture = read_picture(Path(source), deep=True, **how.reading)
        with naming(os.fspath(source)):
            height, width = picture.rgb.shape[:2]
            steps = steps_of(how, size_of(how.wanted, width, height).factor)
            return confidence_of(picture, [how.networks.stage(step) for step in steps], done)

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


@dataclass(frozen=True)
class Watch:
    """Who looks on while files are made: as the parameters of `upscale_file`."""

    progress: Callable[[float, float], None] | None = None
    cancel: Callable[[], bool] | None = None
    tell: Callable[[str], None] | None = None
    confidence: Path | None = None

    def at(self, done: int, share: float, left: float) -> None:
        if self.progress is not None:
            self.progress(share, left)

    def cancelled(self) -> bool:
        return self.cancel is not None and self.cancel()

    def draw(self, how: "How", job: "Job", work: "Work") -> None:
        """The confidence map, where one is wanted."""
        from srkit.upscale.doubt import draw_map, levels_of

        if self.confidence is None:
            return

        def done(tiles: int, total: int) -> None:
            if self.cancelled():
                raise Cancelled("cancelled")

        levels = levels_of(work.picture, [how.networks.stage(step) for step in work.plan.steps], done)
        found = draw_map(work.picture, levels, self.confidence)
        if self.tell is not None:
            self.tell(found.words)


def said_of(options: Mapping[str, Any], scale: float | None) -> dict[str, Any]:
    """Options of `upscale_file` as a receipt keeps them, by the names and types of the command."""
    from srkit.images import limits

    said = dict(options)
    if "range" in said:
        said["pixel_range"] = ",".join(f"{end:g}" for end in limits(said.pop("range")))
    if scale is not None:
        said["scale"] = float(scale)
    for key in ("dpi", "strength"):
        if key in said:
            said[key] = float(said[key])
    return said


def shape_of(picture: Any) -> str:
    return ",".join(map(str, picture.shape))


def how_of(
    ladder: "Ladder", scale: int, tile: int | None, options: Mapping[str, Any]
) -> "tuple[How, Callable[[Path], Encoding]]":
    """(how pictures are made, the encoding of a target), of the options of `upscale_file`."""
    from srkit.images import encoding_for
    from srkit.upscale.file import How
    from srkit.upscale.protect import mask_of
    from srkit.upscale.sizes import Wanted

    known = tuple(FileOptions.__annotations__)
    if unknown := sorted(set(options) - set(known)):
        raise UsageError(f"no option '{unknown[0]}'{did_you_mean(unknown[0], known)}")
    if options.get("receipt", "") not in ("", "xmp", "sidecar"):
        raise UsageError(f"a receipt is xmp or sidecar, not '{options['receipt']}'")
    wanted = Wanted(**{key: options[key] for key in SIZE if key in options})
    if not wanted.way:
        wanted = replace(wanted, scale=float(scale))
    reading = {key: options[key] for key in READING if key in options}
    how = How(
        ladder,
        wanted,
        tile=tile,
        strength=options.get("strength", 1.0),
        protect=partial(mask_of, options["protect"]) if options.get("protect") else lambda picture: None,
        reading=reading,
        identity=repr(options),
    )
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
