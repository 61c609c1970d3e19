"""Phi-3-Vision in the browser. `python app.py --help` lists the options."""

import os
import sys

# On a CPU, torch's threads wait for each other awake for a millisecond. Where a browser runs on the same few cores,
# that takes from the others what they need to finish: answers come at half the speed or less. Read when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")
# Images of up to this size lie in one piece, which a GPU gets in half the time. Read when Pillow loads.
os.environ.setdefault("PILLOW_BLOCK_SIZE", "256m")

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401 - before torch, which it patches

import gradio as gr

from phi3v.loading import EngineLoader
from phi3v.options import Options, parse_options
from phi3v.ui import build_app
from phi3v.ui.look import HEAD, STYLESHEET, THEME
from phi3v.zero import on_zero_gpu


def main() -> None:
    """Serve the page at once; the model loads behind it."""
    options = parse_options()
    loader = EngineLoader(options)
    if options.preload or on_zero_gpu():
        loader.start()
    app = build_app(loader, options)
    try:
        serve(app, options)
    except OSError as error:
        print(f"{error} Choose another port with --server-port (PHI3V_SERVER_PORT).", file=sys.stderr, flush=True)
        os._exit(1)  # at once: the thread that loads the model can't be waited for


def serve(app: gr.Blocks, options: Options) -> None:
    """Serve until interrupted.

    Raises:
        OSError: the port is in use.
    """
    app.launch(
        server_name=options.server_name,
        server_port=options.server_port,
        share=options.share,
        auth=options.auth,
        max_file_size=f"{options.max_file_size}mb",
        theme=THEME,
        css_paths=STYLESHEET,
        head=HEAD,
        footer_links=["api", "settings"],
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        strict_cors=True,
        ssr_mode=False,
        mcp_server=options.auth is None,  # Gradio's can't log in
    )


if __name__ == "__main__":
    main()
