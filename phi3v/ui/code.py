"""Show the code: the few lines of Python that ask the same."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

import gradio as gr

from ..app.conversation import Exchange
from ..app.loading import EngineLoader, public_name
from ..engine.engine import PREVIEW_MODEL, Phi3Vision
from .answers import Request
from .parts import PRIVATE

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(Phi3Vision.stream).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
}


def snippet(
    model: str,
    question: str,
    images: int,
    arguments: dict,
    earlier: Sequence[Exchange] = (),
    one_by_one: bool = False,
) -> str:
    """Python that puts this question to this model, with the settings that differ from the defaults.

    Args:
        model: a name or a folder, of which only the last part is shown; the bundled model is the default, not named.
        images: how many files to name.
        arguments: keyword arguments of `Phi3Vision.stream`.
        earlier: the conversation before.
        one_by_one: whether the question is put for each of several images instead of for all.
    """
    files = ["image.png"] if images == 1 else [f"image_{number}.png" for number in range(1, images + 1)]
    opened = ", ".join(f'open_image("{file}")' for file in files)
    settings = [f", {name}={value!r}" for name, value in arguments.items() if value != DEFAULTS[name]]
    named = "" if model == str(PREVIEW_MODEL) else repr(public_name(model))
    several = one_by_one and images > 1
    shown = "[image]" if several else "images"
    asking = (
        f"for text in engine.stream({question!r}, {shown}{', history' if earlier else ''}{''.join(settings)}):\n"
        '    print(text, end="", flush=True)\n'
    )
    if several:
        asking = "for image in images:\n" + indent(f"{asking}print()\n", "    ")
    return (
        "from phi3v import Phi3Vision, open_image\n"
        "\n"
        f"engine = Phi3Vision.from_pretrained({named})\n"
        f"images = [{opened}]\n"
        f"{_history(earlier)}"
        f"{asking}"
    )


def _history(earlier: Sequence[Exchange]) -> str:
    if not earlier:
        return ""
    lines = ["history = ["]
    for exchange in earlier:
        parts = [f'{{"type": "image", "image": open_image({Path(file).name!r})}}' for file in exchange.files]
        parts.append(f'{{"type": "text", "text": {exchange.question!r}}}')
        lines.append(f'    {{"role": "user", "content": [{", ".join(parts)}]}},')
        lines.append(f'    {{"role": "assistant", "content": {exchange.answer!r}}},')
    return "\n".join([*lines, "]", ""])


def code_panel(
    loader: EngineLoader, request: Request, inputs: list, stand_in, tab: str, one_by_one: bool = False
) -> None:
    """An accordion with the code for what the tab would ask now.

    Args:
        stand_in: takes the place of the first input, the image or images, while there is none.
        one_by_one: as of `snippet`.
    """
    with gr.Accordion("Show the code", open=False, elem_id=f"{tab}-code") as panel:
        code = gr.Code(language="python", interactive=False, show_label=False, wrap_lines=True)

    def show(files, *values):
        try:
            query = request(loader.engine, files or stand_in, *values)
        except ValueError as error:
            return f"# {error}\n"
        model, count = loader.state.model, len(query.sources)
        return snippet(model, query.question, count, query.arguments, query.earlier, one_by_one)

    panel.expand(show, inputs, code, **PRIVATE)
    changes = [component.change for component in inputs if not isinstance(component, gr.State)]
    gr.on(changes, show, inputs, code, trigger_mode="always_last", **PRIVATE)
