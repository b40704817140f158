"""The page itself, in Gradio: what is on it, and which words of `Desk` each button says."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from srkit_server.jobs import Job
from srkit_server.options import Options

import srkit
from srkit_ui import words
from srkit_ui.desk import Desk, Picture, Session
from srkit_ui.runs import read_run, run_names, run_page

PRINT, TIMES = "Print it on paper", "Make it larger by a factor"
FILL, WHOLE = "Fill the sheet, cut what stands over", "Show all of it, leave the rest white"
FORMATS = [("PNG — keeps every pixel", "png"), ("TIFF — for print shops", "tiff"), ("JPEG — small file", "jpeg")]
ROW_MOST = 6  # models that are shown as a row of buttons; more are a list
PAUSE = 0.25  # seconds between two looks at a job
FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
FOLDER = Path(__file__).parent
#: What takes long waits in Gradio's queue, and its answers come by one stream a page. What is short does not: when the
#: last answer ends the stream as another question is asked, Gradio forgets the question (gradio 13761).
IN_TURN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = IN_TURN | {"queue": False}


def theme() -> gr.Theme:
    """Fonts of the machine, none that is fetched."""
    calm = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size=gr.themes.sizes.radius_lg,
        font=FONT,
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
    return calm.set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="*neutral_900",
        block_background_fill="white",
        block_background_fill_dark="#182234",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_800",
        block_title_text_color_dark="*neutral_100",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_cancel_background_fill="*neutral_200",
        button_cancel_background_fill_dark="*neutral_700",
        button_cancel_text_color="*neutral_900",
        button_cancel_text_color_dark="white",
        checkbox_label_background_fill_selected="*primary_100",
        checkbox_label_background_fill_selected_dark="*primary_900",
        checkbox_label_text_color_selected="*neutral_900",
        checkbox_label_text_color_selected_dark="white",
        checkbox_label_border_width="1px",
        checkbox_label_border_color_selected="*primary_600",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_400",
        checkbox_background_color_selected="*primary_600",
        checkbox_background_color_selected_dark="*primary_500",
    )


class Form:
    """The options of the first tab, in the order in which `options_of` takes their values."""

    def __init__(self, models: list[srkit.UsableModel], backends: Sequence[str] = ()):
        choices = words.model_choices(models)
        with gr.Group(elem_classes="step"):
            gr.HTML("<h2>2. How large?</h2>")
            self.way = gr.Radio([PRINT, TIMES], value=PRINT, show_label=False, container=False, elem_id="way",
                                label="How large")  # fmt: skip
            with gr.Column(visible=True, elem_classes="inner") as self.print_box:
                self.paper = gr.Dropdown(words.sheets(), value="A3", label="Sheet of paper", allow_custom_value=True,
                                         info="Or type your own: 40x55cm, 12x18in", elem_id="paper")  # fmt: skip
                self.shape = gr.Radio([FILL, WHOLE], value=FILL, label="If the sheet has another shape")
                with gr.Accordion("Print shop", open=False):
                    self.dpi = gr.Number(300, label="Pixels to the inch (dpi)", minimum=1, maximum=10000, precision=0)
                    self.bleed = gr.Number(0, label="Bleed at each side, in millimetres", minimum=0, maximum=100)
            with gr.Column(visible=False, elem_classes="inner") as self.times_box:
                self.scale = gr.Slider(1, 8, value=2, step=0.5, label="Factor")
        with gr.Group(elem_classes="step"):
            gr.HTML("<h2>3. What kind of picture?</h2>")
            kind = gr.Radio if len(choices) <= ROW_MOST else gr.Dropdown
            self.model = kind(choices, value=choices[0][1], label="Model", show_label=False, container=False)
            self.about = gr.HTML(words.about_model(models_by_name(models)[choices[0][1]]))
            with gr.Accordion("More", open=False):
                self.format = gr.Dropdown(FORMATS, value="png", label="File")
                self.doubt = gr.Checkbox(label="Also show where it is guesswork", info="Takes some minutes more.")
                self.ensemble = gr.Checkbox(label="Finer", info="The mean of eight passes: eight times as long.")
                self.protect = gr.Checkbox(label="Leave text alone", info="Networks like to reinvent it.")
                computed = words.backend_choices(backends)
                once = "What is quickest is tried once, which takes some seconds."
                self.backend = gr.Dropdown(computed, value="", label="Computed by", info=once, elem_id="backend",
                                           visible=len(computed) > 1)  # fmt: skip

    @property
    def values(self) -> list[Any]:
        return [self.way, self.paper, self.shape, self.dpi, self.bleed, self.scale, self.model, self.format,
                self.ensemble, self.protect, self.backend]  # fmt: skip


def options_of(way: str, paper: str, shape: str, dpi: float, bleed: float, *rest: Any) -> Options:
    """What the form says, as a server's options. Raises UsageError."""
    scale, model, kind, ensemble, protect, backend = rest
    said: dict[str, Any] = {"model": model or "", "format": kind, "backend": backend or ""}
    if ensemble:
        said["self_ensemble"] = True
    if protect:
        said["protect"] = "text"
    if way == PRINT:
        if not str(paper or "").strip():
            raise srkit.UsageError("choose a sheet of paper")
        said |= {"print": str(paper), "dpi": float(dpi or 300)}
        said |= {"pad": "white"} if shape == WHOLE else {"crop": True}
        if bleed:
            said["bleed"] = f"{float(bleed):g}mm"
    else:
        said["scale"] = float(scale or 2)
    return Options.parse(said)


def models_by_name(models: list[srkit.UsableModel]) -> dict[str, srkit.UsableModel]:
    return {model.name: model for model in models}


class Page:
    """Builds the Blocks, and is what its events call. runs, report: the folders of two tabs."""

    def __init__(self, desk: Desk, *, runs: Path, report: Path, local: bool):
        self.desk, self.runs, self.report, self.local = desk, runs, report, local
        self.models = list(desk.jobs.models.values())

    def build(self) -> gr.Blocks:
        with gr.Blocks(title="srkit", analytics_enabled=False, fill_width=False) as blocks:
            place = "It does not leave this computer." if self.local else "It is deleted from the server after an hour."
            gr.HTML(f"<header><h1>Make a picture larger</h1><p>For a poster, a print, a screen. {place}</p></header>")
            with gr.Tabs():
                with gr.Tab("Enlarge", id="enlarge"):
                    self.enlarge_tab()
                with gr.Tab("Compare", id="compare"):
                    self.compare_tab()
                with gr.Tab("Trainings", id="runs"):
                    self.runs_tab(blocks)
                with gr.Tab("Benchmark", id="report"):
                    gr.HTML(value=self.report_frame)
            blocks.unload(self.left)
        blocks.queue(default_concurrency_limit=None, max_size=200, api_open=False)
        return blocks

    # --- enlarge ---

    def enlarge_tab(self) -> None:
        with gr.Row(equal_height=False, elem_id="columns"):
            with gr.Column(scale=5, min_width=340, elem_id="form"):
                with gr.Group(elem_classes="step"):
                    gr.HTML("<h2>1. Your picture</h2>")
                    drop = self.drop()
                form = Form(self.models, list(self.desk.jobs.backends))
            with gr.Column(scale=7, min_width=340, elem_id="result"):
                plan = gr.HTML(FIRST, elem_id="plan")
                start = gr.Button("Make it larger", variant="primary", size="lg", interactive=False, elem_id="start")
                cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="cancel")
                progress = gr.HTML(elem_id="progress")
                which = gr.Radio([], label="Look at", visible=False, elem_id="which")
                look = gr.HTML(elem_id="look")
        form.way.change(
            lambda way: (gr.update(visible=way == PRINT), gr.update(visible=way == TIMES)),
            form.way, [form.print_box, form.times_box], **AT_ONCE,
        )  # fmt: skip
        form.model.change(self.about, form.model, form.about, **AT_ONCE)
        drop.submit(self.pictures, form.values, [plan, start], trigger_mode="multiple", **AT_ONCE)
        asked = [each.change for each in form.values]
        gr.on(asked, self.plan, form.values, [plan, start], trigger_mode="always_last", **AT_ONCE)
        shown = [plan, start, cancel, progress, which, look]
        start.click(self.start, [*form.values, form.doubt], shown, **IN_TURN)
        cancel.click(self.cancel, None, None, **AT_ONCE)
        which.change(self.look, which, look, **AT_ONCE)

    def drop(self, *, single: bool = False) -> gr.HTML:
        limits = self.desk.jobs.limits
        one = " single" if single else ""
        return gr.HTML(
            html_template=f"<picture-drop most-bytes={limits.upload} most-pixels={limits.pixels}{one}></picture-drop>",
            js_on_load="element.addEventListener('pictures', (event) => trigger('submit', event.detail));",
        )

    def about(self, name: str) -> str:
        model = models_by_name(self.models).get(name)
        return words.about_model(model) if model else ""

    async def pictures(self, request: gr.Request, event: gr.EventData, *values: Any) -> Any:
        """Other pictures were dropped, or some taken away."""
        session = self.desk.session(request.session_hash)
        if not self.desk.choose(session, [str(each) for each in event.ids], int(event.number)):
            return gr.skip(), gr.skip()
        return await self.planned(session, values)

    async def plan(self, request: gr.Request, *values: Any) -> Any:
        return await self.planned(self.desk.session(request.session_hash), values)

    async def planned(self, session: Session, values: Any) -> Any:
        """(the plan as HTML, the button), of what was asked last: an earlier question's late answer changes nothing.

        Questions are counted here, in the order in which they come; threads would begin in any order.
        """
        session.asked += 1
        mine = session.asked
        shown = await asyncio.to_thread(self.told_plan, session, values)
        return shown if mine == session.asked else (gr.skip(), gr.skip())

    def told_plan(self, session: Session, values: Any) -> Any:
        """What would be made of each picture."""
        if not session.pictures:
            return FIRST, gr.update(interactive=False, value="Make it larger")
        rows, seconds, good = [], 0.0, 0
        for picture in session.pictures:
            try:
                plan = self.desk.jobs.plan(picture.path, options_of(*values))
                rows.append(words.plan_row(picture.name, plan))
                seconds += plan.seconds or 0.0
                good += 1
            except srkit.SrkitError as error:
                rows.append(words.trouble(picture.name, str(error)))
        title = "Make it larger" if good < 2 else f"Make {good} pictures larger"
        page = words.plan_page(rows, seconds if good else None, self.desk.jobs.waiting)
        return page, gr.update(interactive=good > 0, value=title, variant="primary")

    async def start(self, request: gr.Request, *values: Any) -> AsyncIterator[Any]:
        """Make all of them, and say how far it is until they are there."""
        *form, doubt = values
        session = self.desk.session(request.session_hash)
        off, on = gr.update(visible=False), gr.update(visible=True)
        hidden = gr.update(visible=False, choices=[], value=None)
        yield gr.skip(), off, on, "<p role='status'>Starting …</p>", hidden, ""
        try:
            await asyncio.to_thread(self.desk.start, session, options_of(*form), doubt=doubt)
        except srkit.SrkitError as error:
            yield gr.skip(), on, off, words.trouble("", str(error)), hidden, ""
            return
        shown = ""
        while not all(job.ended for _, job in session.jobs):
            now = self.progress(session)
            if now != shown:
                # said each time: of two answers in quick succession the browser may leave the first out
                yield gr.skip(), off, on, now, gr.skip(), gr.skip()
                shown = now
            await asyncio.sleep(PAUSE)
        made = [(picture.name, job.id) for picture, job in session.jobs if job.id in self.desk.looks]
        which = gr.update(visible=len(made) > 1, choices=made, value=made[0][1] if made else None)
        look = self.viewer(session.jobs, made[0][1]) if made else ""
        again = gr.update(visible=True, variant="secondary" if made else "primary")  # now the download is what matters
        yield gr.skip(), again, off, self.progress(session), which, look

    def progress(self, session: Session) -> str:
        rows = [self.row(picture, job) for picture, job in session.jobs]
        rows += [words.trouble(name, line) for name, line in session.failures]
        return f"<div class='jobs'>{''.join(rows)}</div>"

    def row(self, picture: Picture, job: Job) -> str:
        """How far one picture is, as HTML."""
        name = escape(picture.name)
        if job.state == "waiting":
            place = self.desk.jobs.place(job)
            before = f"{place} picture{'' if place == 1 else 's'} before it" if place else "next"
            return f"<section class='job'><h3>{name}</h3><p role='status'>Waits: {before}.</p></section>"
        if job.state == "running":
            percent = round(100 * job.share)
            looking = "Looking where it is guesswork: " if job.result else ""
            left = f", {words.span(job.left)} left" if job.left and job.share > 0.02 else ""
            return (
                f"<section class='job'><h3>{name}</h3><progress max=100 value={percent} "
                f"aria-label='{name}'></progress><p>{looking}{percent} %{left}</p></section>"
            )
        if job.result is None:
            return words.trouble(picture.name, words.ended(job.state, job.error))
        notices = "".join(f"<li>{escape(words.in_words(line))}</li>" for line in job.notices)
        width, height = job.plan.size if job.plan else (0, 0)
        return (
            f"<section class='job made'><h3>{name}</h3><p>{words.sides((width, height))} pixels, "
            f"{words.megabytes(job.result)}, made in {words.spent(job.seconds)}{escape(words.by(job.runtime))}.</p>"
            f"<a class='download' href='/results/{job.id}' download='{escape(job.result.name)}'>Download"
            f"<span class='sr'> {escape(job.result.name)}</span></a><ul>{notices}</ul></section>"
        )

    def viewer(self, jobs: list[tuple[Picture, Job]], number: str) -> str:
        """The element that compares before and after."""
        found = self.desk.looks.get(number)
        if found is None or number not in [job.id for _, job in jobs]:
            return ""
        doubt = " doubt" if found.doubt else ""
        width, height = found.size
        return f"<before-after look='/looks/{number}' width={width} height={height}{doubt}></before-after>"

    def look(self, number: str | None, request: gr.Request) -> str:
        return self.viewer(self.desk.session(request.session_hash).jobs, number or "")

    def cancel(self, request: gr.Request) -> None:
        self.desk.cancel(self.desk.session(request.session_hash))

    def left(self, request: gr.Request) -> None:
        """The browser has closed the page."""
        self.desk.leave(request.session_hash)

    # --- compare ---

    def compare_tab(self) -> None:
        networks = [name for _, name in words.model_choices([each for each in self.models if each.trainable])]
        scales = sorted({scale for each in self.models if each.trainable for scale in each.scales})
        gr.HTML(
            "<h2>Which model suits your picture?</h2><p>All of them enlarge it, and you see the three places where "
            "they differ most. Nobody knows the true picture: look which one you believe.</p>"
        )
        with gr.Row(equal_height=False):
            with gr.Column(scale=1, min_width=300):
                drop = self.drop(single=True)
            with gr.Column(scale=1, min_width=300):
                chosen = gr.CheckboxGroup(networks, value=networks[:8], label="Models, beside bicubic")
                scale = gr.Radio([(f"{each} times", each) for each in scales], value=scales[0], label="Larger by")
                start = gr.Button("Compare", variant="primary", interactive=False, elem_id="compare-start")
                cancel = gr.Button("Cancel", variant="stop", visible=False, elem_id="compare-cancel")
        shown = gr.HTML(elem_id="trial")
        picture = gr.State("")
        drop.submit(self.one_picture, None, [picture, start], trigger_mode="multiple", **AT_ONCE)
        start.click(self.compare, [picture, chosen, scale], [start, cancel, shown], **IN_TURN)
        cancel.click(self.cancel, None, None, **AT_ONCE)

    def one_picture(self, event: gr.EventData) -> Any:
        numbers = [str(number) for number in event.ids][:1]
        return (numbers or [""])[0], gr.update(interactive=bool(numbers))

    async def compare(self, number: str, models: list[str], scale: int, request: gr.Request) -> AsyncIterator[Any]:
        session = self.desk.session(request.session_hash)
        off, on = gr.update(visible=False), gr.update(visible=True)
        yield off, on, "<p role='status'>Starting …</p>"
        try:
            picture = self.desk.pictures.get(number)
            if picture is None:
                raise srkit.UsageError("drop a picture first")
            if not models:
                raise srkit.UsageError("choose a model at least")
            await asyncio.to_thread(self.desk.compare, session, picture, models, scale)
        except srkit.SrkitError as error:
            yield on, off, words.trouble("", str(error))
            return
        job = session.trial
        assert job is not None
        shown = ""
        while not job.ended:
            if (now := self.row(picture, job)) != shown:
                yield off, on, now
                shown = now
            await asyncio.sleep(PAUSE)
        if job.result is None:
            yield on, off, words.trouble(picture.name, words.ended(job.state, job.error))
            return
        yield on, off, f"<iframe title='The comparison' sandbox='allow-scripts' src='/pages/{job.id}'></iframe>"

    # --- trainings, benchmark ---

    def runs_tab(self, blocks: gr.Blocks) -> None:
        gr.HTML("<h2>Trainings</h2>")
        which = gr.Dropdown([], label="Run", elem_id="run")
        again = gr.Button("Read again", size="sm", elem_id="read-runs")
        shown = gr.HTML()
        blocks.load(self.list_runs, which, [which, shown], **AT_ONCE)
        again.click(self.list_runs, which, [which, shown], **AT_ONCE)
        which.input(self.show_run, which, shown, **AT_ONCE)

    def list_runs(self, name: str | None) -> Any:
        names = run_names(self.runs) if self.runs.is_dir() else []
        if not names:
            return gr.update(visible=False), (
                f"<p>There is no training in the folder <code>{escape(self.runs.name)}</code>. "
                "<code>srkit train</code> makes one.</p>"
            )
        name = name if name in names else names[0]
        return gr.update(visible=True, choices=names, value=name), self.show_run(name)

    def show_run(self, name: str | None) -> str:
        run = read_run(self.runs, name or "")
        return run_page(run) if run else "<p>This run is not there any more.</p>"

    def report_frame(self) -> str:
        page = self.report / "index.html"
        if not page.is_file():
            return (
                "<h2>Benchmark</h2><p>There is no report here. <code>srkit bench --report "
                f"{escape(self.report.name)}</code> makes one.</p>"
            )
        return "<h2>Benchmark</h2><iframe title='The last report' sandbox='allow-scripts' src='/report'></iframe>"


FIRST = (
    "<div class='first'><p>Drop a picture, and here you see what you will get: how large, how sharp, how long it "
    "takes.</p></div>"
)
