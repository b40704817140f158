"""Write the table of docs/weights.md from what ships: python docs/generate_weights.py"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from srkit.evaluate.report import digits
from srkit.plugins import load_plugins
from srkit.weights.offered import Offer, offers

PAGE = Path(__file__).with_name("weights.md")
LIST = PAGE.parents[1] / "plugins/srkit_builtin/weights/weights.toml"
RECORDS = "https://github.com/srkit/srkit/blob/main/benchmarks/records"
BEGIN, END = "<!-- from here on: python docs/generate_weights.py -->\n", "<!-- to here -->\n"
SETS = {"Set5": "set5", "Set14": "set14", "B100": "b100"}


def rows(offer: Offer, shipped: Mapping[str, Any]) -> Iterator[str]:
    """A line of the table for each scale of a file."""
    for scale in offer.weights.scales:
        claims = offer.claims(scale)
        cells = [
            f"{digits('psnr', claims[f'{name} y psnr'])} / {digits('ssim', claims[f'{name} y ssim'])}"
            for name in SETS.values()
        ]
        half = digits("psnr", claims["set5 y psnr bf16"])
        size = f"{(LIST.parent / shipped['file']).stat().st_size / 1e6:.1f} MB"
        record = f"[record]({RECORDS}/{shipped['record']}/README.md)"
        yield f"| `{offer.word}` | x{scale} | {' | '.join(cells)} | {half} | {size} | {record} |\n"


def table() -> str:
    files = {f"srkit_builtin:weights/{each['file']}": each for each in tomllib.loads(LIST.read_text())["weights"]}
    mine = [offer for offer in offers(load_plugins()) if offer.weights.resource in files]
    head = ["`--model`", "scale", *SETS, "Set5 in bf16", "file", "training"]
    text = f"| {' | '.join(head)} |\n| {' | '.join('---' for _ in head)} |\n"
    return text + "".join(line for offer in mine for line in rows(offer, files[offer.weights.resource]))


def page() -> str:
    """The page with its table as the list of the weights has it."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
