"""Theme and style of the page."""

from pathlib import Path

import gradio as gr

# System fonts: nothing is fetched from elsewhere, so the page works offline and tells nobody of its visitors.
SANS = ["ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.teal,
    secondary_hue=gr.themes.colors.teal,
    neutral_hue=gr.themes.colors.slate,
    radius_size=gr.themes.sizes.radius_lg,
    font=SANS,
    font_mono=MONO,
).set(
    body_background_fill="#f6f8fa",
    body_background_fill_dark="#0c1116",
    block_background_fill="#ffffff",
    block_background_fill_dark="#151b22",
    block_label_background_fill_dark="#151b22",
    background_fill_secondary_dark="#1b232c",
    block_border_color="#e1e7ec",
    block_border_color_dark="#26303a",
    block_shadow="0 1px 2px rgba(15, 23, 42, 0.05)",
    input_background_fill="#ffffff",
    input_background_fill_dark="#10161c",
    button_primary_background_fill="#0f766e",
    button_primary_background_fill_hover="#115e59",
    button_primary_background_fill_dark="#0f766e",
    button_primary_background_fill_hover_dark="#0d9488",
    button_primary_text_color="#ffffff",
    button_cancel_background_fill="#b42318",
    button_cancel_background_fill_hover="#912018",
    button_cancel_background_fill_dark="#b42318",
    button_cancel_background_fill_hover_dark="#d92d20",
    button_cancel_text_color="#ffffff",
    block_label_text_color="#475467",
    block_label_text_color_dark="#b6c2cf",
    body_text_color_subdued="#5b6b7b",
    body_text_color_subdued_dark="#9fb0c0",
    block_title_text_color="#1d2939",
    block_title_text_color_dark="#dde5ec",
)

FOLDER = Path(__file__).parent
STYLESHEET = FOLDER / "style.css"

# On narrow screens Gradio hides what its footer's dot divides, and the stylesheet doesn't reach the footer.
HEAD = f"""
<style>@media (max-width: 640px) {{ footer .divider {{ display: none !important; }} }}</style>
<script>{(FOLDER / "page.js").read_text()}</script>
"""
