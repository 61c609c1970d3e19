"""Phi-3-Vision in the browser. `python app.py --help` lists the options."""

from phi3v.loading import EngineLoader
from phi3v.options import parse_options
from phi3v.ui import build_app
from phi3v.ui.look import HEAD, STYLESHEET, THEME


def main() -> None:
    """Serve the page at once; the model loads behind it."""
    options = parse_options()
    loader = EngineLoader(options).start()
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
    )


if __name__ == "__main__":
    main()
