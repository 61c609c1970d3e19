"""Keys and values: written in place, and kept for the next question about the same image."""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakSet

import torch
from transformers.cache_utils import Cache, DynamicLayer

STEP = 64  # positions by which a layer's room grows
WORTHWHILE = 16  # positions; fewer in common are as quick to compute


class RoomyLayer(DynamicLayer):
    """A `DynamicLayer` with room for what comes, so that a new token is written and not everything copied for it."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Empty, of the states' (batch, heads, 0, head size)."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self._key_room = self.keys = key_states[:, :, :0]
        self._value_room = self.values = value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append states (batch, heads, tokens, head size); returns all there are."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        self.reserve(end)
        self._key_room[:, :, begin:end] = key_states
        self._value_room[:, :, begin:end] = value_states
        self.set_length(end)
        return self.keys, self.values

    def reserve(self, length: int) -> None:
        """Have room for so many positions."""
        if length > self._key_room.shape[-2]:
            self._key_room = self._larger(self.keys, length)
            self._value_room = self._larger(self.values, length)
            self.set_length(self.keys.shape[-2])  # lets go of the smaller room

    def set_length(self, length: int) -> None:
        """Have so many positions, of those written to `room`."""
        self.keys, self.values = self._key_room[:, :, :length], self._value_room[:, :, :length]

    @property
    def room(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Where keys and values are written, each (batch, heads, room, head size)."""
        return self._key_room, self._value_room

    @staticmethod
    def _larger(states: torch.Tensor, length: int) -> torch.Tensor:
        batch, heads, used, size = states.shape
        room = states.new_empty(batch, heads, -(-length // STEP) * STEP, size)
        room[:, :, :used] = states
        return room

    @property
    def nbytes(self) -> int:
        """Bytes in memory, the room included."""
        return self._key_room.nbytes + self._value_room.nbytes if self.is_initialized else 0


def roomy_cache(layers: int) -> Cache:
    """An empty cache for `generate`, for one sequence."""
    return Cache(layers=[RoomyLayer() for _ in range(layers)])


def cut(cache: Cache, length: int) -> None:
    """Keep the first positions of a cache that has at least so many."""
    for layer in cache.layers:
        if layer.is_initialized:
            layer.set_length(length)


def addresses(cache: Cache) -> torch.Tensor:
    """Where each layer's keys and values begin in memory, and for how many positions a head has room: (layers, 3)."""
    rooms = [layer.room for layer in cache.layers]
    return torch.tensor([[keys.data_ptr(), values.data_ptr(), keys.shape[2]] for keys, values in rooms])


@dataclass(frozen=True, eq=False)
class Pixels:
    """An image as the model sees it. Each is equal to itself alone; see `PrefixCache.known`.

    Attributes:
        data: uint8, (3, height, width), on the model's device.
    """

    data: torch.Tensor


@dataclass
class _Entry:
    tokens: list[int | Pixels]
    cache: Cache
    images: set[Pixels]
    is_long: bool
    salt: str | None
    nbytes: int


class PrefixCache:
    """Caches of earlier requests, of which the next one takes what it begins with.

    A cache is handed out, continued in place and given back: nothing is held twice. For one thread.

    As with vLLM's `cache_salt`, a salt is part of what a cache is found by: a request takes only what one with the
    same salt has left, one without a salt what others without one have. All share the bytes, and the oldest goes
    first, whoever's it is.

    Args:
        max_bytes: what all of them may take together. The latest is kept even if it is larger, until `make_room`.
    """

    def __init__(self, max_bytes: int):
        self.max_bytes = max_bytes
        self._entries: list[_Entry] = []  # the latest last
        self._images: WeakSet[Pixels] = WeakSet()  # those of the entries, and of the prompt that is being answered

    def known(self, data: torch.Tensor) -> Pixels:
        """The image of an earlier prompt with equal pixels, if that is kept, else a new one.

        Compared byte by byte, as quick as memory: nobody can make two images that are taken for one.
        """
        for other in self._images:
            if torch.equal(other.data, data):
                return other
        image = Pixels(data)
        self._images.add(image)
        return image

    def holds(self, image: Pixels, salt: str | None = None) -> bool:
        """Whether there are keys and values of this image."""
        return any(image in entry.images for entry in self._entries if entry.salt == salt)

    def take(self, tokens: Sequence[int | Pixels], is_long: bool, salt: str | None = None) -> tuple[Cache | None, int]:
        """The cache that has most in common with this prompt, cut to that, and its length; `(None, 0)` without one.

        Args:
            tokens: token ids, at image positions what `known` returned.
            is_long: whether the prompt's keys are rotated with LongRoPE's long factors; others are of no use to it.
        """
        # The last token is left to compute: its logits are wanted.
        fitting = [entry for entry in self._entries if (entry.is_long, entry.salt) == (is_long, salt)]
        found = [(_common(entry.tokens, tokens[:-1]), entry) for entry in fitting]
        length, entry = max(found, key=lambda pair: pair[0], default=(0, None))
        if length < WORTHWHILE:
            return None, 0
        self._entries.remove(entry)
        cut(entry.cache, length)
        return entry.cache, length

    def put(self, tokens: Sequence[int | Pixels], cache: Cache, is_long: bool, salt: str | None = None) -> None:
        """Keep a cache, of these tokens or of the first of them, at the expense of the oldest."""
        length = cache.get_seq_length()
        if length < WORTHWHILE:
            return
        images = {token for token in tokens if isinstance(token, Pixels)}
        nbytes = sum(layer.nbytes for layer in cache.layers) + sum(image.data.nbytes for image in images)
        self.make_room(nbytes)
        self._entries.append(_Entry(list(tokens[:length]), cache, images, is_long, salt, nbytes))

    def make_room(self, nbytes: int) -> None:
        """Drop the oldest until these bytes fit too."""
        while self._entries and sum(entry.nbytes for entry in self._entries) + nbytes > self.max_bytes:
            self._entries.pop(0)

    def clear(self) -> bool:
        """Drop all. Returns whether there were any."""
        had = bool(self._entries)
        self._entries.clear()
        return had


def _common(left: Sequence[int | Pixels], right: Sequence[int | Pixels]) -> int:
    """How many first elements are equal."""
    length = 0
    for a, b in zip(left, right):
        if a != b:
            break
        length += 1
    return length
