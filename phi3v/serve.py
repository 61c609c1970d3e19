"""Serves the page: options, uploads, the model that loads behind it, and what stands in front of Gradio."""

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import gradio as gr

from .app.loading import EngineLoader, check_device, public_name
from .app.options import Options
from .app.zero import on_zero_gpu
from .paths import EXAMPLES
from .server.asgi import Access, guarded_app
from .server.connections import limit_connections
from .server.gradio_limits import limit_gradio
from .server.listeners import Listeners
from .server.uploads import UploadFolder
from .ui import build_app
from .ui.look import HEAD, STYLESHEET, THEME

THREADS = 40  # besides one for each request
PRIVATE_NETWORKS = "127.0.0.1,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10"  # where the Hub's proxies are
PROXY_VARIABLE = "FORWARDED_ALLOW_IPS"  # uvicorn reads it: whose word on a visitor's address counts


def main(options: Options) -> None:
    """Serve the page at once; the model loads behind it."""
    check_device(options)
    on_spaces = bool(os.environ.get("SPACE_ID"))
    if on_spaces:  # only the Hub's proxy reaches a Space
        os.environ.setdefault(PROXY_VARIABLE, PRIVATE_NETWORKS)
    uploads = UploadFolder(options.max_disk * 1_000_000)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads.path)  # read when components are made
    limit_gradio(str(uploads.path))
    for name in ("SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.default_int_handler)  # ends as Ctrl+C does
    try:
        loader, listeners = EngineLoader(options), Listeners()
        if options.preload or on_zero_gpu():
            loader.start()
        app = build_app(loader, options, listeners)
        uploads.watch()
        access = Access(
            has_login=options.auth is not None,
            hosts=options.hosts,
            max_body_bytes=max(40_000_000, 3 * options.max_file_bytes // 2),
            max_file_bytes=options.max_file_bytes,
            on_spaces=on_spaces,
        )
        serve(app, options, guarded_app(access, uploads, listeners, Health(app, loader), PublicLink(app)))
    except OSError as error:
        uploads.remove()
        advice = " Choose another port with --server-port (PHI3V_SERVER_PORT)." if "port" in str(error) else ""
        print(f"{error}{advice}", file=sys.stderr, flush=True)
        os._exit(1)  # at once: the thread that loads the model can't be waited for
    finally:
        uploads.remove()


def serve(app: gr.Blocks, options: Options, guarded) -> None:
    """Serve until interrupted.

    Raises:
        OSError: the port is in use.
    """

    @asynccontextmanager
    async def lifespan(_):
        tidying = asyncio.create_task(app._queue.keep_tidy())
        yield
        tidying.cancel()

    app.launch(
        server_name=options.server_name,
        server_port=options.server_port,
        share=options.share,
        auth=options.auth,
        max_file_size=f"{options.max_file_size}mb",
        max_threads=THREADS + options.max_queue + options.concurrency,
        theme=THEME,
        css_paths=STYLESHEET,
        head=HEAD,
        footer_links=["api", "settings"],
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=options.auth is None,  # Gradio's can't log in
        app_kwargs={"lifespan": lifespan},
        prevent_thread_lock=True,
        allowed_paths=[str(EXAMPLES)],  # else only those in the working folder
        _app=guarded,
    )
    limit_connections(app.server.config)
    app.block_thread()


class Health:
    """What `/healthz` says: a status of HTTP, and facts.

    Args:
        app: whose queue is counted.
        loader: of the engine.
    """

    def __init__(self, app: gr.Blocks, loader: EngineLoader):
        self._app, self._loader = app, loader

    def __call__(self) -> tuple[int, dict]:
        state, engine = self._loader.state, self._loader.engine
        stage = "failed" if engine is not None and engine.failure else state.stage
        facts = {
            "status": "failed" if stage == "failed" else "ok",
            "model": public_name(state.model),
            "stage": stage,
            "requests": len(self._app._queue.requests()),
        }
        return (503 if stage == "failed" else 200), facts


class PublicLink:
    """The host of the Space, or of the link that `--share` makes, once it is there."""

    def __init__(self, app: gr.Blocks):
        self._app = app

    def __call__(self) -> str | None:
        if space := os.environ.get("SPACE_HOST"):
            return space.lower()
        return urlsplit(self._app.share_url).hostname if getattr(self._app, "share_url", None) else None
