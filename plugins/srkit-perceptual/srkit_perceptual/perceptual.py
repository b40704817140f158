"""The perceptual loss: how far apart two pictures are in the features of a frozen, trained network."""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

import timm
import torch
from annotated_types import MinLen
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from torch import Tensor, nn
from torch.nn import functional as F

from srkit import CheckpointError, SrkitError, UnknownName, UsageError, missing_path

DISTANCES = {"l1": F.l1_loss, "l2": F.mse_loss}
PROBE_SECONDS = 10


class Perceptual(nn.Module):
    """Sum over layers of weight times the mean distance of the features of sr and hr. 0 for identical images.

    sr, hr: B,3,H,W float in [0, 1]; normalised here with the mean and deviation the backbone was trained with.
    The backbone stays in eval mode and frozen: gradients reach sr alone. Its weights are no part of the
    training state, which would carry them in every file; a resumed run reads them from where they were.
    Layers count as timm's `out_indices` does: for VGG the last activation before each pooling, so that 4 of
    vgg19 is relu5_4, SRGAN's VGG54.
    Source: Johnson et al., Perceptual Losses, ECCV 2016; Ledig et al., SRGAN, CVPR 2017, section 2.2.1.
    """

    def __init__(
        self,
        *,
        backbone: Annotated[str, "a timm model that gives features, with a tag or without"] = "vgg19",
        layers: Annotated[tuple[int, ...], MinLen(1), "which features, rising: timm's out_indices"] = (4,),
        layer_weights: Annotated[tuple[float, ...], "a weight for each of the layers; 1 for each when empty"] = (),
        distance: Annotated[Literal["l1", "l2"], "mean absolute or mean squared difference of features"] = "l1",
        pretrained: Annotated[
            bool | str,
            "true: timm's published weights, downloaded once; a path: that file of weights; "
            "false: RANDOM weights, which measure nothing anyone has validated",
        ] = True,
    ):
        super().__init__()
        if list(layers) != sorted(set(layers)):
            raise UsageError(f"layers = {list(layers)}: they must rise, each named once")
        if layer_weights and len(layer_weights) != len(layers):
            raise UsageError(f"layer_weights has {len(layer_weights)} values for {len(layers)} layers")
        self.layer_weights = layer_weights or (1.0,) * len(layers)
        self.distance = DISTANCES[distance]
        self.net = feature_net(backbone, layers, pretrained).requires_grad_(False)
        data = timm.data.resolve_model_data_config(self.net)
        self.net.pretrained_cfg = self.net.default_cfg = None  # it may hold a copy of all weights
        self.register_buffer("mean", torch.tensor(data["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(data["std"]).view(1, 3, 1, 1))
        self.eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.net((hr - self.mean) / self.std)
        found = self.net((sr - self.mean) / self.std)
        terms = zip(self.layer_weights, found, wanted, strict=True)
        return torch.stack([weight * self.distance(f, w) for weight, f, w in terms]).sum()

    def train(self, mode: bool = True) -> "Perceptual":
        """Stays in eval mode, whatever is asked: batch statistics would make the features drift."""
        return super().train(False)

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, Tensor]:
        """Empty: nothing here is trained."""
        return {}

    def load_state_dict(self, *args: object, **kwargs: object) -> None:
        """Nothing: see `state_dict`."""


def feature_net(backbone: str, layers: tuple[int, ...], pretrained: bool | str) -> nn.Module:
    """The backbone as timm's `features_only` network, every weight of it from one file, or all of them random.

    Raises UnknownName for a backbone timm does not have, SrkitError or CheckpointError for weights that
    cannot be had or do not fit, UsageError for layers it does not have.
    """
    if not timm.is_model(backbone):
        near = get_close_matches(backbone, timm.list_models(), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else "; timm.list_models() lists them"
        raise UnknownName(f"timm has no model '{backbone}'{hint}")
    overlay = {}
    if pretrained is not False:
        path = published_weights(backbone) if pretrained is True else Path(pretrained).expanduser()
        # timm loads features without minding what is missing, so the whole network is loaded first, strictly.
        overlay = {"state_dict": whole_net(backbone, path).state_dict(), "custom_load": False}
    try:
        return timm.create_model(
            backbone,
            pretrained=bool(overlay),
            pretrained_cfg_overlay=overlay,
            features_only=True,
            out_indices=layers,
        )
    except (IndexError, AssertionError, RuntimeError, AttributeError) as error:
        raise UsageError(f"'{backbone}' gives no features at the layers {list(layers)}: {brief(error)}") from None


def whole_net(backbone: str, path: Path) -> nn.Module:
    """The backbone with its classifier, loaded from a .safetensors, .pth or .bin, nothing of it unpickled freely."""
    if not path.is_file():
        raise missing_path(path, "weight file")
    try:
        return timm.create_model(
            backbone, pretrained=True, pretrained_cfg_overlay={"file": str(path), "custom_load": False}
        )
    except Exception as error:
        raise CheckpointError(f"'{path}' does not hold the weights of '{backbone}': {brief(error)}") from None


def published_weights(backbone: str) -> Path:
    """The file of timm's own weights: from the Hugging Face cache if it is there, else downloaded into it."""
    about = timm.get_pretrained_cfg(backbone)
    if not about.hf_hub_id:
        raise SrkitError(f"timm publishes no weights of '{backbone}'; set pretrained = \"FILE\" for this loss")
    name = about.hf_hub_filename or "model.safetensors"
    cached = try_to_load_from_cache(about.hf_hub_id, name)
    if isinstance(cached, str):
        return Path(cached)
    url = hf_hub_url(about.hf_hub_id, name)
    try:
        get_hf_file_metadata(url, timeout=PROBE_SECONDS)  # hf_hub_download retries for half a minute when offline
        return Path(hf_hub_download(about.hf_hub_id, name))
    except Exception as error:
        raise SrkitError(
            f"the weights '{about.hf_hub_id}' of '{backbone}' cannot be fetched from the Hugging Face hub "
            f'({brief(error)}); download {url} elsewhere and set pretrained = "FILE" for this loss'
        ) from None


def brief(error: Exception) -> str:
    """An error of a library as part of one line: no line breaks, not pages of parameter names."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]} ..."
