"""What `srkit upscale` does once it knows what is wanted: the model, the files, one after another."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from srkit.cli import display
from srkit.cli.choose import chosen_wrappers
from srkit.cli.upscale_request import PIXELS, Request, check, one_file
from srkit.cli.upscale_words import (
    described,
    ends_as_text,
    progress_of,
    tell_made,
    tell_model,
    tell_plan,
    tell_plans,
    tell_precision,
    tell_runtime,
    told_download,
)
from srkit.errors import SrkitError, UsageError, one_line
from srkit.plugins import Registry

if TYPE_CHECKING:
    from srkit.upscale.addresses import Ends
    from srkit.upscale.file import How, Work
    from srkit.upscale.inputs import Found
    from srkit.upscale.journal import Journal
    from srkit.upscale.targets import Job, Planned
    from srkit.weights.ladder import Ladder


def ends_or_inputs(request: Request) -> "tuple[Ends | None, Found]":
    """(the two ends where one of them is no path, all pictures where both are). UsageError for what cannot be."""
    from srkit.images import check_output
    from srkit.upscale.addresses import STD, check_target, ends_of, is_address
    from srkit.upscale.inputs import Found, inputs_of

    ends = ends_of(request.photos, request.out)
    if ends is None:
        found = inputs_of(request.photos)
        if not one_file(request):
            request.suffix()
            return None, found
        target, source = Path(str(request.out)), found.sources[0].path
        if len(found.sources) > 1:
            raise UsageError(f"-o '{target}' is one file for {len(found.sources)} pictures; name a folder")
        check_output(target)
        request.encoding(target)
        if target.exists() and target.samefile(source):
            raise UsageError(f"-o '{target}' is the picture itself; name another file")
        return None, found
    if request.confidence is not None:
        raise UsageError("--confidence is of a picture file, not of a pipe or an address; save it first")
    if request.receipt == "sidecar":
        raise UsageError("a receipt beside the picture wants a file; --receipt xmp is kept within it")
    if ends.target == STD and request.as_json and not request.dry_run:
        raise UsageError("--json and a picture cannot both go to stdout; write -o FILE")
    check_target(ends.target)
    request.encoding(ends.name)
    if ends.target != STD and not is_address(ends.target):
        check_output(Path(ends.target))
    return ends, Found(())


def run(request: Request) -> None:
    """The whole command. Raises SrkitError where a picture failed, at the end."""
    check(request)
    ends, found = ends_or_inputs(request)  # what is wrong with words is told before torch is imported
    registry = display.load()
    with display.Meter() as meter:
        ladder = ladder_of(request, registry, meter)
        request = with_size(request, ladder)
        loaded = ladder.load(ladder.named())
    ladder.downloads = told_download  # of a scale that a later picture needs: a second bar would break that of all
    tell_model(loaded, bool(request.model))
    tell_runtime(loaded, ladder)
    tell_precision(loaded, ladder, request.precision)
    how = how_of(request, ladder)
    if ends is not None:
        one_stream(request, how, ends)
        return
    planned, journal = jobs_of(request, ladder, found)
    if len(planned.todo) > 1 and request.confidence is not None and request.confidence.suffix:
        raise UsageError(
            f"--confidence '{request.confidence}' is one map for {len(planned.todo)} pictures; name a folder"
        )
    if request.dry_run:
        tell_plans(request, how, planned.todo)
        return
    if request.receipt_text:
        check_same(request, how, planned.todo)
    failures = make_all(request, how, journal, planned)
    journal.close(complete=True)
    if failures and len(planned.jobs) > 1:
        raise SrkitError(f"{len(failures)} of {len(planned.todo)} pictures could not be upscaled")
    if failures:
        raise failures[0]


def again(request: Request, picture: Path) -> None:
    """Repeat `picture` by its receipt, beside it as NAME_again, or as -o says."""
    from srkit.errors import ImageError
    from srkit.typed import fits, hints_of
    from srkit.upscale.receipt import receipt_for, source_for

    if len(request.photos) > 1:
        raise UsageError("--again repeats one picture; name at most the photo that it was made of")
    if other := [key for key in request.said if key != "model"]:
        option = other[0].replace("_", "-")
        raise UsageError(f"--again takes --{option} from the receipt; of what it keeps only --model can be named anew")
    about, where = receipt_for(picture)
    hints = hints_of(Request)
    options = about["options"] | {"receipt": where}
    if not all(key in PIXELS and fits(value, hints[key]) for key, value in options.items()):
        raise ImageError(f"the receipt of '{picture}' is damaged: it has options that srkit upscale has not")
    names = {model["name"] for model in about["models"].values()}
    if request.model or ("model" not in options and len(names) == 1):
        options["model"] = request.model or names.pop()
    source = source_for(picture, about, Path(request.photos[0]) if request.photos else None)
    out = request.out or str(picture.with_name(f"{picture.stem}_again{picture.suffix}"))
    text = json.dumps(about, ensure_ascii=True, sort_keys=True)
    run(replace(request, **options, photos=(str(source),), out=out, said=options, receipt_text=text))


def check_same(request: Request, how: "How", jobs: Sequence["Job"]) -> None:
    """SrkitError where other weights would repeat a picture than those that made it."""
    from srkit.upscale.file import planned
    from srkit.upscale.receipt import differences

    for job in jobs:
        plan = planned(job.source, how, request.encoding(job.target))
        errors, notices = differences(json.loads(request.receipt_text), how.networks.identity(plan.steps))
        for line in notices:
            display.say(line)
        if errors:
            raise SrkitError(f"'{job.target}' would be another picture: {errors[0]}")


def ladder_of(request: Request, registry: Registry, meter: Any) -> "Ladder":
    """What upscales, with the first network loaded and told of."""
    from srkit.nets import pick_device
    from srkit.upscale.keep import colour_kept
    from srkit.upscale.receipt import runtimes_in
    from srkit.upscale.tiles import TILE
    from srkit.weights.ladder import Ladder
    from srkit.weights.runtimes import AUTO, chosen_backend

    place, auto = pick_device(request.device), request.backend == AUTO
    whole = int(request.scale) if request.scale and request.scale == int(request.scale) else None
    return Ladder(
        registry,
        request.model or None,
        scale=whole,
        device=place,
        precision=request.precision or (AUTO if auto else "fp32"),
        wrappers=chosen_wrappers(registry, request.self_ensemble, request.wrapper),
        backend=chosen_backend(registry, request.backend, request.precision, place),
        change=colour_kept if request.keep_colour else None,
        auto=auto,
        fixed=runtimes_in(request.receipt_text, registry) if auto else {},
        side=request.tile or TILE,
        tell=display.say,
        downloads=meter,
    )


def with_size(request: Request, ladder: "Ladder") -> Request:
    """The request with a size: what the weights make, where nothing else is said."""
    wanted = request.wanted()
    return request if wanted.way else replace(request, scale=float(ladder.load(None).scale))


def how_of(request: Request, ladder: "Ladder") -> "How":
    from srkit.upscale.file import How

    reading: dict[str, Any] = {"profile": request.profile}
    if request.pixel_range:
        from srkit.images import limits

        reading["range"] = limits(request.pixel_range)
    if request.max_pixels is not None:
        reading["max_pixels"] = request.max_pixels
    return How(
        ladder,
        request.wanted(),
        tile=request.tile,
        strength=request.strength,
        protect=partial(protection, request.protect) if request.protect else lambda picture: None,
        reading=reading,
        identity=json.dumps(request.said, sort_keys=True, default=str),
    )


def protection(word: str, picture: Any) -> Any:
    """H,W uint8: 255 where Lanczos is wanted."""
    from srkit.upscale.protect import mask_of

    return mask_of(word, picture)


def jobs_of(request: Request, ladder: "Ladder", found: "Found") -> "tuple[Planned, Journal]":
    """What is to be done, and the record of what was done when an earlier run was stopped."""
    from srkit.files import remove_leftovers
    from srkit.upscale.journal import Journal
    from srkit.upscale.targets import DEFAULT_NAMES, Job, Planned, targets_of

    for notice in found.notices:
        display.say(notice)
    journal = Journal(
        {
            "said": request.said,
            "weights": ladder.identity([ladder.named()]) | {"tried": None},
            "out": request.out,
            "name": request.name,
        }
    )
    if one_file(request):
        target = Path(str(request.out))
        skip = "its result is there" if request.skip_existing and target.exists() else ""
        if skip:
            display.say(f"'{target}' is there and skipped")
        remove_leftovers(target.parent)
        return Planned((Job(found.sources[0].path, target, skip),)), journal
    wanted = request.wanted()
    planned = targets_of(
        found.sources,
        Path(request.out) if request.out else None,
        name=request.name or DEFAULT_NAMES[wanted.scale is None],
        model=ladder.label(ladder.named()),
        scale=wanted.word,
        suffix=request.suffix(),
        skip_existing=request.skip_existing,
        overwrite=request.overwrite,
        finished=journal.finished,
    )
    for folder in {job.target.parent for job in planned.todo}:
        remove_leftovers(folder)
    for notice in planned.notices:
        if not (request.overwrite and "will be overwritten" in notice):
            display.say(notice)
    return planned, journal


def one_stream(request: Request, how: "How", ends: "Ends") -> None:
    """From or to a pipe or an address."""
    from io import BytesIO

    from srkit.errors import naming
    from srkit.upscale.addresses import STD, is_address, name_of, read_from, write_to
    from srkit.upscale.file import planned, upscale_file
    from srkit.upscale.receipt import receipt_of

    encoding = request.encoding(ends.name)
    data = read_from(ends.source)
    about = {"source": ends.source, "target": ends.target}
    if request.dry_run:
        with naming(name_of(ends.source)):
            tell_plan(request, described(how, data, encoding), about)
        return
    if request.receipt:
        steps = planned(data, how, encoding).steps
        made_by = how.networks.identity(steps)
        digest = hashlib.sha256(data).hexdigest()
        encoding = replace(encoding, receipt=receipt_of(ends.source, digest, request.said, made_by))
    begun = time.monotonic()
    local = ends.target != STD and not is_address(ends.target)
    buffer = BytesIO()
    target: Path | BinaryIO = Path(ends.target) if local else buffer
    with display.Progress(name_of(ends.source), 1) as progress, naming(name_of(ends.source)):
        plan = upscale_file(data, target, how, encoding, done=progress_of(progress), tell=progress.say)
    if ends.target == STD:
        display.binary_result(buffer.getvalue())
        return
    if not local:
        write_to(ends.target, buffer.getvalue())
    tell_made(request, plan, about, time.monotonic() - begun)


def make_all(request: Request, how: "How", journal: "Journal", planned: "Planned") -> list[SrkitError]:
    """All results, each told when it is there. Returns the errors of those that failed."""
    from srkit.upscale.batch import Batch
    from srkit.upscale.inputs import printable

    jobs, many = planned.todo, len(planned.jobs) > 1
    if not jobs:
        return []
    with display.Progress(
        "upscaling" if many else printable(jobs[0].source.name), len(jobs) if many else 100
    ) as progress:

        def made(job: "Job", work: "Work", seconds: float) -> None:
            tell_made(request, work.plan, ends_as_text(job), seconds)

        def failed(job: "Job", error: SrkitError) -> None:
            if request.as_json:
                display.result(json.dumps(ends_as_text(job) | {"error": one_line(error)}))
            elif many:
                progress.say(one_line(error))

        def at(done: int, share: float, left: float) -> None:
            progress.at(done if many else round(100 * share), f"{share:.0%}" if many else "%", left)

        batch = Batch(
            how,
            request.encoding,
            journal,
            request.receipt,
            request.receipt_text,
            request.said,
            tell=progress.say,
            made=made,
            failed=failed,
            at=at,
            more=partial(draw_confidence, request, how, progress) if request.confidence else nothing_more,
        )
        return batch.run(jobs)


def nothing_more(job: "Job", work: "Work") -> None:
    """No confidence map is wanted."""


def draw_confidence(request: Request, how: "How", progress: display.Progress, job: "Job", work: "Work") -> None:
    """The map of one picture, and what it says."""
    from srkit.upscale.doubt import draw_map, levels_of
    from srkit.upscale.inputs import printable

    assert request.confidence is not None
    target = request.confidence
    if not target.suffix or target.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        target = target / f"{job.target.stem}_confidence.png"
    stages = [how.networks.stage(step) for step in work.plan.steps]
    levels = levels_of(work.picture, stages, lambda tiles, total: progress.at(0, f"confidence {tiles}/{total}"))
    found = draw_map(work.picture, levels, target)
    display.say(f"{printable(job.source)}: {found.words}")
    display.say(f"the map: {printable(target)}")
