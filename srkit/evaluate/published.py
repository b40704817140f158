"""Published figures of standard methods, quoted beside what was measured: `published.toml` says where each was read.

They are text from a document, not scores: they have no pictures, so they are no part of ranks, tests or records.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from srkit.evaluate.table import Results, SetInfo

METRICS = ("psnr", "ssim")  # as the figures of a row are written: 33.66/0.9299
MARK = "quoted"


@dataclass(frozen=True)
class Document:
    """Where figures were read. commit: empty where it is not known which of the file's versions it was."""

    name: str
    source: str
    repository: str
    path: str
    commit: str
    protocol: str
    note: str

    @property
    def address(self) -> str:
        """Of the file as it was read; empty for a document without one."""
        if not self.repository:
            return ""
        return f"https://github.com/{self.repository}/blob/{self.commit or 'HEAD'}/{self.path}"


@dataclass(frozen=True)
class Quoted:
    """One method on one set at one scale, as documents have it.

    Attributes:
        figures: by metric, with the digits of the document: `{"psnr": "38.27", "ssim": "0.9614"}`.
        documents: their names; several, where they agree in all figures.
    """

    method: str
    scale: int
    dataset: str
    protocol: str
    figures: Mapping[str, str]
    documents: tuple[str, ...]


@cache
def read() -> dict[str, Any]:
    """The file as it is."""
    return tomllib.loads(files("srkit.evaluate").joinpath("published.toml").read_text(encoding="utf-8"))


def documents() -> dict[str, Document]:
    """All documents, by name."""
    fields = Document.__dataclass_fields__
    return {each["name"]: Document(**{key: each[key] for key in fields}) for each in read()["document"]}


def quotes() -> list[Quoted]:
    """Every figure there is; the same figures of one method in several documents are one row."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for document in read()["document"]:
        for method, scale, *cells in document["rows"]:
            for dataset, cell in zip(document["sets"], cells, strict=True):
                figures = tuple(cell.split("/")) if cell != "-" else ()
                if figures:
                    key = (method, scale, dataset, document["protocol"], figures)
                    found.setdefault(key, []).append(document["name"])
    return [
        Quoted(
            method,
            scale,
            dataset,
            protocol,
            {metric: text for metric, text in zip(METRICS, figures, strict=True) if text != "-"},
            tuple(names),
        )
        for (method, scale, dataset, protocol, figures), names in found.items()
    ]


def beside(results: Results) -> tuple[list[Quoted], list[str]]:
    """(rows, notices): what is published of the sets, scales and metrics that were measured, by the same protocol.

    In the order of the sets, and of PSNR.
    A set gets no rows, and a notice says why, where it is not the published one: another number of pictures, or LR
    pictures that were not made by MATLAB's bicubic filter.
    """
    known = {each.dataset for each in quotes()}
    notices, fitting = [], set()
    for one in results.sets:
        name = one.name.lower()
        if name not in known:
            continue
        reason = unlike(one)
        if reason:
            notices.append(f"{one.name} x{one.scale}: published figures are not comparable, {reason}")
        else:
            fitting.add((name, one.scale))
    metrics = {score.metric for score in results.scores}
    near = [each for each in quotes() if (each.dataset, each.scale) in fitting and metrics & set(each.figures)]
    rows = [each for each in near if each.protocol == results.protocol]
    if near and not rows:
        others = sorted({each.protocol for each in near})
        notices.append(f"no published figures by protocol '{results.protocol}'; there are some by {', '.join(others)}")
    order = list(dict.fromkeys(one.name.lower() for one in results.sets))
    return sorted(rows, key=lambda each: (each.scale, order.index(each.dataset), each.figures.get("psnr", ""))), notices


def unlike(one: SetInfo) -> str:
    """Why a set is not the published one of its name; empty where nothing speaks against it."""
    expected = read()["images"][one.name.lower()]
    if one.images != expected:
        return f"the set has {one.images} pictures, the published one {expected}"
    if one.lr_maker and "matlab" not in one.lr_maker.lower():
        return f"its LR pictures were made by {one.lr_maker}, the published ones by MATLAB's bicubic filter"
    return ""


def sources(rows: Sequence[Quoted]) -> list[str]:
    """A line for each document that rows are quoted from, in the order of their names."""
    named = documents()
    used = sorted({name for row in rows for name in row.documents})
    return [f"[{name}] {' '.join((named[name].source, named[name].address)).strip()}" for name in used]


def wide(rows: Sequence[Quoted]) -> list[tuple[str, tuple[str, ...], dict[tuple[str, str], str]]]:
    """(method, documents, figures by set and metric) of one scale: documents that nowhere disagree share a row."""
    own: dict[tuple[str, str], dict[tuple[str, str], str]] = {}
    for row in rows:
        for name in row.documents:
            figures = own.setdefault((row.method, name), {})
            figures.update({(row.dataset, metric): text for metric, text in row.figures.items()})
    merged: list[tuple[str, tuple[str, ...], dict[tuple[str, str], str]]] = []
    for (method, name), figures in own.items():
        for i, (other, names, taken) in enumerate(merged):
            if other == method and all(taken.get(key, text) == text for key, text in figures.items()):
                merged[i] = (method, (*names, name), taken | figures)
                break
        else:
            merged.append((method, (name,), figures))
    return merged
