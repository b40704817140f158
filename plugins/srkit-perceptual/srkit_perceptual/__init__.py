"""srkit-perceptual: losses beyond L1 and L2. This file is its table of contents and imports no torch."""

from srkit import Loss, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_losses():
    return [
        Loss(
            name="charbonnier",
            build=lazy("srkit_perceptual.pixel:Charbonnier"),
            summary="sqrt(difference^2 + eps^2): L1 with a smooth bottom (Lai et al. 2017)",
        ),
        Loss(
            name="fft",
            build=lazy("srkit_perceptual.pixel:fft_loss"),
            summary="L1 between the Fourier transforms (Cho et al. 2021)",
        ),
        Loss(
            name="ssim",
            build=lazy("srkit_perceptual.pixel:ssim_loss"),
            summary="1 - SSIM, by the window of srkit's metric",
        ),
        Loss(
            name="ms-ssim",
            build=lazy("srkit_perceptual.ms_ssim:MSSSIM"),
            summary="1 - MS-SSIM, at up to five sizes (Wang et al. 2003)",
        ),
        Loss(
            name="wavelet",
            build=lazy("srkit_perceptual.wavelet:Wavelet"),
            summary="L1 in the sub-bands of the luma's stationary wavelet transform (Korkmaz and Tekalp 2024)",
        ),
        Loss(
            name="consistency",
            build=lazy("srkit_perceptual.consistency:Consistency"),
            summary="Lightness of the blurred pictures and Oklab's colour, as in neosr",
        ),
        Loss(
            name="ldl",
            build=lazy("srkit_perceptual.ldl:ldl"),
            summary="L1 where the picture looks like artifacts: locally discriminative learning (Liang et al. 2022)",
        ),
        Loss(
            name="perceptual",
            build=lazy("srkit_perceptual.perceptual:Perceptual"),
            summary="Distance between the features of a frozen timm backbone, VGG19 when not said",
        ),
        Loss(
            name="gan",
            build=lazy("srkit_perceptual.gan:Gan"),
            summary="Adversarial: a discriminator that trains itself beside the model",
        ),
    ]
