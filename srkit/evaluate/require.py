"""Requirements on a benchmark, as a build server states them: `edsr-small:set5:x2:psnr>=37.2`."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from srkit.errors import OptionError, UsageError, did_you_mean
from srkit.evaluate.statistics import info, mean
from srkit.evaluate.table import Cost, Results

COSTS = ("parameters", "multiply_adds", "latency", "latency_spread", "memory")
FORM = "MODEL:SET:xSCALE:METRIC>=NUMBER, or MODEL:xSCALE:COST<=NUMBER"
PATTERN = re.compile(
    r"(?P<left>.+):x(?P<scale>\d+):(?P<name>[^<>=]+(?:=[^<>=]+)*)(?P<operator>[<>]=)(?P<bound>[^<>=]+)"
)


@dataclass(frozen=True)
class Requirement:
    """A bound on one figure, or on several where names are wildcards.

    Attributes:
        text: as the user wrote it.
        dataset: empty for a cost.
        name: of the metric, with its options, or of the cost; a cost may name its size: `latency@1280x720`.
        operator: `>=` or `<=`.
    """

    text: str
    model: str
    dataset: str
    scale: int
    name: str
    operator: str
    bound: float

    def met(self, value: float) -> bool:
        """Whether a figure fulfils it; what is not a number does not."""
        return value >= self.bound if self.operator == ">=" else value <= self.bound


def requirement(text: str) -> Requirement:
    """Read one requirement. Raises OptionError, with the form it must have."""
    found = PATTERN.fullmatch("".join(text.split()))
    try:
        bound = float(found["bound"]) if found else math.nan
    except ValueError:
        bound = math.nan
    if not found or math.isnan(bound):
        raise OptionError(f"'{text}' is no requirement; it must be like {FORM}: edsr-small:set5:x2:psnr>=37.2")
    cost = found["name"].partition("@")[0] in COSTS
    model, _, dataset = (found["left"], "", "") if cost else found["left"].rpartition(":")
    if not model:
        raise OptionError(f"'{text}' names no set; a requirement on a metric is like edsr-small:set5:x2:psnr>=37.2")
    scale, name, operator = int(found["scale"]), found["name"], found["operator"]
    return Requirement(text, model, dataset, scale, name=name, operator=operator, bound=bound)


def missed(requirements: Sequence[Requirement], results: Results) -> list[str]:
    """A line for each figure that misses its requirement, with by how much.

    A model with a picture that has no score misses what is required of that set. Raises UsageError for a requirement
    that fits nothing, with the names there are.
    """
    lines = []
    for each in requirements:
        lines += missed_cost(each, results) if not each.dataset else missed_score(each, results)
    return lines


def missed_score(each: Requirement, results: Results) -> list[str]:
    rows: dict[tuple[str, str], list[float | None]] = {}
    errors: dict[tuple[str, str], str] = {}
    for s in results.scores:
        dataset = s.dataset or each.dataset  # a model that cannot be loaded has one row, about no set
        fits = s.scale == each.scale and like(s.model, each.model) and like(dataset, each.dataset)
        if fits and s.metric in (each.name, ""):
            if s.error:
                errors.setdefault((s.model, dataset), f"{s.image}: {s.error}" if s.image else s.error)
            elif s.metric:
                rows.setdefault((s.model, dataset), []).append(s.value)
    if not rows and not errors:
        raise UsageError(f"'{each.text}' is about nothing that was measured{nearest(each, results)}")
    lines = []
    for key in dict.fromkeys([*rows, *errors]):
        values = rows.get(key, [])
        where = f"{key[0]}:{key[1]}:x{each.scale}:{each.name}"
        if key in errors or None in values:
            reason = errors.get(key, "a picture has none")
            lines.append(f"{where} has no score ({reason}), '{each.text}' is not met")
        else:
            about = info(results, each.name)
            lines += told(each, where, mean(v for v in values if v is not None), about.digits, about.unit)
    return lines


def missed_cost(each: Requirement, results: Results) -> list[str]:
    name, _, size = each.name.partition("@")
    there = {(cost.model, cost.scale) for cost in results.costs if cost.name == name}
    known = [  # without --cost too
        Cost(m.name, m.scale, "parameters", m.parameters)
        for m in results.models
        if m.parameters is not None and (m.name, m.scale) not in there
    ]
    found: list[Cost] = [
        cost
        for cost in [*results.costs, *known]
        if cost.scale == each.scale and cost.name == name and like(cost.model, each.model)
        if not size or cost.size == size
    ]
    if not found:
        raise UsageError(f"'{each.text}' is about nothing that was measured{nearest(each, results)}")
    lines = []
    for cost in found:
        where = f"{cost.model}:x{cost.scale}:{name}" + (f"@{cost.size}" if cost.size else "")
        if cost.value is None:
            lines.append(f"{where} was not measured ({cost.error}), '{each.text}' is not met")
        else:
            lines += told(each, where, cost.value, None, "")
    return lines


def like(name: str, pattern: str) -> bool:
    """pattern: without blanks, as `requirement` reads it."""
    name = "".join(name.split())
    return name == pattern or fnmatchcase(name, pattern)


def told(each: Requirement, where: str, value: float, digits: int | None, unit: str) -> list[str]:
    """The line of a figure that misses its bound."""
    if each.met(value):
        return []
    by = abs(value - each.bound)
    style = ",.7g" if digits is None else f".{digits}f"
    if by and float(f"{by:{style}}".replace(",", "")) == 0:  # less than the last digit
        style = ".3g"
    side = "below" if each.operator == ">=" else "above"
    unit = f" {unit}" if unit else ""
    shown = repr(value) if style == ".3g" else f"{value:{style}}"
    return [f"{where} is {shown}{unit}, {by:{style}}{unit} {side} {each.bound:.12g}"]


def nearest(each: Requirement, results: Results) -> str:
    """What there is instead: the nearest name, or all."""
    if each.dataset:
        there = [f"{s.model}:{s.dataset}:x{s.scale}:{s.metric}" for s in results.scores if s.dataset and s.metric]
        return did_you_mean(f"{each.model}:{each.dataset}:x{each.scale}:{each.name}", there)
    there = [f"{c.model}:x{c.scale}:{c.name}" for c in results.costs]
    return did_you_mean(f"{each.model}:x{each.scale}:{each.name}", there) or "; costs are measured with --cost"
