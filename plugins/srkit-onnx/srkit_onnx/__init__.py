"""srkit-onnx: models exported for other programs, ONNX files as models, and onnxruntime as what networks run in."""

import os
from typing import NoReturn

from srkit import Backend, Command, Model, UsageError, hookimpl, lazy

# onnxruntime reports to its maker from 1.29 on, unless this is said before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

srkit_api = 1  # the version of srkit's plugin contract this is made for


def no_file(scale: int) -> NoReturn:
    """There is no network without a file, which says what it is. Raises UsageError."""
    raise UsageError("'onnx' is no network of its own; name a file: --model path/to/file.onnx")


@hookimpl
def srkit_commands():
    return [Command(name="export", build=lazy("srkit_onnx.cli:export"), summary="Write a model for other programs")]


@hookimpl
def srkit_models():
    return [
        Model(
            name="onnx",
            build=no_file,
            from_file=lazy("srkit_onnx.file:load"),
            summary="Any upscaling network in an ONNX file: --model path/to/file.onnx",
            scales=tuple(range(1, 17)),
        ),
    ]


@hookimpl
def srkit_backends():
    return [
        Backend(
            name="onnxruntime",
            build=lazy("srkit_onnx.backend:onnxruntime_backend"),
            precisions={"fp32": 1e-4, "int8": 0.1},
            summary="ONNX Runtime; converted once and kept",
        ),
    ]
