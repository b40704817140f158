"""srkit-swinir: SwinIR as a srkit model. Imports neither torch nor timm until a network is built."""

from srkit import Model, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


@hookimpl
def srkit_models():
    return [
        Model(
            name="swinir",
            build=lazy("srkit_swinir.net:SwinIR"),
            scales=(2, 3, 4),
            presets={
                "swinir-light": {},
                "swinir-classic": {
                    "embed_dim": 180, "depths": [6] * 6, "num_heads": [6] * 6, "upsampler": "pixelshuffle",
                },
            },
            summary="Shifted-window attention in residual groups, then sub-pixel upsampling",
            paper="Liang et al., SwinIR: Image Restoration Using Swin Transformer, ICCVW 2021",
            licence="MIT",
            size_multiple=8,
            receptive_field=lazy("srkit_swinir.net:receptive_field"),
        ),
    ]  # fmt: skip
