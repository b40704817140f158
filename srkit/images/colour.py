"""Colour profiles: CMYK through its profile to RGB, any profile to sRGB, in as many bits as the pixels have."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from srkit.images.about import profile_space
from srkit.images.picture import Picture, picture_from

if TYPE_CHECKING:
    import pyvips

THROUGH = "CMYK is converted to RGB through its profile"
PLAINLY = "CMYK has no profile and is converted to RGB plainly"
SPACES = {1: "GRAY", 2: "GRAY", 3: "RGB", 4: "RGB"}  # of a profile, by channels


def from_cmyk(image: Image.Image, icc: bytes | None, notices: list[str]) -> Image.Image:
    """An image of Pillow's in CMYK as sRGB."""
    from srkit.images.vips import from_array, library

    if icc is not None and profile_space(icc) == "CMYK":
        inks = from_array(np.ascontiguousarray(image)).copy(interpretation="cmyk")
        try:
            rgb = np.asarray(through(inks, icc).numpy())
        except library().Error:
            notices.append("its colour profile cannot be used")
        else:
            notices.append(THROUGH)
            return Image.fromarray(rgb)
    notices.append(PLAINLY)
    return image.convert("RGB")


def through(image: "pyvips.Image", icc: bytes) -> "pyvips.Image":
    """To sRGB through the profile, of the same depth; relative colorimetric with black point compensation."""
    from srkit.images.vips import library

    image = image.copy()
    image.set_type(library().GValue.blob_type, "icc-profile-data", icc)
    depth = 16 if image.format == "ushort" else 8
    return image.icc_transform("srgb", embedded=True, intent="relative", black_point_compensation=True, depth=depth)


def to_srgb(picture: Picture) -> Picture:
    """The same look in sRGB; a picture without a profile, or with one of sRGB, stays what it is."""
    from srkit.images.vips import from_array, library

    icc, pixels = picture.icc, np.ascontiguousarray(picture.channels())
    if icc is None or is_srgb(icc) or profile_space(icc) != SPACES[pixels.shape[2]]:
        return picture
    try:
        changed = np.asarray(alike(through(from_array(pixels), icc), pixels.shape[2]).numpy())
    except library().Error:
        told = [picture.notice, "its colour profile cannot be used"]
        return replace(picture, notice="; ".join(filter(None, told)))
    changed = changed[..., None] if changed.ndim == 2 else changed
    return picture_from(changed, replace(picture.about, icc=None), picture.notice)


def alike(image: "pyvips.Image", channels: int) -> "pyvips.Image":
    """Gray again after a conversion that made RGB of it: its three channels are equal."""
    if channels == 1:
        return image[0]
    return image[0].bandjoin(image[image.bands - 1]) if channels == 2 else image


def is_srgb(icc: bytes) -> bool:
    """By its description, whose text stands in the profile plainly or in UTF-16."""
    return b"sRGB" in icc or "sRGB".encode("utf-16-be") in icc
