"""Gradio's queue with limits: for everybody together, for each visitor, and for what nobody listens to."""

import asyncio
import time

from fastapi import HTTPException, Request
from gradio import route_utils, routes
from gradio.data_classes import PredictBodyInternal
from gradio.queueing import Event, Queue

from .listeners import LONGEST_KEY, Listeners
from .visitors import public_address

PER_SESSION = 8  # requests to the model that a visitor may have waiting; the page has four tabs
PER_ADDRESS = 16
OTHER_EVENTS = 200  # waiting events of the page that don't ask the model
OTHER_PER_SESSION = 16
BODY_BYTES = 200_000_000  # of all waiting requests together
UNHEARD_SECONDS = 5.0  # after which a request is dropped that nobody listens to
UNHEARD_SECONDS_WHEN_FULL = 2.0
FORGET_SECONDS = 60.0  # how long an answer waits for who asked
RETRY_SECONDS = 60

BODY_SIZE = "phi3v.body_size"  # in a request's scope: bytes that have come
FULL = "The queue is full. Try again in a minute."
YOURS = "You have {} requests waiting already. Try again when one of them is answered."


class LimitedQueue(Queue):
    """`gradio.queueing.Queue` that refuses, with words, what would be too much.

    Attributes:
        capacity: requests to the model that may be there, running or waiting.
        model_id: Gradio's `concurrency_id` of those.
        listeners: who is connected.
    """

    capacity = 0
    model_id = ""
    listeners: Listeners

    def compute_analytics_summary(self, records) -> dict:
        """Nothing: Gradio's statistics take longer with every request, and nobody sees them here."""
        return {}

    async def push(self, body: PredictBodyInternal, request: Request, username: str | None):
        """As Gradio's.

        Raises:
            HTTPException: 400, 429 or 503, with words for the visitor.
        """
        if len(body.session_hash or "") > LONGEST_KEY:
            raise HTTPException(400, "This is not a session.")
        address = public_address(request.scope.get("client"))
        request.state.visitor = body.session_hash or address or "local"
        request.state.address = address
        if body.fn_index is not None:
            self._check(route_utils.get_fn(self.blocks, None, body).concurrency_id, body.session_hash, address)
        return await super().push(body, request, username)

    def _check(self, concurrency_id: str, session: str | None, address: str | None) -> None:
        held = [event for event in self.event_ids_to_events.values() if event.alive]
        if sum(event.request.scope.get(BODY_SIZE, 0) for event in held) > BODY_BYTES:
            raise _full()
        if concurrency_id != self.model_id:
            if len(self) - len(self._waiting()) >= OTHER_EVENTS:
                raise _full()
            others = [event for event in held if event.concurrency_id != self.model_id]
            self._check_share(sum(event.session_hash == session for event in others), OTHER_PER_SESSION)
            return
        events = self.requests()
        if len(events) >= self.capacity:
            self._drop(UNHEARD_SECONDS_WHEN_FULL)
            events = self.requests()
        if len(events) >= self.capacity:
            raise _full()
        if session and session != self._mcp_session():
            self._check_share(sum(event.session_hash == session for event in events), PER_SESSION)
        if address:
            self._check_share(sum(event.request.state.address == address for event in events), PER_ADDRESS)

    @staticmethod
    def _check_share(count: int, most: int) -> None:
        if count >= most:
            raise HTTPException(429, YOURS.format(count), {"Retry-After": str(RETRY_SECONDS)})

    def _mcp_session(self) -> str | None:
        """The session that all MCP clients share: the tools are called by a client that runs here."""
        client = getattr(self.blocks.mcp_server_obj, "_client_instance", None)
        return client.session_hash if client else None

    def requests(self) -> list[Event]:
        """Those to the model that run or wait, without those that have been given up."""
        running = [event for job in self.active_jobs if job for event in job]
        return [
            *(event for event in running if event.concurrency_id == self.model_id and event.alive),
            *self._waiting(),
        ]

    def _waiting(self) -> list[Event]:
        queue = self.event_queue_per_concurrency_id.get(self.model_id)
        return queue.queue if queue else []

    def _drop(self, seconds: float) -> None:
        """Give up requests that nobody has listened to for so long. What runs ends where it looks up next."""
        for event in self.requests():
            if self.listeners.seconds_away(event.enqueue_time, event.session_hash, event._id) < seconds:
                continue
            event.alive = False
            if event in self._waiting():
                self._waiting().remove(event)
                self.event_ids_to_events.pop(event._id, None)

    async def keep_tidy(self) -> None:
        """Give up what nobody listens to, and forget what nobody will ask for. Runs for ever."""
        over: dict[str, float] = {}  # sessions without requests and listeners, and since when
        while True:
            await asyncio.sleep(1)
            self._drop(UNHEARD_SECONDS)
            now = time.monotonic()
            live = {event.session_hash for event in self.event_ids_to_events.values()}
            known = {*self.pending_messages_per_session, *self.pending_event_ids_session}
            unheard = {name for name in known if name not in live and not self.listeners.present(name)}
            over = {name: over.get(name, now) for name in unheard}
            for name, since in over.items():
                if now - since >= FORGET_SECONDS:
                    self.pending_messages_per_session.pop(name, None)
                    self.pending_event_ids_session.pop(name, None)
            self.listeners.forget(FORGET_SECONDS)
            forget_uploads_progress()


def _full() -> HTTPException:
    return HTTPException(503, FULL, {"Retry-After": str(RETRY_SECONDS)})


def forget_uploads_progress(seconds: float = 600.0) -> None:
    """Forget how far uploads are that nobody asks about: Gradio keeps each name for ever."""
    statuses, now = routes.file_upload_statuses, time.monotonic()
    for name in [*statuses._statuses, *statuses._signals]:
        _progress_since.setdefault(name, now)
    for name, since in list(_progress_since.items()):
        if now - since > seconds:
            statuses._statuses.pop(name, None)
            statuses._signals.pop(name, None)
            del _progress_since[name]


_progress_since: dict[str, float] = {}
