"""Compute a network's repeated blocks once more in the backward pass, rather than keep all that they computed.

Less memory for about one more forward pass, and the same gradients to the bit.
Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from srkit.errors import UsageError

LISTS = (nn.ModuleList, nn.ModuleDict)  # which are never called themselves

Buffers = Sequence[tuple[nn.Module, str, Tensor]]


def recompute_blocks(net: nn.Module, label: str) -> None:
    """Change a network in place; its names, and what it computes without gradients, stay. UsageError without blocks."""
    blocks = repeated_blocks(net)
    if not blocks:
        raise UsageError(f"'{label}' has no repeated blocks to compute again; --set checkpoint=false")
    for block in blocks:
        block.forward = partial(recomputed, block, block.forward)


def repeated_blocks(net: nn.Module) -> list[nn.Module]:
    """The outermost modules that stand beside others of their class and of their very parameters' shapes."""
    children = list(net.children())
    kinds = [kind_of(child) for child in children]
    found = []
    for child, kind in zip(children, kinds, strict=True):
        alike = kinds.count(kind) > 1 and not isinstance(child, LISTS)
        found += [child] if alike and kind[1] and next(child.children(), None) else repeated_blocks(child)
    return found


def kind_of(module: nn.Module) -> tuple[type, tuple[tuple[str, torch.Size], ...]]:
    return type(module), tuple((name, parameter.shape) for name, parameter in module.named_parameters())


def recomputed(block: nn.Module, forward: Callable[..., Any], *args: Any, **words: Any) -> Any:
    """What `forward` gives; of what it computes, only its inputs are kept."""
    if not torch.is_grad_enabled():
        return forward(*args, **words)
    return checkpoint(forward, *args, use_reentrant=False, context_fn=partial(contexts, block), **words)


def contexts(block: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Of a block's first pass, which begins now, and of its second, in which its buffers are what they are now."""
    buffers = buffers_of(block) if block.training else []
    return nullcontext(), AsBefore(block, [(module, name, buffer.clone()) for module, name, buffer in buffers])


def buffers_of(block: nn.Module) -> Buffers:
    """Statistics of batch norm, vectors of spectral norm: (module, name, tensor)."""
    return [(module, name, b) for module in block.modules() for name, b in module.named_buffers(recurse=False)]


class AsBefore(AbstractContextManager[None]):
    """Inside, a block has copies of these buffers, which it may change: a pass that is repeated counts once."""

    def __init__(self, block: nn.Module, before: Buffers):
        self.block, self.before = block, before
        self.now: Buffers = []

    def __enter__(self) -> None:
        self.now = buffers_of(self.block) if self.before else []
        put([(module, name, buffer.clone()) for module, name, buffer in self.before])

    def __exit__(self, *error: object) -> None:
        put(self.now)


def put(buffers: Buffers) -> None:
    for module, name, buffer in buffers:
        setattr(module, name, buffer)
