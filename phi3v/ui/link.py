"""A link that opens the page as it is now: the tab, its question or format, the settings. Not the images."""

import gradio as gr

from ..tasks import MAX_QUESTION_CHARACTERS, OCR
from .parts import PRIVATE
from .settings import Settings

NAMES = ("max_new_tokens", "temperature", "top_p", "repetition_penalty", "seed", "num_crops")

COPY = """(describe, compare, format, ...settings) => {
  const tab = document.querySelector('#tabs [role=tab][aria-selected=true]').dataset.tabId;
  const url = new URL(window.location.pathname, window.location.origin);
  url.searchParams.set("tab", tab);
  const question = {describe, compare}[tab];
  if (question) url.searchParams.set("question", question);
  if (tab === "ocr") url.searchParams.set("output_format", format);
  const defaults = %s;
  Object.keys(defaults).forEach((name, i) => {
    if (settings[i] !== null && settings[i] !== defaults[name]) url.searchParams.set(name, settings[i]);
  });
  navigator.clipboard?.writeText(url.href);
  window.history.replaceState(null, "", url);
}"""


def link(
    app: gr.Blocks,
    tabs: gr.Tabs,
    questions: dict[str, gr.Textbox],
    output_format: gr.Radio,
    settings: Settings,
    kept: gr.BrowserState,
) -> None:
    """The button that copies the link (and puts it into the address bar), and what opens one.

    Args:
        questions: question boxes by tab.
        kept: the settings that this browser had the last time; the link's take precedence.
    """
    components = list(settings.components)
    defaults = {name: component.value for name, component in zip(NAMES, components, strict=True)}
    with gr.Row(elem_classes=["chips"]):
        copy = gr.Button("Copy a link to this", size="sm", min_width=0, elem_classes=["chip"], elem_id="copy-link")
    inputs = [questions["describe"], questions["compare"], output_format, *components]
    copy.click(None, inputs, None, js=COPY % defaults, api_visibility="private")

    # One event for both, since what a visitor changes while a second one is under way would be lost.
    def opened(kept: list | None, request: gr.Request):
        given = request.query_params
        tab, question = given.get("tab"), (given.get("question") or "")[:MAX_QUESTION_CHARACTERS]
        return (
            gr.Tabs(selected=tab) if tab in ("describe", "ocr", "compare", "chat") else gr.skip(),
            *(question if question and tab == name else gr.skip() for name in questions),
            given["output_format"] if given.get("output_format") in OCR else gr.skip(),
            *(
                settings.bounded(component, given[name]) if name in given else before
                for name, component, before in zip(NAMES, components, settings.restored(kept), strict=True)
            ),
        )

    app.load(opened, kept, [tabs, *questions.values(), output_format, *components], **PRIVATE)
