"""New tokens one at a time, as fast as memory can be read: a CUDA graph of the kernels in `decode_kernels.py`.

It is plugged into `generate` as its `custom_generate`, so the prompt, the cache, logits processors, stopping criteria
and streamer are transformers' own. Nothing waits for the GPU but the streamer, which gets each token while the next
one is computed.
"""

import torch
from torch import nn
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import Cache
from transformers.generation.streamers import BaseStreamer

from .kv_cache import roomy_cache
from .modeling_phi3_v import Phi3VForCausalLM

# The quickest on an H200. Rows and columns of a weight that one program reads at a time, and its warps:
NORMED, GATED, ADDED = (2, 1024, 4), (2, 1024, 4), (4, 1024, 4)
SPLITS, POSITIONS, WARPS = 32, 32, 2  # parts of a sequence attended to in parallel, positions read at a time, warps
ROOM = 512  # positions made ready at a time


class FastDecoder:
    """Decodes with one model on one CUDA GPU, one sequence at a time.

    A graph is recorded once: it finds the caches by a table of addresses, so any cache can be gone on with.
    """

    def __init__(self, model: Phi3VForCausalLM):
        config, weight = model.config, model.lm_head.weight
        self.model = model
        heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.head_size = config.hidden_size // heads
        new = lambda *shape, **kind: torch.zeros(*shape, **{"dtype": weight.dtype, "device": weight.device, **kind})  # noqa: E731
        self.token, self.position = new(1, dtype=torch.long), new(1, dtype=torch.long)
        self.rooms = new(config.num_hidden_layers, 3, dtype=torch.long)
        self.x, self.qkv = new(1, config.hidden_size), new((heads + 2 * kv_heads) * self.head_size)
        self.partial = new(heads, SPLITS, self.head_size + 2, dtype=torch.float32)
        self.attended, self.activated = new(heads * self.head_size), new(config.intermediate_size)
        self.logits = new(1, config.vocab_size)
        self.graph: torch.cuda.CUDAGraph | None = None

    @staticmethod
    def suits(model: Phi3VForCausalLM) -> bool:
        """Whether the kernels compute what this model does."""
        config, layer = model.config, model.model.layers[0]
        return (
            model.device.type == "cuda"
            and config.hidden_act == "silu"
            and type(layer.self_attn.qkv_proj) is type(layer.mlp.down_proj) is nn.Linear
            and (config.sliding_window or config.max_position_embeddings) >= config.max_position_embeddings
        )

    @torch.inference_mode()
    def agrees(self) -> bool:
        """Compile the kernels and compare with the model itself: whether both give the same logits but for rounding.

        The first time on a machine it takes seconds; Triton keeps what it has compiled.
        """
        ids = torch.arange(8, device=self.x.device)[None]
        cache = roomy_cache(self.model.config.num_hidden_layers)
        expected = self.model(ids, past_key_values=cache).logits[0, -1].float()
        self.position.fill_(7)
        self.token.copy_(ids[0, -1:])
        self._reserve(cache, 7, 8)
        self.step()
        difference = (self.logits[0].float() - expected).norm() / expected.norm()
        return bool(difference < 0.1)  # bfloat16 at full size: 0.05

    @torch.inference_mode()
    def record(self) -> None:
        """Record the graph of a step; `agrees` must have compiled the kernels."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self.step()
        self.graph = graph

    def step(self) -> None:
        """Read `token` at `position`; write its keys and values, `logits`, and the next `token` and `position`."""
        from . import decode_kernels as kernels  # Triton comes with CUDA builds of torch only

        config, decoder = self.model.config, self.model.model
        size, inner, eps = config.hidden_size, config.intermediate_size, config.rms_norm_eps
        heads, kv_heads, head = config.num_attention_heads, config.num_key_value_heads, self.head_size
        head_block = 1 << (head - 1).bit_length()

        def normed(norm, weight, out, rows, gated=False):
            block, step, warps = GATED if gated else NORMED
            kernels.normed_product[(-(-rows // block),)](
                self.x, norm.weight, weight, out, eps, rows, size, gated, block, step, num_warps=warps
            )

        def added(a, weight):
            block, step, warps = ADDED
            kernels.added_product[(-(-size // block),)](
                a, weight, self.x, size, a.numel(), block, step, num_warps=warps
            )

        torch.index_select(decoder.embed_tokens.weight, 0, self.token, out=self.x)
        cos, sin = decoder.rotary_emb(self.x, self.position[None])
        for layer, rooms in zip(decoder.layers, self.rooms, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            normed(layer.input_layernorm, attention.qkv_proj.weight, self.qkv, self.qkv.numel())
            kernels.attention[(heads, SPLITS)](
                self.qkv, cos, sin, rooms, self.position, self.partial, head**-0.5, head, heads, kv_heads, SPLITS,
                head_block, POSITIONS, num_warps=WARPS,
            )  # fmt: skip
            kernels.combine[(heads,)](self.partial, self.attended, head, SPLITS, head_block, num_warps=4)
            added(self.attended, attention.o_proj.weight)
            normed(layer.post_attention_layernorm, mlp.gate_up_proj.weight, self.activated, inner, gated=True)
            added(self.activated, mlp.down_proj.weight)
        normed(decoder.norm, self.model.lm_head.weight, self.logits, config.vocab_size)
        torch.argmax(self.logits, -1, out=self.token)
        self.position += 1

    @torch.inference_mode()
    def __call__(
        self,
        model: Phi3VForCausalLM,
        input_ids: torch.LongTensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        *,
        streamer: BaseStreamer,
        **model_kwargs,
    ) -> torch.LongTensor:
        """What `generate` calls to make the tokens."""
        cache, count, longest = model_kwargs["past_key_values"], input_ids.shape[1], generation_config.max_length
        limit = model.config.original_max_position_embeddings
        ids = input_ids.new_zeros(1, longest)
        ids[:, :count] = input_ids
        known = ids.cpu()
        arriving = torch.zeros(1, dtype=torch.long, pin_memory=ids.is_cuda)
        arrived = torch.cuda.Event() if ids.is_cuda else None

        def pick(logits: torch.Tensor) -> torch.Tensor:
            scores = logits_processor(ids[:, :count], logits.float())
            return torch.multinomial(scores.softmax(-1), 1)[0] if generation_config.do_sample else scores.argmax(-1)

        as_the_graph_picks = not generation_config.do_sample and not logits_processor
        done = False
        while not done:
            prompt = ids[:, :count].clone()
            grown = {"attention_mask": torch.ones_like(prompt), "position_ids": torch.arange(count).to(prompt)[None]}
            outputs = model._prefill(prompt, generation_config, model_kwargs | grown)
            self.token.copy_(pick(outputs.logits[:, -1]))
            del outputs
            self.position.fill_(count)
            room, last = 0, limit if count <= limit else longest
            while True:
                ids[:, count] = self.token
                arriving.copy_(self.token, non_blocking=True)
                if arrived:
                    arrived.record()
                # The token is on its way; the next one is begun before it has come. It can't be at the end, nor where
                # all keys have to be rotated anew.
                goes_on = count + 1 < longest and count < last
                if goes_on:
                    if count >= room:
                        room = self._reserve(cache, count, min(count + ROOM, longest))
                    self.graph.replay() if self.graph else self.step()
                if arrived:
                    arrived.synchronize()
                known[:, count] = arriving
                count += 1
                streamer.put(known[0, count - 1 : count])
                done = bool(stopping_criteria(known[:, :count], None))
                if done or not goes_on:
                    break
                if not as_the_graph_picks:
                    self.token.copy_(pick(self.logits))
            for layer in cache.layers:
                layer.set_length(count if goes_on else count - 1)
        streamer.end()
        return known[:, :count]

    def _reserve(self, cache: Cache, length: int, wanted: int) -> int:
        """Make room for positions after the first; returns how many there is room for in all."""
        for layer in cache.layers:
            layer.set_length(length)
            layer.reserve(wanted)
        rooms = [layer.room for layer in cache.layers]
        table = [[keys.data_ptr(), values.data_ptr(), keys.shape[2]] for keys, values in rooms]
        self.rooms.copy_(torch.tensor(table), non_blocking=True)
        return rooms[0][0].shape[2]
