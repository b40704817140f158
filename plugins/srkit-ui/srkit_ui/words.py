"""What the page says: of a plan, a model, a job. Text from elsewhere is escaped here."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from srkit_server.jobs import AUTO

from srkit import FilePlan, UsableModel

TORCH = "torch"  # the backend that needs no name

SHEETS = (  # what most people print; any other may be typed: 40x55cm
    "A4", "A3", "A2", "A1", "A0", "10x15", "13x18", "20x30", "30x45", "40x60", "50x70", "60x90", "70x100cm",
    "letter", "tabloid", "8x10", "11x14", "16x20", "24x36",
)  # fmt: skip
UNITS = {"10x15": "cm", "13x18": "cm", "20x30": "cm", "30x45": "cm", "40x60": "cm", "50x70": "cm", "60x90": "cm"}


def sheets() -> list[tuple[str, str]]:
    """(what is shown, what srkit is given) of the sheets in the list."""
    found = []
    for word in SHEETS:
        unit = UNITS.get(word, "" if word[0].isalpha() or word.endswith("cm") else "in")
        shown = word.replace("x", " × ").replace("cm", " cm") if "x" in word else word
        found.append((f"{shown} {unit}".strip(), f"{word}{unit}"))
    return found


def span(seconds: float) -> str:
    """`about 40 seconds`, `about 3 minutes`, `about 2 hours`."""
    if seconds < 1.5:
        return "about a second"
    if seconds < 90:
        return f"about {round(seconds) if seconds < 10 else 5 * round(seconds / 5)} seconds"
    if seconds < 5400:
        return f"about {round(seconds / 60)} minutes"
    return f"about {round(seconds / 3600)} hours"


def spent(seconds: float) -> str:
    """`3.4 seconds`, `2 minutes`."""
    return f"{seconds:.1f} seconds" if seconds < 90 else f"{round(seconds / 60)} minutes"


def megabytes(path: Path) -> str:
    """Of a file: `3.4 MB`."""
    return f"{path.stat().st_size / 1e6:,.1f} MB" if path.is_file() else "deleted"


def ended(state: str, error: Exception | None) -> str:
    """Why a job has no result."""
    return "Cancelled: nothing was made" if state == "cancelled" else str(error or "it failed")


def sides(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,}".replace(",", " ")


def good_for(model: UsableModel) -> str:
    """What a model is for, in words."""
    if not model.trainable:
        return "Quick, without a network"
    if model.tag == "photo":
        return "Photograph from a phone, a camera or the web"
    if model.tag in ("", "bicubic"):
        return "Clean picture: a rendering, a drawing, a scan"
    return f"For {model.tag}"


def model_choices(models: Sequence[UsableModel]) -> list[tuple[str, str]]:
    """(what is shown, name): networks for photographs first, interpolations last."""

    def rank(model: UsableModel) -> tuple[bool, bool]:
        return not model.trainable, model.tag != "photo"

    return [(f"{good_for(model)} ({model.name})", model.name) for model in sorted(models, key=rank)]


def backend_choices(backends: Sequence[str]) -> list[tuple[str, str]]:
    """(what is shown, name) of what a network may run in; PyTorch alone where there is nothing else."""
    others = [name for name in backends if name != TORCH]
    quickest = [("What is quickest here and as good", AUTO)] if others else []
    return [("PyTorch — exact", ""), *quickest, *((f"{name} — in full precision", name) for name in others)]


def by(runtime: str) -> str:
    """` by openvino in bf16`, of what is not as it always is."""
    return "" if runtime in ("", f"{TORCH} in fp32") else f" by {runtime}"


def about_model(model: UsableModel) -> str:
    """Licence, training data, scales, as a line of HTML."""
    parts = []
    if model.trainable:
        parts.append(f"Licence of the weights: {model.licence or 'not said'}")
        parts.append("enlarges by " + ", ".join(f"{scale}" for scale in model.scales) + " at a time")
    else:
        parts.append("An interpolation; it needs no weights and no licence")
    if model.trained_on:
        parts.append(f"trained on {model.trained_on}")
    return f"<p class='soft'>{escape('; '.join(parts))}.</p>"


def plan_row(name: str, plan: FilePlan) -> str:
    """One picture of the plan, as HTML."""
    lines = "".join(f"<li>{escape(line[0].upper() + line[1:])}.</li>" for line in plan.notices)
    sheet = f" at {plan.dpi:g} dpi" if plan.dpi else ""
    return (
        f"<section class='plan'><h3>{escape(name)}</h3>"
        f"<p class='sizes'><span>{sides(plan.source)}</span> <span aria-label='becomes'>→</span> "
        f"<b>{sides(plan.size)}</b> pixels{sheet}</p><ul>{lines}</ul></section>"
    )


def plan_page(rows: Sequence[str], seconds: float | None, waiting: int) -> str:
    """The plan of all pictures."""
    time = "" if seconds is None else f"<p class='time'>This takes <b>{span(seconds)}</b>{queue(waiting)}.</p>"
    return f"<h2>What you will get</h2>{time}{''.join(rows)}"


def queue(waiting: int) -> str:
    """What waits before it, in words."""
    if not waiting:
        return ""
    return f", after {waiting} other picture{'' if waiting == 1 else 's'}"


def trouble(name: str, line: str) -> str:
    """A picture that cannot be made, and why, as HTML."""
    head = f"<h3>{escape(name)}</h3>" if name else ""
    return f"<section class='plan trouble'>{head}<p role='alert'>{escape(in_words(line))}</p></section>"


WORDS = (  # options of the command, as the page calls them
    ("--crop cuts off", "'Fill the sheet' cuts off"),
    ("--pad COLOUR fills", "'Show all of it' fills"),
    ("(--print list names all)", ""),
    ("--print", "the sheet"),
    ("--bleed", "the bleed"),
    ("--scale", "the factor"),
    ("--dpi", "dpi"),
)


def in_words(line: str) -> str:
    """An error of srkit's, which names options of the command, for a page that has none."""
    for option, word in WORDS:
        line = line.replace(option, word)
    return f"{line[:1].upper()}{line[1:]}{'' if line.endswith('.') else '.'}"
