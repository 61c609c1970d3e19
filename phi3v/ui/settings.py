"""Generation settings, shared by all tabs and named in the API."""

import json
from dataclasses import dataclass

import gradio as gr

from ..inference import BOUNDS
from ..options import Options

NAMES = ("max_new_tokens", "temperature", "top_p", "repetition_penalty", "seed", "num_crops")


@dataclass(frozen=True)
class Settings:
    """The settings' components, in the order of `NAMES`, and the app's own limits."""

    panel: gr.Accordion
    components: tuple[gr.components.Component, ...]
    most_new_tokens: int
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

    def as_arguments(self, max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops) -> dict:
        """Keyword arguments of `Phi3Vision.stream`.

        Raises:
            ValueError: a value is missing or not a number, or more tokens are asked for than this app allows. The
                other bounds are the engine's.
        """
        try:
            arguments = {
                "max_new_tokens": int(max_new_tokens),
                "temperature": float(temperature),
                "top_p": float(top_p),
                "repetition_penalty": float(repetition_penalty),
                "seed": None if seed == -1 else int(seed),
                "num_crops": int(num_crops) or None,
            }
        except (TypeError, OverflowError) as error:
            raise ValueError(f"A setting is not a number: {error}.") from error
        if arguments["max_new_tokens"] > self.most_new_tokens:
            raise ValueError(f"max_new_tokens must be between 1 and {self.most_new_tokens}, got {max_new_tokens}.")
        return arguments


def settings_panel(options: Options) -> Settings:
    """The settings in an accordion, which `Settings.render` places on the page."""
    with gr.Accordion("Settings", open=False, render=False, elem_id="settings") as panel:
        with gr.Row():
            max_new_tokens = gr.Slider(
                1,
                options.max_new_tokens,
                value=min(500, options.max_new_tokens),
                step=1,
                label="Max new tokens",
                info="Where the answer is cut off",
            )
            num_crops = gr.Slider(
                0,
                BOUNDS["num_crops"][1],
                value=0,
                step=1,
                label="Image crops",
                info="Detail of each image; more takes longer. 0: as the model was trained",
            )
        with gr.Row():
            temperature = gr.Slider(
                *BOUNDS["temperature"], value=0, step=0.05, label="Temperature", info="0: always the likeliest token"
            )
            top_p = gr.Slider(*BOUNDS["top_p"], value=1, step=0.01, label="Top-p", info="With a temperature above 0")
        with gr.Row():
            repetition_penalty = gr.Slider(
                *BOUNDS["repetition_penalty"], value=1, step=0.05, label="Repetition penalty", info="1: none"
            )
            seed = gr.Number(
                -1,
                precision=0,
                minimum=-1,
                maximum=BOUNDS["seed"][1],
                label="Seed",
                info="The same seed gives the same answer; -1: another each time",
            )
    components = (max_new_tokens, temperature, top_p, repetition_penalty, seed, num_crops)
    return Settings(panel, components, options.max_new_tokens, options.max_time)
