"""srkit-pyiqa: pyiqa's metrics as srkit metrics and as a loss, from a table: no torch and no pyiqa is imported."""

import csv
import math
from functools import partial
from importlib.resources import files

from srkit import Loss, Metric, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for
REFERENCE = {"full": "Compares with the HR picture", "none": "Judges the SR picture alone"}

# As the formulas have them, for what can be checked without weights. pyiqa's own ranges are estimates by its own
# word: its 0..1 for NLPD and CW-SSIM is exceeded by both.
RANGES = {
    "cw_ssim": (0, math.inf),
    "entropy": (0, 8),
    "fsim": (0, 1),
    "gmsd": (0, 1),
    "mad": (0, math.inf),
    "ms_ssim": (0, 1),
    "nlpd": (0, math.inf),
    "piqe": (0, 100),
    "psnr": (0, 80),
    "psnry": (0, 80),
    "ssim": (0, 1),
    "ssimc": (0, 1),
    "vif": (0, math.inf),
    "vsi": (0, 1),
}


def table() -> list[dict[str, str]]:
    """pyiqa's metrics: name, reference (full, none), better (higher, lower), weights (fetched, none).

    It is the DEFAULT_CONFIGS of pyiqa 0.1.16, less what is not a score of one picture (see the README).
    """
    with files(__name__).joinpath("metrics.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def srkit_name(name: str) -> str:
    """What srkit calls pyiqa's `name`: `ms_ssim` is `ms-ssim`; its PSNR and SSIM, unlike srkit's own, are `pyiqa-`."""
    return ("pyiqa-" if name.startswith(("psnr", "ssim")) else "") + name.replace("_", "-")


@hookimpl
def srkit_metrics():
    return [
        Metric(
            name=srkit_name(row["name"]),
            build=partial(lazy("srkit_pyiqa.scorer:scorer"), row["name"]),
            needs_reference=row["reference"] == "full",
            higher_is_better=row["better"] == "higher",
            range=RANGES.get(row["name"], (-math.inf, math.inf)),
            summary=f"{REFERENCE[row['reference']]}, {row['better']} is better"
            + ("; fetches weights" if row["weights"] == "fetched" else ""),
            licence="PolyForm-Noncommercial-1.0.0",
        )
        for row in table()
    ]


@hookimpl
def srkit_losses():
    return [
        Loss(
            name="pyiqa",
            build=lazy("srkit_pyiqa.loss:Pyiqa"),
            summary="A metric of pyiqa that has a gradient: LPIPS, DISTS and others; most fetch weights",
            licence="PolyForm-Noncommercial-1.0.0",
        ),
    ]
