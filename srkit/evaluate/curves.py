"""Learning curves as a picture: one varied key by colour, the next by line style, the next by marker."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srkit.errors import SrkitError

#: distinct for colour-blind readers too (Okabe and Ito 2008), without the yellow, which is hard to see on white
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))
SIZES: dict[str, Any] = {"linewidth": 1.8, "markersize": 5}
MARKERS = ("o", "s", "^", "D", "v", "x", "P", "*")


@dataclass(frozen=True)
class Curve:
    """One line. words: the values of the varied keys, for the legend. points: (step, value)."""

    words: Mapping[str, str]
    points: Sequence[tuple[int, float]]


def need_matplotlib() -> None:
    """Raises SrkitError where it is not installed. Called before any work."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise SrkitError("learning curves need matplotlib: pip install matplotlib") from None


def draw_curves(curves: Sequence[Curve], title: str, *, falling: bool = False) -> dict[str, bytes]:
    """{".png": ..., ".svg": ...}: the curves over steps. title: what is measured, with set, unit and protocol.

    falling: lower is better, as of a loss.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter

    groups = groups_of([curve.words for curve in curves])
    with rc_context({"svg.hashsalt": "srkit", "svg.fonttype": "none", "font.size": 11}):
        figure = Figure(figsize=(9, 5.2), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            look: dict[str, Any] = {"color": COLOURS[0], "marker": "" if len(curve.points) > 1 else "o"}
            for group in groups:
                look |= group.looks[group.of(curve.words)]
            axes.plot(*zip(*curve.points, strict=True), **look, **SIZES)
        axes.set_xlabel("optimizer steps")
        axes.set_ylabel(title)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
        axes.set_ylim(top=ceiling_of(curves)) if falling else axes.set_ylim(bottom=floor_of(curves))
        axes.grid(color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)

        handles: list[Line2D] = []
        for group in groups:
            space = [Line2D([], [], linestyle="", label="")] if handles else []
            handles += [*space, Line2D([], [], linestyle="", label=group.title)]
            handles += [
                Line2D([], [], label=", ".join(words), **{"color": "#555555", **look}, **SIZES)
                for words, look in group.looks.items()
            ]
        legend = figure.legend(handles=handles, loc="outside right upper", frameon=False, handlelength=3)
        for text in legend.get_texts():
            if text.get_text() in [group.title for group in groups]:
                text.set_fontweight("bold")

        pictures = {}
        for suffix, about in ((".png", {"Software": None}), (".svg", {"Date": None, "Creator": None})):
            file = io.BytesIO()
            figure.savefig(file, format=suffix[1:], dpi=150, metadata=about)
            pictures[suffix] = file.getvalue()
    return pictures


@dataclass(frozen=True)
class Group:
    """Keys that share one kind of look, and the look of each combination of their values."""

    keys: tuple[str, ...]
    looks: Mapping[tuple[str, ...], Mapping[str, Any]]

    @property
    def title(self) -> str:
        return ", ".join(self.keys)

    def of(self, words: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(words[key] for key in self.keys)


def groups_of(curves: Sequence[Mapping[str, str]]) -> list[Group]:
    """The key with the most values gets colours, the next line styles, the next markers; what is left, colours too."""
    counts = {key: len({curve[key] for curve in curves}) for key in curves[0]}
    others = sorted(counts, key=lambda key: -counts[key])[1:]
    offered: tuple[tuple[str, Sequence[Any]], ...] = (("linestyle", STYLES), ("marker", MARKERS))
    kinds = {key: kind for key, kind in zip(others, offered, strict=False) if counts[key] <= len(kind[1])}
    coloured = tuple(key for key in counts if key not in kinds)
    combinations = list(dict.fromkeys(tuple(curve[key] for key in coloured) for curve in curves))
    colours = colours_of(combinations)
    groups = [Group(coloured, {words: {"color": c} for words, c in zip(combinations, colours, strict=True)})]
    for key, (kind, values) in kinds.items():
        words = dict.fromkeys(curve[key] for curve in curves)
        groups.append(Group((key,), {(w,): {kind: value} for w, value in zip(words, values, strict=False)}))
    return groups


def colours_of(combinations: Sequence[tuple[str, ...]]) -> list[Any]:
    """Distinct colours for names; for numbers, and for many, a scale from dark to light in their order."""
    from matplotlib import colormaps

    ranked: list[Any] = list(combinations)
    try:
        ranked = sorted(ranked, key=lambda words: [float(word) for word in words])
    except ValueError:
        if len(combinations) <= len(COLOURS):
            return list(COLOURS[: len(combinations)])
    if len(combinations) < 3:
        return list(COLOURS[: len(combinations)])
    places = {words: 0.9 * i / (len(ranked) - 1) for i, words in enumerate(ranked)}  # its light end is hard to see
    return [colormaps["viridis"](places[words]) for words in combinations]


def floor_of(curves: Sequence[Curve]) -> float | None:
    """Lower end of the axis, so that a steep first fifth does not flatten the rest. None: chosen by matplotlib."""
    settled = [y for curve in curves for x, y in curve.points if x >= curve.points[-1][0] / 5]
    low, high = min(settled), max(settled)
    floor = low - max(0.1, 0.2 * (high - low))
    return floor if min(y for curve in curves for _, y in curve.points) < floor < high else None


def ceiling_of(curves: Sequence[Curve]) -> float | None:
    """Upper end of the axis, for what falls, as `floor_of`."""
    mirrored = [Curve(curve.words, [(x, -y) for x, y in curve.points]) for curve in curves]
    floor = floor_of(mirrored)
    return None if floor is None else -floor
