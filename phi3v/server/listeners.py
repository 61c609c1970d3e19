"""Who is connected: answers that nobody listens to need not be made, sessions that nobody has open may be dropped."""

import time
from collections import Counter
from urllib.parse import parse_qs

API = "/gradio_api"
LONGEST_KEY = 64  # characters of a session's or event's name; browsers send ten, events have 32


class Listeners:
    """Open connections that wait for messages, by session and by event."""

    def __init__(self):
        self._open: Counter[str] = Counter()
        self._left: dict[str, float] = {}

    def join(self, key: str) -> None:
        """A connection for a session or an event has opened."""
        self._open[key] += 1
        self._left.pop(key, None)

    def leave(self, key: str) -> None:
        """It has closed."""
        self._open[key] -= 1
        if self._open[key] <= 0:
            del self._open[key]
            self._left[key] = time.monotonic()

    def present(self, *keys: str) -> bool:
        """Whether somebody listens to one of these."""
        return any(key in self._open for key in keys)

    def seconds_away(self, since: float, *keys: str) -> float:
        """For how long nobody has listened to any of these, counted from `since` (monotonic) at the earliest."""
        if self.present(*keys):
            return 0.0
        return time.monotonic() - max(since, *(self._left.get(key, since) for key in keys))

    def forget(self, seconds: float) -> None:
        """Keep no more of those who left longer ago."""
        latest = time.monotonic() - seconds
        self._left = {key: left for key, left in self._left.items() if left >= latest}


def listened_to(path: str, query: bytes) -> str | None:
    """The session or event that a GET request to this path listens to, if it does."""
    key, parts = None, path.removeprefix(API).strip("/").split("/")
    if path == f"{API}/queue/data":
        key = (parse_qs(query.decode("latin-1")).get("session_hash") or [None])[0]
    elif (parts[0] == "heartbeat" and len(parts) == 2) or (parts[0] == "call" and len(parts) in (3, 4)):
        key = parts[-1]
    return key if key is not None and len(key) <= LONGEST_KEY else None
