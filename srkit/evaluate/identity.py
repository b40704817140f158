"""What a component is for the results store: its name, version, options, and the source files it is made of."""

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from srkit.components import Lazy
from srkit.errors import UsageError
from srkit.evaluate.store import Store
from srkit.plugins import BUILTIN, Choice, Entry, Registry
from srkit.run import parse_assignment


def identity(choice: Choice) -> dict[str, Any]:
    """As JSON; another value where the component may give other results."""
    entry = choice.entry
    return {
        "name": entry.qualified,
        "version": entry.version,
        "options": choice.options,
        "code": code_of(entry),
    }


def runtime_identity(backend: Choice) -> dict[str, Any]:
    """Of a backend: as `identity`, with the versions of what it requires, since those compute."""
    return identity(backend) | {"packages": list(versions_of(backend.entry.package))}


def versions_of(package: str) -> Iterator[str]:
    """`openvino 2026.4.1` for each package that this one requires and that is installed; of srkit itself nothing."""
    if package == BUILTIN:
        return
    with suppress(PackageNotFoundError):
        for line in requires(package) or ():
            if found := re.match(r"[\w.-]+", line):
                with suppress(PackageNotFoundError):
                    yield f"{found[0]} {version(found[0])}"


def choose(registry: Registry, store: Store, kind: str, name: str, options: Mapping[str, Any] | None = None) -> Choice:
    """`Registry.choose`, remembered, since that imports the component and with it torch.

    To be asked what it is, not to be built: its options come from JSON.
    """
    entry = registry.find(kind, name)
    presets = {key: dict(values) for key, values in getattr(entry.component, "presets", {}).items()}
    bare = name.rpartition(":")[2]
    fact = ["choice", kind, entry.qualified, entry.version, bare, dict(options or {}), presets, code_of(entry)]
    if isinstance(known := store.recall(fact), dict):
        return Choice(entry, known["options"], known["preset"])
    choice = registry.choose(kind, name, options)
    store.remember(fact, {"options": choice.options, "preset": choice.preset})
    return choice


def split_options(word: str) -> tuple[str, dict[str, Any]]:
    """A component and its options in one word: `lpips:net=vgg:version=0.1`, values as in TOML. Raises UsageError."""
    parts = word.split(":")
    first = next((i for i, part in enumerate(parts) if "=" in part), len(parts))
    name = ":".join(parts[:first])
    options: dict[str, Any] = {}
    if not name:
        raise UsageError(f"'{word}' names nothing that could have options; write name:option=value")
    for part in parts[first:]:
        options |= parse_assignment(part)
    return name, options


def code_of(entry: Entry) -> str:
    """A digest of the source of a component's build: of its module and what that imports of the plugin's own package.

    A version alone would not tell that of a plugin which is being written. Empty where there is no source to read, or
    the build is another package's.
    """
    module = module_of(entry.component.build)
    own = (entry.module or module).partition(".")[0]
    return code_digest(module, own) if module.partition(".")[0] == own else ""


def module_of(build: Callable[..., Any]) -> str:
    """The module in which a build is defined, without importing it."""
    while isinstance(build, partial):
        build = build.func
    if isinstance(build, Lazy):
        return build.target.partition(":")[0]
    return str(getattr(build, "__module__", None) or type(build).__module__)


@lru_cache(maxsize=1024)
def code_digest(module: str, own: str) -> str:
    digest = hashlib.sha256()
    for name, text in sorted(sources(module, own, set())):
        digest.update(f"{name} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:24]


def sources(module: str, own: str, seen: set[str]) -> Iterator[tuple[str, bytes]]:
    """(name, source) of a module and what it imports of the package `own`, each once."""
    if module in seen:
        return
    seen.add(module)
    try:
        spec = spec_of(module)
        text = Path(spec.origin).read_bytes() if spec and spec.origin and spec.origin.endswith(".py") else b""
        tree = ast.parse(text)
    except (ImportError, AttributeError, ValueError, SyntaxError, OSError):  # no such module: it was a class's name
        return
    if spec and text:
        yield module, text
        package = spec.name if spec.submodule_search_locations else spec.name.rpartition(".")[0]
        for name in imported(tree, package):
            if name.partition(".")[0] == own:
                yield from sources(name, own, seen)


@lru_cache(maxsize=1024)
def spec_of(module: str) -> ModuleSpec | None:
    """Where a module is, without importing the packages around it as `find_spec` does."""
    above = module.rpartition(".")[0]
    if not above:
        return find_spec(module)
    outer = spec_of(above)
    inside = outer.submodule_search_locations if outer else None
    return PathFinder.find_spec(module, list(inside)) if inside else None


def imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The absolute names that a module's imports may mean."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = resolve_name("." * node.level + (node.module or ""), package) if node.level else node.module or ""
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)
