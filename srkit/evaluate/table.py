"""The long table of a benchmark: one number a line. All that `srkit bench` shows is a view of it."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from srkit.errors import DataError, UsageError, missing_path

FORMAT = "srkit-bench-1"


@dataclass(frozen=True)
class Score:
    """One metric of one picture, or of a model that could not be scored on it.

    Attributes:
        model: the name its row gets, marks of wrappers included: `edsr-small`, `edsr-small+x8`, `RCAN`.
        weights: SHA-256 of the weight file; empty for a model without weights and for folders of ready pictures.
        origin: where the weights, or the ready pictures, come from.
        dataset: the set's name.
        content: SHA-256 of the set's pictures at this scale, HR and LR; empty where it is not known.
        image: the picture's name; empty in a row about the whole set, which has an error.
        scale: an integer factor.
        metric: its name with its options, as the user would write it: `psnr`, `lpips:net=vgg`.
        protocol: the protocol's name; empty for a metric without reference.
        value: in the metric's own unit; None where it could not be computed, and `error` says why. Infinite for the
            PSNR of identical pictures.
        seconds: that upscaling the picture took; None where nothing was upscaled.
        error: one line; empty for a row with a value.
    """

    model: str
    scale: int
    dataset: str
    image: str
    metric: str
    protocol: str
    value: float | None
    weights: str = ""
    origin: str = ""
    content: str = ""
    seconds: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Cost:
    """What a model costs at one scale, one number.

    Attributes:
        name: `parameters`, `multiply_adds` (for a 1280x720 output), `latency` (median seconds), `latency_spread`
            (seconds between the quartiles), `memory` (peak bytes).
        size: the output it is of, as `1280x720`; empty for `parameters`.
        value: None where it could not be measured, and `error` says why.
        conditions: device, threads, precision, torch version and what else the number depends on.
    """

    model: str
    scale: int
    name: str
    value: float | None
    weights: str = ""
    size: str = ""
    conditions: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class MetricInfo:
    """What a view must know of a metric. unit: `dB` or empty. digits: after the decimal point in tables."""

    name: str
    higher_is_better: bool = True
    unit: str = ""
    digits: int = 5
    reference: bool = True


@dataclass(frozen=True)
class ModelInfo:
    """What a view must know of a row's model.

    Attributes:
        claims: published scores by `"set5 y psnr"`, at `scale`.
        training_lr: what made the LR pictures it was trained on, as `srkit data check` names makers; empty: unknown.
    """

    name: str
    scale: int
    weights: str = ""
    origin: str = ""
    parameters: int | None = None
    claims: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    trained_on: str = ""
    training_lr: str = ""


@dataclass(frozen=True)
class SetInfo:
    """What a view must know of a set at one scale.

    Attributes:
        images: how many it has.
        left_out: names of the pictures that were not scored by any model, and why.
        lr_maker: what made its LR pictures, as `srkit data check` names makers; empty: not asked.
        groups: picture names by what is in them; empty until something measures it.
    """

    name: str
    scale: int
    images: int
    content: str = ""
    folder: str = ""
    left_out: Mapping[str, str] = field(default_factory=dict)
    lr_maker: str = ""
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Results:
    """A benchmark: the long table, and what is known of its metrics, models and sets.

    Attributes:
        about: `srkit`, `torch`, `command`, `date`, `device`, `precision`, `backend`, `processor` and
            others, for the reader.
    """

    scores: Sequence[Score]
    costs: Sequence[Cost] = ()
    metrics: Sequence[MetricInfo] = ()
    models: Sequence[ModelInfo] = ()
    sets: Sequence[SetInfo] = ()
    about: Mapping[str, str] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """The one protocol of all scores with a reference. Raises UsageError for two."""
        found = {score.protocol for score in self.scores if score.protocol}
        if len(found) > 1:
            raise UsageError(f"scores of two protocols cannot be compared in one table: {' and '.join(sorted(found))}")
        return found.pop() if found else ""

    def values(self, model: str, scale: int, dataset: str, metric: str) -> dict[str, float]:
        """The values of one model on one set, by picture, those that there are."""
        wanted = (model, scale, dataset, metric)
        return {
            s.image: s.value
            for s in self.scores
            if (s.model, s.scale, s.dataset, s.metric) == wanted and s.value is not None
        }

    def to_json(self) -> str:
        """The whole as JSON, which `read_results` reads; what is not finite is written as text (`"inf"`)."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """What `to_json` writes."""
        parts = {part.name: getattr(self, part.name) for part in fields(self)}
        about = {"format": FORMAT, "protocol": self.protocol, "fingerprint": fingerprint(self), **parts.pop("about")}
        rows = {name: [plain(asdict(row)) for row in rows] for name, rows in parts.items()}
        return {"about": about, **rows}


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row without its empty fields, its numbers as JSON has them."""
    kept = {key: value for key, value in row.items() if value not in ("", {}, []) and value != ()}
    return {
        key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in kept.items()
    }


def fingerprint(results: Results) -> str:
    """Twelve hexadecimal digits of what must agree for two tables to be compared: protocol, metrics and sets' content.

    Which models were scored is no part of it.
    """
    parts = {
        "protocol": results.protocol,
        "metrics": sorted({score.metric for score in results.scores}),
        "sets": sorted({(one.name, one.scale, one.content) for one in results.sets}),
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def read_results(path: Path) -> Results:
    """The table that `Results.to_json` wrote. Raises DataError for another file, naming it."""
    kinds: dict[str, Any] = {
        "scores": Score,
        "costs": Cost,
        "metrics": MetricInfo,
        "models": ModelInfo,
        "sets": SetInfo,
    }
    if not path.is_file():
        raise missing_path(path, "file")
    try:
        read = json.loads(path.read_text())
        about = read["about"]
        if about["format"] != FORMAT:
            raise DataError(f"'{path}' is of format {about['format']!r}; this srkit reads {FORMAT!r}")
        rows = {name: [made(kind, row) for row in read.get(name, [])] for name, kind in kinds.items()}
    except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is no table of `srkit bench --json`: {error}") from None
    return Results(**rows, about={key: value for key, value in about.items() if key not in ("format", "fingerprint")})


def made(kind: Any, row: Mapping[str, Any]) -> Any:
    """A row from JSON: `"inf"` and `"nan"` are numbers again; a missing value is None."""
    known = {each.name for each in fields(kind)}
    filled = {"value": None} if "value" in known else {}
    one = kind(**(filled | {key: value for key, value in row.items() if key in known}))
    return replace(one, value=float(one.value)) if isinstance(filled and one.value, str) else one
