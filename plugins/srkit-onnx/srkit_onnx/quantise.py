"""Half precision and 8 bits of an ONNX graph, by onnxruntime's own tools."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx

QUANTISED = ("Conv", "Gemm", "MatMul")


def half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph computed in float16; what goes in and comes out stays float32."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with silent():
        made: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return made


def eight_bits(model: onnx.ModelProto, pictures: Iterable[np.ndarray]) -> onnx.ModelProto:
    """The graph with its convolutions in 8 bits, by static quantisation; the first and the last stay as they are.

    pictures: what the graph is given, to measure the range of each tensor by.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with silent(), TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, folder / "float.onnx")
        quant_pre_process(folder / "float.onnx", folder / "ready.onnx", skip_symbolic_shape=True)
        ready = onnx.load(folder / "ready.onnx")
        heavy = [node.name for node in ready.graph.node if node.op_type in QUANTISED]
        quantize_static(
            folder / "ready.onnx",
            folder / "int8.onnx",
            Reader(model.graph.input[0].name, pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=[heavy[0], heavy[-1]] if heavy else [],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return onnx.load(folder / "int8.onnx")


class Reader:
    """Pictures as onnxruntime's calibration asks for them, one after another."""

    def __init__(self, name: str, pictures: Iterable[np.ndarray]):
        self.name, self.pictures = name, iter(pictures)

    def get_next(self) -> dict[str, np.ndarray] | None:
        picture = next(self.pictures, None)
        return None if picture is None else {self.name: picture}

    def __iter__(self) -> "Reader":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        found = self.get_next()
        if found is None:
            raise StopIteration
        return found


@contextmanager
def silent() -> Iterator[None]:
    """onnxruntime's tools log advice through the root logger."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(logging.NOTSET)
