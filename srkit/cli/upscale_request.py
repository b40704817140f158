"""What `srkit upscale` is asked for, and what does not go together."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srkit.errors import UsageError

if TYPE_CHECKING:
    from srkit.images import Encoding
    from srkit.upscale.sizes import Wanted

PIXELS = (  # the options that decide the pixels or the file, which a receipt keeps
    "model", "scale", "width", "height", "long_edge", "fit", "paper", "dpi", "bleed", "crop", "pad", "format",
    "quality", "depth", "background", "profile", "strip", "self_ensemble", "wrapper", "pixel_range", "max_pixels",
    "precision", "backend", "strength", "keep_colour", "protect", "receipt",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """The command's options, by their names there. said: those that a receipt keeps."""

    photos: tuple[str, ...]
    model: str
    scale: float | None
    width: int | None
    height: int | None
    long_edge: int | None
    fit: str | None
    paper: str | None
    dpi: float | None
    bleed: str | None
    crop: bool
    pad: str | None
    out: str | None
    name: str | None
    overwrite: bool
    skip_existing: bool
    format: str | None
    quality: int | None
    depth: int | None
    background: str
    profile: str
    strip: bool
    keep_colour: bool
    protect: str | None
    strength: float
    receipt: str
    self_ensemble: bool
    wrapper: list[str] | None
    tile: int | None
    pixel_range: str
    max_pixels: int | None
    device: str
    precision: str | None
    backend: str
    confidence: Path | None
    dry_run: bool
    as_json: bool
    said: dict[str, Any] = field(default_factory=dict)
    receipt_text: str = ""  # of the picture that is repeated

    def wanted(self) -> "Wanted":
        from srkit.upscale.sizes import Wanted

        keys = ("scale", "width", "height", "long_edge", "fit", "paper", "dpi", "bleed", "crop", "pad")
        return Wanted(**{key: getattr(self, key) for key in keys})

    def encoding(self, target: str | Path) -> "Encoding":
        from srkit.images import encoding_for

        return encoding_for(
            target, self.format, self.quality, self.depth, self.background, strip=self.strip
        )  # the receipt is added when it is known

    def suffix(self) -> str:
        """Of results that get their names by a pattern."""
        from srkit.images import FORMATS, SUFFIXES

        if self.name and self.name.lower().endswith(SUFFIXES):
            named = f"result{Path(self.name).suffix}"
        else:
            named = "result" if self.format else "result.png"
        return FORMATS[self.encoding(named).format][0]


def check(request: Request) -> None:
    """Before torch is imported: UsageError for what cannot be."""
    if request.overwrite and request.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    if request.profile not in ("keep", "srgb"):
        raise UsageError(f"--profile is keep or srgb, not '{request.profile}'")
    if request.receipt not in ("", "xmp", "sidecar"):
        raise UsageError(f"--receipt is xmp or sidecar, not '{request.receipt}'")
    if request.pixel_range:
        from srkit.images import limits

        limits(request.pixel_range)
    if request.confidence is not None and request.confidence.suffix and not request.confidence.is_dir():
        from srkit.images import check_output

        check_output(request.confidence)
    request.wanted()


def one_file(request: Request) -> bool:
    """Does -o name a file, not a folder?"""
    return request.out is not None and bool(Path(request.out).suffix) and not Path(request.out).is_dir()
