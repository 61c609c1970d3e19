"""The decoder's forward pass for one sequence, in as few operations as torch has for it.

What `Phi3ForCausalLM.forward` computes, layer by layer with its own weights and its own attention, without what serves
batches, padding, training and the many ways of being called. For a few tokens that is most of the time; for a whole
prompt a quarter.
"""

from types import ModuleType

import torch
from torch import nn
from torch.nn.functional import rms_norm, silu
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from ..modeling_phi3_v import Phi3VForCausalLM


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
    tokens, length = len(embeds), cache.get_seq_length()
    cos, sin = decoder.rotary_emb(embeds, torch.arange(length, length + tokens, device=embeds.device)[None])
    mask = None
    if tokens > 1 and length and config._attn_implementation == "sdpa":  # else the kernels know what is meant
        mask = torch.ones(tokens, length + tokens, dtype=torch.bool, device=embeds.device).tril_(length)[None, None]
    half = cos.shape[-1] // 2
    sin = torch.cat((-sin[..., :half], sin[..., half:]), -1)  # as what is multiplied with the other half wants it
    turn_and_keep, gated = (between.turn_and_keep, between.gated) if between else (_turn_and_keep, _gated)
    empty = embeds.new_empty(1, config.num_key_value_heads, 0, cos.shape[-1])
    x = embeds.clone()
    for layer, kept in zip(decoder.layers, cache.layers, strict=True):
        attention, mlp = layer.self_attn, layer.mlp
        qkv = attention.qkv_proj(normed(layer.input_layernorm, x)).unflatten(-1, (-1, attention.head_dim))
        if not kept.is_initialized:
            kept.lazy_initialization(empty, empty)
        kept.reserve(max(room, length + tokens))
        q = turn_and_keep(qkv, cos[0], sin[0], kept.room, length)
        kept.set_length(length + tokens)
        if layer is decoder.layers[-1]:  # of the others only keys and values were wanted
            q, x, mask = q[-1:], x[-1:], None
        attended, _ = attend(
            attention, q.transpose(0, 1)[None], kept.keys, kept.values, mask, scaling=attention.scaling
        )
        add_linear(x, attended.reshape(len(x), -1), attention.o_proj)
        del qkv, q, attended  # what comes next takes most memory
        add_linear(x, gated(mlp.gate_up_proj(normed(layer.post_attention_layernorm, x))), mlp.down_proj)
    return model.lm_head(normed(decoder.norm, x[-1:]))


def close(result: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two results of the same computation differ by rounding alone; bfloat16 at full size: 0.05."""
    return bool((result.float() - expected.float()).norm() < 0.1 * expected.float().norm())


def _turn_and_keep(qkv, cos, sin, room, begin):
    """As `prompt_kernels.turn_and_keep`."""
    (keys, values), tokens = room, len(qkv)
    kv_heads = keys.shape[1]
    turned, v = qkv.split((qkv.shape[1] - kv_heads, kv_heads), 1)
    turned = turned * cos[:, None] + turned.roll(qkv.shape[-1] // 2, -1) * sin[:, None]
    keys[0, :, begin : begin + tokens] = turned[:, -kv_heads:].transpose(0, 1)
    values[0, :, begin : begin + tokens] = v.transpose(0, 1)
    return turned[:, :-kv_heads]


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
