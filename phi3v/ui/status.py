"""The page's head: what this is, which model runs, and how far its loading is."""

import html

import gradio as gr

from ..app.loading import PHI_3_VISION, EngineLoader, LoadState, public_name
from ..engine.engine import Phi3Vision
from .parts import PRIVATE

TITLE = """
<h1>Phi-3-Vision</h1>
<p>Show it an image: it describes, reads and compares, and you watch it answer word by word.</p>
"""

PREVIEW_NOTE = (
    "<details><summary><strong>This is the preview model</strong>, not Microsoft's Phi-3-Vision.</summary>"
    "A small checkpoint of the same architecture, trained by this project on pictures that it drew. It reads print, "
    "simple charts, tables and coloured shapes and says what differs between two such pictures; photos it does not "
    f"know. For the real one, start the app with <code>--model {PHI_3_VISION}</code>.</details>"
)


def status_line(app: gr.Blocks, loader: EngineLoader) -> None:
    """Title and status, refreshed while the model loads."""
    gr.HTML(TITLE, elem_id="title", padding=False)
    status = gr.HTML(_render(loader), elem_id="status", padding=False)
    use_preview = gr.Button("Use the bundled preview model", visible=False, elem_id="use-preview")
    timer = gr.Timer(1.0)

    def refresh():
        stage = loader.state.stage
        return (
            _render(loader),
            gr.update(visible=stage == "failed"),
            gr.Timer(active=stage in ("asleep", "fetching", "loading")),
        )

    outputs = [status, use_preview, timer]
    app.load(refresh, outputs=outputs, **PRIVATE)
    timer.tick(refresh, outputs=outputs, **PRIVATE)
    use_preview.click(loader.use_preview, **PRIVATE).then(refresh, outputs=outputs, **PRIVATE)


def loading_text(state: LoadState) -> str:
    """One line on how far loading is."""
    name = public_name(state.model)
    if state.stage == "fetching":
        return f"Fetching {name}" + (f" … {state.progress:.0%}" if state.progress is not None else " …")
    return f"Loading {name} …"


def _render(loader: EngineLoader) -> str:
    state, engine = loader.state, loader.engine
    if state.stage == "failed":
        return _card("failed", "No model", html.escape(state.problem))
    if engine is not None and engine.failure:
        return _card("failed", "The model has stopped", html.escape(engine.failure))
    if state.stage == "asleep":
        return _card(
            "loading", html.escape(public_name(state.model)), "It is loaded when the first question is asked."
        )
    if engine is None:
        note = "You can ask already: the answer comes as soon as the model is there."
        return _card("loading", html.escape(loading_text(state)), note)
    notes = [html.escape(state.problem)] if state.problem else []
    if engine.is_preview:
        notes.append(PREVIEW_NOTE)
    return _card("preview" if engine.is_preview else "ready", _facts(engine), "<br>".join(notes))


def _facts(engine: Phi3Vision) -> str:
    name = "Preview model" if engine.is_preview else public_name(engine.model_id)
    facts = (name, engine.device_name, engine.precision, f"{engine.attn_implementation} attention")
    return "".join(f"<span>{html.escape(fact)}</span>" for fact in facts)


def _card(kind: str, line: str, note: str) -> str:
    note = f'<div class="note">{note}</div>' if note else ""
    return f'<div class="status {kind}" role="status"><p class="facts">{line}</p>{note}</div>'
