"""Start a training from other weights, and say what became of each tensor."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from srkit.checkpoint import group_of
from srkit.errors import CheckpointError
from srkit.train.sharding import loadable

LEAST = 0.1  # of the parameters must be in the file, or it is another model's


@dataclass(frozen=True)
class InitReport:
    """What became of each tensor when a training started from other weights, by name.

    loaded: of the network, taken from the file. other_shape: in both, and not taken. missing: of the network
    alone. unused: of the file alone. where: the file.
    """

    where: str
    loaded: tuple[str, ...]
    other_shape: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        line = f"{len(self.loaded)} of {len(self.loaded + self.other_shape + self.missing)} tensors from '{self.where}'"
        for what, names in (("other shape", self.other_shape), ("not in it", self.missing), ("not used", self.unused)):
            if names:
                line += f"; {what}: {', '.join(names[:4])}{' ...' if len(names) > 4 else ''}"
        return line

    def table(self) -> list[str]:
        """A line for each group of tensors: `body.*.body.*`, how many, and what became of them."""
        counts: dict[tuple[str, str], int] = {}
        for what, names in (
            ("loaded", self.loaded), ("other shape, not loaded", self.other_shape), ("not in the file", self.missing),
            ("in the file, not used", self.unused),
        ):  # fmt: skip
            for name in names:
                group = group_of(name)
                counts[group, what] = counts.get((group, what), 0) + 1
        wide = max(len(group) for group, _ in counts)
        return [f"{group:<{wide}}  {count:>5}  {what}" for (group, what), count in sorted(counts.items())]


def init_from(net: nn.Module, tensors: Mapping[str, Tensor], where: object, *, force: bool = False) -> InitReport:
    """Load what fits by name and shape, and say what became of the rest.

    CheckpointError if nothing fits or, unless forced, if what fits is less than LEAST of the parameters.

    tensors, where: what `srkit.weights.loading.find_tensors` gives for a path, a run, a repository or a name.
    """
    own = net.state_dict()
    fitting = {name: t for name, t in tensors.items() if name in own and t.shape == own[name].shape}
    trained = {name: parameter.ndim for name, parameter in net.named_parameters() if parameter.requires_grad}
    least = min(2, max(trained.values(), default=0))  # the three values of a last bias fit any model, and are no start
    if not any(trained.get(name, -1) >= least for name in fitting):
        raise CheckpointError(f"nothing in '{where}' fits the model by name and shape")
    counts = {name: parameter.numel() for name, parameter in net.named_parameters()}
    loaded, whole = sum(counts.get(name, 0) for name in fitting), sum(counts.values())
    if loaded < LEAST * whole and not force:
        raise CheckpointError(
            f"only {len(fitting)} tensors of '{where}' fit the model, {loaded:,} of its {whole:,} parameters: they are "
            "of another model; --force starts from them nevertheless"
        )
    net.load_state_dict(loadable(net, fitting), strict=False)
    return InitReport(
        where=str(where),
        loaded=tuple(sorted(fitting)),
        other_shape=tuple(sorted(name for name in tensors if name in own and name not in fitting)),
        missing=tuple(sorted(set(own) - set(tensors))),
        unused=tuple(sorted(set(tensors) - set(own))),
    )
