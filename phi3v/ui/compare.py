"""Tab: several images, one question."""

from functools import partial

import gradio as gr

from ..app.loading import EngineLoader
from ..app.options import Options
from ..app.tasks import (
    COMPARE,
    COMPARE_EXAMPLES,
    CROPS_OF_A_SET,
    DEFAULT_COMPARISON,
    MAX_QUESTION_CHARACTERS,
    compare_question,
)
from ..engine.engine import Phi3Vision
from ..inputs.deadline import Deadline
from ..inputs.images import image_sizes
from ..inputs.sources import is_address
from .answers import Query, answers
from .code import code_panel
from .parts import FILE_EVENT, PRIVATE, TALKING, again_chip, answer_panel, ask_and_stop, examples, preset_chips
from .settings import Settings
from .tab import Tab, Turns, endpoint, visitor_of
from .upload import FilePaths, GalleryPaths, show_tiffs
from .web import from_the_web

SIZE_SECONDS = 10.0  # for looking at all images' sizes


def build(loader: EngineLoader, settings: Settings, options: Options) -> gr.Textbox:
    """The tab and its endpoint `/compare`; returns its question."""

    def request(engine, images, question, *values) -> Query:
        arguments = settings.as_arguments(*values)
        if engine:
            arguments["num_crops"] = crops_of_a_set(engine, arguments["num_crops"])
        return Query(compare_question(images, question, options.max_images), images, arguments)

    def generate(turns: Turns, *values):
        for text, line, _ in answers(loader, request, values, settings.max_time, turns.visitor, turns.stop):
            yield text, line

    def compare(
        caller: gr.Request,
        images,
        question=None,
        *values,
    ):
        """Answer a question about several images, in their order. Yields the answer so far, as plain text.

        Args:
            images: 2 to {max_images} image files.
            question: what to find out; by default what is different.
        """
        visitor = visitor_of(caller)
        for text, *_ in answers(loader, request, (images, question, *values), settings.max_time, visitor):
            yield text

    with gr.Row(equal_height=False):
        with gr.Column(scale=5):
            gallery = GalleryPaths(
                label=f"2 to {options.max_images} images, in order",
                sources=["upload", "webcam", "clipboard"],
                file_types=["image"],
                type="filepath",
                interactive=True,
                columns=4,
                height=340,
                object_fit="contain",
                buttons=["fullscreen"],
                elem_id="compare-images",
            )
            selected = gr.State()
            with gr.Row(elem_classes=["chips"], elem_id="compare-order", visible=False) as order:
                chips = {
                    change: gr.Button(label, size="sm", min_width=0, elem_classes=["chip"])
                    for change, label in ((-1, "Move earlier"), (1, "Move later"), (None, "Remove"))
                }
            show_tiffs(gallery)
            if options.web:
                from_the_web(gallery, "compare", options.max_file_bytes)
            cost = gr.Markdown(elem_classes=["stats"], elem_id="compare-cost")
            question = gr.Textbox(
                label="Question",
                placeholder=DEFAULT_COMPARISON,
                lines=1,
                max_lines=6,
                max_length=MAX_QUESTION_CHARACTERS,
                elem_id="compare-question",
            )
            preset_chips(COMPARE, question)
            ask_button, stop, clear = ask_and_stop("Compare", "compare")
        with gr.Column(scale=6):
            answer, stats = answer_panel("compare")
            with gr.Row(elem_classes=["chips"]):
                again = again_chip("compare")
            with gr.Accordion("Slide between 1 and 2", visible=False, elem_id="compare-slider") as over:
                slider = gr.ImageSlider(
                    label="Drag the line", interactive=False, max_height=420, buttons=["fullscreen"], show_label=False
                )

    gallery.select(_index, None, selected, **PRIVATE)
    for step, chip in chips.items():
        chip.click(partial(arranged, step=step), [gallery, selected], [gallery, selected], **TALKING)
    gallery.change(_pair, gallery, [over, slider, order], **FILE_EVENT)
    for change in (gallery.change, settings.num_crops.change):
        change(
            lambda *values: cost_line(loader.engine, settings, options.max_images, *values),
            [gallery, settings.num_crops],
            cost,
            **FILE_EVENT,
        )
    started = examples(COMPARE_EXAMPLES, [gallery, question], "compare")
    inputs = [gallery, question, *settings.components]
    Tab(answer, stats, ask_button, stop, clear).on(
        [ask_button.click, again.click, question.submit, started.then], generate, inputs
    )
    clear.add([gallery, question, cost, slider])
    clear.click(lambda: [gr.update(visible=False)] * 2, None, [over, order], **PRIVATE)
    code_panel(loader, request, inputs, ["image_1.png", "image_2.png"], "compare")
    # For the API a plain list of files; the gallery would ask for pairs with captions.
    files = FilePaths(label="images", file_count="multiple", type="filepath", visible=False)
    endpoint(compare, [files, question, *settings.components], settings, options)
    return question


def _uploads(images: list[str] | None) -> list[str]:
    """Without addresses, which only a script can put in: Gradio would fetch them to show them."""
    return [image for image in images or () if not is_address(image)]


def _index(event: gr.SelectData) -> int:
    return event.index


def _pair(images: list[str]):
    """The slider, for exactly two images, and the buttons that arrange them."""
    images = _uploads(images)
    count = len(images)
    return gr.update(visible=count == 2), tuple(images) if count == 2 else None, gr.update(visible=count > 0)


def arranged(images: list[str], selected: int | None, step: int | None):
    """The gallery with the selected image that many places later, or without it (`None`), and where it is then."""
    images = _uploads(images)
    if selected is None or not 0 <= selected < len(images):
        gr.Info("Tap an image first, then move or remove it.")
        return gr.skip(), gr.skip()
    image = images.pop(selected)
    if step is None:
        return gr.update(value=images, selected_index=None), None
    place = min(max(selected + step, 0), len(images))
    images.insert(place, image)
    return gr.update(value=images, selected_index=place), place


def crops_of_a_set(engine: Phi3Vision, num_crops: int | None) -> int:
    """Crops an image of a set takes at most: as asked for, or as the model card advises."""
    return num_crops or min(engine.num_crops, CROPS_OF_A_SET)


def fitting_crops(engine: Phi3Vision, sizes: list[tuple[int, int]], limit: int) -> int | None:
    """The most crops below a limit with which images of these sizes fit into the context, if they do with any."""
    for count in range(limit - 1, 0, -1):
        try:
            if sum(engine.image_tokens(sizes, count)) < engine.context_length:
                return count
        except ValueError:  # an image is too thin for so few
            return None
    return None


def cost_line(engine: Phi3Vision | None, settings: Settings, most: int, images: list[str], num_crops) -> str:
    """What the images take of the model's context, with a warning where they are too many."""
    if engine is None or not images:
        return ""
    if len(images) > most:
        return f"⚠ **{len(images)} images are too many**: at most {most} are compared. Remove some."
    try:
        sizes, crops = image_sizes(images, Deadline(SIZE_SECONDS)), crops_of_a_set(engine, settings.crops(num_crops))
        tokens = engine.image_tokens(sizes, crops)
    except (ValueError, TimeoutError) as error:
        return f"⚠ {error or 'The images take too long to read.'}"
    each = f"{len(tokens)} × {tokens[0]:,}" if len(set(tokens)) == 1 else " + ".join(f"{count:,}" for count in tokens)
    line = f"{each} = {sum(tokens):,} image tokens of the context's {engine.context_length:,}."
    if sum(tokens) < engine.context_length:
        return line
    fitting = fitting_crops(engine, sizes, crops)
    advice = "remove images" + (f", or set *Image crops* to {fitting} in the settings" if fitting else "")
    return f"⚠ {line} **That is too much**: {advice}."
