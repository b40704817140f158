"""What the best checkpoint of a run is chosen by: a metric, its direction, and a protocol."""

from collections.abc import Mapping
from dataclasses import dataclass

from srkit.evaluate.protocol import Protocol, protocol_named
from srkit.plugins import Registry
from srkit.run import Run


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


def selection_of(run: Run, registry: Registry) -> Selection:
    """The `metric` and `protocol` of a run's [validation]. UnknownName for one there is not."""
    record = registry.find("metric", run.metric.name).component
    return Selection(record.name, protocol_named(run.protocol), record.higher_is_better)
