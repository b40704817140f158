"""What a client may ask for: the options of `srkit upscale` that decide the picture, checked; none names a path.

Imports no torch.
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srkit import OptionError, UnknownName

Number = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(max_length=100)]
#: Those that `srkit.load` takes; `upscale_file` takes the others.
OF_LOAD = {"model", "self_ensemble", "keep_colour", "precision", "backend"}


class Options(BaseModel):
    """By the names of `srkit upscale`; its `--print` is `print`, here the attribute `paper`."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, str_strip_whitespace=True)

    model: Annotated[Word, Field(description="A name of GET /models; if not given, the best that is installed.")] = ""
    scale: Annotated[Number | None, Field(description="Factor, 2 or 2.7; that of the weights if no size is given.")] = (
        None
    )
    width: Annotated[int | None, Field(description="Width in pixels.")] = None
    height: Annotated[int | None, Field(description="Height in pixels.")] = None
    long_edge: Annotated[int | None, Field(description="Longer side in pixels.")] = None
    fit: Annotated[Word | None, Field(description="As large as fits: 3840x2160.")] = None
    paper: Annotated[Word | None, Field(alias="print", description="A sheet: A2, 50x70cm, 24x36in.")] = None
    dpi: Annotated[Number | None, Field(description="Pixels to the inch, 300 for print; written down.")] = None
    bleed: Annotated[Word | None, Field(description="Added at each side of the sheet: 3mm.")] = None
    crop: Annotated[bool, Field(description="Cut what a sheet of another shape has no place for.")] = False
    pad: Annotated[Word | None, Field(description="Fill the rest of the sheet with this colour.")] = None
    format: Annotated[
        Literal["png", "jpeg", "webp", "tiff", "bmp", "avif", "jp2"] | None, Field(description="png if not given.")
    ] = None
    quality: Annotated[int | None, Field(description="1 to 100, of lossy formats.")] = None
    depth: Annotated[int | None, Field(description="8 or 16 bits; as it came.")] = None
    background: Annotated[Word | None, Field(description="Under transparency in JPEG and BMP; white.")] = None
    profile: Annotated[
        Literal["keep", "srgb"] | None, Field(description="keep the colour profile, or convert to srgb.")
    ] = None
    strip: Annotated[bool, Field(description="Drop all metadata.")] = False
    keep_colour: Annotated[bool, Field(description="The result, made small, has the colours it had.")] = False
    protect: Annotated[Literal["text"] | None, Field(description="text: what looks like text is left to Lanczos.")] = (
        None
    )
    strength: Annotated[Number | None, Field(description="1 is the network, 0 Lanczos.", ge=0, le=1)] = None
    range: Annotated[
        Word | None, Field(description="Black and white of gray 16-bit, 32-bit or float pixels: 0,4095.")
    ] = None
    receipt: Annotated[Literal["xmp"] | None, Field(description="xmp: write what made the picture into it.")] = None
    self_ensemble: Annotated[bool, Field(description="The mean of eight flips and turns: eight times as long.")] = False

    precision: Annotated[Word, Field(description="fp32 if not given; auto, bf16, or what a backend offers.")] = ""
    backend: Annotated[
        Word, Field(description="What the network runs in, torch if not given; auto: the fastest that loses 0.01 dB.")
    ] = ""

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> "Options":
        """Of words, as a form has them. UnknownName or OptionError, in one line, for what cannot be."""
        known = {field.alias or name for name, field in cls.model_fields.items()}
        if unknown := sorted(set(given) - known):
            raise UnknownName(f"no option '{shown(unknown[0])}'{nearest(unknown[0], known)}")
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise OptionError(f"{first['loc'][0]} '{shown(first['input'])}': {first['msg']}") from None

    def said(self) -> dict[str, Any]:
        """What is not as it is without a word, by the names of Python."""
        return self.model_dump(exclude_defaults=True)

    def of_load(self) -> dict[str, Any]:
        """The keywords of `srkit.load`."""
        return {
            "model": self.model or None, "ensemble": self.self_ensemble, "keep_colour": self.keep_colour,
            "precision": self.precision or None, "backend": self.backend,
        }  # fmt: skip

    def of_file(self) -> dict[str, Any]:
        """The keywords of `upscale_file`."""
        return {key: value for key, value in self.said().items() if key not in OF_LOAD}


def shown(word: object, most: int = 60) -> str:
    """What a client wrote, as a short line that can be printed."""
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(word)[: most + 1])
    return text if len(text) <= most else f"{text[:most]}..."


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'scale'?`, or a list of them all."""
    names = sorted(known)
    near = get_close_matches(word[:60].lower(), names, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; there is {', '.join(names)}"
