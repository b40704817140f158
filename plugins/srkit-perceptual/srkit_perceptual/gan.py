"""The adversarial loss: a discriminator that trains itself after each step of the model."""

from typing import Annotated, Any, Literal

import torch
from annotated_types import Gt, MinLen
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from srkit_perceptual.discriminators import Patch, Projected, UNet

Mode = Literal["vanilla", "lsgan", "hinge", "relativistic"]


class Gan(nn.Module):
    """`gan(sr, hr)`: how well sr passes for real. `gan.update(sr, hr)`: one step of the discriminator's own Adam.

    sr, hr: B,3,H,W float in [0, 1]. The discriminator is frozen and in eval mode but within `update`, so the
    model's backward pass leaves no gradient in it and judging leaves its spectral norms as they are.
    Its weights, its optimizer and its schedule are the state, so that a resumed run goes on bit for bit.
    Source: Goodfellow et al. 2014; Ledig et al., SRGAN, CVPR 2017, section 2.2.2.
    """

    def __init__(
        self,
        *,
        discriminator: Annotated[
            Literal["unet", "patch", "projected"],
            "unet: a logit per pixel (Real-ESRGAN); patch: per 70x70 patch (pix2pix); "
            "projected: of the features of a frozen network (Projected GAN)",
        ] = "unet",
        mode: Annotated[Mode, "the game: vanilla (SRGAN), lsgan, hinge, or relativistic average (ESRGAN)"] = "vanilla",
        num_feat: Annotated[int, Gt(0), "channels of the discriminator's first layer; deeper ones have up to 8x"] = 64,
        num_layers: Annotated[int, Gt(0), "strided layers, of 'patch' only: 'unet' always has three"] = 3,
        backbone: Annotated[str, "of 'projected' only: a timm model that gives features"] = "tf_efficientnet_lite0",
        layers: Annotated[
            tuple[int, ...], MinLen(1), "of 'projected' only: which features, rising: timm's out_indices"
        ] = (1, 2, 3, 4),
        pretrained: Annotated[bool | str, "of 'projected' only: the backbone's weights, as of 'perceptual'"] = True,
        lr: Annotated[float, Gt(0), "learning rate of the discriminator's Adam"] = 1e-4,
        betas: Annotated[tuple[float, float], "decay rates of the discriminator's Adam"] = (0.9, 0.999),
        halve_every: Annotated[int, Gt(0), "steps after which its learning rate is halved, again and again"] = 200_000,
    ):
        super().__init__()
        self.mode = mode
        self.whole_batch = mode == "relativistic"  # its logits are compared with their mean over the batch
        if discriminator == "projected":
            self.discriminator: nn.Module = Projected(num_feat, backbone, layers, pretrained)
        else:
            self.discriminator = UNet(num_feat) if discriminator == "unet" else Patch(num_feat, num_layers)
        trained = [parameter for parameter in self.discriminator.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=lr, betas=betas)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, halve_every, gamma=0.5)
        self.discriminator.eval().requires_grad_(False)

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        fake = self.discriminator(sr)
        real = self.discriminator(hr) if self.mode == "relativistic" else None
        return generator_loss(self.mode, fake, real)

    def update(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        self.discriminator.train().requires_grad_(True)
        real, fake = self.discriminator(torch.cat([hr, sr.detach()])).chunk(2)
        loss = discriminator_loss(self.mode, fake, real)
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.discriminator.eval().requires_grad_(False)
        return {"discriminator": loss.detach()}

    def get_extra_state(self) -> dict[str, Any]:
        """What `state_dict` holds beside the discriminator."""
        return {"optimizer": self.optimizer.state_dict(), "schedule": self.schedule.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])


def generator_loss(mode: Mode, fake: Tensor, real: Tensor | None) -> Tensor:
    """What the model minimises. fake, real: logits of sr and hr; real is wanted by `relativistic` alone.

    vanilla: -log D(sr), the non-saturating form SRGAN uses. lsgan: Mao et al. 2017, equation 9.
    hinge: Lim and Ye 2017. relativistic: ESRGAN, Wang et al. 2018, equation 2.
    """
    if mode == "vanilla":
        return softplus(-fake).mean()
    if mode == "lsgan":
        return 0.5 * ((fake - 1) ** 2).mean()
    if mode == "hinge":
        return -fake.mean()
    return softplus(real - fake.mean()).mean() + softplus(real.mean() - fake).mean()


def discriminator_loss(mode: Mode, fake: Tensor, real: Tensor) -> Tensor:
    """What the discriminator minimises, in the game of the same name. Relativistic: equation 1."""
    if mode == "vanilla":
        return softplus(-real).mean() + softplus(fake).mean()
    if mode == "lsgan":
        return 0.5 * ((real - 1) ** 2).mean() + 0.5 * (fake**2).mean()
    if mode == "hinge":
        return relu(1 - real).mean() + relu(1 + fake).mean()
    return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()
