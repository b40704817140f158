"""The model card: what a checkpoint says of itself, as the README.md of a repository."""

from collections.abc import Mapping
from typing import Any

from srkit.errors import UnknownName
from srkit.evaluate.limits import NOT_FOR
from srkit.evaluate.protocol import PROTOCOLS
from srkit.evaluate.report import digits
from srkit.plugins import BUILTIN, Choice, Registry

#: licences the hub knows by these words; any other is named beside "other"
HUB_LICENCES = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-2.0", "cc-by-3.0",
    "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "gpl-2.0", "gpl-3.0",
    "lgpl-3.0", "mit", "mpl-2.0", "openrail", "unlicense", "wtfpl",
)  # fmt: skip


def model_card(registry: Registry, about: Mapping[str, Any], model: Choice, parameters: int, repository: str) -> str:
    """Markdown with the hub's front matter. about: what the checkpoint says. Nothing is claimed that is not in it."""
    scales = " ".join(f"x{scale}" for scale in about["scales"])
    run = about.get("run") or {}
    packages = " ".join(dict.fromkeys(["srkit", "srkit" if model.entry.package == BUILTIN else model.entry.package]))
    parts = [
        front_matter(about, model, repository),
        f"# {model.label} {scales}\n",
        f"Makes pictures {' or '.join(str(scale) for scale in about['scales'])} times larger."
        f" {model.component.summary}.{f' {model.component.paper}.' if model.component.paper else ''}\n",
        f"## Use\n\n```console\n$ pip install {packages}\n$ srkit upscale photo.jpg --model {repository}\n```\n",
        "```python\nimport srkit\nfrom PIL import Image\n"
        f'srkit.load("{repository}").upscale(Image.open("photo.jpg")).save("large.png")\n```\n',
        "## Model\n\n" + two_columns(model_rows(about, model, parameters, scales)),
        "## Training\n\n" + (two_columns(training_rows(registry, run, about)) + RUN_LINE if run else NO_RUN),
        "## Scores\n\n" + scores(about.get("scores") or {}, repository),
        "## What it must not be used for\n\n" + NOT_FOR,
        "## Licence\n\n" + licences(registry, about, run),
    ]
    return "\n".join(parts)


RUN_LINE = "\n`run.toml` holds every choice; `srkit train --run run.toml` trains it again.\n"
NO_RUN = "These weights were not trained by srkit, or do not say how.\n"


def front_matter(about: Mapping[str, Any], model: Choice, repository: str) -> str:
    """The YAML block the hub reads, by huggingface_hub's own writer."""
    from huggingface_hub import EvalResult, ModelCardData

    licence = about.get("licence") or ""
    known = licence.lower() in HUB_LICENCES
    results = [
        EvalResult(
            task_type="image-to-image",
            task_name="Super-resolution",
            dataset_type=name,
            dataset_name=name,
            metric_type=metric,
            metric_name=f"{metric.upper()} ({protocol})",
            metric_value=float(digits(metric, value)),
        )
        for name, metric, value, protocol in score_rows(about.get("scores") or {})
    ]
    data = ModelCardData(
        license=(licence.lower() if known else "other") if licence else None,
        license_name=licence if licence and not known else None,
        library_name="srkit",
        pipeline_tag="image-to-image",
        tags=["super-resolution", model.component.name, *(f"x{scale}" for scale in about["scales"])],
        model_name=repository.rpartition("/")[2],
        eval_results=results or None,
        ignore_metadata_errors=False,
    )
    return f"---\n{data.to_yaml()}\n---\n"


def two_columns(rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows.items() if value != ""]
    return "\n".join(["| | |", "| --- | --- |", *lines]) + "\n"


def model_rows(about: Mapping[str, Any], model: Choice, parameters: int, scales: str) -> dict[str, Any]:
    origin = about.get("converted_from") or {}
    assumed = ", ".join(f"{name}={value}" for name, value in (origin.get("assumed") or {}).items())
    return {
        "model": f"`{model.entry.qualified}` {about['model']['version']}",
        "options": listed(model.options),
        "scale": scales,
        "parameters": f"{parameters:,}",
        "converted from": f"`{origin['file']}`, layout {origin['layout']}" if origin else "",
        "assumed in converting": assumed,
    }


def training_rows(registry: Registry, run: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    step = about.get("step")
    data = [part(each) + with_licence(data_licence(registry, each["name"])) for each in tables(run["data"])]
    return {
        "data": "; ".join(data),
        "its LR made as by": about.get("training_lr", ""),
        "validation": "; ".join(part(each) for each in tables(run["validation"])),
        "steps": f"{run['steps']:,}" if step in (None, run["steps"]) else f"{step:,} of {run['steps']:,}",
        "batch": f"{run['batch']} patches of {run['patch']}x{run['patch']} input pixels",
        "loss": " + ".join(part(loss) for loss in run["loss"]),
        "optimizer": f"{part(run['optimizer'])}; learning rate {run['lr']:g}",
        "schedule": part(run["schedule"]),
        "augmentation": ", ".join(part(each) for each in run["augmentation"]) or "none",
        "degradation of HR to LR": ", ".join(part(each) for each in run.get("degradation", ())),
        "moving average of the weights": f"decay {run['ema']:g}" if run.get("ema") else "",
        "started from": run.get("init_from", ""),
        "precision": run["precision"],
        "seed": run["seed"],
    }


def part(table: Mapping[str, Any]) -> str:
    """`adam (betas=[0.9, 0.999])`: a component's name, and what is set of it."""
    options = {key: value for key, value in table.items() if key != "name" and value not in ("", None)}
    name = table["name"].removeprefix(f"{BUILTIN}:")
    return f"{name} ({listed(options)})" if options else name


def tables(one_or_more: Any) -> list[dict[str, Any]]:
    """The tables of a key of a run that holds one, or a list of them."""
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]


def trained_on(run: Mapping[str, Any]) -> str:
    """`div2k (split=train) and folder (root=photos)`: the data of a run."""
    return " and ".join(part(each) for each in tables(run["data"]))


def listed(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in options.items())


def score_rows(scores: Mapping[str, Any]) -> list[tuple[str, str, float, str]]:
    """(set, metric, value, protocol) of each score."""
    name, protocol = scores.get("set", ""), scores.get("protocol", "")
    values = {key: value for key, value in scores.items() if isinstance(value, float)}
    return [(name.removeprefix(f"{BUILTIN}:"), metric, value, protocol) for metric, value in values.items()]


def scores(found: Mapping[str, Any], repository: str) -> str:
    rows = score_rows(found)
    again = f"`srkit bench {repository}` scores it on the test sets you have.\n"
    if not rows:
        return f"These weights carry no score. {again}"
    lines = ["| set | metric | value | protocol |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {metric.upper()} | {digits(metric, value)} | {p} |" for name, metric, value, p in rows]
    protocol = PROTOCOLS.get(rows[0][3])
    meaning = f"Protocol `{protocol.name}`: {protocol.summary}. " if protocol else ""
    return "\n".join(lines) + f"\n\nMeasured on the validation pictures of the training. {meaning}{again}"


def licences(registry: Registry, about: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    weights = f"Weights: {about['licence']}." if about.get("licence") else "No licence is stated for the weights."
    data = {part(each): data_licence(registry, each["name"]) for each in tables(run["data"])} if run else {}
    return " ".join([weights, *(f"Training data, {name}: {said}." for name, said in data.items() if said)]) + "\n"


def with_licence(licence: str) -> str:
    return f"; {licence}" if licence else ""


def data_licence(registry: Registry, name: str) -> str:
    try:
        return str(registry.find("dataset", name).component.licence)
    except UnknownName:
        return ""
