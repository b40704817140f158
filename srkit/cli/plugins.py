"""`srkit plugins`: what is installed, and the options of one component."""

import json
from typing import Annotated, Any

import typer

from srkit.cli import output
from srkit.components import KINDS, Model
from srkit.errors import UnknownName, did_you_mean
from srkit.options import REQUIRED, Option
from srkit.plugins import Entry, Registry, declared_options, names


def plugins(
    name: Annotated[
        str | None, typer.Argument(help="Show one component with its options, presets and weights.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every model, loss, dataset, metric, augmentation, wrapper and tracker that is installed."""
    registry = output.load()
    if name is not None:
        found = everything_called(registry, name)
        details = [describe(entry) for entry in found]
        if as_json:
            print(json.dumps(details, indent=2, default=str))
        for entry in () if as_json else found:
            show(entry)
        return
    entries = [entry for kind in KINDS for entry in registry.of(kind)]
    if as_json:
        listed = [
            {"kind": e.kind, "name": e.component.name, "package": e.package, "version": e.version,
             "summary": e.component.summary, "presets": list(names(e.component)[1:])}
            for e in entries
        ]  # fmt: skip
        print(json.dumps({"plugins": listed, "notices": registry.notices}, indent=2))
        return
    rows = [
        [e.kind, ", ".join(names(e.component)), e.package, e.version, e.component.summary] for e in entries
    ]  # fmt: skip
    output.table(["kind", "name", "package", "version", "summary"], rows)


def everything_called(registry: Registry, name: str) -> list[Entry]:
    """Every component with this name, of whatever kind; a name may be used once in each."""
    package, _, bare = name.rpartition(":")
    found = [
        entry for kind in KINDS for entry in registry.of(kind)
        if bare in names(entry.component) and package in ("", entry.package)
    ]  # fmt: skip
    if not found:
        known = [n for e in registry.entries for n in (*names(e.component), e.qualified)]
        raise UnknownName(f"nothing is called '{name}'{did_you_mean(name, known)}; 'srkit plugins' lists all")
    return found


def describe(entry: Entry) -> dict[str, Any]:
    """One component as plain data."""
    component = entry.component
    about: dict[str, Any] = {
        "kind": entry.kind, "name": component.name, "package": entry.package, "version": entry.version,
        "summary": component.summary, "licence": component.licence,
        "options": [
            {"name": o.name, "type": o.type, "bound": o.bound, "default": None if o.default is REQUIRED else o.default,
             "required": o.default is REQUIRED, "help": o.help}
            for o in declared_options(entry).values()
        ],
    }  # fmt: skip
    if isinstance(component, Model):
        about |= {
            "paper": component.paper, "scales": list(component.scales), "trainable": component.trainable,
            "presets": {name: dict(values) for name, values in component.presets.items()},
            "weights": [vars(w) for w in component.weights],
        }  # fmt: skip
    return about


def show(entry: Entry) -> None:
    about = describe(entry)
    print(f"{entry.kind} {entry.component.name}  ({entry.package} {entry.version})")
    for key in ("summary", "paper", "licence"):
        if about.get(key):
            print(f"  {about[key]}")
    if isinstance(entry.component, Model):
        print(f"  scales {', '.join(f'x{s}' for s in entry.component.scales)}")
    options: dict[str, Option] = declared_options(entry)
    if options:
        rows = [
            [o.name, o.type, o.bound, "required" if o.default is REQUIRED else repr(o.default), o.help]
            for o in options.values()
        ]
        output.table(["option", "type", "bound", "default", "help"], rows)
    else:
        print("  no options")
    for preset, values in about.get("presets", {}).items():
        print(f"  preset {preset}: {', '.join(f'{k}={v}' for k, v in values.items()) or 'the defaults'}")
    for w in getattr(entry.component, "weights", ()):
        claims = ", ".join(f"{k} {v}" for k, v in w.claims.items())
        what = [w.preset or entry.component.name, f"x{w.scale}", w.tag, claims, w.trained_on, w.licence]
        print("  weights " + " ".join(word for word in what if word))
    if isinstance(entry.component, Model) and entry.component.trainable and not entry.component.weights:
        print(f"  no weights registered; train: srkit train --model {entry.component.name}")
