"""Read and write picture files faithfully: orientation, transparency, gray, depth, profiles; never half a file."""

from srkit.images.about import About, receipt_in
from srkit.images.encoding import FORMATS, SUFFIXES, Encoding, check_encoding, check_output, encoding_for
from srkit.images.folders import left_out, list_files, list_images, readable_suffixes
from srkit.images.header import MAX_PIXELS, Header, header
from srkit.images.picture import Picture, extended, image_of, picture_from
from srkit.images.read import LOG, image_size, limits, picture_of, read_picture, read_rgb
from srkit.images.write import write_picture, write_pixels

__all__ = [
    "FORMATS",
    "LOG",
    "MAX_PIXELS",
    "SUFFIXES",
    "About",
    "Encoding",
    "Header",
    "Picture",
    "check_encoding",
    "check_output",
    "encoding_for",
    "extended",
    "header",
    "image_of",
    "image_size",
    "left_out",
    "limits",
    "list_files",
    "list_images",
    "picture_from",
    "picture_of",
    "read_picture",
    "read_rgb",
    "readable_suffixes",
    "receipt_in",
    "write_picture",
    "write_pixels",
]
