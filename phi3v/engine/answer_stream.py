"""An answer on its way: the streamer that `generate` writes to and the iterator that a caller reads."""

import queue
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast, StoppingCriteria, TextIteratorStreamer

from .worker import Worker


@dataclass
class Stats:
    """What an answer cost.

    Attributes:
        image_tokens, prompt_tokens: positions in the prompt, of images and, once its turn has come, in all.
        cached_tokens: those of them that an earlier request had computed.
        new_tokens: tokens generated so far, the end token included.
        queued: seconds spent waiting for earlier requests.
        ttft: seconds from the request to the first token, `queued` left out: preprocessing, vision, prefill.
        tokens_per_second: of the tokens after the first.
        stop_reason: `end` (the model ended its answer), `length`, `context` (it is full), `time` or `stopped` (by
            the caller).
    """

    image_tokens: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    new_tokens: int = 0
    queued: float = 0.0
    ttft: float | None = None
    tokens_per_second: float | None = None
    stop_reason: str | None = None


class TokenStreamer(TextIteratorStreamer):
    """Streams every token's text at once, and counts.

    The base class holds a word back until the next begins, decodes the whole line anew for every token, and forgets
    the context at each line's end, where sentencepiece vocabularies then lose a leading space. Here a token's text is
    what it adds to the few tokens before it (as in text-generation-inference), and only incomplete characters wait.

    Attributes:
        stats: kept up to date.
        ids: the tokens so far.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stats: Stats, requested_at: float):
        super().__init__(tokenizer, skip_prompt=True)
        self.stats = stats
        self.ids: list[int] = []
        self._requested_at = requested_at
        self._first_token_at = 0.0
        # ids[_context:_shown], whose text is _before, are decoded again with what follows, which so has its context.
        self._context = self._shown = 0
        self._before = ""

    def put(self, value: torch.Tensor) -> None:
        if self.next_tokens_are_prompt:
            self.next_tokens_are_prompt = False
            return
        now = time.perf_counter()
        self.ids.append(int(value[-1]))
        self.stats.new_tokens += 1
        if self.stats.new_tokens == 1:
            self._first_token_at = now
            self.stats.ttft = now - self._requested_at - self.stats.queued
        else:
            self.stats.tokens_per_second = (self.stats.new_tokens - 1) / (now - self._first_token_at)
        self._show(at_the_end=False)

    def end(self) -> None:
        """Nothing more comes from `generate`. `close` signals it, also where `generate` fails and never calls this."""

    def close(self) -> None:
        """Hand out what was held back, and the end."""
        self._show(at_the_end=True)
        self.text_queue.put(self.stop_signal)

    def leave(self) -> None:
        """The end of an answer that never began."""
        self.stats.queued = time.perf_counter() - self._requested_at
        self.close()

    def _show(self, at_the_end: bool) -> None:
        after = self._decode_from(self._context)
        incomplete = after.endswith("\ufffd") and not at_the_end
        if incomplete or len(after) <= len(self._before):
            return
        self.on_finalized_text(after[len(self._before) :])
        self._before = after
        # A context without a text of its own (special tokens, a leading space) would not be one.
        if latest := self._decode_from(self._shown):
            self._context, self._before = self._shown, latest
        self._shown = len(self.ids)

    def _decode_from(self, start: int) -> str:
        return self.tokenizer.backend_tokenizer.decode(self.ids[start:], skip_special_tokens=True)


class StopWhenSet(StoppingCriteria):
    """Ends `generate` at the next token once the event is set."""

    def __init__(self, event: threading.Event):
        self.event = event

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs) -> torch.BoolTensor:
        return torch.full((len(input_ids),), self.event.is_set(), device=input_ids.device)


class AnswerStream:
    """The pieces of an answer, in order, as they are made.

    Iterate over it, or `read` with a timeout where something else must happen meanwhile. `close`, or dropping it,
    stops the model; a request that waits for its turn leaves the line.

    Args:
        streamer: what `generate` writes to.
        stop: ends the answer when set.
        future: of the job that makes the answer.
        worker: where that job waits and runs.

    Attributes:
        stats: kept up to date while the answer is made.
    """

    def __init__(self, streamer: TokenStreamer, stop: threading.Event, future: Future, worker: Worker):
        self.stats = streamer.stats
        self._streamer = streamer
        self._stop = stop
        self._future = future
        self._worker = worker
        self._ended = False

    def __iter__(self):
        return self

    def __next__(self) -> str:
        piece = self.read()
        if piece is None:
            raise StopIteration
        return piece

    def read(self, timeout: float | None = None) -> str | None:
        """All text that has come since the last call.

        Waits for some, up to `timeout` seconds: then `""`. `None` at the end.

        Raises:
            Exception: whatever made the model fail.
        """
        if not self._ended:
            try:
                pieces = [self._streamer.text_queue.get(timeout=timeout)]
            except queue.Empty:
                return ""
            while pieces[-1] is not None and not self._streamer.text_queue.empty():
                pieces.append(self._streamer.text_queue.get())
            self._ended = pieces[-1] is None
            if text := "".join(piece for piece in pieces if piece):
                return text
        if not self._future.cancelled():
            self._future.result()
        return None

    @property
    def ahead(self) -> int:
        """Requests that have to end before this one begins."""
        return self._worker.ahead_of(self._future)

    def close(self) -> None:
        """Stop the model, and end this stream at once if its turn has not come. Returns at once."""
        self._stop.set()
        if self._worker.cancel(self._future):
            self.stats.stop_reason = "stopped"
            self._streamer.leave()

    def __del__(self):
        self.close()
