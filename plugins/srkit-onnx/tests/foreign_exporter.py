"""Another program's exporter: EDSR built node by node with ONNX's own helper, in whatever convention is asked for."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "uint8": TensorProto.UINT8}


class Builder:
    """Nodes, one after another: each `add` takes the last result."""

    def __init__(self, start: str):
        self.nodes, self.constants, self.last, self.count = [], [], start, 0

    def constant(self, value) -> str:
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.asarray(value), f"c{self.count}"))
        return f"c{self.count}"

    def add(self, kind: str, *others: str, **attributes) -> str:
        self.count += 1
        self.nodes.append(
            helper.make_node(kind, [self.last, *others], [f"t{self.count}"], f"n{self.count}", **attributes)
        )
        self.last = f"t{self.count}"
        return self.last

    def conv(self, weights, name: str) -> str:
        weight = weights[f"{name}.weight"]
        pad = weight.shape[-1] // 2
        return self.add(
            "Conv", self.constant(weight), self.constant(weights[f"{name}.bias"]), pads=[pad] * 4,
            kernel_shape=list(weight.shape[2:]),
        )  # fmt: skip

    def into_255(self, values: str) -> None:
        if values == "0..1":
            self.add("Mul", self.constant(np.float32(255)))
        elif values == "-1..1":
            self.add("Add", self.constant(np.float32(1)))
            self.add("Mul", self.constant(np.float32(127.5)))

    def out_of_255(self, values: str) -> None:
        if values == "0..1":
            self.add("Div", self.constant(np.float32(255)))
        elif values == "-1..1":
            self.add("Div", self.constant(np.float32(127.5)))
            self.add("Sub", self.constant(np.float32(1)))


def edsr(
    path, weights_file, *, layout="nchw", channels="rgb", values="0..1", dtype="float32", size=(None, None), scale=2,
    names=("image_in", "image_out"), swap_out=False,
) -> None:  # fmt: skip
    """Write the EDSR of a weight file of srkit's. channels: rgb, bgr, or y, a network of gray pictures alone."""
    weights = {name: tensor.astype(np.float32) for name, tensor in load_file(weights_file).items()}
    build = Builder(names[0])
    if dtype != "float32":
        build.add("Cast", to=TensorProto.FLOAT)
    if layout == "nhwc":
        build.add("Transpose", perm=[0, 3, 1, 2])
    if channels == "y":
        build.add("Expand", build.constant(np.array([1, 3, 1, 1])))
    if channels == "bgr":
        build.add("Gather", build.constant(np.array([2, 1, 0])), axis=1)
    build.into_255(values)
    trunk(build, weights, scale)
    build.out_of_255(values)
    if channels == "bgr" or swap_out:
        build.add("Gather", build.constant(np.array([2, 1, 0])), axis=1)
    if channels == "y":
        build.add("ReduceMean", build.constant(np.array([1])), keepdims=1)
    if layout == "nhwc":
        build.add("Transpose", perm=[0, 2, 3, 1])
    if dtype == "uint8":
        build.add("Clip", build.constant(np.float32(0)), build.constant(np.float32(255)))
        build.add("Round")
    if dtype != "float32":
        build.add("Cast", to=TYPES[dtype])
    build.nodes[-1].output[0] = names[1]
    count = 1 if channels == "y" else 3
    height, width = (each or word for each, word in zip(size, ("h", "w"), strict=True))
    dims = ["n", count, height, width] if layout == "nchw" else ["n", height, width, count]
    graph = helper.make_graph(
        build.nodes, "someone", [helper.make_tensor_value_info(names[0], TYPES[dtype], dims)],
        [helper.make_tensor_value_info(names[1], TYPES[dtype], None)], build.constants,
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def trunk(build: Builder, weights, scale: int) -> None:
    build.conv(weights, "sub_mean")
    features = build.conv(weights, "head.0")
    blocks = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("body.") and ".body." in name)
    for number in range(blocks):
        before = build.last
        build.conv(weights, f"body.{number}.body.0")
        build.add("Relu")
        build.conv(weights, f"body.{number}.body.2")
        build.add("Add", before)
    build.conv(weights, f"body.{blocks}")
    build.add("Add", features)
    build.conv(weights, "tail.0.0")
    build.add("DepthToSpace", blocksize=scale, mode="CRD")
    build.conv(weights, "tail.1")
    build.conv(weights, "add_mean")
