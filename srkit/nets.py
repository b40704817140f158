"""Build a network, say its forward by scale, pick its device and precision: the one place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from srkit.components import Weights
from srkit.errors import PluginError, SrkitError, UsageError, did_you_mean, one_line
from srkit.plugins import Choice, check_scales, labelled

Precision = Literal["fp32", "bf16", "fp16"]
AUTOCAST: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16}
CPU_BF16 = ("amx_bf16", "avx512_bf16")  # as torch.cpu.get_capabilities names what multiplies bfloat16


def forward_of(net: nn.Module, model: Choice) -> Callable[[Tensor, int], Tensor]:
    return net if model.component.multi_scale else lambda lr, scale: net(lr)


@dataclass(frozen=True)
class Loaded:
    """A network ready to upscale by `scale`. origin: the weight file, empty for an interpolation.

    note: what the file of another program does not say and was assumed: `res_scale=0.1`. weights: what its plugin says
    of the file, where it is a plugin's. licence: of the weights, as their plugin or their file says; else empty.
    """

    net: nn.Module
    model: Choice
    scale: int
    origin: str = ""
    note: str = ""
    weights: Weights | None = None
    licence: str = ""

    @property
    def label(self) -> str:
        """How tables and file names call it, which names it again: `edsr-small`, `edsr-small@photo`."""
        return labelled(self.model.component, self.model.label, self.weights.tag if self.weights else "")

    @property
    def parameters(self) -> int:
        return parameter_count(self.net)

    @property
    def runtime(self) -> str:
        """What computes it, in words, where that is not PyTorch: `Model.from_file` explains it."""
        return str(getattr(self.net, "runtime", ""))


def parameter_count(net: nn.Module) -> int:
    """The trainable parameters, which is what tables count: EDSR's fixed mean shift is not one."""
    return sum(p.numel() for p in net.parameters() if p.requires_grad)


def pick_device(word: str = "auto") -> torch.device:
    """ "auto" is the accelerator where there is one, else the CPU. UsageError for one that is not there."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if word == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(word)
    except RuntimeError:
        raise UsageError(f"no device called '{word}'; there is auto, cpu, cuda, mps") from None
    if device.type != "cpu" and (accelerator is None or device.type != accelerator.type):
        raise UsageError(f"this machine has no '{word}'; there is {accelerator.type if accelerator else 'only cpu'}")
    return device


def native_precision(device: torch.device | str) -> Precision:
    """ "bf16" where `device` multiplies bfloat16 in hardware, else "fp32".

    That is CUDA of capability 8 and up, and a CPU with AMX or AVX512 instructions for it. Where torch cannot say
    (`torch.cpu.get_capabilities` is not in every version), it is "fp32", which is right everywhere.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp32"
    if kind != "cpu":
        return "fp32"
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bf16" if any(capabilities.get(name) for name in CPU_BF16) else "fp32"


def precision_on(device: torch.device | str, word: str) -> Precision:
    """`word`, or what "auto" is on `device`. UsageError for a word that is neither."""
    if word == "auto":
        return native_precision(device)
    offered = get_args(Precision)
    if word not in offered:
        raise UsageError(f"no precision called '{word}'{did_you_mean(word, offered)}; auto, {', '.join(offered)}")
    return cast(Precision, word)


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed what draws on `device` and on the CPU.

    `torch.manual_seed` seeds every kind of device, and where CUDA is built in but not in use it notes the whole call
    stack each time, which is a good part of a millisecond.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def precision_of(loaded: Loaded, device: torch.device | str, word: str) -> Precision:
    """`precision_on`; fp32 in any case for another runtime, and for an interpolation, which autocast would round."""
    precision = precision_on(device, word)
    return precision if loaded.model.component.trainable and not loaded.runtime else "fp32"


def build_net(model: Choice, scales: Sequence[int], device: torch.device | str = "cpu") -> nn.Module:
    """Build a model for `scales`; UsageError for a scale it does not offer, PluginError if its code fails."""
    check_scales(model, scales)
    try:
        net: nn.Module = model.build(tuple(scales) if model.component.multi_scale else scales[0])
    except SrkitError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise SrkitError(f"out of memory building '{model.label}' with {model.options}") from None
        raise PluginError(f"model '{model.entry.qualified}' cannot be built: {one_line(error)}") from error
    return net.to(device)


def in_memory_format(net: nn.Module, memory: torch.memory_format) -> nn.Module:
    """`net.to(memory_format=memory)`; what has five dimensions, which channels_last refuses, stays as it is."""
    tensors = [*net.parameters(), *net.buffers()]
    if all(tensor.ndim != 5 for tensor in tensors):
        return net.to(memory_format=memory)
    for tensor in tensors:
        if tensor.ndim == 4:
            tensor.data = tensor.data.contiguous(memory_format=memory)
    return net


def out_of_memory(error: BaseException) -> bool:
    """Is that what it says? On a CPU torch has no type of error for it."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def ran_out(error: BaseException | None) -> bool:
    """Is it, or what it was raised from, for lack of memory?"""
    while error is not None:
        if out_of_memory(error):
            return True
        error = error.__cause__
    return False
