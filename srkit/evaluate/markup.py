"""Pages of one file: templates filled, tables and crops as HTML. All text from elsewhere is escaped here."""

import base64
import io
import re
from collections.abc import Container, Iterable, Mapping
from html import escape
from importlib.resources import files

import numpy as np
from PIL import Image, features

LEFT = (  # headings of columns of text
    "set",
    "LR made by",
    "content",
    "folder",
    "weights",
    "trained on",
    "its LR",
    "licence",
    "origin",
    "read in",
    "error",
)


def text_file(name: str) -> str:
    return files("srkit.evaluate").joinpath(name).read_text(encoding="utf-8")


def filled(template: str, parts: Mapping[str, str], scripts: Iterable[str] = ("crops.js",)) -> str:
    """A template of this folder with its `{{names}}` replaced, with the head, style and scripts that pages share."""
    known = {"style": text_file("page.css"), "script": "".join(map(text_file, scripts)), **parts}

    def fill(text: str) -> str:
        return re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]], text)

    known["top"] = fill(text_file("head.html"))
    return fill(text_file(template))


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


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def table(name: str, head: Iterable[str], body: Iterable[str], *, kind: str = "", anchor: str = "") -> str:
    """A table in a box of its own that scrolls; by keyboard too. head: text. body: rows as HTML."""
    identity = f" id={anchor}" if anchor else ""
    return (
        f'<div class=wide tabindex=0 role=region aria-label="{escape(name)}"><table{identity} class="{kind}">\n'
        f"<thead><tr>{head_row(head, LEFT)}</tr></thead>\n<tbody>\n{''.join(body)}</tbody></table></div>\n"
    )


def cell(text: str, sort: object = "", *, kind: str = "", below: str = "") -> str:
    """A cell with what it is sorted by: text as it is, a number, or nothing for what is not there."""
    small = f"<small>{escape(below)}</small>" if below else ""
    return f'<td class="{kind}" data-sort="{escape(str(sort))}">{escape(text)}{small}</td>'


def row_head(text: str, sort: object = "") -> str:
    return f'<th scope="row" data-sort="{escape(str(sort or text))}">{escape(text)}</th>'
