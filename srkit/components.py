"""The records a plugin returns: frozen, keyword-only, every field but name and build with a default.

In every `build` signature the parameters before `*` are supplied by srkit; the keyword-only
ones after it are the component's options, set by the user and checked against their annotation.
"""

import importlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from srkit.typed import check_fields

if TYPE_CHECKING:
    import numpy as np
    import torch

__all__ = [
    "KINDS", "Archive", "Augmentation", "Backend", "Batch", "Command", "Component", "Dataset", "Degradation", "Layout",
    "Lazy", "Loss", "Metric", "Model", "Optimizer", "Pair", "PairSequence", "Reading", "Tracker", "Weights", "Wrapper",
    "lazy",
]  # fmt: skip

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class Lazy:
    """A callable named by `package.module:attribute`, imported when it is first needed."""

    target: str

    def resolve(self) -> Callable[..., Any]:
        module, _, attribute = self.target.partition(":")
        found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.resolve()(*args, **kwargs)


def whole_numbers(name: str, field: str, values: Sequence[int]) -> None:
    """Raises ValueError unless there are some, each from 1."""
    if not values or min(values) < 1:
        raise ValueError(f"'{name}': {field} are whole numbers from 1, not {list(values)}")


def lazy(target: str) -> Lazy:
    """A `build` that is imported when used: `lazy("torch.nn:L1Loss")`. Listing plugins stays cheap."""
    if not re.fullmatch(r"[\w.]+:\w+", target):
        raise ValueError(f"lazy() wants 'package.module:attribute', not '{target}'")
    return Lazy(target)


@dataclass(frozen=True, kw_only=True)
class Component:
    """What every component has.

    Attributes:
        name: letters, digits and `. _ + -`; what a user writes, as in `--model NAME`.
        build: makes it; a function, a class, or `lazy("package.module:attribute")`.
        summary: one line for the lists of components.
        licence: of the code or, for a dataset, of the pictures: an SPDX name, such as `MIT`.
    """

    name: str
    build: Callable[..., Any]
    summary: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"a name is letters, digits and . _ + -, not {self.name!r}")
        if not callable(self.build):
            raise TypeError(f"'{self.name}': build must be callable, not {type(self.build).__name__}")
        check_fields(self, f"'{self.name}'")


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A trained weight file of a model, as data: srkit's own, or in one of the model's `layouts`.

    Attributes:
        scales: the scales the file serves; several for a `multi_scale` model. Either this or `scale` is given.
        scale: the one scale the file serves; None where there are several.
        resource: `package:path/in/package`, a file shipped in a plugin's wheel. Either this or `url`.
        url: http or https; downloaded into the cache when it is first used, and compared with `sha256`.
        preset: of which preset; empty: of any, the user's options included.
        tag: what tells two files of one preset and scale apart: `--model NAME@TAG`. A name alone means those without
            tag or with `bicubic`, for clean pictures made small by bicubic, where there are any. Those of tag `photo`,
            for compressed and slightly blurred pictures, upscale where no model is named, if they are a `resource`.
        sha256: as hexadecimal; must be given with `url`.
        claims: published scores, `{"set5 y psnr": 37.99}`, shown by `srkit plugins NAME`; of a file for several scales
            `{"set5 x2 y psnr": 37.99}`.
        licence: of the weights: an SPDX name.
        trained_on: the training data, for the reader: `DIV2K`.
    """

    scale: int | None = None
    scales: Sequence[int] = ()
    resource: str = ""
    url: str = ""
    preset: str = ""
    tag: str = ""
    sha256: str = ""
    claims: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    trained_on: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "weights")
        # Both may be set where they agree, as in a copy by dataclasses.replace().
        if (self.scale is None) == (not self.scales) and tuple(self.scales) != (self.scale,):
            raise ValueError("weights have either a scale or scales")
        scales = tuple(self.scales) or (self.scale,)
        object.__setattr__(self, "scales", scales)
        object.__setattr__(self, "scale", scales[0] if len(scales) == 1 else None)
        if bool(self.resource) == bool(self.url):
            raise ValueError("weights have either a resource or a url")
        if self.url and not re.fullmatch(r"https?://[^/]+/(.*/)?[^/?#]+\.(safetensors|pth?)", self.url):
            raise ValueError(f"the url of weights is http(s) and ends in .safetensors, .pt or .pth, not {self.url!r}")
        if self.url and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError(f"weights from a url need a sha256 of 64 hexadecimal digits, not {self.sha256!r}")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a `Layout` makes of another program's tensors.

    Attributes:
        scales: what the model is built for.
        options: the options it is built with.
        tensors: its state dict then, by srkit's names.
        assumed: what the file does not say and was taken to be so: `{"res_scale": 0.1}`.
        notes: what else a user should know of this file, in one line.
    """

    scales: Sequence[int]
    options: Mapping[str, Any]
    tensors: Mapping[str, "torch.Tensor"]
    assumed: Mapping[str, Any] = field(default_factory=dict)
    notes: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "a reading")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How another program names and keeps a model's weights: srkit then reads and writes its files.

    As in a `build`, what comes after the `*` is set by the user: `srkit weights convert --set res_scale=0.1`.

    Attributes:
        read: `read(tensors, *, ...)` of a file's tensors by name gives a `Reading`, or None where they are not
            this model's in this layout. It must be certain: every name and every shape is compared.
        write: `write(tensors, scales, options, *, ...)` gives `(tensors, settings)`: the same weights by the other
            program's names, and what that program must be told since its file does not say it.
        suffixes: of its files. Where two layouts of a model share one, the user must say which is meant.
        key: the key its files keep the tensors under; empty for a plain state dict.
        summary: whose layout it is.
    """

    read: "Callable[..., Reading | None]"
    write: "Callable[..., tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]]"
    suffixes: Sequence[str] = (".pth",)
    key: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "a layout")


@dataclass(frozen=True, kw_only=True)
class Model(Component):
    """`build(scale, *, ...)` gives a `torch.nn.Module`: RGB `B,3,H,W` float in [0, 1] to `B,3,scale*H,scale*W`.

    Attributes:
        scales: the factors it can be built for.
        multi_scale: `build(scales, *, ...)` instead, and the module is called `net(lr, scale)`.
        presets: named sets of options, usable wherever a model's name is.
        weights: trained weight files that ship with it or have an address.
        paper: where it is published, for the reader.
        size_multiple: height and width of the input must be multiples of this; srkit pads and crops.
        receptive_field: how many input pixels to each side of a pixel can change its output, as a
            number or as a function of `(scale, **options)`. None, or a function that gives None for some options:
            unknown, so pictures are not tiled.
        trainable: False for an interpolation without parameters, which needs no weights.
        resize: of such a one, the method of `imresize` that it is. `srkit upscale` then resizes a picture to any size
            at once, with all of its bits.
        from_file: given the path of a weight file that srkit did not write, `(net, scale)`, the network it
            holds with its weights loaded, as `build` would give it; None where the file is not this model's.
            For a model that is nothing without such a file; one with a `build` of its own has `layouts`.
            A network that another program than PyTorch computes, in a precision of its own, has an attribute `runtime`
            that says so in words: `onnxruntime on the CPU, float32`.
        layouts: name -> how another program keeps this model's weights.
    """

    scales: Sequence[int] = (2, 3, 4)
    multi_scale: bool = False
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Sequence[Weights] = ()
    paper: str = ""
    size_multiple: int = 1
    receptive_field: int | Callable[..., int | None] | None = None
    trainable: bool = True
    resize: str = ""
    from_file: "Callable[[Path], tuple[torch.nn.Module, int] | None] | None" = None
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_numbers(self.name, "scales", self.scales)
        whole_numbers(self.name, "size_multiple", [self.size_multiple])
        if isinstance(self.receptive_field, int) and self.receptive_field < 0:
            raise ValueError(f"'{self.name}': receptive_field is a number of pixels, not {self.receptive_field}")
        for preset in self.presets:
            if not NAME.fullmatch(preset):
                raise ValueError(f"a preset's name is letters, digits and . _ + -, not {preset!r}")
        if not self.multi_scale and any(len(weights.scales) > 1 for weights in self.weights):
            raise ValueError(f"'{self.name}': weights for several scales need multi_scale=True")


@dataclass(frozen=True, kw_only=True)
class Loss(Component):
    """`build(*, ...)` gives `loss(sr, hr) -> scalar tensor`, both `B,3,H,W` float in [0, 1].

    What else a loss needs it asks for by a keyword-only parameter, `loss(sr, hr, *, lr)`:

    - `lr`: what sr was made of, `B,3,h,w` float in [0, 1].
    - `average`: what the average of the weights makes of `lr`, as sr and without gradient. A run without an average
      (`ema = 0`) is refused, unless the parameter has a default.

    A loss that has `prepare(scales, device)` is told once, before the first step, the scales of the run and the device
    that it will be called on: there it loads what depends on them.

    A loss that has `update(sr, hr)` is given the same two after each optimizer step (a discriminator
    trains itself there); a loss that is a `torch.nn.Module` or has `state_dict` is checkpointed. One with
    `whole_batch = True`, as a mean over the batch is part of its formula, is given the rows of every rank. What
    `update` gives is logged: None, a scalar tensor (`loss_NAME_update`), or scalar tensors by name
    (`loss_NAME_discriminator`), all on the device: no `.item()`, which waits for it at each step.
    """


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A published zip or tar file of a dataset, as data: `srkit data fetch NAME` downloads and unpacks it.

    Only pictures below `folders` are unpacked, each to the path it has in the archive, below `root/into`;
    root is the user's `--root`, else `srkit.data_folder()`.

    Attributes:
        url: http or https. Empty where it must be asked for at the dataset's `page`: the user is then told
            which folders to fill.
        folders: the folders in the archive that hold pictures, and the least number of them in each, 0 if
            that is not known: `{"DIV2K_train_HR": 800}`. By them srkit sees what is there already.
        into: the dataset's own folder, where the archive does not bring it.
        scale: fetched only where the user asks for this scale. None: always (HR).
        track: the degradation its LR is made by, the user's `--track`. Empty: for every track.
        size: in bytes; 0 if not known.
        sha256: as hexadecimal; empty if none is published, then that of the first fetch is kept and compared.
    """

    url: str
    folders: Mapping[str, int]
    into: str = ""
    scale: int | None = None
    track: str = ""
    size: int = 0
    sha256: str = ""

    def __post_init__(self) -> None:
        check_fields(self, "an archive")
        if self.url and not re.fullmatch(r"https?://[^/]+/(.*/)?[^/?#]+", self.url):
            raise ValueError(f"an archive's url is http(s) and ends in a file's name, not {self.url!r}")
        if not self.folders or any(re.search(r"^/|\\|:|(^|/)\.\.?(/|$)", name) for name in (*self.folders, self.into)):
            raise ValueError(f"an archive's folders are relative paths with '/', not {[*self.folders, self.into]}")
        if not re.fullmatch(r"([0-9a-f]{64})?", self.sha256):
            raise ValueError(f"sha256 is 64 hexadecimal digits, not {self.sha256!r}")

    @property
    def file(self) -> str:
        """The archive's own name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """`build(root, split, scale, *, ...)` gives a sequence of `Pair`, each read when asked for.

    `root` is the folder the user named, or None; `split` is "train", "valid" or "test". A dataset with
    `fingerprint() -> str`, which must change when its pixels do, is packed once and found again;
    without it, it is packed anew for each run.

    A dataset that is packed already, in parts that each rank opens for itself, has `stores(rank, size)`: the
    packs of rank `rank` of `size`, a list of `srkit.data.store.Store` as `srkit.data.store.read_pack(path)` gives
    them. Training on it packs nothing, and with several ranks each draws its own batches from its own packs only.
    All the packs of `stores(0, 1)`, one after another, are the sequence itself. Raises UsageError where there are
    fewer packs than ranks.

    Attributes:
        benchmark: a published test set, scored by `srkit bench` when it is found.
        archives: the files it is published as, for `srkit data fetch`. Where the user names no root, a
            build then looks in `srkit.data_folder()`, which is where they are put.
        page: where it is described, and asked for if it is not free to download.
        validation: for a dataset whose split "valid" has pictures that are not trained on: called as
            `validation(root, **options)` with those of the training, it gives the options of the validation, or None
            where these pictures are not there. A training that names no other data is then validated on them.
        scales: those it has pairs for, which `srkit plugins check` opens. Empty: any, or it is not known.
    """

    benchmark: bool = False
    archives: Sequence[Archive] = ()
    page: str = ""
    validation: "Callable[..., Mapping[str, Any] | None] | None" = None
    scales: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True)
class Metric(Component):
    """`build(*, ...)` gives `metric(sr, hr) -> float`.

    Both are float64 arrays in [0, 255], `H,W` (luma) or `H,W,3` (RGB): the protocol has already
    rounded, converted and cropped them. Without `needs_reference`, `hr` may be None. A metric that has
    `to(device)`, as a `torch.nn.Module` has, is moved once to the device that the models are on.

    Attributes:
        higher_is_better: False where the lowest value is the best.
        needs_reference: False for a metric that looks at the SR picture alone.
        range: the lowest and the highest value it can give; `srkit plugins check` compares.
        unit: as tables print it: `dB`.
        digits: after the decimal point, in tables.
    """

    higher_is_better: bool = True
    needs_reference: bool = True
    range: tuple[float, float] = (-math.inf, math.inf)
    unit: str = ""
    digits: int = 5


@dataclass(frozen=True, kw_only=True)
class Augmentation(Component):
    """`build(*, ...)` gives a `torch.nn.Module`: `Batch` to `Batch`, on the device the batch is on.

    Randomness comes from torch's global generator, which the trainer seeds before every step.

    In a distributed training, a module with `forward` alone is applied to the whole batch on every rank. So that a rank
    works only on its own part, a module may also have these two; `forward` then does the same with all rows:

    - `draw(shape)`, with the shape of the whole LR batch, `B,3,h,w`, gives all random numbers as a dictionary. Tensors
      have one row for each sample, and are on the CPU; other values apply to the whole batch. A tensor `partner` gives
      for each sample the number of another sample that is mixed into it, or its own number.
    - `change(batch, drawn)` gets some rows of the batch and the values drawn for them, and gives these rows changed. It
      draws nothing. `drawn["partner"]` is then a `Batch`: the partners of these rows.

    Attributes:
        per_rank: expensive work that is not repeated on every GPU of a distributed training: each rank then
            draws for its own part of the batch only. Its results, and those of all augmentations after it, depend on
            the number of ranks.
        changes: "both" images; "lr", of which HR then is not changed; or "new lr", one made anew from HR. Beside
            `[[degradation]]`, which makes LR of the HR that the others leave, "lr" comes after it, and "new lr" is
            refused.
    """

    per_rank: bool = False
    changes: Literal["both", "lr", "new lr"] = "both"


@dataclass(frozen=True, kw_only=True)
class Degradation(Component):
    """`build(*, ...)` gives `degrade(image, size, scale) -> image`: one step from HR to LR.

    `image` is `B,3,H,W` float in [0, 1], on the device that the batch is on, and so is what comes back, of any height
    and width; the first one of a list is given HR. `size` is LR's (height, width), and HR's is `scale` times that. What
    the list leaves at another size than LR's is brought there by `imresize`. A `torch.nn.Module` is moved to it.

    Randomness comes from torch's global generator on the CPU, which is seeded for each picture: pictures come one by
    one (`B` is 1), so that one is degraded in the same way whatever ranks, batches and pictures there are beside it.
    """


@dataclass(frozen=True, kw_only=True)
class Optimizer(Component):
    """`build(parameters, lr, *, ...)` gives a `torch.optim.Optimizer` over a list of a network's parameters.

    The run's [schedule] sets `lr` in its `param_groups` before each step. Its `state_dict` (tensors, numbers, text) is
    all that it remembers. One that averages the weights itself, as schedule-free ones do, has `eval()`, which puts the
    weights to score and to save in the place of those that are trained, and `train()`, which it is in when it steps:
    srkit calls both, and puts the trained weights back bit for bit.
    """


@dataclass(frozen=True, kw_only=True)
class Wrapper(Component):
    """`build(upscaler, *, ...)` gives another upscaler: `B,3,H,W` in [0, 1] to `B,3,s*H,s*W`.

    Attributes:
        passes: how often it calls the upscaler for one picture, for the progress display; a number, or a function
            of its options.
        mark: what it adds to a model's name in tables and file names; empty for `+` and its own name.
        changes: True where it is meant to change what an exact upscaler gives, as sharpening does. Otherwise
            `srkit plugins check` wants an upscaler that repeats pixels unchanged.
        local: True where what it gives for a part of a picture is that part of what it gives for the whole, but for
            the margin that the network itself needs. Then large pictures are computed in tiles with it around each;
            otherwise it is given the whole picture at once.
    """

    passes: int | Callable[..., int] = 1
    mark: str = ""
    changes: bool = False
    local: bool = False


@dataclass(frozen=True, kw_only=True)
class Tracker(Component):
    """`build(run_dir, *, ...)` gives `scalars(step, {name: float})`, `images(step, {name: H,W,3 uint8})`, `close()`."""


@dataclass(frozen=True, kw_only=True)
class Command(Component):
    """A command of `srkit`: `srkit NAME ...` runs it, and `srkit --help` lists it by its `summary`.

    `build` is a `typer.Typer` app, or a function whose parameters typer reads as arguments and options. It is not
    called to make the command; it is the command. Named by `srkit.lazy`, it is imported when the command is run,
    not when it is listed. A built-in command keeps its name, and a name that two packages use is refused:
    `srkit PACKAGE:NAME` then says which.
    """


@dataclass(frozen=True, kw_only=True)
class Backend(Component):
    """`build(net, scale, *, precision, ...)` gives a function of a tile: `B,3,H,W` to `B,3,scale*H,scale*W`.

    `net` is a `torch.nn.Module` called `net(lr)`, in evaluation mode on the device it is to be used on; a
    multi-scale model comes as a module for the one scale. Both tensors are float32 in [0, 1] on that device (what
    comes out may leave [0, 1] a little). `precision` is an option by which the user chooses one of `precisions`.

    Attributes:
        precisions: what it can compute in -> the largest absolute difference, on values in [0, 1], that its result
            may have from the network's own in float32. `srkit plugins check` measures it on a small network.
    """

    precisions: Mapping[str, float] = field(default_factory=lambda: {"fp32": 1e-4})


@dataclass(frozen=True)
class Pair:
    """One picture of a dataset, small and large.

    Attributes:
        name: of the picture, in messages and tables.
        lr: `H,W,3` uint8 RGB, or uint16 from 0 to 65535. None: it is made from `hr`, cropped at the bottom and right
            to a multiple of the scale, by `imresize`.
        hr: `scale*H,scale*W,3`, likewise. Training sees all 16 bits; scores are of 8.
    """

    name: str
    lr: "np.ndarray | None"
    hr: "np.ndarray"


class PairSequence(Protocol):
    """What a dataset's build gives. It may also have `fingerprint() -> str` and `stores(rank, size)`: see `Dataset`.

    And `describe() -> str`: in one line what is HR, what is LR, how they were matched and what was left out; `train`,
    `bench` and `data check` print it. And `sources()`: for each picture, in order, its name and the files that it is
    read from, a list of `(str, [Path, ...])`; `bench` then knows without reading them which pictures it has scored.
    """

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Pair: ...


@dataclass(frozen=True)
class Batch:
    """Aligned patches on the training device, RGB.

    Attributes:
        lr: `B,3,h,w` float in [0, 1].
        hr: `B,3,scale*h,scale*w` float in [0, 1].
    """

    lr: "torch.Tensor"
    hr: "torch.Tensor"


#: kind -> (its record, the hook that returns such records)
KINDS: dict[str, tuple[type[Component], str]] = {
    "model": (Model, "srkit_models"),
    "loss": (Loss, "srkit_losses"),
    "dataset": (Dataset, "srkit_datasets"),
    "metric": (Metric, "srkit_metrics"),
    "augmentation": (Augmentation, "srkit_augmentations"),
    "degradation": (Degradation, "srkit_degradations"),
    "optimizer": (Optimizer, "srkit_optimizers"),
    "wrapper": (Wrapper, "srkit_wrappers"),
    "tracker": (Tracker, "srkit_trackers"),
    "command": (Command, "srkit_commands"),
    "backend": (Backend, "srkit_backends"),
}
