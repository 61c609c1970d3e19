"""Connections that send nothing, or half a request, are closed; and there is a limit to how many there are.

uvicorn has no limit of time for a request's head. Behind a reverse proxy that has one this changes nothing.
"""

import asyncio
import resource

from uvicorn import Config

HEAD_SECONDS = 20.0
SPARE_FILES = 64  # file descriptors that connections leave to everything else


def limit_connections(config: Config) -> None:
    """Have connections that are made from now on closed if no request's head arrives, or if there are too many.

    Args:
        config: of a running server: it looks the protocol up for each connection.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, 8192) if hard != resource.RLIM_INFINITY else 8192
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    most = max(16, soft - SPARE_FILES) // 2  # a request may open a file

    class LimitedProtocol(config.http_protocol_class):
        """Runs a clock while a request's head is awaited."""

        _clock: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._watch()
            if len(self.connections) > most:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_clock()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.cycle is not None and not self.cycle.response_complete:
                self._stop_clock()
            elif self._clock is None:
                self._clock = asyncio.get_running_loop().call_later(HEAD_SECONDS, self._late)

        def _stop_clock(self) -> None:
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

        def _late(self) -> None:
            self._clock = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    config.http_protocol_class = LimitedProtocol
