"""Generation settings, shared by all tabs and named in the API."""

import json
from dataclasses import dataclass

import gradio as gr

from ..app.options import Options
from ..engine.settings import BOUNDS

NAMES = ("max_new_tokens", "temperature", "top_p", "repetition_penalty", "seed", "num_crops")
MEANINGS = {
    "max_new_tokens": "where the answer is cut off, {}.",
    "temperature": "{}; 0 takes the likeliest token each time.",
    "top_p": "share of the likeliest tokens to choose from, {}, with a temperature above 0.",
    "repetition_penalty": "{}; 1 is none.",
    "seed": "the same seed gives the same answer, {}; -1 another each time.",
    "num_crops": "detail of each image, {}; 0 as the model was trained, or at most 4 where images are compared.",
}
WHOLE = ("max_new_tokens", "seed", "num_crops")


@dataclass(frozen=True)
class Settings:
    """The settings' components, in the order of `NAMES`, and the app's own limits."""

    panel: gr.Accordion
    components: tuple[gr.components.Component, ...]
    max_time: int

    @property
    def num_crops(self) -> gr.Slider:
        """The crops' slider."""
        return self.components[-1]

    def render(self) -> None:
        """Place the panel on the page; the browser keeps the values for the next visit (`link` restores them)."""
        self.panel.render()
        components = list(self.components)
        keep = f"(...values) => phi3v.keep({json.dumps(NAMES)}, values)"
        gr.on([component.change for component in components], None, components, js=keep, api_visibility="private")

    def described(self, indent: int) -> str:
        """Lines for the docstring of an endpoint that takes the settings."""
        named = zip(NAMES, self.components, strict=True)
        bounds = {name: f"{component.minimum:g} to {component.maximum:g}" for name, component in named}
        return "".join(f"{' ' * indent}{name}: {MEANINGS[name].format(bounds[name])}\n" for name in NAMES)

    def crops(self, value) -> int | None:
        """The slider's value as `num_crops`.

        Raises:
            ValueError: it is none.
        """
        return _checked("num_crops", self.num_crops, value) or None

    def as_arguments(self, *values) -> dict:
        """Keyword arguments of `Phi3Vision.stream`; values in the order of `NAMES`.

        Raises:
            ValueError: a value is missing, not a number or out of the component's bounds.
        """
        named = zip(NAMES, self.components, values, strict=True)
        arguments = {name: _checked(name, component, value) for name, component, value in named}
        if arguments["seed"] == -1:
            arguments["seed"] = None
        return arguments | {"num_crops": arguments["num_crops"] or None}


def _checked(name: str, component: gr.components.Component, value) -> int | float:
    lowest, highest, whole = component.minimum, component.maximum, name in WHOLE
    fits = isinstance(value, int | float) and not isinstance(value, bool) and lowest <= value <= highest
    if not fits or (whole and value != int(value)):
        kind = "a whole number" if whole else "a number"
        raise ValueError(f"{name} must be {kind} between {lowest} and {highest}, not {value}.")
    return int(value) if whole else float(value)


class Slider(gr.Slider):
    """`gr.Slider` that hands over what comes: Gradio's own check fails before the app's code can say what is wrong."""

    def preprocess(self, payload):
        return payload

    def get_block_name(self) -> str:
        return "slider"


class Number(gr.Number):
    """`gr.Number` that hands over what comes; see `Slider`."""

    def preprocess(self, payload):
        return payload

    def get_block_name(self) -> str:
        return "number"


def settings_panel(options: Options) -> Settings:
    """The settings in an accordion, which `Settings.render` places on the page."""
    with gr.Accordion("Settings", open=False, render=False, elem_id="settings") as panel:
        with gr.Row():
            max_new_tokens = Slider(
                1,
                options.max_new_tokens,
                value=min(500, options.max_new_tokens),
                step=1,
                label="Max new tokens",
                info="Where the answer is cut off",
            )
            num_crops = Slider(
                0,
                BOUNDS["num_crops"][1],
                value=0,
                step=1,
                label="Image crops",
                info="Detail of each image; more takes longer. 0: as the model was trained",
            )
        with gr.Row():
            temperature = Slider(
                *BOUNDS["temperature"], value=0, step=0.05, label="Temperature", info="0: always the likeliest token"
            )
            top_p = Slider(*BOUNDS["top_p"], value=1, step=0.01, label="Top-p", info="With a temperature above 0")
        with gr.Row():
            repetition_penalty = Slider(
                *BOUNDS["repetition_penalty"], value=1, step=0.05, label="Repetition penalty", info="1: none"
            )
            seed = Number(
                -1,
                precision=0,
                minimum=-1,
                maximum=BOUNDS["seed"][1],
                label="Seed",
                info="The same seed gives the same answer; -1: another each time",
            )
    components = (max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops)
    return Settings(panel, components, options.max_time)
