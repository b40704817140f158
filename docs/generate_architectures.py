"""Write docs/architectures.md from srkit-spandrel and its kept record: python docs/generate_architectures.py"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGE = Path(__file__).with_name("architectures.md")
RECORD = ROOT / "benchmarks/records/2026-11-30-architectures"
BEGIN, END = "<!-- from here on: python docs/generate_architectures.py -->\n", "<!-- to here -->\n"
WHY = {
    "global": "none: a part sees the whole picture",
    "windows": "none: windows of attention, no bound is proved",
    "unet": "none: pictures of several sizes are joined, no bound is proved",
}


def table() -> dict[str, Any]:
    return tomllib.loads((ROOT / "plugins/srkit-spandrel/srkit_spandrel/models.toml").read_text(encoding="utf-8"))


def models(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each architecture."""
    yield from head(
        "`--model`", "what it is", "scales", "parameters", "receptive field", "licence of the code", "spandrel", "check"
    )
    for row in table()["model"]:
        found = results.get(row["name"], {})
        extra = " (spandrel_extra_arches)" if row.get("extra") else ""
        paper = f" {row['paper']}." if row["paper"] else ""
        yield line(
            f"`{row['name']}`",
            f"{row['summary']}.{paper}",
            ", ".join(f"x{scale}" for scale in row["scales"]),
            parameters(found),
            WHY.get(row["field"], "by its options"),
            f"[{row.get('licence', 'permissive')}]({row['code']}){extra}",
            pixels(found),
            check(found),
        )


def parameters(found: Mapping[str, Any]) -> str:
    """Of the size that the bare name means."""
    if not found.get("sizes"):
        return "not counted"
    return f"{found['sizes'][0]['parameters']:,} (x{found['sizes'][0]['scale']})"


def pixels(found: Mapping[str, Any]) -> str:
    """What spandrel made of its files after a step of training."""
    if "failed" in found:
        return f"failed: {found['failed']}"
    if "differ" not in found:
        return "not measured"
    return "equal" if not found["differ"] else f"{found['differ']} of {found['values']:,} values differ by a level"


def check(found: Mapping[str, Any]) -> str:
    """What `srkit plugins check` said of the small one."""
    if "faults" not in found:
        return "not made"
    told = "; ".join(found["faults"]).replace("|", "\\|") or "no fault"
    return told + (" (model checks)" if "how" in found else "")


def sizes(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each published size."""
    yield from head("`--model`", "scale", "parameters", "as published", "sizes from")
    for row in table()["model"]:
        for size in results.get(row["name"], {}).get("sizes", ()):
            said = size["published"] and f"{size['published']}{'' if size['as_published'] else ', which differs'}"
            note = f"; {row['note']}" if row.get("note") else ""
            yield line(
                f"`{size['preset']}`", f"x{size['scale']}", f"{size['parameters']:,}", said, row["sizes_from"] + note
            )


def head(*names: str) -> Iterator[str]:
    yield line(*names)
    yield line(*("---" for _ in names))


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"


def content() -> str:
    results = {each["name"]: each for each in json.loads((RECORD / "results.json").read_text())["models"]}
    left = "".join(f"- {name}: {why}.\n" for name, why in table()["left_out"].items())
    parts = ["## Models\n\n", *models(results), "\n## Published sizes\n\n", *sizes(results), "\n## Left out\n\n", left]
    return "\n" + "".join(parts) + "\n"


def page() -> str:
    """The page with its tables as the package and the record have them."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + content() + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
