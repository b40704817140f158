"""From a torch network to an ONNX graph: of any size where the network allows it, else of one size."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from torch import nn

from srkit import SrkitError

OPSET = 20  # what torch writes without converting
TILE = 192  # side of a fixed input in pixels, where nothing else is said
MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
INPUT, OUTPUT = "lr", "sr"


@dataclass(frozen=True)
class Sizes:
    """What a converted network takes: sides that are multiples of `multiple`, or `tile` (height, width) alone.

    batch: any number of pictures at once; else one.
    """

    multiple: int = 1
    tile: tuple[int, int] | None = None
    batch: bool = True

    @property
    def words(self) -> str:
        if self.tile:
            return f"tiles of {self.tile[1]}x{self.tile[0]} pixels"
        return "any size" if self.multiple == 1 else f"sides that are multiples of {self.multiple}"


@dataclass(frozen=True)
class Program:
    """A network as `torch.export` has it, for `sizes`."""

    program: torch.export.ExportedProgram
    sizes: Sizes


def attempts(multiple: int, tile: int | None = None) -> list[Sizes]:
    """What to try a network for: any sizes, of several pictures and of one, then one size; or `tile` only."""
    one = fixed(multiple, tile)
    return [one] if tile else [Sizes(multiple), Sizes(multiple, batch=False), one]


def exported(net: nn.Module, sizes: Sizes) -> Program:
    """The network as torch.export traces it. Raises SrkitError where it cannot for these sizes."""
    device = next((p.device for p in (*net.parameters(), *net.buffers())), torch.device("cpu"))
    side = -(-40 // sizes.multiple) * sizes.multiple
    height, width = sizes.tile or (side + sizes.multiple, side)  # not square: one side must not stand for both
    lr = torch.rand(2 if sizes.batch else 1, 3, height, width, device=device)
    try:
        with quiet(), torch.no_grad():
            return Program(torch.export.export(net, (lr,), dynamic_shapes=(dimensions(sizes),), strict=False), sizes)
    except Exception as error:  # torch raises about anything for what it cannot trace
        raise SrkitError(f"torch.export cannot take this network: {first_line(error)}") from error


def fixed(multiple: int, tile: int | None = None) -> Sizes:
    """One square tile of about `tile` pixels, one at a time."""
    side = -(-(tile or TILE) // multiple) * multiple
    return Sizes(multiple, (side, side), batch=False)


def dimensions(sizes: Sizes) -> dict[int, Any]:
    """What may vary, by dimension, as torch.export is told."""
    dims: dict[int, Any] = {}
    if sizes.batch and sizes.tile is None:
        dims[0] = torch.export.Dim("batch")
    if sizes.tile is None:
        for number, name in ((2, "height"), (3, "width")):
            one = torch.export.Dim(name if sizes.multiple == 1 else f"{name}_{sizes.multiple}")
            dims[number] = one if sizes.multiple == 1 else sizes.multiple * one
    return dims


def onnx_of(program: Program, opset: int = OPSET) -> onnx.ModelProto:
    """The program as ONNX, input `lr` and output `sr`, without what its nodes tell of the code they came from."""
    with quiet(), torch.no_grad():
        try:
            made = torch.onnx.export(
                program.program, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], opset_version=opset,
                verbose=False,
            )  # fmt: skip
            model = made.model_proto if made is not None else onnx.ModelProto()
        except Exception as error:
            raise SrkitError(f"torch cannot write this network as ONNX: {first_line(error)}") from error
    got = next((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), 0)
    if got != opset:
        raise SrkitError(f"torch wrote ONNX opset {got}, and opset {opset} was asked for; try --opset {got}")
    model.producer_name, model.producer_version = "srkit-onnx", ""
    forget_origin(model)
    return model


def forget_origin(model: onnx.ModelProto) -> None:
    """Without the stack traces and file names that torch keeps."""
    graphs = [model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info]
    functions = [*model.functions, *(node for function in model.functions for node in function.node)]
    for part in [*graphs, *model.graph.initializer, *functions]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def accepted_multiple(net: nn.Module) -> int:
    """The least multiple that both sides must have, tried on the network. SrkitError where it runs at none."""
    device = next((p.device for p in (*net.parameters(), *net.buffers())), torch.device("cpu"))
    failed: Exception | None = None
    for multiple in MULTIPLES:
        sides = (13, 11) if multiple == 1 else (3 * multiple, 5 * multiple)
        try:
            with torch.inference_mode():
                net(torch.rand(1, 3, *sides, device=device))
            return multiple
        except Exception as error:
            failed = error
    raise SrkitError(f"it does not run at any size that was tried: {first_line(failed)}") from failed


def first_line(error: BaseException | None) -> str:
    """The first line of an error that says something, of the error it came from where that says more."""
    cause = error.__cause__ if error is not None and error.__cause__ is not None else error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0][:200]}" if lines else type(cause).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """What torch and its helpers warn of while they trace a network is not for the user."""
    loggers = [logging.getLogger(name) for name in ("torch", "torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
