"""Pieces that the tabs are made of."""

from collections.abc import Sequence

import gradio as gr

from ..app.tasks import Preset

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
# Of events that may show a message: those travel through the queue.
TALKING = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
# Of events that open files: few at once, so that a visitor's many don't take all of the server's threads.
FILE_EVENT = {
    "concurrency_id": "files",
    "concurrency_limit": 1,
    "show_progress": "hidden",
    "api_visibility": "private",
}


def preset_chips(presets: Sequence[Preset], question: gr.Textbox) -> None:
    """One-tap buttons that fill in a question."""
    with gr.Row(elem_classes=["chips"]):
        for preset in presets:
            chip = gr.Button(preset.label, size="sm", min_width=0, elem_classes=["chip"])
            chip.click(lambda prompt=preset.prompt: prompt, outputs=question, **PRIVATE)


def ask_and_stop(label: str, tab: str) -> tuple[gr.Button, gr.Button, gr.ClearButton]:
    """A row of buttons: the one that asks, the one that takes its place meanwhile, and Clear."""
    with gr.Row(elem_classes=["actions"]):
        ask = gr.Button(label, variant="primary", size="lg", scale=4, min_width=120, elem_id=f"{tab}-ask")
        stop = gr.Button(
            "Stop", variant="stop", size="lg", scale=4, min_width=120, visible=False, elem_id=f"{tab}-stop"
        )
        clear = gr.ClearButton(
            value="Clear", size="lg", scale=1, min_width=90, elem_id=f"{tab}-clear", api_visibility="private"
        )
    return ask, stop, clear


def again_chip(tab: str) -> gr.Button:
    """A button that asks the same once more."""
    return gr.Button("Try again", size="sm", min_width=0, elem_classes=["chip"], elem_id=f"{tab}-again")


def answer_panel(tab: str) -> tuple[gr.Markdown, gr.Markdown]:
    """Where the answer appears, as Markdown, and the line below it."""
    answer = gr.Markdown(
        label="Answer",
        container=True,
        min_height=360,
        buttons=["copy"],
        line_breaks=True,
        padding=True,
        elem_classes=["answer"],
        elem_id=f"{tab}-answer",
    )
    return answer, stats_below(tab)


def stats_below(tab: str) -> gr.Markdown:
    """What is going on, then what the answer cost."""
    return gr.Markdown(elem_classes=["stats"], elem_id=f"{tab}-stats")


def examples(rows: list[list], inputs: list, tab: str) -> gr.events.Dependency:
    """Thumbnails of example images; a tap fills the inputs. What should follow is attached to the event returned."""
    thumbnails = gr.Dataset(
        components=inputs[:1],
        samples=[row[:1] for row in rows],
        label="Examples",
        type="index",
        layout="gallery",
        elem_id=f"{tab}-examples",
        elem_classes=["examples"],
    )
    return thumbnails.click(lambda index: rows[index], thumbnails, inputs, **PRIVATE)
