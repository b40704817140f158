"""Run the checks of a component's kind, each apart from the others, and gather what they find."""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from srkit.errors import PluginError, one_line
from srkit.hookspecs import GROUP
from srkit.options import REQUIRED, checked_default
from srkit.plugins import BUILTIN, Entry, Registry, declared_options

OPTIONS_ADVICE = "rename the option, or give it a type that docs/options.md lists"
OF_THEIR_OWN = ("model", "dataset", "command", "backend")  # kinds whose checks have a module of their own
HEAVY = ("torch", "torchvision", "timm", "kornia", "cv2", "scipy", "pandas")


@dataclass(frozen=True)
class Finding:
    """What one check found. outcome: "ok", "fault" or "note"; advice says what to change about a fault."""

    check: str
    outcome: str
    text: str = ""
    advice: str = ""


class Fault(Exception):  # noqa: N818 - it is a finding, not an error of the kit
    """Raised by a check: what is wrong, and what to change."""

    def __init__(self, text: str, advice: str):
        super().__init__(text)
        self.advice = advice


class Note(Exception):  # noqa: N818
    """Raised by a check that cannot or need not be made: why."""


@dataclass(frozen=True)
class Check:
    """A named check: `run` returns nothing, or raises Fault or Note.

    essential: the checks after it need what it finds, so they are not made where it is not ok: one fault, told once.
    """

    name: str
    run: Callable[[], None]
    essential: bool = False

    def finding(self) -> Finding:
        try:
            self.run()
        except Fault as fault:
            return Finding(self.name, "fault", " ".join(str(fault).split()), fault.advice)
        except Note as note:
            return Finding(self.name, "note", str(note))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # it runs the plugin's code, which may raise what it likes
            if os.environ.get("SRKIT_DEBUG") == "1":
                raise
            return Finding(self.name, "fault", one_line(error), "it must not raise; SRKIT_DEBUG=1 shows where it does")
        return Finding(self.name, "ok")


def rounding(tensor: Any) -> float:
    """The largest difference that rounding alone explains: a thousand units in the last place of the largest value."""
    import torch

    return 1000 * torch.finfo(tensor.dtype).eps * max(float(tensor.abs().max()), 1e-3)


def near(one: Any, other: Any, text: str, advice: str) -> None:
    """Fault unless two tensors are equal but for rounding: sums in another order, another place in memory."""
    difference = float((one - other).abs().max())
    if not difference <= rounding(one):
        raise Fault(f"{text} (by {difference:.3g})", advice)


def check(registry: Registry, kind: str, name: str, root: Path | None = None) -> list[Finding]:
    """All checks of one component, in order. root: where a dataset finds its pictures."""
    return check_entry(registry, registry.find(kind, name), root)


def check_entry(
    registry: Registry, entry: Entry, root: Path | None = None, begin: Callable[[str], None] | None = None
) -> list[Finding]:
    """What each check finds, up to an essential one that is not ok. begin: is told what is checked next."""
    found = []
    for each in checks_of(registry, entry, root):
        if begin:
            begin(f"{entry.kind} {entry.component.name}: {each.name}")
        found.append(each.finding())
        if each.essential and found[-1].outcome != "ok":
            break
    return found


def checks_of(registry: Registry, entry: Entry, root: Path | None = None) -> Iterator[Check]:
    """The checks that hold for every kind, then those of this kind."""
    yield Check("the module imports nothing heavy", lambda: light_import(entry))
    yield Check("it says what it is and under which licence", lambda: labelled(entry))
    yield Check("it can be imported, and a run file holds its options", lambda: usable(entry), essential=True)
    yield Check("every option is typed and documented", lambda: documented(entry))
    if entry.kind in OF_THEIR_OWN:
        checks = importlib.import_module(f"srkit.testing.{entry.kind}s").checks
        yield from checks(registry, entry, root) if entry.kind == "dataset" else checks(registry, entry)
    else:
        yield from getattr(importlib.import_module("srkit.testing.parts"), f"{entry.kind}_checks")(registry, entry)


def check_package(
    registry: Registry, package: str, root: Path | None = None, begin: Callable[[str], None] | None = None
) -> dict[str, list[Finding]]:
    """Everything of one distribution, by `kind name`; what kept it from loading comes first, as `package NAME`.

    begin: is told what is checked next.
    """
    found: dict[str, list[Finding]] = {}
    told = [notice for notice in registry.notices if f"{package}:" in notice]
    if told:
        found[f"package {package}"] = [
            Finding("it loads and its names are free", "fault", notice, advice_for(notice)) for notice in told
        ]
    for entry in [e for e in registry.entries if e.package == package]:
        found[f"{entry.kind} {entry.component.name}"] = check_entry(registry, entry, root, begin)
    return found


def usable(entry: Entry) -> None:
    try:
        options = declared_options(entry)
    except PluginError as error:
        raise Fault(str(error), advice_for(str(error))) from None
    for option in options.values():
        if option.default is not REQUIRED:
            try:
                checked_default(f"{entry.kind} '{entry.component.name}'", option)
            except PluginError as error:
                raise Fault(str(error), "choose a default that fits the option's own type and bounds") from None


def advice_for(notice: str) -> str:
    """What to do about a plugin that was left out or clashes."""
    for words, advice in {
        "unknown hook": "the hooks are listed in srkit/hookspecs.py; rename the function to one of them",
        "srkit API": "follow the contract this srkit has, or install the srkit the plugin is made for",
        "a run file": OPTIONS_ADVICE,
        "are called": "choose a name that no other package has; users can only say 'package:name' as it is",
        "must return": "return a list of the records the hook's signature names",
        "No module named": "add the package to the plugin's dependencies, or import it inside the body that needs it",
        "no hooks": "mark the functions with @srkit.hookimpl",
    }.items():
        if words in notice:
            return advice
    return "import the module by hand to see the whole traceback"


def light_import(entry: Entry) -> None:
    """Import the plugin's module in a fresh interpreter and see what came with it."""
    if entry.package not in packages():
        raise Note("it was added by hand, not by an installed package")
    targets = [p for p in distribution(entry.package).entry_points if p.group == GROUP]
    code = "import sys, srkit\n" + "".join(f"import {p.module}\n" for p in targets)
    code += f"print([m for m in {HEAVY} if m in sys.modules])"
    paths = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"], capture_output=True, text=True
    )
    heavy = done.stdout.strip().splitlines()[-1:] or ["[]"]
    if done.returncode == 0 and heavy != ["[]"]:
        raise Fault(
            f"importing {targets[0].module} imports {heavy[0].strip('[]')}",
            "import it inside the body of what you build, or name the class by srkit.lazy('module:Class')",
        )


def packages() -> set[str]:
    from importlib.metadata import entry_points

    return {p.dist.name for p in entry_points(group=GROUP) if p.dist}


def documented(entry: Entry) -> None:
    for option in declared_options(entry).values():
        if not option.help:
            raise Fault(
                f"option '{option.name}' has no help",
                f'write {option.name}: Annotated[{option.type}, "what it does"]'
                + ("" if option.default is REQUIRED else f" = {option.default!r}"),
            )
        if option.type == "Any":
            raise Fault(
                f"option '{option.name}' has no type", f'annotate it: {option.name}: Annotated[int, "{option.help}"]'
            )


def labelled(entry: Entry) -> None:
    if not entry.component.summary:
        raise Fault("it has no summary", "give the record summary=\"...\": one line that 'srkit plugins' shows")
    if entry.component.licence or entry.package == BUILTIN:
        return
    about: Any = distribution(entry.package).metadata if entry.package in packages() else {}
    classifiers = about.get_all("Classifier") or [] if about else []
    if not (
        about and (about.get("License-Expression") or about.get("License") or any("License" in c for c in classifiers))
    ):
        raise Fault(
            "no licence is stated", 'give the record licence="MIT" (or yours), or license = "MIT" in pyproject.toml'
        )
