"""Find installed plugins, keep the broken ones apart, look things up by name."""

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from srkit import hookspecs
from srkit.components import KINDS, Command, Component, Lazy, Model
from srkit.defaults import TAG_OF_PHOTOS, TAG_OF_TABLES
from srkit.errors import PluginError, UnknownName, UsageError, did_you_mean, one_line
from srkit.hookspecs import API, GROUP
from srkit.options import Option, check, faults_of, options_of

BUILTIN = "srkit"
SEPARATOR = "@"  # between a model's name and the tag of its weights; no name has one
#: What `srkit` calls its own commands: a plugin's of the same name is run as `srkit PACKAGE:NAME`.
OWN_COMMANDS = ("upscale", "train", "bench", "sweep", "gallery", "try", "doctor", "plugins", "data", "weights")


@dataclass(frozen=True)
class Entry:
    """A component and where it came from."""

    kind: str
    component: Any  # the record of that kind
    package: str
    version: str
    module: str = ""  # of the plugin's hooks; empty where a program added it

    @property
    def qualified(self) -> str:
        """`package:name`, which no other installed component has."""
        return f"{self.package}:{self.component.name}"


@dataclass(frozen=True)
class Choice:
    """A component picked by name, with every option resolved: default, then preset, then user."""

    entry: Entry
    options: dict[str, Any]
    preset: str = ""  # or the name of a foreign weight file

    @property
    def component(self) -> Any:
        """Its record: a Model, a Loss, ..."""
        return self.entry.component

    @property
    def label(self) -> str:
        """How tables and file names call it: the preset, where the options are exactly a preset's."""
        return self.preset or self.component.name

    def build(self, *supplied: Any) -> Any:
        """Call the component's build with what srkit supplies and the resolved options."""
        return self.component.build(*supplied, **self.options)


@dataclass
class Registry:
    """Everything installed, by kind and name. Made by `load_plugins()`; a test makes one and adds to it."""

    entries: list[Entry] = field(default_factory=list)
    #: one line for each plugin that does not work or clashes, naming `distribution:entry-point`
    notices: list[str] = field(default_factory=list)

    def add(
        self, kind: str, component: Component, package: str = "local", version: str = "", *, module: str = ""
    ) -> None:
        """Register one component. module: where the plugin's hooks are.

        Raises PluginError on a wrong type, a name the package already uses, or an option that a run file cannot
        hold. A lazy build is not imported for that: its options are looked at when they are first needed.
        """
        if not isinstance(component, KINDS[kind][0]):
            raise PluginError(
                f"{KINDS[kind][1]} must return {KINDS[kind][0].__name__} records, not {type(component).__name__}"
            )
        own = [e.component for e in self.entries if e.kind == kind and e.package == package]
        for name in names(component):
            if any(name in names(other) for other in own):
                raise PluginError(f"two {kind} components are called '{name}'")
        entry = Entry(kind, component, package, version, module)
        if not isinstance(component.build, Lazy):
            declared_options(entry)
        self.entries.append(entry)

    def of(self, kind: str) -> list[Entry]:
        """The entries of one kind: built-ins first, then by package, each in the order its package gives."""
        mine = [entry for entry in self.entries if entry.kind == kind]
        return sorted(mine, key=lambda e: (e.package != BUILTIN, e.package))

    def find(self, kind: str, name: str) -> Entry:
        """The entry called `name`: a component, one of a model's presets, or either as `package:name`.

        Raises UnknownName (with the nearest name) or UsageError where two packages share the name.
        """
        package, _, bare = name.rpartition(":")
        hits = [e for e in self.of(kind) if bare in names(e.component) and package in ("", e.package)]
        # A built-in keeps its bare name: installing a package never changes what a run file means.
        builtin = [e for e in hits if e.package == BUILTIN]
        if len(hits) > 1 and not builtin:
            offers = " or ".join(f"{e.package}:{bare}" for e in hits)
            raise UsageError(f"several packages have a {kind} called '{bare}'; say {offers}")
        if not hits:
            known = [n for e in self.of(kind) for n in names(e.component)]
            known += [f"{e.package}:{n}" for e in self.of(kind) for n in names(e.component)] if package else []
            raise UnknownName(f"no {kind} called '{name}'{did_you_mean(name, known)}")
        return (builtin or hits)[0]

    def choose(
        self, kind: str, name: str, options: Mapping[str, Any] | None = None, *, also: Iterable[str] = ()
    ) -> Choice:
        """`find`, then resolve its options: signature default, preset, user. also: as in `srkit.options.check`."""
        entry = self.find(kind, name)
        presets = getattr(entry.component, "presets", {})
        bare = name.rpartition(":")[2]
        declared = declared_options(entry)
        resolved = check(f"{kind} '{bare}'", declared, {**presets.get(bare, {}), **(options or {})}, also)
        for preset, values in presets.items():
            if check(f"{kind} '{preset}'", declared, values) == resolved:
                return Choice(entry, resolved, preset)
        return Choice(entry, resolved)


def names(component: Component) -> tuple[str, ...]:
    """Every name a component answers to: its own, and a model's presets."""
    return (component.name, *component.presets) if isinstance(component, Model) else (component.name,)


def plain_tags(model: Model, name: str) -> tuple[str, ...]:
    """The tags of the weights that the name of a model or preset means without `@tag`."""
    tags = [weights.tag for weights in model.weights if weights.preset in ("", name)]
    usual = [tag for tag in tags if tag in ("", TAG_OF_TABLES)]
    others = [tag for tag in tags if tag != TAG_OF_PHOTOS]
    return tuple(usual or others[:1])


def labelled(model: Model, name: str, tag: str) -> str:
    """How weights are called: by the name alone where that means them, else `name@tag`."""
    return name if not tag or tag in plain_tags(model, name) else f"{name}{SEPARATOR}{tag}"


def check_scales(model: Choice, scales: Sequence[int]) -> None:
    """Raises UsageError for a scale the model does not offer, or several where it takes one."""
    record: Model = model.component
    for scale in scales:
        if scale not in record.scales:
            offered = ", ".join(f"x{s}" for s in record.scales)
            raise UsageError(f"'{model.label}' does not upscale x{scale}; it offers {offered}")
    if len(scales) > 1 and not record.multi_scale:
        raise UsageError(f"'{model.label}' is built for one scale, not {list(scales)}")


def declared_options(entry: Entry) -> dict[str, Option]:
    """The options of a component, which a run file can hold; a command has none, typer reads them.

    Imports a lazy build. PluginError where that fails, and for a name or a type that a run file cannot hold.
    """
    if isinstance(entry.component, Command):
        return {}
    what = f"{entry.kind} '{entry.qualified}'"
    try:
        options = options_of(entry.component.build)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a module may raise what it likes, SystemExit too
        raise PluginError(f"{what} cannot be imported: {one_line(error)}") from error
    if faults := faults_of(entry.kind, options.values()):
        raise PluginError(f"{what}: {'; '.join(faults)}")
    return options


def load_plugins(*, builtin: bool = True) -> Registry:
    """Load every plugin of the entry-point group `srkit`, each apart from the others.

    `SRKIT_PLUGINS=a,b` loads only those (distribution or entry-point names) beside the built-ins, and
    `SRKIT_PLUGINS=` none at all. `SRKIT_STRICT=1` raises PluginError at the first that is broken.
    builtin: False leaves the built-ins out, which takes less time: `srkit --help` looks for commands only.
    """
    registry = Registry()
    wanted = os.environ.get("SRKIT_PLUGINS")
    only = None if wanted is None else {word.strip() for word in wanted.split(",") if word.strip()}
    seen = set()
    found = [(package_of(point), point) for point in entry_points(group=GROUP)]
    for package, point in sorted(found, key=lambda each: (each[0] != BUILTIN, each[0], each[1].name)):
        if (package, point.name) in seen:  # one distribution found twice on sys.path
            continue
        seen.add((package, point.name))
        if builtin if package == BUILTIN else only is None or {package, point.name} & only:
            load_one(registry, point, package)
    for word in sorted((only or set()) - {word for pair in seen for word in pair}):
        registry.notices.append(f"SRKIT_PLUGINS names '{word}', which is not installed")
    if os.environ.get("SRKIT_STRICT") == "1" and registry.notices:
        raise PluginError(registry.notices[0])
    return registry


def package_of(point: EntryPoint) -> str:
    return (point.dist and point.dist.name) or "unknown"


def load_one(registry: Registry, point: EntryPoint, package: str) -> None:
    """Add all that one entry point offers, or nothing of it and a notice that says why."""
    staged = Registry(entries=[e for e in registry.entries if e.package == package])
    before = len(staged.entries)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # a chatty plugin must not spoil --json
            version = point.dist.version if point.dist else ""  # read once: it parses the whole metadata
            for kind, component in records(point.load()):
                staged.add(kind, component, package, version, module=point.module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, GeneratorExit, pytest's Skipped: whatever it raises, srkit goes on
        registry.notices.append(f"plugin {package}:{point.name} is left out: {one_line(error)}")
        return
    for entry in staged.entries[before:]:
        registry.notices.extend(clashes(registry, entry))
        registry.entries.append(entry)


def records(plugin: object) -> Iterable[tuple[str, Any]]:
    """Every record a plugin's hooks return, with its kind, checked against the hook specifications."""
    if (made_for := getattr(plugin, "srkit_api", 1)) != API:
        raise PluginError(f"it is made for srkit API {made_for}, and this srkit has API {API}; install a fitting pair")
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin)
    manager.check_pending()  # an unknown hook is an error, not silence
    if not manager.get_hookcallers(plugin):
        raise PluginError("it has no hooks; mark its functions with @srkit.hookimpl")
    for kind, (record, hook) in KINDS.items():
        caller = getattr(manager.hook, hook)
        answers = caller()
        if len(answers) < len(caller.get_hookimpls()):  # pluggy leaves None out
            raise PluginError(f"{hook} must return a list of {record.__name__}, not None")
        for answer in answers:
            if isinstance(answer, Component | str | bytes | Mapping) or not isinstance(answer, Iterable):
                raise PluginError(f"{hook} must return a list of {record.__name__}, not {type(answer).__name__}")
            for component in answer:
                yield kind, component


def clashes(registry: Registry, entry: Entry) -> Iterable[str]:
    """A line for each name of `entry` that srkit or another package already uses."""
    for name in names(entry.component):
        if entry.kind == "command" and name in OWN_COMMANDS:
            yield f"'{name}' stays srkit's own command; run that of {entry.package} as {entry.package}:{name}"
        for other in registry.of(entry.kind):
            if name in names(other.component):
                rule = f"'{name}' stays the built-in" if other.package == BUILTIN else "the bare name is refused"
                both = f"{other.package}:{name} and {entry.package}:{name}"
                yield f"two {entry.kind} components are called '{name}', {both}; {rule}"
