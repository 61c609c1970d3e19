"""The decoder's forward pass for one sequence, in as few operations as torch has for it.

What `Phi3ForCausalLM.forward` computes, layer by layer with its own weights and its own attention, without what serves
batches, padding, training and the many ways of being called. For a few tokens that is most of the time; for a whole
prompt a quarter.
"""

from contextlib import nullcontext
from types import ModuleType

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import pad, rms_norm, silu
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from ..modeling_phi3_v import Phi3VForCausalLM

# cuDNN's attention is the fastest, but plans for 60 ms to 1.6 s whenever it meets a new shape. So it is left to the
# image tower, and to prompts filled up to a multiple of so many rows.
ROW_STEP = 128
OF_ANY_SHAPE = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def suits(model: Phi3VForCausalLM) -> bool:
    """Whether `lean_forward` computes what this model does."""
    config = model.config
    return (
        config.hidden_act == "silu"
        and config._attn_implementation in ("sdpa", "flash_attention_2")
        and (config.sliding_window or config.max_position_embeddings) >= config.max_position_embeddings
    )


def is_small(model: Phi3VForCausalLM) -> bool:
    """Whether a token takes less to compute than threads take to wait for each other."""
    return model.num_parameters() < 50_000_000


def lay_out(model: Phi3VForCausalLM) -> None:
    """Store wide weights by columns: on a CPU a small one's product with one token then takes half the time."""
    for module in [*model.model.layers.modules(), model.lm_head]:
        if isinstance(module, nn.Linear) and module.out_features > module.in_features:
            module.weight.data = module.weight.data.T.contiguous().T


def lean_forward(
    model: Phi3VForCausalLM, embeds: torch.Tensor, cache: Cache, between: ModuleType | None = None, room: int = 0
) -> torch.Tensor:
    """Logits (1, vocabulary) of the last of some tokens.

    Args:
        embeds: (tokens, hidden size), of the tokens that follow those in the cache.
        cache: of `RoomyLayer`s; the tokens' keys and values are added to it.
        between: `prompt_kernels`, to compute with them what lies between the matrix products.
        room: positions that the cache shall have room for afterwards.
    """
    config, decoder = model.config, model.model
    attend = AttentionInterface()[config._attn_implementation]
    tokens, length, heads = len(embeds), cache.get_seq_length(), config.num_attention_heads
    by_sdpa = config._attn_implementation == "sdpa"
    filled_up = between is not None and by_sdpa and not length
    rows = -(-tokens // ROW_STEP) * ROW_STEP if filled_up else tokens
    # Rows that don't count are anywhere, but not where keys would be rotated otherwise.
    positions = torch.arange(length, length + rows, device=embeds.device).clamp_(max=length + tokens - 1)
    cos, sin = decoder.rotary_emb(embeds, positions[None])
    mask = None
    if tokens > 1 and length and by_sdpa:  # else the kernels know what is meant
        mask = torch.ones(tokens, length + tokens, dtype=torch.bool, device=embeds.device).tril_(length)[None, None]
    half = cos.shape[-1] // 2
    sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)  # as what is multiplied with the other half wants it
    turn_and_keep, gated = (between.turn_and_keep, between.gated) if between else (_turn_and_keep, _gated)
    empty = embeds.new_empty(1, config.num_key_value_heads, 0, cos.shape[-1])
    x = pad(embeds, (0, 0, 0, rows - tokens))
    with sdpa_kernel([*OF_ANY_SHAPE, SDPBackend.CUDNN_ATTENTION]) if filled_up else nullcontext():
        for layer, kept in zip(decoder.layers, cache.layers, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            qkv = attention.qkv_proj(normed(layer.input_layernorm, x)).unflatten(-1, (-1, attention.head_dim))
            if not kept.is_initialized:
                kept.lazy_initialization(empty, empty)
            kept.reserve(max(room, length + tokens))
            turned = turn_and_keep(qkv, cos[0], sin[0], kept.room, length, tokens)
            kept.set_length(length + tokens)
            is_last = layer is decoder.layers[-1]  # of the other tokens only keys and values were wanted
            if filled_up:
                attended = _among_themselves(attend, attention, turned, qkv)
            else:
                q = turned[-1:, :heads] if is_last else turned[:, :heads]
                q, seen = q.transpose(0, 1)[None], None if is_last else mask
                attended, _ = attend(attention, q, kept.keys, kept.values, seen, scaling=attention.scaling)
            attended = attended[0].flatten(1)
            if is_last:
                attended, x = attended[min(len(attended), tokens) - 1 :][:1], x[tokens - 1 :][:1]
            add_linear(x, attended, attention.o_proj)
            del qkv, turned, attended  # what comes next takes most memory
            add_linear(x, gated(mlp.gate_up_proj(normed(layer.post_attention_layernorm, x))), mlp.down_proj)
    return model.lm_head(normed(decoder.norm, x))


@torch.inference_mode()
def plan_attention(model: Phi3VForCausalLM, rows: int) -> None:
    """Have the attention of prompts that are filled up to so many rows planned, on this thread."""
    config, attention = model.config, model.model.layers[0].self_attn
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    qkv = torch.zeros(rows, heads + 2 * kv_heads, attention.head_dim, dtype=model.dtype, device=model.device)
    turned = qkv[:, : heads + kv_heads].contiguous()
    _among_themselves(AttentionInterface()[config._attn_implementation], attention, turned, qkv)


def _among_themselves(attend, attention: nn.Module, turned: torch.Tensor, qkv: torch.Tensor) -> torch.Tensor:
    """A prompt's attention, (1, rows, heads, head size), to what was computed of it: a cache's shape would vary."""
    kv_heads = qkv.shape[1] - turned.shape[1]
    parts = (turned[:, :-kv_heads], turned[:, -kv_heads:], qkv[:, -kv_heads:])
    q, k, v = (part.transpose(0, 1)[None] for part in parts)
    return attend(attention, q, k, v, None, scaling=attention.scaling)[0]


def close(result: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two results of the same computation differ by rounding alone; bfloat16 at full size: 0.05."""
    return bool((result.float() - expected.float()).norm() < 0.1 * expected.float().norm())


def _turn_and_keep(qkv, cos, sin, room, begin, count):
    """As `prompt_kernels.turn_and_keep`."""
    keys, values = room
    kv_heads = keys.shape[1]
    turned, v = qkv.split((qkv.shape[1] - kv_heads, kv_heads), 1)
    turned = turned * cos[:, None] + turned.roll(qkv.shape[-1] // 2, -1) * sin[:, None]
    keys[0, :, begin : begin + count] = turned[:count, -kv_heads:].transpose(0, 1)
    values[0, :, begin : begin + count] = v[:count].transpose(0, 1)
    return turned


def _gated(gate_up: torch.Tensor) -> torch.Tensor:
    """As `prompt_kernels.gated`."""
    gate, up = gate_up.chunk(2, -1)
    return silu(gate).mul_(up)


def normed(norm: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """RMSNorm."""
    return rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def add_linear(x: torch.Tensor, a: torch.Tensor, linear: nn.Module) -> None:
    """x += linear(a), in one operation where there is one."""
    if type(linear) is nn.Linear:
        x.addmm_(a, linear.weight.T)
    else:
        x += linear(a)
