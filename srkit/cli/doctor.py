"""`srkit doctor`: versions, devices and what is broken, for a bug report."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from srkit.cli import display
from srkit.cli.choose import AsJson
from srkit.commands import resolved
from srkit.errors import SrkitError, one_line
from srkit.hookspecs import API
from srkit.plugins import BUILTIN, Registry, declared_options, load_plugins

LIBRARIES = ("torch", "torchvision", "timm", "kornia", "numpy", "pillow", "pluggy", "pydantic", "safetensors", "typer")


def doctor(as_json: AsJson = False) -> None:
    """Print versions, devices, plugins, caches and what is broken, as one block for a bug report."""
    registry = load_plugins()
    broken = [*registry.notices, *unusable(registry)]
    about = {
        "srkit": f"{version('srkit')}, plugin API {API}, {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} at {sys.executable}",
        "system": f"{platform.platform()}, {os.cpu_count()} cores",
        "libraries": libraries(broken),
        "devices": devices(broken),
        "plugins": packages(registry),
        "cache": cache(),
        "settings": {name: value for name, value in sorted(os.environ.items()) if name.startswith("SRKIT_")},
        "broken": broken,
    }
    if as_json:
        display.result(json.dumps(about, indent=2))
    else:
        for key, value in about.items():
            display.result(f"{key:<10}{told(value)}")
    if broken:
        raise typer.Exit(1)


def unusable(registry: Registry) -> list[str]:
    """A line for each component of a plugin that cannot be imported when it is used."""
    found = []
    for entry in [entry for entry in registry.entries if entry.package != BUILTIN]:
        try:
            declared_options(entry) if entry.kind != "command" else resolved(entry)
        except SrkitError as error:
            found.append(one_line(error))
    return found


def told(value: Any) -> str:
    """A value over one or more lines, the later ones indented."""
    items = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else value
    return items if isinstance(items, str) else f"\n{'':<10}".join(items) or "none"


def libraries(broken: list[str]) -> str:
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            broken.append(f"{name} is not installed: pip install {name}")
    return ", ".join(found)


def devices(broken: list[str]) -> list[str]:
    """The CPU with its threads, and each accelerator torch can use."""
    try:
        import torch
    except Exception as error:
        broken.append(f"torch cannot be imported: {type(error).__name__}: {error}")
        return []
    found = [f"cpu ({torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()})"]
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        found.append(f"cuda:{i} {about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def packages(registry: Registry) -> list[str]:
    """A line for each package: its version and what it brings."""
    lines: dict[str, list[str]] = {}
    for entry in registry.entries:
        lines.setdefault(f"{entry.package} {entry.version}", []).append(entry.component.name)
    return [f"{package}: {', '.join(names)}" for package, names in lines.items()]


def cache() -> str:
    from rich.filesize import decimal

    from srkit.files import packs_folder

    folder = packs_folder()
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    return f"{folder}: {len(files)} files, {decimal(sum(path.stat().st_size for path in files))}"
