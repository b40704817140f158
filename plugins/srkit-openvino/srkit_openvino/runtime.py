"""From a network to a function of a tile that OpenVINO computes.

A network is traced by torch and read by OpenVINO's frontend, as `openvino.convert_model` does, without the statistics
which that sends to its maker. It is kept in srkit's cache. For each size of tile it is compiled anew, which takes a
tenth of a second and makes each tile faster than what is compiled for any size.
"""

import logging
import re
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import openvino
import torch
from openvino import opset13
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from srkit import UsageError, converted

LOG = logging.getLogger("srkit")

TRACED = (1, 3, 64, 64)  # a side that most networks take, whatever multiple they want
COMPARED = ((1, 3, 64, 128), (2, 3, 40, 48), (1, 3, 45, 53))  # a trace may have the sizes above written into it
EQUAL = 1e-4  # the largest difference, on values in [0, 1], that rounding makes in float32
AT_ONCE = 4  # sizes of tile that stay compiled, each with the memory it computes in
FIXED = "fixed"  # the file that says: this network is converted for each size
HINTS = {"fp32": "f32", "bf16": "bf16"}
NATIVE_BF16 = ("amx_bf16", "avx512_bf16")  # as torch names the instructions


def openvino_backend(
    net: nn.Module,
    scale: int,
    *,
    precision: Annotated[Literal["fp32", "bf16"], "number format; bf16 is faster where the processor has it"] = "fp32",
) -> Callable[[Tensor], Tensor]:
    """`B,3,H,W` float32 in [0, 1] to `B,3,scale*H,scale*W` float32, on the processor, in as many threads as torch uses.

    Raises UsageError for a network on another device, one without weights, and a precision the processor has not;
    what OpenVINO raises for an operation that it has not.
    """
    places = {tensor.device.type for tensor in (*net.parameters(), *net.buffers())}
    if places - {"cpu"}:
        raise UsageError("OpenVINO computes on the processor here; add --device cpu")
    if not any(True for _ in net.parameters()):
        raise UsageError("an interpolation needs no runtime; leave --backend out")
    if precision == "bf16":
        check_bf16()
    return Network(net, scale, precision)


def check_bf16() -> None:
    """UsageError where OpenVINO has no bf16 on this processor; a warning where it imitates it."""
    if "BF16" not in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise UsageError("OpenVINO has no bf16 on this processor; take --precision fp32")
    has = getattr(torch.cpu, "get_capabilities", dict)()
    if has and not any(has.get(name) for name in NATIVE_BF16):
        LOG.warning("this processor has no instructions for bf16, OpenVINO imitates them: fp32 may be faster")


class Network:
    """A network as OpenVINO runs it, compiled for each size that it is called with."""

    def __init__(self, net: nn.Module, scale: int, precision: str):
        self.net, self.scale, self.precision = net, scale, precision
        self.running: dict[tuple[int, ...], openvino.InferRequest] = {}
        self.model = kept(net, scale, None)  # None: it is converted for each size

    def __call__(self, lr: Tensor) -> Tensor:
        lr = lr.contiguous()
        request = self.request(tuple(lr.shape))
        request.infer({0: openvino.Tensor(lr.numpy(), shared_memory=True)})
        return torch.from_numpy(request.get_output_tensor().data.copy())

    def request(self, shape: tuple[int, ...]) -> "openvino.InferRequest":
        """What computes tiles of this shape; the one that was not used for longest makes room for a new one."""
        found = self.running.pop(shape, None)
        if found is None:
            while len(self.running) >= AT_ONCE:
                self.running.pop(next(iter(self.running)))
            model = kept(self.net, self.scale, shape) if self.model is None else self.model.clone()
            model.reshape(list(shape))
            found = compiled(model, self.precision).create_infer_request()
        self.running[shape] = found
        return found


def kept(net: nn.Module, scale: int, shape: tuple[int, ...] | None) -> "openvino.Model | None":
    """The network, converted for one shape or, where that is None, for any; None where it cannot be for any."""
    versions = {"runtime": f"openvino {openvino.__version__}", "format": 2, "scale": scale, "shape": shape}
    return converted(net, versions, partial(make, net, shape), read)


def make(net: nn.Module, shape: tuple[int, ...] | None, folder: Path) -> None:
    model = traced(net, shape or TRACED)
    if shape is None and not same_at_other_sizes(net, model):
        (folder / FIXED).touch()
        return
    openvino.save_model(model, folder / "net.xml", compress_to_fp16=False)


def read(folder: Path) -> "openvino.Model | None":
    return None if (folder / FIXED).exists() else core().read_model(folder / "net.xml")


def traced(net: nn.Module, shape: tuple[int, ...]) -> "openvino.Model":
    """The network as OpenVINO reads what torch traces of it on a picture of this shape."""
    frontend = FrontEndManager().load_by_framework("pytorch")
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of sizes that become constants, which is seen; that tracing is deprecated
        try:
            decoder = TorchScriptPythonDecoder(net, example_input=example(shape))
            return without_shifts(frontend.convert(frontend.load(decoder)))
        except Exception as error:  # pages of text
            raise RuntimeError(in_short(str(error))) from error


def in_short(text: str) -> str:
    """What keeps OpenVINO from converting a network, of what it says."""
    if missing := re.search(r"No conversion rule found for operations: (.+)", text):
        return f"OpenVINO has no {missing[1]}"
    if cause := re.search(r"[Ee]xception:\s*(.+)", text):
        return f"it cannot be traced: {cause[1]}"
    return text


def without_shifts(model: "openvino.Model") -> "openvino.Model":
    """The same with a multiplication in place of each convolution that only scales the channels, each by itself.

    EDSR and its kin add the mean colour by such a one. In bf16 OpenVINO rounds what a convolution is given and what it
    gives, here whole pixels of 0..255; what it multiplies at either end of a network stays in float32.
    """
    for node in model.get_ordered_ops():
        factors = factors_of(node)
        if factors is not None:
            scaled = opset13.multiply(node.input_value(0), opset13.constant(factors.reshape(1, -1, 1, 1)))
            node.output(0).replace(scaled.output(0))
    return model


def factors_of(node: "openvino.Node") -> "np.ndarray | None":
    """What a convolution of one pixel multiplies each channel by; None for any other node."""
    weights = node.input_value(1).get_node() if node.get_type_name() == "Convolution" else None
    if weights is None or weights.get_type_name() != "Constant":
        return None
    about, shape = node.get_attributes(), tuple(weights.get_output_shape(0))
    moved = [*about["pads_begin"], *about["pads_end"], *(stride - 1 for stride in about["strides"])]
    if shape[2:] != (1, 1) or shape[0] != shape[1] or any(moved):
        return None
    matrix = weights.get_data()[:, :, 0, 0]
    factors = np.diag(matrix).copy()
    return factors if np.array_equal(matrix, np.diag(factors)) else None


def same_at_other_sizes(net: nn.Module, model: "openvino.Model") -> bool:
    """Does a trace give what the network gives on pictures of other sizes, those that the network takes?"""
    compared = 0
    for shape in COMPARED:
        lr = example(shape)
        try:
            with torch.inference_mode():
                own = net(lr)
        except Exception:  # a size that it does not take, and will not be given
            continue
        try:
            sized = model.clone()
            sized.reshape(
                list(shape)
            )  # sizes that do not fit are found here: an inference that fails may end in a crash
            sr = torch.from_numpy(compiled(sized, "fp32")([lr.numpy()])[0])
        except Exception:
            return False
        if sr.shape != own.shape or not float((sr - own).abs().max()) <= EQUAL:
            return False
        compared += 1
    return compared > 0


def compiled(model: "openvino.Model", precision: str) -> "openvino.CompiledModel":
    """Raises UsageError where OpenVINO would compute in another precision than the one that is asked for."""
    wanted = HINTS[precision]
    config = {
        "INFERENCE_PRECISION_HINT": wanted,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,  # other programs may be on the same cores
    }
    made = core().compile_model(model, "CPU", config)
    used = made.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if used != wanted:
        raise UsageError(f"OpenVINO computes this network in {used} here, not in {precision}")
    return made


def example(shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@cache
def core() -> "openvino.Core":
    """Files are read, not mapped: one that is only for now is gone before it is computed with."""
    made = openvino.Core()
    made.set_property({"ENABLE_MMAP": False})
    return made
