"""Slows down who tries passwords."""

import logging
import math
import time

log = logging.getLogger("phi3v")

FREE_ATTEMPTS = 5
FIRST_PAUSE = 1.0  # seconds; twice as long after each further failure
LONGEST_PAUSE = 60.0
LONGEST_SHARED_PAUSE = 2.0  # where it may be everybody's: the address of a proxy
FORGIVEN_AFTER = 900.0  # seconds without an attempt


class LoginThrottle:
    """After some failures from one address, the next attempt has to wait, longer each time."""

    def __init__(self):
        self._failures: dict[str, tuple[int, float]] = {}  # how many, and when the latest was

    def wait_seconds(self, address: str | None) -> int:
        """Whole seconds until the next attempt is looked at; 0 if it is now."""
        count, latest = self._failures.get(address or "", (0, 0.0))
        if count < FREE_ATTEMPTS:
            return 0
        longest = LONGEST_PAUSE if address else LONGEST_SHARED_PAUSE
        pause = min(longest, FIRST_PAUSE * 2 ** min(count - FREE_ATTEMPTS, 10))
        return max(0, math.ceil(latest + pause - time.monotonic()))

    def begun(self, address: str | None) -> None:
        """Count an attempt, which counts as failed until it has succeeded."""
        now = time.monotonic()
        self._failures = {
            name: failure for name, failure in self._failures.items() if now - failure[1] < FORGIVEN_AFTER
        }
        self._failures[address or ""] = self._failures.get(address or "", (0, 0.0))[0] + 1, now

    def ended(self, address: str | None, shown: str, succeeded: bool) -> None:
        """Forgive an address whose attempt has succeeded, or log that it has not.

        Args:
            address: as `public_address` says.
            shown: the address for the log.
        """
        if succeeded:
            self._failures.pop(address or "", None)
        else:
            log.warning("A login failed, from %s", shown)
