"""An ONNX file as a network of srkit's, run by onnxruntime."""

import json
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from srkit import CheckpointError, OutputError, UsageError, cache_folder, write_atomically
from srkit_onnx.convention import Convention, from_dict, through, with_source
from srkit_onnx.graph import Graph, read_graph
from srkit_onnx.probe import confirmed, measure
from srkit_onnx.session import Session, in_short

LOG = logging.getLogger("srkit")


class OnnxNet(nn.Module):
    """RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W`, of any size, whatever the file itself takes.

    weights: takes no memory; it is there to be counted. place: on the device that the network is meant for.
    """

    def __init__(self, graph: Graph, how: Convention, session: Session):
        super().__init__()
        self.graph, self.how = graph, how
        self.sessions = {"cpu": session}
        self.weights = nn.Parameter(torch.zeros(()).expand(graph.parameters))
        self.register_buffer("place", torch.zeros(()), persistent=False)

    @property
    def session(self) -> Session:
        """Of the device that the network is on."""
        device = self.get_buffer("place").device
        if str(device) not in self.sessions:
            self.sessions[str(device)] = opened(self.graph, device)
        return self.sessions[str(device)]

    @property
    def runtime(self) -> str:
        kind = np.dtype(self.graph.input.dtype).name
        said = self.graph.metadata.get("precision") or kind
        return f"onnxruntime ({self.session.provider}) in {said}, {self.how.words}, {self.how.source}"

    def forward(self, lr: Tensor) -> Tensor:
        if torch.is_autocast_enabled(lr.device.type):
            raise UsageError(f"'{self.graph.path.name}' has a precision of its own; leave --precision out")
        run, dtype = self.session.run, self.graph.input.dtype
        try:
            made = [through(run, picture.float().cpu(), self.how, dtype) for picture in lr.split(1)]
        except RuntimeError as error:  # onnxruntime's are such
            raise OutputError(f"onnxruntime: {in_short(error)}") from error
        return torch.cat(made).to(lr.device)


def load(path: Path) -> tuple[OnnxNet, int] | None:
    """The network of an ONNX file and its scale; None for another kind of file.

    Raises CheckpointError, in one line, for a file that cannot be used or of which it is in doubt how.
    """
    return read(path, {}) if path.suffix.lower() == ".onnx" else None


def read(path: Path, said: Mapping[str, str]) -> tuple[OnnxNet, int]:
    """The same, by what the user says of it."""
    graph = read_graph(path)
    session = opened(graph, torch.device("cpu"))
    how = convention(graph, session, said)
    return OnnxNet(graph, how, session), how.scale


def opened(graph: Graph, device: torch.device) -> Session:
    try:
        return Session(graph.data, device)
    except Exception as error:  # onnxruntime's own, of many types
        raise CheckpointError(f"'{graph.path}' cannot be run by onnxruntime: {in_short(error)}") from None


def convention(graph: Graph, session: Session, said: Mapping[str, str]) -> Convention:
    """How the file wants its pictures: as is said, as it says, as was measured before, or measured now."""
    if "io" in graph.metadata and not said:
        how = from_dict(dict_of(graph.metadata["io"]), f"'{graph.path}': its metadata 'srkit'")
        confirmed(graph, session.run, how)
        return how
    if said:
        return measure(graph, session.run, said)
    kept = cache_folder() / "onnx" / f"{digest_of(graph)}.json"
    try:
        return with_source(from_dict(json.loads(kept.read_text()), str(kept)), "measured")
    except (OSError, ValueError, CheckpointError):
        how = measure(graph, session.run, {})
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(kept, lambda file: file.write(json.dumps(how.to_dict()).encode()))
    except OSError:  # a cache that cannot be written costs no picture
        pass
    return how


def dict_of(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def digest_of(graph: Graph) -> str:
    """Of the file, and of what measures it."""
    import hashlib

    digest = hashlib.sha256(graph.data)
    digest.update(f"{version('srkit-onnx')} {version('onnxruntime')}".encode())
    return digest.hexdigest()[:32]
