"""The other way round: what srkit trains, for every tool that loads models with spandrel.

from srkit_spandrel.descriptors import install
install()
spandrel.ModelLoader().load_from_file("runs/edsr_x2/best.safetensors")
"""

import re

from spandrel import MAIN_REGISTRY, Architecture, ArchRegistry, ArchSupport, ImageModelDescriptor, StateDict
from spandrel.util import get_pixelshuffle_params, get_seq_len
from torch import nn

from srkit import load_plugins

# Everything in a state dict of EDSR, by the names of the authors' code, and what no such dict lacks.
EDSR_NAME = re.compile(
    r"(sub_mean|add_mean|head\.0|body\.\d+|body\.\d+\.body\.[02]|tail\.0\.\d+|tail\.1)\.(weight|bias)"
)
EDSR_HAS = {"sub_mean.weight", "head.0.weight", "body.0.body.2.weight", "tail.0.0.weight", "tail.1.weight"}
LARGE_WIDTH = 256  # the paper's large model, the one the authors train with residual scaling
LARGE_RES_SCALE = 0.1


class EDSRArch(Architecture[nn.Module]):
    """EDSR as srkit and the authors' code save it: Lim et al., CVPRW 2017.

    Blocks, width and scale are read off the tensors. The residual scaling leaves no trace in them: it is
    taken to be 0.1 at width 256, as in the authors' code, and 1.0 at any other.
    """

    def __init__(self) -> None:
        super().__init__(id="srkit-EDSR", name="EDSR", detect=is_edsr)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[nn.Module]:
        n_feats = state_dict["head.0.weight"].shape[0]
        n_resblocks = get_seq_len(state_dict, "body") - 1  # the last is the trunk's closing convolution
        scale, _ = get_pixelshuffle_params(state_dict, "tail.0")
        res_scale = LARGE_RES_SCALE if n_feats == LARGE_WIDTH else 1.0
        options = {"n_resblocks": n_resblocks, "n_feats": n_feats, "res_scale": res_scale}
        return ImageModelDescriptor(
            load_plugins().choose("model", "srkit:edsr", options).build(scale),
            state_dict,
            architecture=self,
            purpose="SR",
            tags=[f"{n_feats}nf", f"{n_resblocks}nb"],
            supports_half=False,
            supports_bfloat16=False,
            scale=scale,
            input_channels=3,
            output_channels=3,
        )


def is_edsr(state_dict: StateDict) -> bool:
    """Does it hold EDSR's tensors and no others?"""
    return state_dict.keys() >= EDSR_HAS and all(EDSR_NAME.fullmatch(name) for name in state_dict)


#: what `install` adds; not MDSR, which has several scales where a descriptor of spandrel's has one
ARCHITECTURES = (EDSRArch,)


def install(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Add srkit's networks to a registry of spandrel's, by default the one all loaders use. Twice does no harm.

    They are asked before all that is registered: their tests want every name to fit, so they take no
    other network's file, and no looser test can take theirs.
    """
    everyone = tuple(support.architecture.id for support in registry)
    ours = [ArchSupport.from_architecture(architecture(), before=everyone) for architecture in ARCHITECTURES]
    registry.add(*ours, ignore_duplicates=True)
