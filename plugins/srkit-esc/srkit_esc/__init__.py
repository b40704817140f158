"""srkit-esc: ESC as srkit models. Imports neither torch nor timm until a network is built."""

from srkit import Model, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for

PAPER = "Lee et al., Emulating Self-attention with Convolution for Efficient Image Super-Resolution, ICCV 2025"


@hookimpl
def srkit_models():
    return [
        Model(
            name="esc",
            build=lazy("srkit_esc.net:ESC"),
            scales=(2, 3, 4),
            presets={"esc-light": {"n_blocks": 3}},
            summary="One attention in large windows a block, then one large kernel that all blocks share",
            paper=PAPER,
            licence="MIT",
        ),
        Model(
            name="esc-fp",
            build=lazy("srkit_esc.net:ESCFP"),
            scales=(2, 3, 4),
            summary="ESC with the large kernel taken apart: fewer parameters and multiply-adds",
            paper=PAPER,
            licence="MIT",
        ),
    ]
