"""A few tokens that follow a cache, as a question about an image seen before does, at once: a CUDA graph for them.

Launched one by one, the operations of so few tokens take longer to launch than to run.
"""

import torch
from transformers.cache_utils import Cache

from ...model.modeling_phi3_v import Phi3VForCausalLM
from ..kv_cache import addresses, roomy_cache
from .decode_graph import recorded
from .forward import add_linear, close, exact_logits, normed

ROWS = 64  # tokens at once
WORTHWHILE = 256  # tokens; for more, launching operations one by one is no slower
SPLITS, POSITIONS, WARPS = 16, 64, 4  # parts of a sequence attended to in parallel, positions read at a time, warps


class ChunkGraph:
    """Reads up to `ROWS` tokens at a time with one model on one CUDA GPU."""

    def __init__(self, model: Phi3VForCausalLM):
        config, weight = model.config, model.model.embed_tokens.weight
        self.model = model
        self.head_size = config.hidden_size // config.num_attention_heads
        self.ids = torch.zeros(ROWS, dtype=torch.long, device=weight.device)
        self.place = torch.zeros(2, dtype=torch.long, device=weight.device)  # the first one's position, how many
        self.rooms = torch.zeros(config.num_hidden_layers, 3, dtype=torch.long, device=weight.device)
        self.partial = torch.zeros(
            config.num_attention_heads, SPLITS, ROWS, self.head_size + 2, dtype=torch.float32, device=weight.device
        )
        self.attended = weight.new_zeros(ROWS, config.num_attention_heads * self.head_size)
        self.logits = weight.new_zeros(1, config.vocab_size)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._tried: Cache | None = None

    @torch.inference_mode()
    def agrees(self) -> bool:
        """As of `DecodeGraph`."""
        ids = torch.arange(40, device=self.ids.device)
        cache = self._tried = roomy_cache(self.model.config.num_hidden_layers)  # `record` writes to it once more
        expected = self.model(ids[None], past_key_values=cache).logits[0, -1]
        for layer in cache.layers:
            layer.set_length(10)
        return close(self(ids[10:], cache)[0], expected, exact_logits(self.model, ids))

    @torch.inference_mode()
    def record(self, pool: tuple[int, int]) -> None:
        """As of `DecodeGraph`, with memory that other graphs use too; see `recorded`."""
        self._graph = recorded(self._run, pool)
        self._tried = None

    def suits(self, length: int, tokens: int) -> bool:
        """Whether so many tokens after so many others are read soonest here, and their keys rotated as they must be.

        Each piece is rotated by its own last position, and those of a sequence longer than 4096 all the other way.
        """
        limit = self.model.config.original_max_position_embeddings
        return length > 0 and tokens <= WORTHWHILE and (length + tokens <= limit or length + ROWS > limit)

    def __call__(self, ids: torch.LongTensor, cache: Cache) -> torch.Tensor:
        """Logits (1, vocabulary) of the last of `ids`, which follow those in the cache and are added to it."""
        length = cache.get_seq_length()
        for layer in cache.layers:
            layer.reserve(length + len(ids))
        self.rooms.copy_(addresses(cache), non_blocking=True)
        for begin in range(0, len(ids), ROWS):
            piece = ids[begin : begin + ROWS]
            self.ids[: len(piece)] = piece
            self.place.copy_(torch.tensor([length + begin, len(piece)]), non_blocking=True)
            self._graph.replay() if self._graph else self._run()
        for layer in cache.layers:
            layer.set_length(length + len(ids))
        return self.logits

    def _run(self) -> None:
        from . import chunk_kernels, prompt_kernels  # Triton comes with CUDA builds of torch only

        config, decoder = self.model.config, self.model.model
        heads, kv_heads, head = config.num_attention_heads, config.num_key_value_heads, self.head_size
        head_block = 1 << (head - 1).bit_length()
        start, last = self.place[0], self.place.sum() - 1
        x = decoder.embed_tokens(self.ids)
        # Rows that don't count are anywhere, but not where keys would be rotated otherwise.
        positions = torch.minimum(start + torch.arange(ROWS, device=x.device), last)
        cos, sin = decoder.rotary_emb(x, positions[None])
        for layer, rooms in zip(decoder.layers, self.rooms, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            qkv = attention.qkv_proj(normed(layer.input_layernorm, x))
            chunk_kernels.attention[(heads, SPLITS)](
                qkv, cos, sin, rooms, self.place, self.partial, head**-0.5, head, heads, kv_heads, ROWS, SPLITS,
                head_block, POSITIONS, num_warps=WARPS,
            )  # fmt: skip
            chunk_kernels.join[(heads, ROWS)](self.partial, self.attended, head, heads, ROWS, SPLITS, head_block)
            add_linear(x, self.attended, attention.o_proj)
            gate_up = mlp.gate_up_proj(normed(layer.post_attention_layernorm, x))
            add_linear(x, prompt_kernels.gated(gate_up), mlp.down_proj)
        row = x.index_select(0, (self.place[1:] - 1))
        self.logits.copy_(self.model.lm_head(normed(decoder.norm, row)))
