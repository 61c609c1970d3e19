"""Pieces that the tabs are made of."""

from collections.abc import Sequence

import gradio as gr

from ..tasks import Preset

PRIVATE = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def preset_chips(presets: Sequence[Preset], question: gr.Textbox) -> None:
    """One-tap buttons that fill in a question."""
    with gr.Row(elem_classes=["chips"]):
        for preset in presets:
            chip = gr.Button(preset.label, size="sm", min_width=0, elem_classes=["chip"])
            chip.click(lambda prompt=preset.prompt: prompt, outputs=question, **PRIVATE)


def ask_and_stop(label: str, tab: str) -> tuple[gr.Button, gr.Button]:
    """The button that asks, and the one that takes its place meanwhile."""
    ask = gr.Button(label, variant="primary", size="lg", elem_id=f"{tab}-ask")
    stop = gr.Button("Stop", variant="stop", size="lg", visible=False, elem_id=f"{tab}-stop")
    return ask, stop


def answer_panel(tab: str) -> tuple[gr.Markdown, gr.Markdown]:
    """Where the answer appears, as Markdown, and the line below it."""
    answer = gr.Markdown(
        label="Answer",
        show_label=True,
        container=True,
        min_height=360,
        buttons=["copy"],
        line_breaks=True,
        elem_classes=["answer"],
        elem_id=f"{tab}-answer",
    )
    return answer, stats_line_below(tab)


def stats_line_below(tab: str) -> gr.Markdown:
    """What is going on, then what the answer cost."""
    return gr.Markdown(elem_classes=["stats"], elem_id=f"{tab}-stats")


def examples(rows: list, inputs: list) -> gr.events.Dependency:
    """Example images; a tap fills the inputs. What should follow is attached to the event that is returned."""
    return gr.Examples(
        rows, inputs, label="Examples", cache_examples=False, api_visibility="private"
    ).load_input_event


def clear_button(components: list, tab: str) -> None:
    """Empties the tab."""
    clear = gr.ClearButton(components, value="Clear", size="sm", elem_id=f"{tab}-clear", api_visibility="private")
    clear.scale = 0
