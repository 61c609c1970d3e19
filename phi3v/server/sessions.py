"""Gradio's memory of sessions, with bounds."""

import time

from gradio.state_holder import SessionState, StateHolder

from .listeners import LONGEST_KEY, Listeners

CAPACITY = 200  # sessions that nobody has open; each takes 0.3 MB and what it keeps
MOST = 400  # sessions in all
FORGET_SECONDS = 3600.0  # for who comes back, as long as uploads stay


class Sessions(StateHolder):
    """`gradio.state_holder.StateHolder` that forgets sessions which nobody has open first, and all of those in time.

    Gradio keeps the latest, whoever they are of: a stranger who opens many would so end everybody's conversation.
    """

    def __init__(self, listeners: Listeners):
        super().__init__()
        self._listeners = listeners
        self._used: dict[str, float] = {}

    def __getitem__(self, session_id: str) -> SessionState:
        if len(session_id) > LONGEST_KEY:
            raise ValueError("This is not a session.")
        return super().__getitem__(session_id)

    def update(self, session_id: str) -> None:
        """The session is in use: others may have to go."""
        with self.lock:
            if session_id not in self.session_data:
                return
            self.session_data.move_to_end(session_id)
            self._used[session_id] = now = time.monotonic()
            unheard = [name for name in self.session_data if name != session_id and not self._listeners.present(name)]
            for place, name in enumerate(unheard):
                if len(unheard) - place > CAPACITY or now - self._used.get(name, now) > FORGET_SECONDS:
                    self._drop(name)
            for name in list(self.session_data)[: max(0, len(self.session_data) - MOST)]:
                self._drop(name)

    def _drop(self, name: str) -> None:
        del self.session_data[name]
        self.time_last_used.pop(name, None)
        self._used.pop(name, None)
