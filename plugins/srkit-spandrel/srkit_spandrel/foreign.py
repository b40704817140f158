"""Turn a weight file that spandrel knows into an srkit network; of a pickle nothing but tensors is read."""

import logging
import warnings
from pathlib import Path
from textwrap import shorten
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from srkit import CheckpointError
from srkit_spandrel.quiet import spandrel

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")
PURPOSES = ("SR", "Restoration")

log = logging.getLogger(__name__)


class Foreign(nn.Module):
    """A spandrel model as srkit calls one: RGB `B,3,H,W` float in [0, 1] -> `B,3,scale*H,scale*W` in [0, 1].

    The descriptor pads to the size the model wants (minimum, multiple, square), takes the picture out
    of a tuple, clips and crops. It works without gradients.
    """

    def __init__(self, descriptor: spandrel.ImageModelDescriptor):
        super().__init__()
        self.descriptor = descriptor
        self.model = descriptor.model  # so that .to(device) and the count of parameters reach it

    def forward(self, lr: Tensor) -> Tensor:
        # spandrel promises its call for one picture at a time, and its pixels in torch's own memory order.
        return torch.cat([self.descriptor(picture) for picture in lr.contiguous().split(1)])

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """As nn.Module.to, but never channels_last: the convolutions then add in spandrel's order, bit for bit."""
        kwargs.pop("memory_format", None)
        return super().to(*args, **kwargs)


def load(path: Path) -> tuple[Foreign, int] | None:
    """The network a weight file holds and its scale; None for a file spandrel does not know.

    Raises CheckpointError for a pickle that holds more than tensors (nothing of it is run), and for a
    model that is not one RGB picture in, one out.
    """
    state = read_state(path) if path.suffix.lower() in SUFFIXES else None
    if state is None:
        return None
    try:
        descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    except spandrel.UnsupportedModelError:
        return None
    except Exception as error:
        # spandrel goes by a few names of tensors and can be mistaken: another plugin may know the file better.
        reason = shorten(f"{type(error).__name__}: {error}", 200)
        log.warning("spandrel took '%s' for a model it knows, and failed: %s", path, reason)
        return None
    return Foreign(usable(descriptor, path)), descriptor.scale


def read_state(path: Path) -> dict[str, Any] | None:
    """The tensors of a file by name, perhaps within dicts; None where it holds something else.

    Raises CheckpointError where a pickle cannot be read with `weights_only=True`.
    """
    if path.suffix.lower() == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError:
            return None  # srkit says what is wrong with it
    try:
        with warnings.catch_warnings(action="ignore"):  # what torch thinks of a file we refuse is not for the user
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or broken pickle can fail in any way
        raise CheckpointError(
            f"'{path}' is refused: it is damaged, or holds more than tensors, and to read that could run "
            f"code hidden in it ({type(error).__name__}); ask for a plain state dict or a .safetensors file"
        ) from error
    return state if isinstance(state, dict) else None


def usable(descriptor: spandrel.ModelDescriptor, path: Path) -> spandrel.ImageModelDescriptor:
    """The same descriptor, where it takes one RGB picture and gives one. Raises CheckpointError where not."""
    name = descriptor.architecture.name
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise CheckpointError(f"'{path}' is {name}, which wants a mask beside the picture; srkit gives it none")
    if descriptor.purpose not in PURPOSES:
        wanted = " or ".join(PURPOSES)
        raise CheckpointError(f"'{path}' is {name}, a model for {descriptor.purpose}; srkit runs those for {wanted}")
    channels = (descriptor.input_channels, descriptor.output_channels)
    if channels != (3, 3):
        raise CheckpointError(
            f"'{path}' is {name} with {channels[0]} channels in and {channels[1]} out; srkit works on RGB, 3 and 3: "
            "look for the colour version"
        )
    return descriptor
