"""Plain words for a model card: what a model was trained on, where it is weak, what it must not be used for."""

import math
from collections.abc import Sequence

from srkit.evaluate.groups import GroupScore
from srkit.evaluate.statistics import METHOD, info, interval, mean
from srkit.evaluate.table import ModelInfo, Results, SetInfo

#: In every card, whatever was measured.
NOT_FOR = """\
A network for super-resolution adds detail that is likely, not detail that was there. Two different originals can give
the same small picture, and the result shows one of them. So do not use it

- to tell who somebody is, or to read a face, a number plate or a text that the small picture does not show;
- as evidence, in court or elsewhere, or where somebody could take the result for the original;
- for a diagnosis or a measurement: in medicine, in science, in testing of material, in pictures from satellites.

Say that a picture was enlarged by a network where you show it.
"""


def limits_of(results: Results, groups: Sequence[GroupScore]) -> str:
    """Markdown with a part for each model that has weights, at each scale; groups: by the first metric."""
    parts = ["# What these models are, and where they are weak\n"]
    for model in results.models:
        if model.weights:
            parts += [f"## {model.name} x{model.scale}\n", trained(model), weak(results, model, groups)]
    parts += ["## What they must not be used for\n", NOT_FOR, "## How this was measured\n", measured(results)]
    return "\n".join(parts)


def trained(model: ModelInfo) -> str:
    data = f"Trained on {model.trained_on}" if model.trained_on else "What it was trained on is not recorded"
    maker = f", on LR made as {model.training_lr} makes it" if model.training_lr else ""
    unknown = "" if maker else ". What made the LR of its training is not recorded"
    licence = f" Licence: {model.licence}." if model.licence else ""
    warning = "" if not maker else " LR of another kind, a photograph's or another program's, gives other results."
    return f"{data}{maker}{unknown}.{warning}{licence}\n"


def weak(results: Results, model: ModelInfo, groups: Sequence[GroupScore]) -> str:
    """A paragraph for each set the model was scored on."""
    lines = []
    for one in results.sets:
        metric = results.metrics[0].name
        values = results.values(model.name, model.scale, one.name, metric)
        if one.scale == model.scale and values:
            own = [g for g in groups if (g.model, g.scale, g.dataset) == (model.name, model.scale, one.name)]
            lines.append(on_set(results, one, values, [g for g in own if g.metric == metric]))
    return "\n".join(lines) or "It was scored on no set.\n"


def on_set(results: Results, one: SetInfo, values: dict[str, float], groups: Sequence[GroupScore]) -> str:
    """Mean, worst picture, then the groups: worse, better, neither, too few."""
    about = info(results, results.metrics[0].name)
    sign = 1 if about.higher_is_better else -1
    unit = f" {about.unit}" if about.unit else ""

    def number(value: float, form: str = "") -> str:
        return f"{value:{form}.{about.digits}f}{unit}"

    span = interval(values.values())
    name = f"{one.name}, {len(values)} picture{'s' if len(values) > 1 else ''}"
    sure = "" if span.low is None or span.high is None else f" ({number(span.low)} to {number(span.high)})"
    lowest = min(values, key=lambda key: sign * values[key])
    told = [
        f"{name}: {about.name.upper()} {number(mean(values.values()))}{sure}; worst {lowest}, {number(values[lowest])}."
    ]

    def listed(chosen: Sequence[GroupScore]) -> str:
        each = [f"{g.group} ({number(g.apart, '+')}, {g.images} of them)" for g in chosen if math.isfinite(g.apart)]
        return ", ".join(each)

    kinds = {
        "Worse than on the others": [g for g in groups if g.matters and sign * g.apart < 0],
        "Better": [g for g in groups if g.matters and sign * g.apart > 0],
        "No difference that matters": [g for g in groups if g.matters is False],
    }
    told += [f"{words}: {text}." for words, chosen in kinds.items() if (text := listed(chosen))]
    few = [f"{g.group} ({g.images})" for g in groups if g.matters is None]
    told += [f"Too few pictures to say: {', '.join(few)}."] if few else []
    told += [] if groups else ["Groups of pictures were not measured; `srkit bench --groups` does."]
    return "\n".join(f"- {line}" if number_ == 0 else f"  {line}" for number_, line in enumerate(told)) + "\n"


def measured(results: Results) -> str:
    protocol = f"By protocol {results.protocol}. " if results.protocol else ""
    command = results.about.get("command", "")
    return f"{protocol}In brackets: {METHOD}.{f' `{command}` made it.' if command else ''}\n"
