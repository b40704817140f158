"""srkit-catanet: CATANet as a srkit model. Imports neither torch nor timm until a network is built."""

from srkit import Model, hookimpl, lazy

srkit_api = 1  # the version of srkit's plugin contract this is made for


PAPER = (
    "Liu et al., CATANet: Efficient Content-Aware Token Aggregation for Lightweight Image Super-Resolution, CVPR 2025"
)


@hookimpl
def srkit_models():
    return [
        Model(
            name="catanet",
            build=lazy("srkit_catanet.net:CATANet"),
            scales=(2, 3, 4),
            presets={"catanet-l": {}},
            summary="Attention among pixels of like content wherever they lie, then in overlapping windows",
            paper=PAPER,
            licence="MIT",
        ),
    ]
