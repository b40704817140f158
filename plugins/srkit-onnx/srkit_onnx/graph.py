"""Open an ONNX file that anyone may have written, and say what it takes and gives; refused in one line if unusable."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
from onnx import TensorProto

from srkit import CheckpointError

LARGEST = 2**31 - 1  # bytes: more is no valid ONNX file
KEY = "srkit"  # of the metadata
TYPES: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}  # fmt: skip
COUNTED = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16, TensorProto.INT8)


@dataclass(frozen=True)
class Port:
    """An input or an output. dims: None for each that varies; None where the file does not say how many there are."""

    name: str
    dtype: type[np.generic]
    dims: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Graph:
    """A file with one picture in and one out."""

    path: Path
    model: onnx.ModelProto
    input: Port
    output: Port

    @cached_property
    def data(self) -> bytes:
        return bytes(self.model.SerializeToString())

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """What srkit wrote into the file; empty where it did not. CheckpointError for what it did not write so."""
        text = next((each.value for each in self.model.metadata_props if each.key == KEY), "")
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise CheckpointError(f"'{self.path}': its metadata '{KEY}' is damaged; export it again")
        return found

    def constants(self, *sizes: int) -> Iterator[np.ndarray]:
        """Those of so many values, whether kept as weights or in nodes."""
        nodes = [each for node in self.model.graph.node if node.op_type == "Constant" for each in node.attribute]
        for tensor in [*self.model.graph.initializer, *(each.t for each in nodes if each.HasField("t"))]:
            if math.prod(tensor.dims) in sizes and tensor.data_type in TYPES:
                yield onnx.numpy_helper.to_array(tensor)

    @property
    def parameters(self) -> int:
        """As srkit wrote it, else the values of all weights, constants among them."""
        said = self.metadata.get("parameters")
        return said if isinstance(said, int) and said >= 0 else counted(self.model.graph)


def read_graph(path: Path) -> Graph:
    """Raises CheckpointError for what is no ONNX file, or none that takes one picture and gives one."""
    model = read_model(path)
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    for what, ports in (("takes", inputs), ("gives", list(model.graph.output))):
        if len(ports) != 1:
            names = ", ".join(each.name for each in ports[:4])
            raise CheckpointError(f"'{path}' {what} {len(ports)} tensors ({names}); srkit runs one picture in, one out")
    return Graph(path, model, port(path, inputs[0]), port(path, model.graph.output[0]))


def read_model(path: Path) -> onnx.ModelProto:
    """The parsed file, whose weights are within it. Raises CheckpointError."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise CheckpointError(f"'{path}' has {size:,} bytes, and an ONNX file has at most {LARGEST:,}")
        model: onnx.ModelProto = onnx.ModelProto.FromString(path.read_bytes())
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"'{path}' cannot be read: {error.strerror or type(error).__name__}") from None
    except Exception as error:  # protobuf's own
        raise CheckpointError(f"'{path}' is not a whole ONNX file ({type(error).__name__})") from None
    if not model.graph.node or not model.opset_import:
        raise CheckpointError(f"'{path}' is not a whole ONNX file: it has no graph")
    if place := next(external(model.graph), ""):
        raise CheckpointError(
            f"'{path}' keeps its weights in another file ('{place}'), which srkit does not open; write one file: "
            "onnx.save(onnx.load('a.onnx'), 'b.onnx', save_as_external_data=False)"
        )
    return model


def external(graph: onnx.GraphProto) -> Iterator[str]:
    """The other files that a graph's tensors are kept in, those of graphs within it too."""
    tensors = [*graph.initializer, *(part for each in graph.sparse_initializer for part in (each.values, each.indices))]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from external(inner)
    for tensor in tensors:
        if tensor.data_location == TensorProto.EXTERNAL:
            yield next((each.value for each in tensor.external_data if each.key == "location"), "unnamed")


def port(path: Path, value: onnx.ValueInfoProto) -> Port:
    kind = value.type.tensor_type
    if kind.elem_type not in TYPES:
        name = TensorProto.DataType.Name(kind.elem_type).lower() if value.type.HasField("tensor_type") else "no tensor"
        raise CheckpointError(
            f"'{path}': '{value.name}' is {name}; srkit runs networks of float32, float16, float64 or uint8 pictures"
        )
    dims: tuple[int | None, ...] | None = None
    if kind.HasField("shape"):
        dims = tuple(each.dim_value if each.dim_value > 0 else None for each in kind.shape.dim)
        if len(dims) != 4:
            raise CheckpointError(f"'{path}': '{value.name}' has {len(dims)} dimensions, and a batch of pictures 4")
    return Port(value.name, TYPES[kind.elem_type], dims)


def counted(graph: onnx.GraphProto) -> int:
    """The values of all weights in a graph."""
    return sum(math.prod(each.dims) for each in graph.initializer if each.data_type in COUNTED)


def with_metadata(model: onnx.ModelProto, about: dict[str, Any]) -> onnx.ModelProto:
    """The same model, which says of itself what srkit knows of it; what others wrote there stays."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    others = [each for each in made.metadata_props if each.key != KEY]
    del made.metadata_props[:]
    made.metadata_props.extend(others)
    made.metadata_props.add(key=KEY, value=json.dumps(about, ensure_ascii=False))
    return made
