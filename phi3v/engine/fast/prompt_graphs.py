"""A prompt at once: CUDA graphs of the decoder's forward pass, one for each multiple of 128 tokens up to 4096.

Launched one by one, its operations take 20 ms and more of a CPU, as long as a short prompt's kernels or longer.
"""

import torch
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from ...model.modeling_phi3_v import Phi3VForCausalLM
from ..kv_cache import addresses, roomy_cache
from .decode_graph import recorded
from .forward import add_linear, close, exact_logits, make_room, normed, rotation

ROW_STEP = 128  # of tokens; cuDNN's attention, the fastest, plans each shape for 60 ms
LONGEST = 4096


class PromptGraphs:
    """Reads prompts with one model on one CUDA GPU, if they end before keys are rotated otherwise.

    A prompt is filled up to the next of `sizes`. Its attention is computed from tensors whose shape is no cache's.

    Attributes:
        sizes: tokens for which there can be a graph, those of most first.
    """

    def __init__(self, model: Phi3VForCausalLM):
        config, decoder, weight = model.config, model.model, model.model.embed_tokens.weight
        longest = min(config.original_max_position_embeddings, LONGEST) // ROW_STEP * ROW_STEP
        self.model = model
        self.sizes = range(longest, 0, -ROW_STEP)
        self.x = weight.new_zeros(longest, config.hidden_size)
        self.cos, self.sin = rotation(decoder, torch.arange(longest, device=weight.device), self.x)
        self.place = torch.zeros(2, dtype=torch.long, device=weight.device)  # the first one's position, how many
        self.rooms = torch.zeros(config.num_hidden_layers, 3, dtype=torch.long, device=weight.device)
        self.logits = weight.new_zeros(1, config.vocab_size)
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}

    @torch.inference_mode()
    def agrees(self) -> bool:
        """As of `DecodeGraph`."""
        ids = torch.arange(40, device=self.x.device)
        expected, cache, size = self.model(ids[None]).logits[0, -1], roomy_cache(len(self.rooms)), _filled_up(40)
        self._begin(self.model.model.embed_tokens(ids), size, cache)
        self._run(size)
        return close(self.logits[0], expected, exact_logits(self.model, ids))

    @torch.inference_mode()
    def record(self, size: int, pool: tuple[int, int]) -> None:
        """Record the graph of one of the sizes on the thread that will replay it; `pool` as of `recorded`."""
        cache = roomy_cache(len(self.rooms))  # nobody's
        self._begin(self.x[:1], size, cache)
        self._graphs[size] = recorded(lambda: self._run(size), pool)

    def holds(self, tokens: int) -> bool:
        """Whether prompts of so many tokens can be read."""
        return _filled_up(tokens) in self._graphs

    def __call__(self, embeds: torch.Tensor, cache: Cache, room: int) -> torch.Tensor:
        """As `lean_forward`, of a prompt whose length it `holds`, with an empty cache."""
        size = _filled_up(len(embeds))
        self._begin(embeds, size, cache, room)
        self._graphs[size].replay()
        return self.logits

    def _begin(self, embeds: torch.Tensor, size: int, cache: Cache, room: int = 0) -> None:
        tokens = len(embeds)
        make_room(cache, self.model, tokens, room)
        self.rooms.copy_(addresses(cache), non_blocking=True)
        self.place.copy_(torch.tensor([0, tokens]), non_blocking=True)
        self.x[:tokens] = embeds
        self.x[tokens:size] = 0  # nobody attends to these rows, but a weight of nothing times infinity is no number

    def _run(self, size: int) -> None:
        from .prompt_kernels import gated, turn_and_keep  # Triton comes with CUDA builds of torch only

        config, decoder, x = self.model.config, self.model.model, self.x[:size]
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        attend = AttentionInterface()[config._attn_implementation]
        for layer, rooms in zip(decoder.layers, self.rooms, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            qkv = attention.qkv_proj(normed(layer.input_layernorm, x)).unflatten(-1, (-1, attention.head_dim))
            turned = turn_and_keep(qkv, self.cos[:size], self.sin[:size], heads, rooms, self.place)
            parts = (turned[:, :heads], turned[:, heads:], qkv[:, -kv_heads:])
            parts = (part.transpose(0, 1)[None] for part in parts)
            attended = attend(attention, *parts, None, scaling=attention.scaling)[0][0].flatten(1)
            if layer is decoder.layers[-1]:  # of the other tokens only keys and values were wanted
                last = self.place[1:] - 1
                x, attended = x.index_select(0, last), attended.index_select(0, last)
            add_linear(x, attended, attention.o_proj)
            del qkv, turned, parts, attended  # what comes next takes most memory
            add_linear(x, gated(mlp.gate_up_proj(normed(layer.post_attention_layernorm, x))), mlp.down_proj)
        self.logits.copy_(self.model.lm_head(normed(decoder.norm, x)))


def _filled_up(tokens: int) -> int:
    return -(-tokens // ROW_STEP) * ROW_STEP
