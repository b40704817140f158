"""srkit: a super-resolution toolkit whose models, losses, datasets and metrics are plugins.

Everything public is listed in `__all__`. Importing srkit does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from srkit.components import (
    Archive,
    Augmentation,
    Backend,
    Batch,
    Command,
    Dataset,
    Degradation,
    Layout,
    Loss,
    Metric,
    Model,
    Optimizer,
    Pair,
    Reading,
    Tracker,
    Weights,
    Wrapper,
    lazy,
)
from srkit.errors import (
    Cancelled,
    CheckpointError,
    ChecksumError,
    DataError,
    FetchError,
    ImageError,
    NoWeights,
    OptionError,
    OutputError,
    PluginError,
    SrkitError,
    UnknownName,
    UsageError,
    missing_path,
)
from srkit.hookspecs import hookimpl
from srkit.imresize import imresize, imresize_torch
from srkit.plugins import Registry, load_plugins

if TYPE_CHECKING:
    from srkit.api.fitting import BestScore, FitResult, fit
    from srkit.api.models import UsableModel, list_models
    from srkit.api.scoring import PictureScore, ScoreResult, score
    from srkit.api.trying import try_models
    from srkit.api.upscaling import FilePlan, Upscaler, load
    from srkit.evaluate.tried import Trial
    from srkit.files import cache_folder, data_folder, write_atomically
    from srkit.images import image_size, list_files, list_images, read_rgb, readable_suffixes
    from srkit.malloc import keep_freed_memory
    from srkit.progress import Progress, say
    from srkit.run import Part, Run
    from srkit.upscale.guesswork import Confidence
    from srkit.weights.kept import converted

__version__ = "0.2.0"

__all__ = [
    "Archive",
    "Augmentation",
    "Backend",
    "Batch",
    "BestScore",
    "Cancelled",
    "CheckpointError",
    "ChecksumError",
    "Command",
    "Confidence",
    "DataError",
    "Dataset",
    "Degradation",
    "FetchError",
    "FilePlan",
    "FitResult",
    "ImageError",
    "Layout",
    "Loss",
    "Metric",
    "Model",
    "NoWeights",
    "Optimizer",
    "OptionError",
    "OutputError",
    "Pair",
    "Part",
    "PictureScore",
    "PluginError",
    "Progress",
    "Reading",
    "Registry",
    "Run",
    "ScoreResult",
    "SrkitError",
    "Tracker",
    "Trial",
    "UnknownName",
    "Upscaler",
    "UsableModel",
    "UsageError",
    "Weights",
    "Wrapper",
    "cache_folder",
    "converted",
    "data_folder",
    "fit",
    "hookimpl",
    "image_size",
    "imresize",
    "imresize_torch",
    "keep_freed_memory",
    "lazy",
    "list_files",
    "list_images",
    "list_models",
    "load",
    "load_plugins",
    "missing_path",
    "read_rgb",
    "readable_suffixes",
    "say",
    "score",
    "try_models",
    "write_atomically",
]

_WHERE = {
    "BestScore": "api.fitting",
    "Confidence": "upscale.guesswork",
    "FilePlan": "api.upscaling",
    "FitResult": "api.fitting",
    "Part": "run",
    "PictureScore": "api.scoring",
    "Progress": "progress",
    "Run": "run",
    "ScoreResult": "api.scoring",
    "Trial": "evaluate.tried",
    "Upscaler": "api.upscaling",
    "UsableModel": "api.models",
    "cache_folder": "files",
    "converted": "weights.kept",
    "data_folder": "files",
    "fit": "api.fitting",
    "image_size": "images",
    "keep_freed_memory": "malloc",
    "list_files": "images",
    "list_images": "images",
    "list_models": "api.models",
    "load": "api.upscaling",
    "read_rgb": "images",
    "readable_suffixes": "images",
    "say": "progress",
    "score": "api.scoring",
    "try_models": "api.trying",
    "write_atomically": "files",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'srkit' has no attribute '{name}'")
    return getattr(importlib.import_module(f"srkit.{_WHERE[name]}"), name)
