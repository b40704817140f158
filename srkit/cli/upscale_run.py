"""What `srkit upscale` does once it knows what is wanted: the model, the files, one after another, what is told."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from srkit import defaults
from srkit.cli import display
from srkit.cli.choose import chosen_wrappers
from srkit.errors import SrkitError, UsageError, one_line
from srkit.plugins import Choice, Registry

if TYPE_CHECKING:
    import torch

    from srkit.images import Encoding
    from srkit.nets import Loaded
    from srkit.upscale.addresses import Ends
    from srkit.upscale.file import How, Work
    from srkit.upscale.journal import Journal
    from srkit.upscale.sizes import Wanted
    from srkit.upscale.targets import Job, Planned
    from srkit.weights.ladder import Ladder


@dataclass(frozen=True)
class Request:
    """The command's options, by their names there. said: those that a receipt keeps."""

    photos: tuple[str, ...]
    model: str
    scale: float | None
    width: int | None
    height: int | None
    long_edge: int | None
    fit: str | None
    paper: str | None
    dpi: float | None
    bleed: str | None
    crop: bool
    pad: str | None
    out: str | None
    name: str | None
    overwrite: bool
    skip_existing: bool
    format: str | None
    quality: int | None
    depth: int | None
    background: str
    profile: str
    strip: bool
    keep_colour: bool
    protect: str | None
    strength: float
    receipt: str
    self_ensemble: bool
    wrapper: list[str] | None
    tile: int | None
    pixel_range: str
    max_pixels: int | None
    device: str
    precision: str | None
    backend: str
    confidence: Path | None
    dry_run: bool
    as_json: bool
    said: dict[str, Any] = field(default_factory=dict)
    receipt_text: str = ""  # of the picture that is repeated

    def wanted(self) -> "Wanted":
        from srkit.upscale.sizes import Wanted

        keys = ("scale", "width", "height", "long_edge", "fit", "paper", "dpi", "bleed", "crop", "pad")
        return Wanted(**{key: getattr(self, key) for key in keys})

    def encoding(self, target: str | Path) -> "Encoding":
        from srkit.images import encoding_for

        return encoding_for(
            target, self.format, self.quality, self.depth, self.background, strip=self.strip
        )  # the receipt is added when it is known

    def suffix(self) -> str:
        """Of results that nobody named."""
        from srkit.images import FORMATS

        return FORMATS[self.encoding("-" if self.format else "result.png").format][0]


def check(request: Request) -> None:
    """Before torch is imported: UsageError for what cannot be."""
    if request.overwrite and request.skip_existing:
        raise UsageError("--overwrite and --skip-existing exclude each other")
    if request.profile not in ("keep", "srgb"):
        raise UsageError(f"--profile is keep or srgb, not '{request.profile}'")
    if request.receipt not in ("", "xmp", "sidecar"):
        raise UsageError(f"--receipt is xmp or sidecar, not '{request.receipt}'")
    if request.pixel_range:
        from srkit.images import limits

        limits(request.pixel_range)
    if request.confidence is not None and request.confidence.suffix and not request.confidence.is_dir():
        from srkit.images import check_output

        check_output(request.confidence)
    request.wanted()
    request.suffix()


def run(request: Request) -> None:
    """The whole command. Raises SrkitError where a picture failed, at the end."""
    from srkit.upscale.addresses import ends_of

    check(request)
    ends = ends_of(request.photos, request.out)
    registry = display.load()
    with display.Meter() as meter:
        ladder = ladder_of(request, registry, meter)
        request = with_size(request, ladder)
        loaded = ladder.load(ladder.named())
    tell_model(loaded, bool(request.model))
    tell_precision(loaded, ladder, request.precision)
    how = how_of(request, ladder)
    if ends is not None:
        one_stream(request, how, ends)
        return
    planned, journal = jobs_of(request, ladder)
    if len(planned.todo) > 1 and request.confidence is not None and request.confidence.suffix:
        raise UsageError(
            f"--confidence '{request.confidence}' is one map for {len(planned.todo)} pictures; name a folder"
        )
    if request.dry_run:
        tell_plans(request, how, planned.todo)
        return
    failures = make_all(request, how, journal, planned.todo)
    journal.close(complete=True)
    if failures and len(planned.jobs) > 1:
        raise SrkitError(f"{len(failures)} of {len(planned.todo)} pictures could not be upscaled")
    if failures:
        raise failures[0]


def again(request: Request, picture: Path) -> None:
    """Repeat `picture` by its receipt, beside it as NAME_again, or as -o says."""
    from srkit.upscale.receipt import receipt_for, source_for

    about, where = receipt_for(picture)
    if len(request.photos) > 1:
        raise UsageError("--again repeats one picture; name at most the photo that it was made of")
    named = Path(request.photos[0]) if request.photos else None
    source = source_for(picture, about, named)
    options = {key: value for key, value in about["options"].items() if hasattr(request, key)}
    out = request.out or str(picture.with_name(f"{picture.stem}_again{picture.suffix}"))
    text = json.dumps(about, ensure_ascii=True, sort_keys=True)
    run(
        replace(
            request, **(options | {"receipt": where}), photos=(str(source),), out=out, said=options, receipt_text=text
        )
    )


def ladder_of(request: Request, registry: Registry, meter: Any) -> "Ladder":
    """What upscales, with the first network loaded and told of."""
    from srkit.nets import pick_device
    from srkit.upscale.keep import colour_kept
    from srkit.weights.ladder import Ladder

    place = pick_device(request.device)
    whole = int(request.scale) if request.scale and request.scale == int(request.scale) else None
    return Ladder(
        registry,
        request.model or None,
        scale=whole,
        device=place,
        precision=request.precision or "fp32",
        wrappers=chosen_wrappers(registry, request.self_ensemble, request.wrapper),
        backend=chosen_backend(registry, request.backend, request.precision, place),
        change=colour_kept if request.keep_colour else None,
        downloads=meter,
    )


def tell_precision(loaded: "Loaded", ladder: "Ladder", asked: str | None) -> None:
    """Say what the network is computed in where it is not fp32, with what that costs where it was measured."""
    from srkit.nets import precision_of
    from srkit.weights.offered import RANKED_BY, claims_at

    backend = ladder.backend
    used = (
        backend.options.get("precision", "fp32") if backend else precision_of(loaded, ladder.device, ladder.precision)
    )
    if used == "fp32":
        if asked not in (None, "fp32", "auto"):
            display.say(f"{loaded.label} is an interpolation and is computed in fp32")
        return
    claims = claims_at(loaded.weights, loaded.scale) if loaded.weights and not ladder.wrappers else {}
    exact, half = claims.get(RANKED_BY), claims.get(f"{RANKED_BY} {used}")
    loss = "" if exact is None or half is None else f"; PSNR on Set5 (protocol y) changes by {half - exact:+.4f} dB"
    display.say(f"computed in {used}{loss}")


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


def chosen_backend(registry: Registry, name: str, precision: str | None, place: "torch.device") -> Choice | None:
    """What the network is to run in; None is PyTorch. UsageError for a precision that is not offered."""
    from srkit.nets import native_precision, precision_on

    if not name:
        precision_on(place, precision or "fp32")
        return None
    offered = registry.find("backend", name).component.precisions
    if precision == "auto":
        precision = native_precision(place) if native_precision(place) in offered else None
    if precision and precision not in offered:
        raise UsageError(f"backend '{name}' computes in {', '.join(offered)}, not in '{precision}'")
    return registry.choose("backend", name, {"precision": precision} if precision else {})


def one_file(request: Request) -> bool:
    """Does -o name a file, not a folder?"""
    return request.out is not None and bool(Path(request.out).suffix) and not Path(request.out).is_dir()


def jobs_of(request: Request, ladder: "Ladder") -> "tuple[Planned, Journal]":
    """What is to be done, and the record of what was done when an earlier run was stopped."""
    from srkit.files import remove_leftovers
    from srkit.images import check_output
    from srkit.upscale.inputs import inputs_of
    from srkit.upscale.journal import Journal
    from srkit.upscale.targets import DEFAULT_NAMES, Job, Planned, targets_of

    found = inputs_of(request.photos)
    for notice in found.notices:
        display.say(notice)
    journal = Journal(
        {"said": request.said, "weights": ladder.identity([ladder.named()]), "out": request.out, "name": request.name}
    )
    if one_file(request):
        target = Path(str(request.out))
        if len(found.sources) > 1:
            raise UsageError(f"-o '{target}' is one file for {len(found.sources)} pictures; name a folder")
        check_output(target)
        request.encoding(target)
        source = found.sources[0].path
        if target.exists() and target.samefile(source):
            raise UsageError(f"-o '{target}' is the picture itself; name another file")
        skip = "its result is there" if request.skip_existing and target.exists() else ""
        remove_leftovers(target.parent)
        return Planned((Job(source, target, skip),)), journal
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
    from srkit.upscale.addresses import STD, check_target, is_address, name_of, read_from, write_to
    from srkit.upscale.file import upscale_file

    if request.receipt == "sidecar":
        raise UsageError("a receipt beside the picture wants a file; --receipt xmp is kept within it")
    check_target(ends.target)
    encoding = request.encoding(ends.target.rpartition("/")[2] if is_address(ends.target) else ends.target)
    data = read_from(ends.source)
    if request.dry_run:
        display.result(described(how, data, name_of(ends.source), ends.target, encoding)[0])
        return
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
    display.result(f"{ends.target}  ({plan.text})")


def progress_of(progress: display.Progress) -> Callable[[int, int], None]:
    def done(boxes: int, total: int) -> None:
        progress.total = total
        progress.at(boxes)

    return done


def make_all(request: Request, how: "How", journal: "Journal", jobs: Sequence["Job"]) -> list[SrkitError]:
    """All results, each told when it is there. Returns the errors of those that failed."""
    from srkit.upscale.batch import Batch
    from srkit.upscale.inputs import printable

    if not jobs:
        return []
    many = len(jobs) > 1
    with display.Progress(
        "upscaling" if many else printable(jobs[0].source.name), len(jobs) if many else 100
    ) as progress:

        def made(job: "Job", work: "Work", seconds: float) -> None:
            width, height = work.plan.size.canvas
            about = {"source": str(job.source), "target": str(job.target), "width": width, "height": height}
            text = f"{printable(job.target)}  ({work.plan.text})"
            display.result(json.dumps(about | {"seconds": round(seconds, 3)}) if request.as_json else text)

        def failed(job: "Job", error: SrkitError) -> None:
            if request.as_json:
                about = {"source": str(job.source), "target": str(job.target), "error": one_line(error)}
                display.result(json.dumps(about))
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


def tell_plans(request: Request, how: "How", jobs: Sequence["Job"]) -> None:
    """--dry-run: what would be made of each picture, and how long all would take."""
    from srkit.upscale.inputs import printable

    seconds, failures = 0.0, 0
    for job in jobs:
        try:
            line, more = described(
                how, job.source, printable(job.source), printable(job.target), request.encoding(job.target)
            )
        except SrkitError as error:
            failures += 1
            display.say(one_line(error))
            continue
        seconds += more
        display.result(line)
    if len(jobs) > 1:
        display.say(f"{len(jobs) - failures} pictures in about {display.span(seconds)}")
    if failures:
        raise SrkitError(f"{failures} of {len(jobs)} pictures could not be upscaled")


def described(how: "How", source: "Path | bytes", name: str, target: str, encoding: "Encoding") -> tuple[str, float]:
    """(what would be made of a picture, in words, the seconds that takes)."""
    from srkit.upscale.estimate import estimate
    from srkit.upscale.file import planned

    plan = planned(source, how, encoding)
    found = estimate(plan, how)
    steps = " then ".join(f"x{step}" for step in plan.steps) or "no network"
    told = [
        f"{target}  ({plan.text})",
        steps,
        f"{found.tiles} tiles of {found.tile} pixels" if found.tiles > 1 else "1 tile",
    ]
    told += [f"{found.memory / 1e6:,.0f} MB for a tile", f"about {display.span(found.seconds)}"]
    return ", ".join([*told, *plan.size.lines, *plan.notices]), found.seconds
