"""`srkit plugins`: what is installed, one component's options, a new package, the conformance check, pip."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from srkit.cli import display
from srkit.cli.choose import AsJson, some_words
from srkit.components import KINDS, Model
from srkit.errors import SrkitError, UnknownName, UsageError, did_you_mean
from srkit.options import REQUIRED, Option
from srkit.plugins import BUILTIN, OWN_COMMANDS, Entry, Registry, declared_options, names
from srkit.weights.offered import offers


class NameOrCommand(typer.core.TyperGroup):
    """`srkit plugins edsr` is `srkit plugins show edsr`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=NameOrCommand, invoke_without_command=True, add_completion=False)


@app.callback()
def plugins(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help=f"Only this kind: {', '.join(KINDS)}.")] = None,
    search: Annotated[str | None, typer.Option(help="Only those with this word in name, package or summary.")] = None,
    as_json: AsJson = False,
) -> None:
    """List every model, loss, dataset and other component that is installed, or show NAME."""
    if context.invoked_subcommand is not None:
        return
    if kind is not None and kind not in KINDS:
        raise UnknownName(f"no kind called '{kind}'{did_you_mean(kind, KINDS)}")
    registry = display.load()
    entries = [
        entry
        for each in KINDS
        if kind in (None, each)
        for entry in registry.of(each)
        if not search or search.lower() in searchable(entry)
    ]
    if as_json:
        listed = [
            {
                "kind": e.kind,
                "name": e.component.name,
                "package": e.package,
                "version": e.version,
                "summary": e.component.summary,
                "presets": list(names(e.component)[1:]),
                **({"weights": weights_of(registry, e)} if e.kind == "model" else {}),
            }
            for e in entries
        ]
        display.result(json.dumps({"plugins": listed, "notices": registry.notices}, indent=2))
        return
    if not entries:
        raise SrkitError(f"nothing fits{f' --kind {kind}' if kind else ''}{f' --search {search}' if search else ''}")
    headings = ["kind", "name", "package", "version", "summary"]
    rows = [[e.kind, ", ".join(names(e.component)), e.package, e.version, e.component.summary] for e in entries]
    ends = {i for i in range(len(rows) - 1) if rows[i][0] != rows[i + 1][0]}
    shelves = [", ".join(with_scales(each) for each in weights_of(registry, e)) for e in entries]
    if any(shelves):
        headings, rows = [*headings, "weights"], [[*row, shelf] for row, shelf in zip(rows, shelves, strict=True)]
    display.table(headings, rows, sections=ends)


def weights_of(registry: Registry, entry: Entry) -> list[dict[str, Any]]:
    """The words that mean weights of a model, the tag of each, and the scales that there are files for."""
    found: dict[str, dict[str, Any]] = {}
    for offer in offers(registry):
        if offer.entry is entry:
            one = found.setdefault(offer.word, {"name": offer.word, "tag": offer.weights.tag, "scales": []})
            one["scales"] = sorted({*one["scales"], *offer.weights.scales})
    return list(found.values())


def with_scales(weights: dict[str, Any]) -> str:
    return " ".join([weights["name"], *(f"x{scale}" for scale in weights["scales"])])


def searchable(entry: Entry) -> str:
    return " ".join([*names(entry.component), entry.package, entry.component.summary]).lower()


@app.command("show")
def show_one(
    name: Annotated[str, typer.Argument(help="A component, a preset, or package:name.")], as_json: AsJson = False
) -> None:
    """Show one component with its options, presets and weights."""
    registry = display.load()
    found = everything_called(registry, name)
    if as_json:
        display.result(json.dumps([describe(entry) for entry in found], indent=2, default=str))
    for entry in () if as_json else found:
        show(entry)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the component; the package is srkit-NAME.")],
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "model",
    licence: Annotated[str, typer.Option(help="MIT, BSD-3-Clause or Apache-2.0.")] = "MIT",
    into: Annotated[Path, typer.Option(help="Folder in which the package is written.")] = Path(),
) -> None:
    """Write the package of a new plugin, ready to install, test and publish."""
    from srkit.scaffold import new_plugin

    bare = name.removeprefix("srkit-")
    refuse_taken(display.load(), kind, bare)
    written = new_plugin(name, kind, licence, into)
    folder = written[0].parent
    for path in written:
        display.result(path)
    display.result(f"\nnext:  pip install -e {folder}\n       srkit plugins check {bare}")


def refuse_taken(registry: Registry, kind: str, name: str) -> None:
    """UsageError for a name that a component of this kind has: the bare name would never mean the new one."""
    if kind == "command" and name in OWN_COMMANDS:
        raise UsageError(f"'{name}' is a command of srkit itself, which keeps that name; choose another")
    for entry in registry.of(kind) if kind in KINDS else ():
        if name in names(entry.component) and entry.package == BUILTIN:
            raise UsageError(f"a built-in {kind} is called '{name}' and keeps the bare name; choose another name")
        if name in names(entry.component) and entry.package != f"srkit-{name}":
            raise UsageError(f"{entry.package} has a {kind} called '{name}'; choose another name")


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A component, or a package for everything in it.")],
    root: Annotated[Path | None, typer.Option(help="Folder of a dataset's pictures.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check that a plugin keeps the contract, and print what to change."""
    registry = display.load()

    from dataclasses import asdict

    from srkit.testing.kit import check_entry, check_package

    packages = {entry.package for entry in registry.entries} | {
        line.split("plugin ", 1)[-1].split(":")[0] for line in registry.notices
    }
    package = next((p for p in (name, f"srkit-{name}") if p in packages and (p != BUILTIN or name == BUILTIN)), None)
    with display.Progress(f"checking {name}", total=0) as progress:
        if package is not None:
            found = check_package(registry, package, root, progress.one_more)
        else:
            found = {
                f"{e.kind} {e.component.name}": check_entry(registry, e, root, progress.one_more)
                for e in everything_called(registry, name)
            }
    faults = sum(f.outcome == "fault" for findings in found.values() for f in findings)
    if as_json:
        display.result(json.dumps({what: [asdict(f) for f in findings] for what, findings in found.items()}, indent=2))
    for what, findings in () if as_json else found.items():
        display.result(what)
        for f in findings:
            display.result(f"  {f.outcome:<6} {f.check}" + (f": {f.text}" if f.text else ""))
            if f.advice:
                display.result(f"         -> {f.advice}")
    if faults:
        raise SrkitError(f"{faults} fault{'s' if faults > 1 else ''} found")
    notes = sum(f.outcome == "note" for findings in found.values() for f in findings)
    if not as_json:
        display.result("it keeps the contract" + (f", as far as it was checked ({notes} not made)" if notes else ""))


@app.command(context_settings={"ignore_unknown_options": True})
def install(
    packages: Annotated[list[str], typer.Argument(help="Names, folders, wheels and options, passed to pip.")],
) -> None:
    """Install plugins with pip into the environment of srkit, and list what was added."""
    pip_and_compare(["install", *packages])


@app.command()
def uninstall(packages: Annotated[list[str], typer.Argument(help="Packages to remove.")]) -> None:
    """Remove plugins with pip from the environment of srkit, and list what was removed."""
    gone = some_words(packages, "package")
    if BUILTIN in gone:
        raise UsageError("srkit itself is not a plugin; remove it with pip")
    pip_and_compare(["uninstall", "--yes", *gone])


def pip_and_compare(words: list[str]) -> None:
    before = installed()
    if subprocess.run([sys.executable, "-m", "pip", "--quiet", *words]).returncode:
        raise SrkitError(f"pip {words[0]} failed; its message is above")
    after = installed()
    for sign, lines in (("+", after - before), ("-", before - after)):
        for line in sorted(lines):
            display.result(f"{sign} {line}")
    if after == before:
        display.result("no plugin was added or removed")


def installed() -> set[str]:
    """What a new srkit process finds, one line each."""
    done = subprocess.run([sys.executable, "-m", "srkit", "plugins", "--json"], capture_output=True, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise SrkitError(f"'srkit plugins' fails: {done.stderr.strip() or 'no output'}") from None
    lines = {f"{p['kind']} {p['name']} ({p['package']} {p['version']})" for p in found["plugins"]}
    return lines | {f"broken: {notice}" for notice in found["notices"]}


def everything_called(registry: Registry, name: str) -> list[Entry]:
    """Every component with this name, of any kind; a name may be used once in each kind."""
    package, _, bare = name.rpartition(":")
    found = [
        entry
        for kind in KINDS
        for entry in registry.of(kind)
        if bare in names(entry.component) and package in ("", entry.package)
    ]
    if not found:
        known = [n for e in registry.entries for n in ((e.qualified,) if package else names(e.component))]
        raise UnknownName(f"nothing is called '{name}'{did_you_mean(name, known)}; 'srkit plugins' lists all")
    return found


def describe(entry: Entry) -> dict[str, Any]:
    """One component as plain data."""
    component = entry.component
    about: dict[str, Any] = {
        "kind": entry.kind,
        "name": component.name,
        "package": entry.package,
        "version": entry.version,
        "summary": component.summary,
        "licence": component.licence,
        "options": [
            {
                "name": o.name,
                "type": o.type,
                "bound": o.bound,
                "default": None if o.default is REQUIRED else o.default,
                "required": o.default is REQUIRED,
                "help": o.help,
            }
            for o in declared_options(entry).values()
        ],
    }
    if isinstance(component, Model):
        about |= {
            "paper": component.paper,
            "scales": list(component.scales),
            "trainable": component.trainable,
            "presets": {name: dict(values) for name, values in component.presets.items()},
            "weights": [vars(w) for w in component.weights],
            "layouts": list(component.layouts),
        }
    return about


def show(entry: Entry) -> None:
    about = describe(entry)
    display.result(f"{entry.kind} {entry.component.name}  ({entry.package} {entry.version})")
    for key in ("summary", "paper", "licence"):
        if about.get(key):
            display.result(f"  {about[key]}")
    if isinstance(entry.component, Model):
        display.result(f"  scales {', '.join(f'x{s}' for s in entry.component.scales)}")
    options: dict[str, Option] = declared_options(entry)
    if options:
        rows = [
            [o.name, o.type, o.bound, "required" if o.default is REQUIRED else repr(o.default), o.help]
            for o in options.values()
        ]
        display.table(["option", "type", "bound", "default", "help"], rows)
    else:
        display.result("  no options")
    for preset, values in about.get("presets", {}).items():
        display.result(f"  preset {preset}: {', '.join(f'{k}={v}' for k, v in values.items()) or 'the defaults'}")
    for w in getattr(entry.component, "weights", ()):
        claims = ", ".join(f"{k} {v}" for k, v in w.claims.items())
        what = [
            w.preset or entry.component.name,
            ", ".join(f"x{s}" for s in w.scales),
            w.tag,
            claims,
            w.trained_on,
            w.licence,
        ]
        display.result("  weights " + " ".join(word for word in what if word))
    if about.get("layouts"):
        display.result(
            f"  weights of {', '.join(about['layouts'])} load as they are; to write them: srkit weights convert"
        )
    if getattr(entry.component, "archives", ()):
        display.result(f"  {entry.component.page}\n  get it: srkit data fetch {entry.component.name}")
    if isinstance(entry.component, Model) and entry.component.from_file is not None:
        display.result("  it reads weight files: srkit upscale PHOTO --model FILE")
    elif isinstance(entry.component, Model) and entry.component.trainable and not entry.component.weights:
        display.result(f"  no weights registered; train: srkit train --model {entry.component.name}")
