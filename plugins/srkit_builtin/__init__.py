"""What ships with srkit, in the form any plugin has: this file is its table of contents and imports no torch."""

import math
from functools import partial

from srkit import Augmentation, Dataset, Loss, Metric, Model, Tracker, Wrapper, hookimpl, lazy
from srkit_builtin.folders import Folder, benchmark, samples

ANY_SCALE = tuple(range(2, 9))


@hookimpl
def srkit_models():
    return [
        Model(
            name="nearest",
            build=lazy("srkit_builtin.interpolation:Nearest"),
            summary="Each pixel repeated",
            scales=ANY_SCALE,
            trainable=False,
        ),
        Model(
            name="bicubic",
            build=lazy("srkit_builtin.interpolation:Bicubic"),
            summary="MATLAB's bicubic imresize on 8-bit pixels: the floor of every table",
            paper="Keys, Cubic convolution interpolation for digital image processing, 1981",
            scales=ANY_SCALE,
            trainable=False,
        ),
        Model(
            name="lanczos",
            build=lazy("srkit_builtin.interpolation:Lanczos"),
            summary="MATLAB's lanczos3 imresize on 8-bit pixels",
            scales=ANY_SCALE,
            trainable=False,
        ),
        Model(
            name="edsr",
            build=lazy("srkit_builtin.edsr:EDSR"),
            scales=(2, 3, 4),
            presets={
                "edsr-baseline": {},
                "edsr-large": {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1},
            },
            summary="Residual blocks without batch normalisation, then sub-pixel upsampling",
            paper="Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.edsr:receptive_field"),
        ),
    ]


@hookimpl
def srkit_losses():
    return [
        Loss(name="l1", build=lazy("torch.nn:L1Loss"), summary="Mean absolute error, the EDSR paper's choice"),
        Loss(name="l2", build=lazy("torch.nn:MSELoss"), summary="Mean squared error, which maximises PSNR"),
    ]


@hookimpl
def srkit_datasets():
    published = {
        "set5": ("Set5", "5 images, Bevilacqua et al. 2012"),
        "set14": ("Set14", "14 images, Zeyde et al. 2010"),
        "b100": ("B100", "100 images of BSD300's test part, Martin et al. 2001"),
        "urban100": ("Urban100", "100 images of buildings, Huang et al. 2015"),
    }
    return [
        Dataset(name="folder", build=Folder, summary="Your own pictures: HR alone, or HR and LR folders"),
        Dataset(
            name="samples", build=samples, summary="Ten free photographs that ship with srkit: 8 to train, 2 held out"
        ),
        *(
            Dataset(name=name, build=partial(benchmark, folder), benchmark=True, summary=f"{text}; under $SRKIT_DATA")
            for name, (folder, text) in published.items()
        ),
    ]


@hookimpl
def srkit_metrics():
    return [
        Metric(
            name="psnr",
            build=lazy("srkit_builtin.metrics:psnr_metric"),
            range=(0, math.inf),
            summary="Peak signal-to-noise ratio in dB, peak 255",
        ),
        Metric(
            name="ssim",
            build=lazy("srkit_builtin.metrics:ssim_metric"),
            range=(-1, 1),
            summary="Structural similarity, 11x11 Gaussian window",
        ),
    ]


@hookimpl
def srkit_augmentations():
    return [
        Augmentation(
            name="dihedral",
            build=lazy("srkit_builtin.dihedral:Dihedral"),
            summary="Two flips and a transpose, bit-exact",
        ),
    ]


@hookimpl
def srkit_wrappers():
    return [
        Wrapper(
            name="self-ensemble",
            build=lazy("srkit_builtin.self_ensemble:SelfEnsemble"),
            summary="Mean over the eight flips and transposes, the '+' of the tables; eight times the work",
        ),
    ]


@hookimpl
def srkit_trackers():
    return [
        Tracker(
            name="jsonl",
            build=lazy("srkit_builtin.jsonl:JsonLines"),
            summary="log.jsonl in the run's folder; always on",
        ),
    ]
