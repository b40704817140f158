"""The bytes of a picture file without its metadata, for where that is broken and the pixels are not."""

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8"
JPEG_KEPT = (0xE0, 0xEE)  # JFIF, and Adobe's, which says how colour is stored
JPEG_BEGIN = (b"\xff\xdb", b"\xff\xc0", b"\xff\xc2", b"\xff\xc4")  # tables and frames: the pixels' own segments


def without_metadata(data: bytes) -> bytes | None:
    """A PNG or JPEG file with nothing but what its pixels need; None for others, or where nothing is to be removed."""
    bare = data
    if data.startswith(PNG):
        bare = bare_png(data)
    elif data.startswith(JPEG):
        bare = bare_jpeg(data)
    return bare if bare != data else None


def bare_png(data: bytes) -> bytes:
    """Critical chunks and the transparency of palettes, up to the end or to where the chunks go astray."""
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if kind[0] < 0x60 or kind == b"tRNS":  # an upper case letter: critical
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def bare_jpeg(data: bytes) -> bytes:
    """Without the application segments and comments that come before the pixels."""
    kept, at = [JPEG], len(JPEG)
    while at + 4 <= len(data):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0x00, 0xFF):  # a wrong length led astray: on from the next segment of pixels
            found = [place for sign in JPEG_BEGIN if (place := data.find(sign, at + 1)) >= 0]
            if not found:
                break
            at = min(found)
            continue
        if marker == 0xDA:  # the pixels follow, to the end
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in JPEG_KEPT or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])
