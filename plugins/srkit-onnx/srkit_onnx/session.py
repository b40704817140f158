"""An onnxruntime session on the device that a network is meant for, and what it really computes on."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

LOG = logging.getLogger("srkit")

PROVIDERS = {"cuda": "CUDAExecutionProvider", "mps": "CoreMLExecutionProvider"}
CPU = "CPUExecutionProvider"
ONLY_FATAL = 4  # of onnxruntime's own messages: what matters is raised


class Session:
    """A graph, ready to run on one device.

    provider: of onnxruntime, the one that is really active. Threads are as many as torch has. Raises what onnxruntime
    raises for a graph that it cannot load.
    """

    def __init__(self, model: bytes | Path, device: torch.device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = ONLY_FATAL
        wanted = PROVIDERS.get(device.type, CPU)
        there = wanted in onnxruntime.get_available_providers()
        given = str(model) if isinstance(model, Path) else model
        if there and wanted != CPU:
            first: Any = (wanted, {"device_id": device.index or 0}) if device.type == "cuda" else wanted
            self.inner = on_either(given, options, first)
        else:
            self.inner = onnxruntime.InferenceSession(given, options, providers=[CPU])
        self.provider: str = self.inner.get_providers()[0]
        self.output: str = self.inner.get_outputs()[0].name
        self.input: str = self.inner.get_inputs()[0].name
        if self.provider != wanted:
            why = "cannot be used" if there else "is not installed"
            LOG.warning("onnxruntime computes on the CPU: its %s %s", wanted, why)

    def run(self, values: np.ndarray) -> np.ndarray:
        result: np.ndarray = self.inner.run([self.output], {self.input: values})[0]
        return result


def in_short(error: Exception) -> str:
    """What onnxruntime raises, in a line: without its code, and without the place and signature in its source."""
    text = " ".join(str(error).split())
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", text)
    text = re.sub(r"\S+\.(cc|h|cpp):\d+ \S+?\(.*?\)( const)? ", "", text)
    return text[:300]


def on_either(model: bytes | str, options: onnxruntime.SessionOptions, first: Any) -> onnxruntime.InferenceSession:
    """On a GPU's provider, or on the CPU where that cannot be had, as when a library of CUDA's is missing.

    onnxruntime itself falls back on some machines and raises on others.
    """
    try:
        return onnxruntime.InferenceSession(model, options, providers=[first, CPU])
    except Exception as error:  # onnxruntime's own, of many types; of a graph it cannot load the CPU raises too
        LOG.debug("%s", error)
        return onnxruntime.InferenceSession(model, options, providers=[CPU])
