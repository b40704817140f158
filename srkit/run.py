"""Run: everything that decides the outcome of a training, as one frozen value; TOML in, TOML out."""

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MinLen

from srkit import defaults
from srkit.errors import (
    Mistakes,
    OptionError,
    PluginError,
    SrkitError,
    UnknownName,
    UsageError,
    did_you_mean,
    missing_path,
    one_line,
)
from srkit.options import Option, check
from srkit.plugins import Choice, Registry

__all__ = ["Part", "Run", "merge", "parse_assignment", "read_run_file", "resolved_run"]

Positive = Annotated[int, Gt(0)]
Rate = Annotated[float, Ge(0), Lt(1)]
Weight = Annotated[float, Ge(0), Lt(math.inf)]
Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A component by name with its options; `root` and `split` for a dataset, `weight` for a loss or training data.

    adaptive: of [[loss]], whether its weight is times how much stronger the others pull at the network's last layer.
    metric, protocol: of [validation], what its scores are. A metric is a name, or a table of its name and options, or a
    list of either. label: of [validation], what the log calls the set; by its root or name where it is empty. degraded:
    of [validation], whether its LR is made by [[degradation]]; None: at x1, where LR is not given.
    prob: of [[degradation]], how probable it is. shuffle: those that follow one another and have the same word here are
    in any order. last: where it is applied, none after it is.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    root: str = ""
    split: str = ""
    weight: Weight = 1.0
    metric: str | dict[str, Any] | list[Any] = ""
    protocol: str = ""
    label: str = ""
    degraded: bool | None = None
    adaptive: bool = False
    prob: Share = 1.0
    shuffle: str = ""
    last: bool = False

    def table(self) -> dict[str, Any]:
        """As it stands in a run file: what is default is left out."""
        own = {key: value for key, value in asdict(self).items() if key not in ("name", "options")}
        kept = {key: value for key, value in own.items() if value != getattr(Part, key)}
        return {"name": self.name, **kept, **{k: v for k, v in self.options.items() if v is not None}}


#: the keys of a part that are not its component's options, for each section
OWN_KEYS: dict[str, tuple[str, ...]] = {
    "model": (),
    "data": ("root", "split", "weight"),
    "validation": ("root", "split", "metric", "protocol", "label", "degraded"),
    "loss": ("weight", "adaptive"),
    "augmentation": (),
    "degradation": ("prob", "shuffle", "last"),
    "optimizer": (),
    "schedule": (),
    "tracker": (),
}
#: what sections hold where nothing is said of it
DEFAULTS = {
    "data": {"split": "train"},
    "validation": {"split": "valid", "metric": defaults.METRICS[0], "protocol": "y"},
}
RENAMED = {"make_lr": "make_low_res"}  # in run files of srkit 0.1
LISTS = ("data", "validation", "loss", "augmentation", "degradation", "tracker")
ONE_OR_MORE = ("data", "validation")  # a table in a run file, or several
UNNAMED = {"model": defaults.MODEL, "data": defaults.DATASET, "validation": "", "optimizer": "adam", "schedule": "step"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """The defaults are the EDSR paper's training of its baseline, on the photographs that ship with srkit.

    Two differ from the paper: the weights are averaged, and `precision` is what the device multiplies fastest.
    """

    scale: Annotated[
        Positive | Annotated[list[Positive], MinLen(1)], "upsampling factor, or a list for a multi-scale model"
    ] = 2
    steps: Annotated[int, Gt(0), "optimizer steps in all"] = 300_000
    batch: Annotated[Positive | Literal["auto"], "patches per step; auto: as many as fit on the GPU"] = 16
    patch: Annotated[int, Gt(0), "side of an LR patch in pixels; HR patches are scale times that"] = 48
    lr: Annotated[float, Gt(0), Lt(math.inf), "learning rate, before [schedule] changes it"] = 1e-4
    accumulate: Annotated[int, Gt(0), "parts a batch is computed in, one after another: less memory, same step"] = 1
    clip: Annotated[float, Ge(0), Lt(math.inf), "bound of the gradients, see clip_by; 0 is none"] = 0.0
    clip_by: Annotated[Literal["norm", "value", "value/lr"], "what is bounded: the norm of all, or each value"] = "norm"
    ema: Annotated[Rate, "decay, warmed up, of the average of the weights that is scored and kept; 0 is none"] = 0.999
    precision: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"],
        "of convolutions in training; auto: bf16 where the device multiplies it, else fp32",
    ] = "auto"
    checkpoint: Annotated[bool, "repeated blocks are computed again for the gradients: less memory, same step"] = False
    compile: Annotated[Literal["off", "on", "graphs"], "torch.compile; graphs: CUDA graphs as well"] = "off"
    make_low_res: Annotated[
        Literal["store", "device"], "where an LR that is not given is made: once, or from each HR patch anew"
    ] = "store"
    skip_above: Annotated[float, Gt(1), "a loss above this many times its running mean is skipped"] = 10.0
    early_stop: Annotated[int, Ge(0), "validations without a new best after which training ends; 0 is never"] = 0
    seed: Annotated[int, Ge(0), Lt(2**32), "decides the initial weights, the patches and the augmentation"] = 0
    validate_every: Annotated[int, Gt(0), "steps between validations, which pick the best checkpoint"] = 1000
    channels_last: Annotated[bool, "memory format of the network; faster, and tiles bit-exactly on a CPU"] = True
    init_from: Annotated[str, "checkpoint whose weights training starts from, where names and shapes match"] = ""
    model: Part = Part(name=defaults.MODEL)
    data: tuple[Part, ...] = (Part(name=defaults.DATASET, split="train"),)  # a batch is mixed by their weights
    #: the first chooses `best`; see `validated_on`
    validation: tuple[Part, ...] = (Part(name="", split="valid", metric=defaults.METRICS[0], protocol="y"),)
    optimizer: Part = Part(name="adam")
    schedule: Part = Part(name="step")
    loss: tuple[Part, ...] = tuple(Part(name=name) for name in defaults.LOSSES)
    augmentation: tuple[Part, ...] = tuple(Part(name=name) for name in defaults.AUGMENTATIONS)
    degradation: tuple[Part, ...] = ()  # what makes LR of HR, one after another
    tracker: tuple[Part, ...] = ()  # beside log.jsonl, which every run writes

    def __post_init__(self) -> None:
        """The checks of a run file hold in Python too; a name or a table becomes the Part it stands for.

        Raises UnknownName and OptionError, which name the key.
        """
        scalars = scalar_options()
        mistakes = Mistakes()
        values: dict[str, Any] = {}
        with mistakes.noted():
            values |= check("the run", scalars, {name: plain(getattr(self, name)) for name in scalars})
        for key in OWN_KEYS:
            with mistakes.noted():
                values[key] = parts_of(key, getattr(self, key))
        mistakes.tell()
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def scales(self) -> tuple[int, ...]:
        return tuple(self.scale) if isinstance(self.scale, list) else (self.scale,)

    @property
    def patches(self) -> int:
        """`batch` of a run that is trained, in which it is a number."""
        if isinstance(self.batch, str):
            raise UsageError(f'batch = "{self.batch}" is not known before a training begins; --set batch=16')
        return self.batch

    @property
    def metric(self) -> Part:
        """The metric that `best` is chosen by: the first one of the first validation set."""
        return metrics_of(self.validation[0])[0]

    @property
    def protocol(self) -> str:
        """The name of the protocol that `best` is chosen by."""
        return protocol_of(self.validation[0])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Run":
        """Check and convert what a TOML file holds. UnknownName and OptionError name the key and the nearest."""
        scalars = scalar_options()
        for old, new in RENAMED.items():
            if old in values and new in values:
                raise OptionError(f"'{old}' is the old name of '{new}'; set {new} alone")
        values = {RENAMED.get(key, key): value for key, value in values.items()}
        mistakes = Mistakes()
        for key in values:
            if key not in scalars and key not in OWN_KEYS:
                known = did_you_mean(key, [*scalars, *OWN_KEYS])
                mistakes.found.append(UnknownName(f"a run has no key '{key}'{known}"))
        mistakes.tell()
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The run as plain tables, every key present: what `from_dict` reads."""
        result: dict[str, Any] = {}
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, Part):
                value = value.table()
            elif item.name in ONE_OR_MORE and len(value) == 1:
                value = value[0].table()
            elif item.name in LISTS:
                value = [part.table() for part in value]
            result[item.name] = list(value) if isinstance(value, tuple) else value
        return result

    def to_toml(self) -> str:
        import tomli_w

        return tomli_w.dumps(self.to_dict())

    def resolved(self, registry: Registry) -> "Run":
        """The same run with qualified names and every option written out, so that it means the same tomorrow.

        Raises UnknownName or OptionError for whatever is not installed or does not fit.
        """
        mistakes, changes = Mistakes(), {}
        for key in OWN_KEYS:
            with mistakes.noted():
                changes[key] = self.resolved_section(key, registry)
        mistakes.tell()
        return replace(self, **changes)

    def resolved_section(self, key: str, registry: Registry) -> Any:
        """One of its parts, or a tuple of them, with its qualified name and every option."""
        from srkit.optim_options import chosen_optimizer, resolved_schedule

        value = getattr(self, key)
        if key == "optimizer":
            name, options = chosen_optimizer(registry, value.name, value.options)
            return replace(value, name=name, options=options)
        if key == "schedule":  # timm's, no component
            return replace(value, options=resolved_schedule(value.name, value.options))
        mistakes, done = Mistakes(), []
        for part in value if key in LISTS else (value,):
            with mistakes.noted():
                if key == "validation":
                    done.append(validated_on(part, self.data[0], registry))
                    continue
                kind = "dataset" if key == "data" else key
                choice = registry.choose(kind, part.name, part.options, also=OWN_KEYS[key])
                done.append(replace(part, name=choice.entry.qualified, options=choice.options))
        mistakes.tell()
        return tuple(done) if key in LISTS else done[0]


def resolved_run(values: Mapping[str, Any], registry: Registry) -> Run:
    """`Run.from_dict` and `Run.resolved`; where anything is wrong, one error tells all that is."""
    try:
        return Run.from_dict(values).resolved(registry)
    except UsageError:
        mistakes, sound = Mistakes(), {}
        for key, value in values.items():
            with mistakes.noted():
                sound[key] = sound_section(key, value, mistakes) if key in OWN_KEYS else value
                Run.from_dict({key: sound[key]})
                continue
            sound.pop(key, None)
        with mistakes.noted():
            Run.from_dict(sound).resolved(registry)
        mistakes.tell()
        raise


def sound_section(key: str, value: Any, mistakes: Mistakes) -> Any:
    """A section without those of its own keys that are wrong, so that its options can be checked nevertheless."""
    if isinstance(value, list | tuple):
        return [sound_section(key, each, mistakes) for each in value]
    if not isinstance(value, Mapping):
        return value
    sound = dict(value)
    for own in OWN_KEYS[key]:
        if own in value:
            with mistakes.noted():
                part_of(key, {"name": "any", own: value[own]})
                continue
            del sound[own]
    return sound


def validated_on(part: Part, trained: Part, registry: Registry) -> Part:
    """A [validation], with its name, its options and its metrics written out. trained: the first [data].

    Where it names no dataset it is the training data's own validation pictures, if there are any, else the included
    samples. What it does not say of the dataset of [data] is as it is there.
    """
    data = registry.choose("dataset", trained.name, trained.options)
    if part.name == "" or registry.find("dataset", part.name) == data.entry:
        root = part.root or trained.root
        options = held_out_options(data, root)
        if options is not None or (data.component.validation and part.name):
            part = replace(part, name=data.entry.qualified, root=root, options={**(options or {}), **part.options})
    choice = registry.choose("dataset", part.name or defaults.DATASET, part.options, also=OWN_KEYS["validation"])
    metrics = [written_out(registry.choose("metric", each.name, each.options)) for each in metrics_of(part)]
    return replace(
        part,
        name=choice.entry.qualified,
        options=choice.options,
        metric=metrics if len(metrics) > 1 else metrics[0],
        protocol=protocol_of(part),
    )


def written_out(metric: Choice) -> str | dict[str, Any]:
    """A metric as a run file names it: its name alone, or a table with its options."""
    table = Part(name=metric.entry.qualified, options=metric.options).table()
    return table if len(table) > 1 else metric.entry.qualified


def metrics_of(part: Part) -> tuple[Part, ...]:
    """The metrics of a [validation]."""
    listed = part.metric if isinstance(part.metric, list) else [part.metric or DEFAULTS["validation"]["metric"]]
    tables = [{"name": metric} if isinstance(metric, str) else metric for metric in listed]
    return tuple(
        Part(name=table["name"], options={key: value for key, value in table.items() if key != "name"})
        for table in tables
    )


def protocol_of(part: Part) -> str:
    """The name of the protocol of a [validation]."""
    return part.protocol or DEFAULTS["validation"]["protocol"]


def held_out_options(data: Choice, root: str) -> Mapping[str, Any] | None:
    """What `Dataset.validation` says of a training's data; PluginError if its code fails."""
    if data.component.validation is None:
        return None
    try:
        found: Mapping[str, Any] | None = data.component.validation(
            Path(root).expanduser() if root else None, **data.options
        )
    except SrkitError:
        raise
    except Exception as error:
        raise PluginError(f"dataset '{data.entry.qualified}' cannot say its validation: {one_line(error)}") from error
    return found


def scalar_options() -> dict[str, Option]:
    """The run's own keys as options: those of its fields that are not parts."""
    hints = get_type_hints(Run, include_extras=True)
    own = [f for f in fields(Run) if f.name not in OWN_KEYS]
    return {f.name: Option(f.name, hints[f.name], f.default, hints[f.name].__metadata__[-1]) for f in own}


def parts_of(key: str, value: Any) -> Any:
    """One section of a run file, `"l1"`, a table or an array of either, as Part or a tuple of them."""
    if key not in LISTS:
        return part_of(key, value)
    parts = tuple(part_of(key, item) for item in (value if isinstance(value, list | tuple) else [value]))
    if key in ONE_OR_MORE and not parts:
        raise OptionError(f"{key} = []: one table at least is wanted")
    return parts


def part_of(key: str, value: Any) -> Part:
    """A name, a table or a Part of the section `key`, its own keys checked. Its options are checked by `resolved`."""
    name: Any
    if isinstance(value, str):
        value = Part(name=value)
    if isinstance(value, Part):
        own = {f.name: getattr(value, f.name) for f in fields(Part) if f.name not in ("name", "options")}
        own = {k: v for k, v in own.items() if v != getattr(Part, k)}
        name, options = value.name, dict(value.options)
    elif isinstance(value, Mapping):
        own = {k: v for k, v in value.items() if k in OWN_KEYS[key]}
        name, options = value.get("name"), {k: v for k, v in value.items() if k != "name" and k not in own}
    else:
        raise OptionError(f"{key} = {value!r}: a name or a table with a name is wanted")
    name = UNNAMED.get(key) if name is None else name
    if name is None:
        raise OptionError(f"[{key}] has no name")
    if not isinstance(name, str):
        raise OptionError(f"{key}.name = {name!r}: a name is wanted")
    own = {**DEFAULTS.get(key, {}), **own}
    check_metrics(key, own.get("metric", ""))
    if key == "data" and own.get("weight") == 0:
        raise OptionError("data.weight = 0: it must be above 0; leave the data out instead")
    hints = get_type_hints(Part, include_extras=True)
    declared = {k: Option(k, hints[k], getattr(Part, k)) for k in OWN_KEYS[key]}
    return Part(name=name, options=options, **check(key, declared, {k: plain(v) for k, v in own.items()}))


def check_metrics(key: str, metric: Any) -> None:
    """OptionError where it is neither a name, nor a table with a name, nor a list of such."""
    for each in metric if isinstance(metric, list) and metric else [metric]:
        if not isinstance(each, str) and not (isinstance(each, Mapping) and isinstance(each.get("name"), str)):
            raise OptionError(f"{key}.metric = {metric!r}: a name or a table with a name is wanted, or a list of them")


def plain(value: Any) -> Any:
    """A path as the text a run file has for it."""
    return fspath(value) if isinstance(value, PathLike) else value


def read_run_file(path: str | Path) -> dict[str, Any]:
    """A run file as plain tables. Raises UnknownName where there is none, UsageError where it is no TOML."""
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"'{path}' is a folder, not a run file") if path.is_dir() else missing_path(path, "run file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is not valid TOML: {error}") from None


def parse_assignment(text: str) -> dict[str, Any]:
    """`model.n_feats=48` as the table it is in TOML; a value that is not TOML is taken as a string."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set wants key=value, as in model.n_feats=48, not '{text}'")
    for right in (value.strip(), json.dumps(value.strip(), ensure_ascii=False)):
        try:
            return tomllib.loads(f"{key.strip()} = {right}")
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(f"--set '{text}': '{key.strip()}' is not a key")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section. Another component's name drops the options of the one below it.

    Options that stand there without a name are kept, whichever comes first.
    """
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        if isinstance(old, str) and key in OWN_KEYS:
            old = {"name": old}
        new = {"name": value} if isinstance(value, str) and key in OWN_KEYS else value
        if key in ONE_OR_MORE and isinstance(old, list) and len(old) == 1:
            old = old[0]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            same = "name" not in old or new.get("name", old["name"]) == old["name"]
            new = {**(old if same else {}), **new}
        elif isinstance(new, Mapping) and isinstance(old, list):
            raise UsageError(f"'{key}' is a list in the run file; set it whole: {key}=[{{name=\"...\"}}]")
        result[key] = new
    return result
