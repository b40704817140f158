"""Say what a weight file is, as plain data: srkit's own, one in a known layout, or only its tensors."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from srkit.checkpoint import group_of, read_about, read_mappings
from srkit.errors import CheckpointError, PluginError, UnknownName, one_line
from srkit.nets import build_net, parameter_count
from srkit.plugins import Choice, Registry
from srkit.weights.find import is_own
from srkit.weights.layouts import recognise_all
from srkit.weights.loading import read_by_plugin
from srkit.weights.locate import model_said


def describe(registry: Registry, path: Path, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`layout` is "srkit", a layout's name, `package:name` of a plugin that reads such files, or empty.

    settings: what is known of a file that does not say it: `{"scale": 3}`.
    Raises UnknownName where there is no such file, CheckpointError where it cannot be read.
    """
    try:
        mappings = read_mappings(path)
    except CheckpointError:  # what holds no tensors for torch, as another runtime's file
        if not path.is_file() or not (found := of_plugins(registry, path)):
            raise
        return {"file": str(path), "bytes": path.stat().st_size} | found
    about: dict[str, Any] = {"file": str(path), "bytes": path.stat().st_size}
    if is_own(path):
        about |= described_by_itself(registry, path, read_about(path))
    elif known := recognise_all(registry, mappings, path, settings):
        about |= {
            "layout": known.layout,
            "layout_of": known.model.component.layouts[known.layout].summary,
            **of_model(known.model, known.reading.scales),
            "assumed": dict(known.reading.assumed),
            "notes": known.reading.notes,
            "key": known.key,
        }
    else:
        about |= of_plugins(registry, path) or {"layout": "", "shapes": shapes(every(mappings))}
    tensors = mappings.get(about.get("key", ""), every(mappings))
    return about | {
        "tensors": len(tensors),
        "values": sum(tensor.numel() for tensor in tensors.values()),
        "dtype": ", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})),
    }


def every(mappings: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{key}.{name}" if key and len(mappings) > 1 else name: tensor for key, each in mappings.items()
            for name, tensor in each.items()}  # fmt: skip


def described_by_itself(registry: Registry, path: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    said, run = model_said(path, about), about.get("run") or {}
    result = {
        "layout": "srkit",
        "model": said["name"],
        "version": said["version"],
        "scales": about["scales"],
        "options": said["options"],
        "step": about.get("step"),
        "steps": run.get("steps"),
        "scores": about.get("scores") or {},
        "licence": about.get("licence") or "",
        "data": (run.get("data") or {}).get("name", ""),
        "converted_from": about.get("converted_from"),
    }
    try:
        model = registry.choose("model", said["name"], said["options"])
    except UnknownName:  # its plugin is not installed: then only what the file says is known
        return result
    return result | of_model(model, about["scales"])


def of_model(model: Choice, scales: Any) -> dict[str, Any]:
    return {
        "model": model.entry.qualified,
        "label": model.label,
        "scales": list(scales),
        "options": dict(model.options),
        "parameters": parameter_count(build_net(model, scales)),
    }


def of_plugins(registry: Registry, path: Path) -> dict[str, Any] | None:
    """A file that a model's `from_file` reads, or else knows and refuses."""
    read, objections = read_by_plugin(registry, path)
    if read is not None:
        entry, net, scale = read
        told = {"runtime": net.runtime} if hasattr(net, "runtime") else {}
        return {"layout": entry.qualified, "scales": [scale], "parameters": parameter_count(net), **told}
    for name, error in objections.items():
        if not isinstance(error, PluginError):  # a plugin may fail on a file that it does not know
            return {"layout": name, "notes": one_line(error)}
    return None


def shapes(tensors: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Groups of tensors of one kind: their name with `*` for numbers, how many, and their shape."""
    groups = Counter((f"{group_of(n)}.{n.rpartition('.')[2]}", tuple(t.shape)) for n, t in tensors.items())
    return [{"name": name, "count": count, "shape": list(shape)} for (name, shape), count in groups.items()]
