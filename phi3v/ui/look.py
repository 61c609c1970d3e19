"""Theme and style of the page."""

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
    block_title_text_color="#1d2939",
    block_title_text_color_dark="#dde5ec",
)

# Pictures come from this server alone: an image that a model's answer links to elsewhere is not loaded.
HEAD = """<meta http-equiv="Content-Security-Policy" content="img-src 'self' data: blob:">"""

CSS = """
.gradio-container { max-width: 1180px !important; margin: 0 auto !important; }
#title { padding: 6px 2px 0; }
#title h1 { font-size: 2rem; font-weight: 700; letter-spacing: -0.02em; margin: 0; }
#title p { margin: 2px 0 0; color: var(--body-text-color-subdued); font-size: 1.02rem; }

.status { border: 1px solid var(--block-border-color); border-radius: 12px; padding: 10px 14px;
  background: var(--block-background-fill); }
.status .facts { display: flex; flex-wrap: wrap; gap: 2px 0; align-items: center; margin: 0; font-weight: 600;
  font-size: 0.92rem; }
.status .facts::before { content: ""; width: 9px; height: 9px; border-radius: 50%; margin-right: 10px;
  background: #12a150; flex: none; }
.status.loading .facts::before { background: #d99a06; animation: pulse 1.2s ease-in-out infinite; }
.status.failed .facts::before { background: #d92d20; }
.status .facts span + span { font-weight: 400; color: var(--body-text-color-subdued); }
.status .facts span + span::before { content: "·"; margin: 0 8px; }
.status .note { margin: 6px 0 0; font-size: 0.9rem; line-height: 1.45; color: var(--body-text-color-subdued); }
.status .note strong { color: var(--body-text-color); }
.status code { font-size: 0.85em; overflow-wrap: anywhere; }
@keyframes pulse { 50% { opacity: 0.35; } }

.chips { gap: 8px !important; flex-wrap: wrap !important; }
.chip { flex: 0 0 auto !important; width: auto !important; border-radius: 999px !important; font-weight: 500 !important;
  padding: 5px 13px !important; border: 1px solid var(--border-color-primary) !important; }

.answer .prose { font-size: 1.04rem; line-height: 1.6; }
.answer.streaming .prose > :last-child::after, .answer.streaming .prose:empty::after { content: ""; display: inline-block;
  width: 0.5em; height: 1.05em; margin-left: 2px; vertical-align: text-bottom; border-radius: 2px;
  background: var(--color-accent); animation: pulse 1s steps(2) infinite; }
#ocr-answer textarea { font-family: var(--font-mono); font-size: 0.92rem; line-height: 1.5; }
.stats { min-height: 1.5em; padding: 0 4px; }
.stats .prose, .stats p { font-size: 0.86rem; color: var(--body-text-color-subdued); font-variant-numeric: tabular-nums; }
@media (prefers-reduced-motion: reduce) { * { animation: none !important; transition: none !important; } }
"""
