"""New tokens one at a time, as fast as memory can be read: a CUDA graph of the kernels in `decode_kernels.py`."""

import threading
from collections.abc import Callable
from functools import cache

import torch
from transformers.cache_utils import Cache

from ...model.modeling_phi3_v import Phi3VForCausalLM
from ..kv_cache import addresses, roomy_cache
from ..quantize import GROUP, bits, stored
from .forward import close, exact_logits

# The quickest on an H200, by a weight's bits, for normed products, gated ones, attention's output and the
# perceptron's: rows that one program reads at a time, columns (words, of a quantised weight) in a block, warps, how
# many times it takes rows.
BLOCKS = {
    16: ((2, 1024, 4, 2), (1, 1024, 2, 2), (2, 512, 1, 1), (2, 2048, 8, 2)),
    8: ((4, 256, 4, 6), (2, 256, 1, 4), (4, 512, 1, 1), (4, 1024, 4, 2)),
    4: ((4, 256, 2, 2), (2, 256, 2, 2), (4, 256, 1, 1), (4, 1024, 4, 2)),
}
SPLITS, POSITIONS, WARPS = 24, 16, 2  # parts of a sequence attended to in parallel, positions read at a time, warps


class DecodeGraph:
    """Decodes with one model on one CUDA GPU, one sequence at a time.

    A graph is recorded once: it finds the caches by a table of addresses, so any cache can be gone on with.
    """

    def __init__(self, model: Phi3VForCausalLM):
        config, weight = model.config, model.model.embed_tokens.weight
        self.model = model
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_size = config.hidden_size // heads
        new = weight.new_zeros
        self.token, self.position = new(1, dtype=torch.long), new(1, dtype=torch.long)
        self.rooms = new(config.num_hidden_layers, 3, dtype=torch.long)
        self.x, self.qkv = new(1, config.hidden_size), new((heads + 2 * kv_heads) * self.head_size)
        self.partial = new(heads, SPLITS, self.head_size + 2, dtype=torch.float32)
        self.arrived = new(heads, dtype=torch.int32)
        self.attended, self.activated = new(heads * self.head_size), new(config.intermediate_size)
        self.logits = new(1, config.vocab_size)
        self._chained = weight.is_cuda and torch.cuda.get_device_capability(weight.device) >= (9, 0)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._tried: Cache | None = None

    @torch.inference_mode()
    def agrees(self) -> bool:
        """Compile the kernels and compare with the model itself: whether both give the same logits but for rounding.

        The first time on a machine it takes seconds; Triton keeps what it has compiled.
        """
        ids = torch.arange(8, device=self.x.device)[None]
        cache = self._tried = roomy_cache(self.model.config.num_hidden_layers)  # `record` writes to it once more
        expected = self.model(ids, past_key_values=cache).logits[0, -1]
        self.token.copy_(ids[0, -1:])
        self.reserve(cache, 7, 8)
        self._step()
        return close(self.logits[0], expected, exact_logits(self.model, ids[0]))

    @torch.inference_mode()
    def record(self) -> None:
        """Record the graph of a step, after `agrees`, on the thread that will replay it."""
        self._graph = recorded(self._step)
        self._tried = None

    def reserve(self, cache: Cache, length: int, wanted: int) -> int:
        """Go on with this cache after `length` positions; returns how many there is room for in all."""
        for layer in cache.layers:
            layer.set_length(length)
            layer.reserve(wanted)
        self.rooms.copy_(addresses(cache), non_blocking=True)
        self.position.fill_(length)
        return cache.layers[0].room[0].shape[2]

    def run(self) -> None:
        """Read `token` at `position`; write its keys and values, `logits`, and the next `token` and `position`."""
        self._graph.replay() if self._graph else self._step()

    def _step(self) -> None:
        from . import decode_kernels as kernels  # Triton comes with CUDA builds of torch only

        config, decoder = self.model.config, self.model.model
        size, inner, eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        heads, kv_heads, head = config.num_attention_heads, config.num_key_value_heads, self.head_size
        head_block, splits_block = (1 << (count - 1).bit_length() for count in (head, SPLITS))

        # Kernels that may begin before the one before them has ended.
        chained = {"launch_pdl": True} if self._chained else {}

        def normed(norm, linear, out, rows, gated=False):
            block, step, warps, times = BLOCKS[bits(linear)][int(gated)]
            kernels.normed_product[(-(-rows // (block * times)),)](
                self.x, norm.weight, *stored(linear), out, eps, rows, size, gated, bits(linear), GROUP, self.x.is_cuda,
                self._chained, times, block, step, num_warps=warps, **chained,
            )  # fmt: skip

        def added(a, linear, sort):
            block, step, warps, times = BLOCKS[bits(linear)][sort]
            kernels.added_product[(-(-size // (block * times)),)](
                a, *stored(linear), self.x, size, a.numel(), bits(linear), GROUP, self.x.is_cuda, self._chained, times,
                block, step, num_warps=warps, **chained,
            )  # fmt: skip

        torch.index_select(decoder.embed_tokens.weight, 0, self.token, out=self.x)
        cos, sin = decoder.rotary_emb(self.x, self.position[None])
        for layer, rooms in zip(decoder.layers, self.rooms, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            normed(layer.input_layernorm, attention.qkv_proj, self.qkv, self.qkv.numel())
            kernels.attention[(heads, SPLITS)](
                self.qkv, cos, sin, rooms, self.position, self.partial, self.arrived, self.attended, head**-0.5, head,
                heads, kv_heads, SPLITS, self._chained, head_block, POSITIONS, splits_block, num_warps=WARPS,
                **chained,
            )  # fmt: skip
            added(self.attended, attention.o_proj, 2)
            normed(layer.post_attention_layernorm, mlp.gate_up_proj, self.activated, inner, gated=True)
            added(self.activated, mlp.down_proj, 3)
        normed(decoder.norm, self.model.lm_head, self.logits, config.vocab_size)
        torch.argmax(self.logits, -1, out=self.token)
        self.position += 1


def recorded(step: Callable[[], object], pool: tuple[int, int] | None = None) -> torch.cuda.CUDAGraph:
    """The CUDA graph of what `step` does on this thread's GPU, to be replayed on this thread.

    Args:
        step: launches its operations.
        pool: memory that it shares with graphs that are never replayed meanwhile, as of
            `torch.cuda.graph_pool_handle`.
    """
    step()  # libraries make themselves ready on a thread's first call, which can't be recorded
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
    how = {"stream": _capture_stream(torch.cuda.current_device()), "capture_error_mode": "thread_local"}
    with _recording:
        try:
            with torch.cuda.graph(graph, pool, **how):
                step()
        except Exception:
            # A failure may leave the thread on the recording's stream. And the random numbers' generator would think
            # for ever that it is being recorded: let it see an end.
            torch.cuda.set_stream(stream)
            with torch.cuda.graph(torch.cuda.CUDAGraph(), **how):
                torch.zeros(1, device=stream.device)
            raise
    return graph


# torch records one graph at a time in a process, and by itself on a stream of whichever GPU came first.
_recording = threading.Lock()


@cache
def _capture_stream(device: int) -> torch.cuda.Stream:
    """The same for all of a GPU's graphs, which only so share memory."""
    return torch.cuda.Stream(device)
