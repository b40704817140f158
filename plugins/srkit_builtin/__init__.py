"""What ships with srkit, in the form any plugin has: this file is its table of contents and imports no torch."""

import math
from functools import partial

from srkit import (
    Augmentation,
    Backend,
    Dataset,
    Degradation,
    Layout,
    Loss,
    Metric,
    Model,
    Tracker,
    Wrapper,
    hookimpl,
    lazy,
)
from srkit_builtin import archives
from srkit_builtin.folders import Folder, benchmark, folder_validation, samples
from srkit_builtin.shipped import shipped

srkit_api = 1
ANY_SCALE = tuple(range(1, 9))
POWERS_OF_TWO_OR_3 = (1, 2, 3, 4, 8)  # by sub-pixel convolution; x1 restores and enlarges nothing


@hookimpl
def srkit_models() -> list[Model]:
    return [
        Model(
            name="nearest",
            build=lazy("srkit_builtin.interpolation:Nearest"),
            summary="Each pixel repeated",
            scales=ANY_SCALE,
            trainable=False,
            receptive_field=0,
        ),
        Model(
            name="bicubic",
            build=lazy("srkit_builtin.interpolation:Bicubic"),
            summary="MATLAB's bicubic imresize on 8-bit pixels: the floor of every table",
            paper="Keys, Cubic convolution interpolation for digital image processing, 1981",
            scales=ANY_SCALE,
            trainable=False,
            resize="bicubic",
            receptive_field=4,
        ),
        Model(
            name="lanczos",
            build=lazy("srkit_builtin.interpolation:Lanczos"),
            summary="MATLAB's lanczos3 imresize on 8-bit pixels",
            scales=ANY_SCALE,
            trainable=False,
            resize="lanczos3",
            receptive_field=4,
        ),
        Model(
            name="edsr",
            build=lazy("srkit_builtin.edsr:EDSR"),
            scales=POWERS_OF_TWO_OR_3,
            presets={
                "edsr-small": {"n_resblocks": 8, "n_feats": 32},
                "edsr-baseline": {},
                "edsr-large": {"n_resblocks": 32, "n_feats": 256, "res_scale": 0.1},
            },
            weights=shipped("edsr"),
            summary="Residual blocks without batch normalisation, then sub-pixel upsampling",
            paper="Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.edsr:receptive_field"),
            layouts={
                "edsr-pytorch": Layout(
                    read=lazy("srkit_builtin.layouts:read_edsr"),
                    write=lazy("srkit_builtin.layouts:write_edsr"),
                    suffixes=(".pt", ".pth"),
                    summary="the authors' code, sanghyun-son/EDSR-PyTorch",
                ),
                "basicsr": Layout(
                    read=lazy("srkit_builtin.layouts:read_basicsr"),
                    write=lazy("srkit_builtin.layouts:write_basicsr"),
                    key="params",
                    summary="XPixelGroup/BasicSR",
                ),
            },
        ),
        Model(
            name="mdsr",
            build=lazy("srkit_builtin.mdsr:MDSR"),
            scales=POWERS_OF_TWO_OR_3[1:],
            multi_scale=True,
            presets={
                "mdsr-small": {"n_resblocks": 8, "n_feats": 32},
                "mdsr-baseline": {},
                "mdsr-large": {"n_resblocks": 80},
            },
            weights=shipped("mdsr"),
            summary="EDSR for several scales at once: one trunk, each scale its own way in and out",
            paper="Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution, CVPRW 2017",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.mdsr:receptive_field"),
            layouts={
                "edsr-pytorch": Layout(
                    read=lazy("srkit_builtin.layouts:read_mdsr"),
                    write=lazy("srkit_builtin.layouts:write_mdsr"),
                    suffixes=(".pt", ".pth"),
                    summary="the authors' code, sanghyun-son/EDSR-PyTorch",
                ),
            },
        ),
        Model(
            name="vdsr",
            build=lazy("srkit_builtin.vdsr:VDSR"),
            scales=(1, 2, 3, 4),
            multi_scale=True,
            summary="Twenty convolutions that correct the luma of a bicubic enlargement, the same at every scale",
            paper="Kim et al., Accurate Image Super-Resolution Using Very Deep Convolutional Networks, CVPR 2016",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.vdsr:receptive_field"),
        ),
        Model(
            name="srresnet",
            build=lazy("srkit_builtin.srresnet:SRResNet"),
            scales=POWERS_OF_TWO_OR_3,
            summary="Residual blocks with batch normalisation: SRGAN's generator, trained for PSNR",
            paper="Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial "
            "Network, CVPR 2017",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.srresnet:receptive_field"),
        ),
        Model(
            name="srcnn",
            build=lazy("srkit_builtin.srcnn:SRCNN"),
            scales=(1, 2, 3, 4),
            presets={"srcnn-915": {}, "srcnn-955": {"f2": 5}},
            summary="Three convolutions on the luma of a bicubic enlargement: the first network of its kind",
            paper="Dong et al., Image Super-Resolution Using Deep Convolutional Networks, TPAMI 2016",
            licence="MIT",
            receptive_field=lazy("srkit_builtin.srcnn:receptive_field"),
        ),
    ]


@hookimpl
def srkit_losses() -> list[Loss]:
    return [
        Loss(name="l1", build=lazy("torch.nn:L1Loss"), summary="Mean absolute error, the EDSR paper's choice"),
        Loss(name="l2", build=lazy("torch.nn:MSELoss"), summary="Mean squared error, which maximises PSNR"),
        Loss(
            name="luma-l1",
            build=lazy("srkit_builtin.luma_loss:LumaL1"),
            summary="Mean absolute error of luma, which protocol y scores; beside a loss of colour",
        ),
        Loss(
            name="distillation",
            build=lazy("srkit_builtin.distillation:Distillation"),
            summary="Distance from what a trained network, the teacher, makes of the same LR",
        ),
    ]


@hookimpl
def srkit_datasets() -> list[Dataset]:
    published = {
        "set5": ("Set5", "5 images, Bevilacqua et al. 2012"),
        "set14": ("Set14", "14 images, Zeyde et al. 2010"),
        "b100": ("B100", "100 images of BSD300's test part, Martin et al. 2001"),
        "urban100": ("Urban100", "100 images of buildings, Huang et al. 2015"),
    }
    return [
        Dataset(
            name="folder",
            build=Folder,
            validation=folder_validation,
            summary="Your own pictures: HR alone, or HR and LR folders",
        ),
        Dataset(
            name="shards",
            build=lazy("srkit.data.shards:Shards"),
            summary="What srkit data pack wrote, in a folder or at an address; each rank opens its own part",
        ),
        Dataset(
            name="samples", build=samples, summary="Ten free photographs that ship with srkit: 8 to train, 2 held out"
        ),
        Dataset(
            name="div2k",
            build=lazy("srkit_builtin.div2k:div2k"),
            validation=lazy("srkit_builtin.div2k:validation"),
            summary="800 photographs to train, 100 to validate, with five kinds of LR; Agustsson and Timofte 2017",
            licence="academic research only; each picture's copyright is its owner's",
            archives=archives.DIV2K,
            page=archives.DIV2K_PAGE,
        ),
        Dataset(
            name="flickr2k",
            build=lazy("srkit_builtin.div2k:flickr2k"),
            summary="2650 photographs to train, Lim et al. 2017",
            licence="not stated; each picture's copyright is its owner's",
            archives=archives.FLICKR2K,
            page=archives.FLICKR2K_PAGE,
        ),
        *(
            Dataset(
                name=name,
                build=partial(benchmark, folder),
                benchmark=True,
                summary=f"{text}; under $SRKIT_DATA",
                licence="research use",
                archives=archives.BENCHMARKS,
                page=archives.EDSR_PAGE,
            )
            for name, (folder, text) in published.items()
        ),
        Dataset(
            name="manga109",
            build=partial(benchmark, "Manga109"),
            benchmark=True,
            summary="109 pages of manga, Matsui et al. 2017; under $SRKIT_DATA",
            licence="academic research, on application",
            archives=archives.MANGA109,
            page=archives.MANGA109_PAGE,
        ),
    ]


@hookimpl
def srkit_metrics() -> list[Metric]:
    return [
        Metric(
            name="psnr",
            build=lazy("srkit_builtin.metrics:psnr_metric"),
            range=(0, math.inf),
            unit="dB",
            digits=4,
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
def srkit_augmentations() -> list[Augmentation]:
    return [
        Augmentation(
            name="dihedral",
            build=lazy("srkit_builtin.dihedral:Dihedral"),
            summary="Two flips and a transpose, bit-exact",
        ),
        Augmentation(
            name="colour-jitter",
            build=lazy("srkit_builtin.colour:ColourJitter"),
            summary="Brightness, contrast, saturation and hue, the same for LR and HR",
        ),
        Augmentation(
            name="channel-shuffle",
            build=lazy("srkit_builtin.colour:ChannelShuffle"),
            summary="Red, green and blue in another order",
        ),
        Augmentation(
            name="mixup",
            build=lazy("srkit_builtin.mixing:Mixup"),
            summary="A weighted mean with another pair of the batch",
        ),
        Augmentation(
            name="blend",
            build=lazy("srkit_builtin.mixing:Blend"),
            summary="A weighted mean with one random colour",
        ),
        Augmentation(
            name="cutmix",
            build=lazy("srkit_builtin.mixing:CutMix"),
            summary="A rectangle of another pair of the batch",
        ),
        Augmentation(
            name="cutblur",
            build=lazy("srkit_builtin.mixing:CutBlur"),
            changes="lr",
            summary="A part of LR made clean, by bicubic from HR: for degraded LR, after 'realistic'",
        ),
        Augmentation(
            name="rescale",
            build=lazy("srkit_builtin.rescale:Rescale"),
            summary="HR smaller by a random factor, and LR made from it by bicubic",
        ),
        Augmentation(
            name="realistic",
            build=lazy("srkit_builtin.realistic:Realistic"),
            per_rank=True,
            changes="new lr",
            summary="LR made from HR by Real-ESRGAN's blur, resize, noise and JPEG, twice over",
        ),
        Augmentation(
            name="photo",
            build=lazy("srkit_builtin.photo:Photo"),
            per_rank=True,
            changes="new lr",
            summary="LR made from HR as small photographs are: slight blur and noise, any resize, one JPEG",
        ),
    ]


@hookimpl
def srkit_degradations() -> list[Degradation]:
    return [
        Degradation(
            name="blur",
            build=lazy("srkit_builtin.degradations:Blur"),
            summary="Gaussian, generalised Gaussian, plateau or sinc kernels, isotropic or not",
        ),
        Degradation(
            name="resize",
            build=lazy("srkit_builtin.degradations:Resize"),
            summary="To LR's size or by a random factor: area, bilinear, bicubic, Lanczos",
        ),
        Degradation(
            name="noise",
            build=lazy("srkit_builtin.degradations:Noise"),
            summary="Gaussian or Poisson, in colour or gray",
        ),
        Degradation(
            name="jpeg",
            build=lazy("srkit_builtin.compressions:Jpeg"),
            summary="Pillow's JPEG, 4:2:0 or 4:4:4, or kornia's on the device",
        ),
        Degradation(
            name="webp",
            build=lazy("srkit_builtin.compressions:WebP"),
            summary="Pillow's lossy WebP",
        ),
        Degradation(
            name="video",
            build=lazy("srkit_builtin.compressions:Video"),
            summary="A frame of H.264, by PyAV (pip install av)",
        ),
        Degradation(
            name="sharpen",
            build=lazy("srkit_builtin.degradations:Sharpen"),
            summary="An unsharp mask: halos, as cameras draw them",
        ),
    ]


@hookimpl
def srkit_wrappers() -> list[Wrapper]:
    return [
        Wrapper(
            name="self-ensemble",
            build=lazy("srkit_builtin.self_ensemble:SelfEnsemble"),
            passes=8,
            mark="+",
            local=True,
            summary="Mean over the eight flips and transposes, the '+' of the tables; eight times the work",
        ),
    ]


@hookimpl
def srkit_trackers() -> list[Tracker]:
    return [
        Tracker(
            name="jsonl",
            build=lazy("srkit.train.log:JsonLines"),
            summary="log.jsonl in the run's folder, which every run writes without naming it",
        ),
    ]


@hookimpl
def srkit_backends() -> list[Backend]:
    return [
        Backend(
            name="torch",
            build=lazy("srkit.upscale.backend:torch_backend"),
            precisions={"fp32": 1e-5, "bf16": 2e-2, "fp16": 3e-3},
            summary="PyTorch, on the device the network is on",
        ),
    ]
