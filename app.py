"""Phi-3-Vision in the browser. `python app.py --help` lists the options."""

import os

# On a CPU, torch's threads wait for each other awake for a millisecond. Where a browser runs on the same few cores,
# that takes from the others what they need to finish: answers come at half the speed or less. Read when torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

if os.environ.get("SPACES_ZERO_GPU"):
    import spaces  # noqa: F401 - before torch, which it patches

from phi3v.loading import EngineLoader
from phi3v.options import parse_options
from phi3v.ui import build_app
from phi3v.ui.look import HEAD, STYLESHEET, THEME
from phi3v.zero import on_zero_gpu


def main() -> None:
    """Serve the page at once; the model loads behind it."""
    options = parse_options()
    loader = EngineLoader(options)
    if options.preload or on_zero_gpu():
        loader.start()
    build_app(loader, options).launch(
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
        mcp_server=True,
    )


if __name__ == "__main__":
    main()
