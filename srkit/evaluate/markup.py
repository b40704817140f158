"""Pages of one file: templates filled, tables and crops as HTML. All text from elsewhere is escaped here."""

import base64
import io
import re
from collections.abc import Container, Iterable, Mapping
from html import escape
from importlib.resources import files

import numpy as np
from PIL import Image, features


def text_file(name: str) -> str:
    return files("srkit.evaluate").joinpath(name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str], scripts: Iterable[str] = ("crops.js",)) -> str:
    """A template of this folder with its `{{names}}` replaced, with the style and the scripts that pages share."""
    known = {"style": text_file("page.css"), "script": "".join(map(text_file, scripts)), **parts}
    return re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], text_file(template))


def table_row(cells: Iterable[str]) -> str:
    first, *others = map(escape, cells)
    return f'<tr><th scope="row">{first}</th>{"".join(f"<td>{text}</td>" for text in others)}</tr>\n'


def head_row(cells: Iterable[str], left: Container[str] = ()) -> str:
    """left: the headings of columns of text."""
    kinds = {True: ' class="text"', False: ""}
    return "".join(f'<th scope="col"{kinds[text in left]}>{escape(text)}</th>' for text in cells)


def article(anchor: str, title: str, pixels: Mapping[str, np.ndarray], figures: Mapping[str, str], kind: str) -> str:
    """The same place of a picture in several versions, to be compared by `crops.js`.

    pixels: uint8 H,W,3 by label. figures: a line of HTML for each label. kind: `png` or `webp`, both without loss.
    """
    items = [
        f'<li><button type=button><img alt="{escape(f"{title}: {label}")}" src="{data_uri(each, kind)}">'
        f"<span class=name>{escape(label)}</span><span>{figures[label]}</span></button></li>"
        for label, each in pixels.items()
    ]
    return (
        f"<article id={anchor}><h3>{escape(title)}</h3>\n<div class=compare hidden></div>\n"
        f"<ul class=strip>\n{chr(10).join(items)}\n</ul></article>\n"
    )


def smallest_kind() -> str:
    """The picture format that is the smaller without loss, of those Pillow was built with."""
    return "webp" if features.check("webp") else "png"


def data_uri(pixels: np.ndarray, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(encoded(pixels, kind)).decode()}"


def encoded(pixels: np.ndarray, kind: str = "png") -> bytes:
    """The bytes of a picture file, without loss. kind: `png` or `webp`."""
    file = io.BytesIO()
    options = {"optimize": True} if kind == "png" else {"lossless": True, "quality": 100, "method": 6}
    Image.fromarray(pixels).save(file, format=kind, **options)
    return file.getvalue()
