"""The backend `onnxruntime`: a torch network as a function of a tile, converted once and kept in srkit's cache."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import onnx
import torch
from torch import Tensor, nn

from srkit import SrkitError, converted
from srkit_onnx.compare import compare, device_of, three_sizes
from srkit_onnx.convert import OPSET, Program, Sizes, accepted_multiple, attempts, exported, onnx_of
from srkit_onnx.pictures import calibration
from srkit_onnx.quantise import eight_bits
from srkit_onnx.session import Session

LOG = logging.getLogger("srkit")

Precision = Literal["fp32", "int8"]
LARGEST: dict[str, float] = {
    "fp32": 1e-4,
    "int8": 0.1,
}  # difference from the network's own result, as the record states
NET = "net.onnx"


def onnxruntime_backend(
    net: nn.Module,
    scale: int,
    *,
    precision: Annotated[Precision, "number format; int8 by static quantisation"] = "fp32",
) -> Callable[[Tensor], Tensor]:
    """The network in onnxruntime: `B,3,H,W` float32 in [0, 1] to `B,3,scale*H,scale*W` float32, on the same device.

    A network that torch.export cannot take with sizes that vary is converted for each size of tile, when it comes.
    Raises SrkitError where it cannot be converted, or gives other values than the network by more than is stated.
    """
    if hasattr(net, "runtime"):
        raise SrkitError("it is not a network of PyTorch's: leave --backend out")
    return Converted(net, scale, precision).upscale


class Converted:
    """A network's sessions: one for all sizes, or one for each size of tile."""

    def __init__(self, net: nn.Module, scale: int, precision: Precision):
        self.net, self.scale, self.precision = net, scale, precision
        self.device, self.multiple = device_of(net), accepted_multiple(net)
        self.sessions: dict[tuple[int, int], Session] = {}
        self.any_size = self.session(None)

    def upscale(self, lr: Tensor) -> Tensor:
        if self.any_size is not None:
            return run(self.any_size, lr)
        size = (lr.shape[-2], lr.shape[-1])
        if size not in self.sessions:
            self.sessions[size] = self.session(size) or self.missing()
        return torch.cat([run(self.sessions[size], picture) for picture in lr.split(1)])

    def session(self, size: tuple[int, int] | None) -> Session | None:
        """Of tiles of `size`; of tiles of any size where it is None, and None where the network does not allow that."""
        versions = {
            "runtime": "onnxruntime", "scale": self.scale, "precision": self.precision, "opset": OPSET, "size": size,
            **{name: version(name) for name in ("srkit-onnx", "onnxruntime", "onnx", "onnxscript")},
        }  # fmt: skip
        return converted(self.net, versions, partial(self.make, size), self.read)

    def make(self, size: tuple[int, int] | None, folder: Path) -> None:
        """Write the network, held against the original, or an empty file where its size may not vary."""
        LOG.warning("converting the network for onnxruntime, which is done once")
        model = self.for_size(size) if size else self.for_any_size()
        (folder / NET).write_bytes(model.SerializeToString() if model else b"")

    def read(self, folder: Path) -> Session | None:
        data = (folder / NET).read_bytes()
        return Session(data, self.device) if data else None

    def for_any_size(self) -> onnx.ModelProto | None:
        for sizes in attempts(self.multiple)[:-1]:
            with suppress(SrkitError):
                return self.checked(exported(self.net, sizes), three_sizes(self.multiple))
        return None

    def for_size(self, size: tuple[int, int]) -> onnx.ModelProto:
        return self.checked(exported(self.net, Sizes(self.multiple, size, batch=False)), [size])

    def checked(self, program: Program, sizes: Sequence[tuple[int, int]]) -> onnx.ModelProto:
        """The program as ONNX. Raises SrkitError where it gives other values than the network."""
        model = onnx_of(program)
        if self.precision == "int8":
            height, width = program.sizes.tile or (-(-64 // self.multiple) * self.multiple,) * 2
            model = eight_bits(model, [lr.numpy() for lr in calibration(None, self.scale, height, width)])
        session = Session(model.SerializeToString(), self.device)
        found = compare(partial(run, session), self.net, sizes, self.device)
        if not found.largest <= LARGEST[self.precision]:
            raise SrkitError(f"converted for onnxruntime it gives other values, in {self.precision}: {found.words}")
        return model

    def missing(self) -> NoReturn:
        raise SrkitError("its converted network is gone from the cache; try again")


def run(session: Session, lr: Tensor) -> Tensor:
    """B,3,H,W float32 through a session, back on the device it came from."""
    return torch.from_numpy(session.run(lr.contiguous().cpu().numpy())).to(lr.device)
