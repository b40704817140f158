"""What the scores of a training are: a metric, its direction, a protocol; the first chooses the best checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srkit.errors import OptionError
from srkit.evaluate.protocol import Protocol, protocol_named
from srkit.plugins import Registry
from srkit.run import Part, Run, metrics_of, protocol_of


@dataclass(frozen=True)
class Selection:
    """metric: its name. Scores are means over the validation pictures."""

    metric: str
    protocol: Protocol
    higher_is_better: bool = True

    @property
    def key(self) -> str:
        """What the log calls its scores: `psnr_y`."""
        return f"{self.metric}_{self.protocol.name}"

    def prefers(self, score: float, best: float | None) -> bool:
        """Is `score` a new best? One that is not a number never is where there is another."""
        if best is None or best != best:
            return True
        return score > best if self.higher_is_better else score < best

    def told(self, score: float, by_scale: Mapping[int, float] | None = None) -> str:
        """`PSNR 30.12 dB`, `LPIPS 0.1234`; of several scales `PSNR 30.12 dB, the mean of x2 32.10, x4 28.14`."""
        digits = 2 if self.metric == "psnr" else 4
        text = f"{self.metric.upper()} {score:.{digits}f}" + (" dB" if self.metric == "psnr" else "")
        if not by_scale or len(by_scale) < 2:
            return text
        return f"{text}, the mean of " + ", ".join(f"x{scale} {value:.{digits}f}" for scale, value in by_scale.items())


def selections_of(part: Part, registry: Registry) -> tuple[Selection, ...]:
    """The metrics of a [validation] by its protocol. UnknownName for one there is not, OptionError for one twice."""
    records = [registry.find("metric", metric.name).component for metric in metrics_of(part)]
    names = [record.name for record in records]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise OptionError(f"validation.metric names '{twice[0]}' twice; the log could not tell one from the other")
    protocol = protocol_named(protocol_of(part))
    return tuple(Selection(record.name, protocol, record.higher_is_better) for record in records)


def selection_of(run: Run, registry: Registry) -> Selection:
    """What `best` is chosen by: the first metric of a run's first [validation]. UnknownName for one there is not."""
    return selections_of(run.validation[0], registry)[0]


def labels_of(run: Run) -> list[str]:
    """What the log calls each validation set; OptionError where two have one label.

    Without a label it is the last folder of its root, or its dataset's name.
    """
    labels: list[str] = []
    for part in run.validation:
        label = part.label or Path(part.root).name or part.name.rpartition(":")[2]
        if label in labels:
            raise OptionError(f"two [[validation]] are called '{label}'; tell them apart: label = \"...\"")
        labels.append(label)
    return labels
