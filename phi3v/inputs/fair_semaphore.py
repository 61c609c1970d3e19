"""A semaphore that serves in order of arrival and tells everybody how many are ahead."""

import threading

from .deadline import Deadline

POLL_SECONDS = 0.05  # how soon a stop is noticed


class FairSemaphore:
    """Lets `count` callers through at a time, first come, first served."""

    def __init__(self, count: int):
        self._count = count
        self._tickets: list[Ticket] = []
        self._changed = threading.Condition()

    def enter(self) -> "Ticket":
        """Join the line. Returns at once; see `Ticket.wait`."""
        ticket = Ticket(self)
        with self._changed:
            self._tickets.append(ticket)
        return ticket


class Ticket:
    """A caller's place in line, and what it holds once its turn has come. Leave it in any case: use `with`."""

    def __init__(self, semaphore: FairSemaphore):
        self._semaphore = semaphore

    @property
    def ahead(self) -> int:
        """How many have to leave before this one's turn; 0 once it has come."""
        with self._semaphore._changed:
            return self._ahead()

    def wait(self, timeout: float) -> bool:
        """Wait for the turn, some seconds at most. Returns whether it has come."""
        with self._semaphore._changed:
            return self._semaphore._changed.wait_for(lambda: self._ahead() == 0, timeout)

    def wait_until(self, deadline: Deadline) -> "Ticket":
        """Wait for the turn, which the deadline doesn't count.

        Raises:
            TimeoutError, StoppedError: as of `Deadline.left`. The place is given up.
        """
        try:
            deadline.left()
            with deadline.paused():
                self._wait_until(deadline)
        except BaseException:
            self.leave()
            raise
        return self

    def _wait_until(self, deadline: Deadline) -> None:
        while not self.wait(min(POLL_SECONDS, deadline.left())):
            pass

    def leave(self) -> None:
        """Give the place up, before or after its turn."""
        with self._semaphore._changed:
            if self in self._semaphore._tickets:
                self._semaphore._tickets.remove(self)
                self._semaphore._changed.notify_all()

    def __enter__(self) -> "Ticket":
        return self

    def __exit__(self, *_) -> None:
        self.leave()

    def _ahead(self) -> int:
        tickets = self._semaphore._tickets
        return max(0, tickets.index(self) + 1 - self._semaphore._count) if self in tickets else 0
