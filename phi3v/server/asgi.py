"""What every request passes before Gradio sees it, and every response after.

Gradio's own routes include a proxy for any address of the web, answer other websites with a visitor's login, take
bodies of any length, and end aborted uploads with a traceback. The couplings to Gradio stand in this file and in
`queue.py` and `sessions.py`.
"""

import asyncio
import contextlib
import errno
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from gradio.routes import App, ORJSONResponse
from starlette._utils import get_route_path
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .failures import log_failure
from .hosts import LOOPBACK, is_local_name, own_origins, split_host
from .listeners import API, LONGEST_KEY, Listeners, listened_to
from .login import LoginThrottle
from .queue import BODY_SIZE
from .sessions import Sessions
from .uploads import UploadFolder
from .visitors import public_address

IDLE_SECONDS = 30.0  # for which the next piece of a body may keep us waiting
BODY_SECONDS = 600.0  # for all of them
MAX_PARTS = 100_000  # of JSON: lists, objects and commas, each of which takes far more memory than its byte
MOST_TOOLS, TOOLS_OF_ONE = 8, 4  # calls of MCP tools at once, of everybody and from one address
STREAMS_OF_ONE = 64  # connections from one address that wait for messages; a page has two
LINGER_SECONDS = 5.0  # for which the rest of a body is read that is too large
MIN_BODY_BYTES = 40_000_000  # a body other than of uploads may have at least so many: `data:` URLs are large
RETRY_SECONDS = "60"

# Routes of Gradio's that this page has no use for. `file=` with an address is an open proxy, whose answers run as
# scripts of this page; `token` hands the login to scripts; `deep_link` writes a file for each call.
CLOSED = re.compile(
    rf"{API}/(file=/*[a-z][a-z0-9+.-]+:|file/+[a-z][a-z0-9+.-]+:|proxy=|token|deep_link|dev/|vibe|undo-vibe|stream/"
    rf"|process_recording|component_server|run-history|runs|profiling|custom_component)|/monitoring",
    re.IGNORECASE,
)
RANGE = re.compile(r"bytes=(\d+-\d*|-\d+)")

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
)
# What Gradio says of other origins: that all may come, with a visitor's login.
GRADIOS = (b"access-control-allow-origin", b"access-control-allow-credentials")
SPACES = "https://huggingface.co https://*.hf.space https://*.huggingface.co"
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "microphone=(), geolocation=(), payment=(), usb=()",
}


@dataclass(frozen=True)
class Access:
    """What the app lets in.

    Attributes:
        has_login: whether visitors must log in.
        hosts: names that the page is reached by, besides numbers and local ones; empty if any.
        max_body_bytes: of a request that is no upload.
        max_file_bytes: of one uploaded file.
        on_spaces: whether a page of the Hub shows this one in a frame.
    """

    has_login: bool
    hosts: tuple[str, ...]
    max_body_bytes: int
    max_file_bytes: int
    on_spaces: bool = False

    def lets_in(self, name: str, origin: str) -> bool:
        """Whether pages of another origin may use the API, which they do as nobody: without a login, at a public name;
        and a machine's own pages at its own address."""
        if self.has_login or self.hosts:
            return False
        return split_host(origin.partition("://")[2])[0] in LOOPBACK if is_local_name(name) else True


class GuardedApp(App):
    """Gradio's FastAPI app behind a `Gateway`, with `Sessions`."""

    def __init__(self, gateway: Callable[[ASGIApp], ASGIApp], listeners: Listeners, **settings):
        super().__init__(**settings)
        self._gateway = gateway
        self.state_holder = Sessions(listeners)

    def build_middleware_stack(self) -> ASGIApp:
        """Gradio's, inside of the gateway: it has to see Gradio's headers too."""
        return self._gateway(super().build_middleware_stack())


class Refused(Exception):  # noqa: N818 - not an error: an answer
    """A request that is answered here.

    Args:
        status: of HTTP.
        words: for who reads the answer.
        headers: further ones.
    """

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None):
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


class Gateway:
    """ASGI middleware: origins, hosts, closed routes, the sizes of bodies, logins, uploads, headers, health.

    Args:
        app: what is behind it.
        access: what is let in.
        uploads: where uploads go.
        listeners: kept up to date with who is connected.
        health: HTTP status and facts for `/healthz`.
        share_host: the name of the public link, once there is one.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        uploads: UploadFolder,
        listeners: Listeners,
        health: Callable[[], tuple[int, dict]],
        share_host: Callable[[], str | None],
    ):
        self._app, self._access, self._uploads, self._listeners = app, access, uploads, listeners
        self._health, self._share_host = health, share_host
        self._login = LoginThrottle()
        self._open: Counter[tuple[str, str | None]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = _Request(scope)
        responder = _Responder(send, request, self._access)
        try:
            if request.path == "/healthz":
                status, facts = self._health()
                await responder.answer(status, facts)
                return
            self._check_source(request)
            if request.is_preflight:
                await responder.answer(200, {})
                return
            self._check_route(request)
            await self._pass_on(request, responder, receive)
        except Refused as refused:
            await responder.answer(refused.status, {"detail": refused.words}, refused.headers)

    def _check_source(self, request: "_Request") -> None:
        """Other websites can't act for a visitor, and no name that leads here by somebody else's doing is served."""
        name = split_host(request.host)[0]
        known = is_local_name(name) or name in self._access.hosts or name == (self._share_host() or "")
        must_be_known = bool(self._access.hosts) or request.path.startswith(f"{API}/mcp")
        if must_be_known and not known:
            raise Refused(421, "This server is not known by that name. Start it with --hosts NAME to serve it there.")
        if request.is_foreign and not self._access.lets_in(name, request.origin):
            raise Refused(403, "This page may not be used by other websites.")

    def _check_route(self, request: "_Request") -> None:
        if CLOSED.match(request.path):
            raise Refused(403, "This is not served here.")
        if request.path.rstrip("/") == "/logout":
            if request.method != "POST":
                raise Refused(405, "Log out by POST.", {"allow": "POST"})
            request.scope["method"] = "GET"  # as Gradio has it
        if request.is_upload and len(request.scope["query_string"]) > 2 * LONGEST_KEY:
            raise Refused(400, "The name of the upload is too long.")
        if request.is_upload and (words := self._uploads.take(request.address, 0)):
            raise Refused(507, words, {"retry-after": RETRY_SECONDS})
        if request.is_mcp:  # its calls come again from here, with the headers of who called
            request.remove_headers("x-forwarded-")
        if request.is_login:
            if wait := self._login.wait_seconds(request.address):
                raise Refused(429, f"Too many attempts. Try again in {wait} s.", {"retry-after": str(wait)})
            self._login.begun(request.address)  # before its body has come, or many could be begun at once
        if (sent := request.header("range")) is not None and not RANGE.fullmatch(sent):
            request.remove_headers("range")  # so a whole file is sent, which is always allowed

    async def _pass_on(self, request: "_Request", responder: "_Responder", receive: Receive) -> None:
        most = self._access.max_body_bytes
        if request.is_upload:
            most = max(self._uploads.max_bytes // 4, self._access.max_file_bytes + MIN_BODY_BYTES // 40)
        body = _Body(receive, most, request, self._uploads)
        request.scope[BODY_SIZE] = 0
        if body.announced > most:
            await body.refuse()
        with self._one_of_few(request):
            await self._passed_on(request, responder, body)

    async def _passed_on(self, request: "_Request", responder: "_Responder", body: "_Body") -> None:
        key = request.listens_to
        if key is not None:
            self._listeners.join(key)

        async def send(message: Message) -> None:
            if body.refused is None:  # or FastAPI says that the body could not be parsed
                await responder.send(message)

        try:
            await self._app(request.scope, body.receive, send)
            await responder.flush()
            if body.refused and not responder.started:
                raise body.refused
        except Refused:
            if responder.started:
                return
            raise
        except Exception as error:
            if not body.ended_early:
                log_failure(error)
            await responder.fail(error, request.is_upload)
        finally:
            if key is not None:
                self._listeners.leave(key)
            if request.is_login:
                host = (request.scope.get("client") or ("?",))[0]
                succeeded = responder.status is not None and responder.status < 400
                self._login.ended(request.address, host, succeeded)

    @contextlib.contextmanager
    def _one_of_few(self, request: "_Request"):
        """Calls of tools hold a thread each until they are answered, and streams a connection."""
        kind = "tool" if request.is_mcp else "stream" if request.listens_to is not None else None
        if kind is None:
            yield
            return
        own = (kind, request.address)
        limits = {(kind, None): MOST_TOOLS} if kind == "tool" else {}
        if request.address:
            limits[own] = TOOLS_OF_ONE if kind == "tool" else STREAMS_OF_ONE
        if any(self._open[each] >= most for each, most in limits.items()):
            raise Refused(429, "Too many requests at once. Try again in a minute.", {"retry-after": RETRY_SECONDS})
        counted = {own, (kind, None)}
        self._open.update(counted)
        try:
            yield
        finally:
            self._open.subtract(counted)
            self._open += Counter()  # without those that are none


class _Request:
    """What is looked at of a scope."""

    def __init__(self, scope: Scope):
        self.scope = scope
        self.method: str = scope["method"]
        self.path = re.sub("//+", "/", get_route_path(scope) or "/")
        self.host = self.header("host") or ""
        self.origin = self.header("origin")
        self.address = public_address(scope.get("client"))

    def header(self, name: str) -> str | None:
        """The first one of this name, in lower case."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == wanted), None)

    def remove_headers(self, prefix: str) -> None:
        """Those whose names begin so."""
        kept = [(key, value) for key, value in self.scope["headers"] if not key.startswith(prefix.encode())]
        self.scope["headers"] = kept

    @property
    def is_foreign(self) -> bool:
        """Whether a browser says that another website sends this."""
        return self.origin is not None and self.origin not in own_origins(self.host, self.header("x-forwarded-host"))

    @property
    def is_preflight(self) -> bool:
        return self.method == "OPTIONS" and self.header("access-control-request-method") is not None

    @property
    def is_upload(self) -> bool:
        return self.method == "POST" and self.path.rstrip("/") == f"{API}/upload"

    @property
    def is_mcp(self) -> bool:
        return self.method == "POST" and self.path.startswith(f"{API}/mcp")

    @property
    def listens_to(self) -> str | None:
        """The session or event whose messages it waits for."""
        return listened_to(self.path, self.scope["query_string"]) if self.method == "GET" else None

    @property
    def is_login(self) -> bool:
        return self.method == "POST" and self.path.rstrip("/") == "/login"


class _Body:
    """A request's body, within a size, whose pieces come in time."""

    def __init__(self, receive: Receive, most: int, request: _Request, uploads: UploadFolder):
        self._receive, self._most, self._request, self._uploads = receive, most, request, uploads
        self._is_upload, self._parts, self._end = request.is_upload, 0, time.monotonic() + BODY_SECONDS
        self.size, self.ended_early = 0, False
        self.refused: Refused | None = None
        self._complete = request.method in ("GET", "HEAD", "OPTIONS")
        announced = request.header("content-length") or ""
        self.announced = int(announced) if announced.isdecimal() else 0

    async def receive(self) -> Message:
        if self._complete:
            return await self._receive()  # the end of the connection
        try:
            wait = min(IDLE_SECONDS, self._end - time.monotonic())
            message = await asyncio.wait_for(self._receive(), max(0.0, wait))
        except (TimeoutError, asyncio.TimeoutError):
            self.ended_early = True
            self.refused = Refused(408, "The request did not arrive in time.", {"connection": "close"})
            raise self.refused from None
        if message["type"] == "http.disconnect":
            self.ended_early = True
            if self._is_upload:  # what makes Gradio delete the parts that it has written
                raise MultiPartException("The upload ended early.")
            return message
        piece = message.get("body", b"")
        self.size += len(piece)
        self._request.scope[BODY_SIZE] = self.size
        self._complete = not message.get("more_body", False)
        if self._is_upload and (words := self._uploads.take(self._request.address, len(piece))):
            self.ended_early = True
            self.refused = Refused(507, words, {"retry-after": RETRY_SECONDS})
            raise MultiPartException(words)
        if not self._is_upload:
            self._parts += sum(map(piece.count, (b"[", b"{", b",")))
            if self._parts > MAX_PARTS:
                self.ended_early = True
                await self.refuse("The request has too many parts.")
        if self.size > self._most:
            self.ended_early = True
            if self._is_upload:
                raise MultiPartException("maximum allowed size")
            await self.refuse()
        return message

    async def refuse(self, words: str | None = None) -> None:
        """Raise `Refused`, but first let the rest go by: most clients read no answer before all is sent."""
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(self._let_go_by(), LINGER_SECONDS)
        words = words or f"The request has more than {math.ceil(self._most / 1e6)} MB."
        self.refused = Refused(413, words, {"connection": "close"})
        raise self.refused

    async def _let_go_by(self) -> None:
        more = True
        while more:
            message = await self._receive()
            more = message.get("more_body", False)


class _Responder:
    """Sends a response, with headers of ours in the place of Gradio's."""

    def __init__(self, send: Send, request: _Request, access: Access):
        self._send, self._request, self._access = send, request, access
        self.status: int | None = None
        self.started = False
        self._held: list[Message] = []  # an error without words, which are better known at its end

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = self._headers(message["status"], message.get("headers", []))
            kind = dict(message["headers"]).get(b"content-type", b"")
            if message["status"] == 500 and kind.startswith(b"text/plain"):
                self._held.append(message)
                return
        elif self._held:
            self._held.append(message)
            return
        self.started = True
        await self._send(message)

    async def flush(self) -> None:
        """Send what was held."""
        held, self._held = self._held, []
        for message in held:
            self.started = True
            await self._send(message)

    async def fail(self, error: Exception, is_upload: bool) -> None:
        """Answer an error that Gradio does not."""
        self._held = []
        if self.started:
            return
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            await self.answer(507, {"detail": "The server's disk is full. Try again later."})
        elif is_upload and isinstance(error, TypeError):
            await self.answer(400, {"detail": "An upload is a form with files in the field `files`."})
        else:
            await self.answer(500, {"detail": "The server failed at this request. Try again; its log says more."})

    async def answer(self, status: int, facts: dict, headers: dict[str, str] | None = None) -> None:
        """A whole response."""
        self.status, self.started = status, True
        content = json.dumps(facts).encode()
        own = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
        listed = [(key.encode(), value.encode()) for key, value in own.items()]
        if self._request.is_preflight and status == 200:
            listed += [
                (b"access-control-allow-methods", b"GET, POST"),
                (b"access-control-allow-headers", b"content-type"),
            ]
        with contextlib.suppress(OSError):
            await self._send(
                {"type": "http.response.start", "status": status, "headers": self._headers(status, listed)}
            )
            await self._send({"type": "http.response.body", "body": content})

    def _headers(self, status: int, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        kept = [(key.lower(), value) for key, value in headers if key.lower() not in GRADIOS]
        added = dict(HEADERS)
        if dict(kept).get(b"content-type", b"").startswith(b"text/html"):
            added["content-security-policy"] = f"{CONTENT_SECURITY_POLICY}; {self._frames()}"
        elif self._request.path.startswith((f"{API}/file=", f"{API}/file/")):
            added["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
        name, origin = split_host(self._request.host)[0], self._request.origin
        if origin and self._access.lets_in(name, origin):
            added["access-control-allow-origin"] = "*"
        if status == 503 and not any(key == b"retry-after" for key, _ in kept):
            added["retry-after"] = RETRY_SECONDS
        return kept + [(key.encode(), value.encode()) for key, value in added.items()]

    def _frames(self) -> str:
        """Who may show the page in a frame: with a login nobody, or a click may be a trick's."""
        if self._access.on_spaces:
            return f"frame-ancestors 'self' {SPACES}"
        return "frame-ancestors 'self'" if self._access.has_login else "frame-ancestors *"


def guarded_app(
    access: Access,
    uploads: UploadFolder,
    listeners: Listeners,
    health: Callable[[], tuple[int, dict]],
    share_host: Callable[[], str | None],
) -> GuardedApp:
    """The app for `gr.Blocks.launch(_app=…)`."""

    def gateway(app: ASGIApp) -> Gateway:
        return Gateway(app, access, uploads, listeners, health, share_host)

    return GuardedApp(gateway, listeners, default_response_class=ORJSONResponse)
