"""What `srkit upscale` tells: of the model and its precision, of what is made, of what would be."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from srkit import defaults
from srkit.cli import display
from srkit.cli.upscale_request import Request
from srkit.errors import SrkitError, one_line
from srkit.plugins import BUILTIN

if TYPE_CHECKING:
    from srkit.images import Encoding
    from srkit.nets import Loaded
    from srkit.upscale.estimate import Estimate
    from srkit.upscale.file import How, Plan
    from srkit.upscale.targets import Job
    from srkit.weights.ladder import Ladder


def told_download(what: str) -> Callable[[int, int | None], None]:
    display.say(what)
    return lambda done, total: None


def tell_runtime(loaded: "Loaded", ladder: "Ladder") -> None:
    """Find what is the fastest where that is wanted, which the ladder says; once, with progress, for new weights."""
    if not ladder.auto:
        return
    if loaded.scale in ladder.fixed:
        runs = ladder.fixed[loaded.scale]
        display.say(
            f"in {runs.options['precision']}, by {runs.label}, as then" if runs else "in fp32, by PyTorch, as then"
        )
        return
    with display.Progress("trying what runs it fastest here, once", 0) as progress:

        def trying(done: int, total: int, name: str) -> None:
            progress.total = total
            progress.at(done, name)

        ladder.trying, ladder.tell = trying, progress.say
        ladder.runtime(loaded.scale)
    ladder.trying, ladder.tell = nothing_tried, display.say


def nothing_tried(done: int, total: int, name: str) -> None:
    """Of a scale that a later picture needs: a second bar would break that of all."""


def tell_precision(loaded: "Loaded", ladder: "Ladder", asked: str | None) -> None:
    """Say what the network is computed in, with what that costs where it is not fp32 and was measured."""
    from srkit.nets import precision_of
    from srkit.weights.offered import RANKED_BY, claims_at

    if ladder.auto and loaded.model.component.trainable and not loaded.runtime:  # it was told
        return
    backend = ladder.backend
    used = (
        backend.options.get("precision", "fp32") if backend else precision_of(loaded, ladder.device, ladder.precision)
    )
    if loaded.runtime and not backend:
        own = "; --precision changes nothing" if asked not in (None, "fp32", "auto") else ""
        display.say(f"computed by {loaded.runtime}{own}")
        return
    by = backend.label if backend else "PyTorch"
    if used == "fp32":
        if asked not in (None, "fp32", "auto"):
            display.say(f"{loaded.label} is an interpolation and is computed in fp32")
        elif backend or loaded.model.component.trainable:
            display.say(f"in fp32, by {by}")
        return
    measured = loaded.weights and not ladder.wrappers and (backend is None or backend.entry.package == BUILTIN)
    claims = claims_at(loaded.weights, loaded.scale) if loaded.weights and measured else {}  # in PyTorch
    exact, half = claims.get(RANKED_BY), claims.get(f"{RANKED_BY} {used}")
    loss = "" if exact is None or half is None else f"; PSNR on Set5 (protocol y) changes by {half - exact:+.4f} dB"
    display.say(f"computed in {used} by {by}{loss}")


def tell_model(loaded: "Loaded", named: bool) -> None:
    """Say which weights upscale; of those that nobody named also the licence, and how to get larger ones."""
    assumed = f", assuming {loaded.note}" if loaded.note else ""
    if named and loaded.origin:
        display.say(f"{loaded.label} x{loaded.scale} from {loaded.origin}{assumed}")
    if named or loaded.weights is None:
        return
    licence = loaded.weights.licence or "not said"
    clean = "" if loaded.weights.tag == defaults.TAG_OF_PHOTOS else "; trained on clean pictures, not compressed ones"
    display.say(f"{loaded.label} x{loaded.scale}, the best weights that are installed: licence {licence}{clean}")
    display.say("larger ones: srkit weights pull OWNER/NAME, any weight file, or srkit train; then --model")


def tell_made(request: Request, plan: "Plan", about: dict[str, str], seconds: float) -> None:
    """A result is there: a line of text, or of JSON. about: its source and target."""
    from srkit.upscale.inputs import printable

    width, height = plan.size.canvas
    more = {"width": width, "height": height, "seconds": round(seconds, 3)}
    display.result(json.dumps(about | more) if request.as_json else f"{printable(about['target'])}  ({plan.text})")


def ends_as_text(job: "Job") -> dict[str, str]:
    return {"source": str(job.source), "target": str(job.target)}


def tell_plans(request: Request, how: "How", jobs: Sequence["Job"]) -> None:
    """--dry-run: what would be made of each picture, and how long all would take."""
    from srkit.upscale.inputs import printable

    seconds, failures = 0.0, []
    for job in jobs:
        try:
            plan, found = described(how, job.source, request.encoding(job.target))
        except SrkitError as error:
            text, name = one_line(error), printable(job.source)
            failures.append(error if name in text else type(error)(f"'{name}': {text}"))
            if request.as_json:
                display.result(json.dumps(ends_as_text(job) | {"error": text}))
            elif len(jobs) > 1:
                display.say(one_line(failures[-1]))
            continue
        seconds += found.seconds
        tell_plan(request, (plan, found), ends_as_text(job))
    if len(jobs) > 1:
        display.say(f"{len(jobs) - len(failures)} pictures in about {display.span(seconds)}")
    if failures and len(jobs) > 1:
        raise SrkitError(f"{len(failures)} of {len(jobs)} pictures could not be upscaled")
    if failures:
        raise failures[0]


def described(how: "How", source: "Path | bytes", encoding: "Encoding") -> "tuple[Plan, Estimate]":
    """What would be made of a picture, and what that takes."""
    from srkit.upscale.estimate import estimate
    from srkit.upscale.file import planned

    plan = planned(source, how, encoding)
    return plan, estimate(plan, how)


def tell_plan(request: Request, described: "tuple[Plan, Estimate]", about: dict[str, str]) -> None:
    """One picture of --dry-run. about: its source and target."""
    from srkit.upscale.inputs import printable

    plan, found = described
    if request.as_json:
        width, height = plan.size.canvas
        sizes = {"width": width, "height": height, "chain": plan.steps, "dpi": plan.size.dpi}
        display.result(json.dumps(about | sizes | asdict(found)))
        return
    told = [
        f"{printable(about['target'])}  ({plan.text})",
        " then ".join(f"x{step}" for step in plan.steps) or "no network",
        "1 tile" if found.tiles == 1 else f"{found.tiles} tiles" + (f" of {found.tile} pixels" if found.tile else ""),
        *([f"{found.memory / 1e6:,.0f} MB for a tile"] if found.memory else []),
        f"about {display.span(found.seconds)}",
    ]
    display.result(", ".join([*told, *plan.size.lines, *plan.notices]))


def progress_of(progress: display.Progress) -> Callable[[int, int], None]:
    def done(boxes: int, total: int) -> None:
        progress.total = total
        progress.at(boxes)

    return done
