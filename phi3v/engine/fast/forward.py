"""The decoder's forward pass for one sequence, in as few operations as torch has for it.

What `Phi3ForCausalLM.forward` computes, layer by layer with its own weights and its own attention, without what serves
batches, padding, training and the many ways of being called. For a few tokens that is most of the time; for a whole
prompt a quarter.
"""

import threading
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from types import ModuleType

import torch
from torch import nn
from torch.nn.functional import rms_norm, silu
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from ...model.modeling_phi3_v import Phi3VForCausalLM
from ..kv_cache import addresses
from ..quantize import QuantizedLinear, unpacked


class _CudnnSwitch:
    """torch's switch for cuDNN's attention, one for the whole process: off while anybody wants it off.

    `sdpa_kernel` restores what it found, and so leaves it off for ever when two threads use it at once.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._users = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._was_on = torch.backends.cuda.cudnn_sdp_enabled()
                torch.backends.cuda.enable_cudnn_sdp(False)
            self._users += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                torch.backends.cuda.enable_cudnn_sdp(self._was_on)


_cudnn_off = _CudnnSwitch()


def without_cudnn(device: torch.device) -> AbstractContextManager:
    """Have attention of any shape computed without cuDNN on a CUDA GPU; elsewhere there is nothing to do.

    cuDNN's is the fastest, but plans for 60 ms to 1.6 s whenever it meets a new shape. So it is left to the image
    tower, whose shapes are few, and to prompts that are read by graphs. Others in the process go without it meanwhile,
    so this is for as few operations as can be.
    """
    return _cudnn_off if device.type == "cuda" else nullcontext()


def suits(model: Phi3VForCausalLM) -> bool:
    """Whether `lean_forward` computes what this model does."""
    config = model.config
    return (
        config.hidden_act == "silu"
        and config._attn_implementation in ("sdpa", "flash_attention_2")
        and (config.sliding_window or config.max_position_embeddings) >= config.max_position_embeddings
        and is_plain(model)
    )


def is_plain(model: nn.Module) -> bool:
    """Whether a layer's weight is all that there is to it: whether no other library has put its own in its place.

    The kernels read weights past a layer's own `forward`. An adapter's layer would be taken for what it is added to,
    and another library's quantised weight for numbers.
    """
    for module in model.modules():
        library = type(module).__module__.partition(".")[0]
        if library not in ("torch", "transformers", __package__.partition(".")[0]):
            return False
        if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
            return False
        if any(type(parameter.data) is not torch.Tensor for parameter in module.parameters(recurse=False)):
            return False
    linears = [linear for layer in model.model.layers for linear in _linears(layer)]
    return {type(linear) for linear in [*linears, model.lm_head]} <= {nn.Linear, QuantizedLinear}


def _linears(layer: nn.Module) -> tuple[nn.Module, ...]:
    attention, mlp = layer.self_attn, layer.mlp
    return attention.qkv_proj, attention.o_proj, mlp.gate_up_proj, mlp.down_proj


class Layers:
    """A model's modules as they are now. Asking whether they still are takes a few dozen microseconds."""

    def __init__(self, model: nn.Module):
        self.are_plain = is_plain(model)
        self._children = [(module._modules, dict(module._modules)) for module in model.modules() if module._modules]

    def are_the_same(self) -> bool:
        """Whether none was put in the place of another since."""
        return all(now == then for now, then in self._children)


def is_small(model: Phi3VForCausalLM) -> bool:
    """Whether a token takes less to compute than threads take to wait for each other."""
    return model.num_parameters() < 50_000_000


def lay_out(model: Phi3VForCausalLM) -> None:
    """Store wide weights by columns: on a CPU a small one's product with one token then takes half the time."""
    for module in [*model.model.layers.modules(), model.lm_head]:
        if type(module) is nn.Linear and module.out_features > module.in_features:
            module.weight.data = module.weight.data.T.contiguous().T


def lean_forward(
    model: Phi3VForCausalLM, embeds: torch.Tensor, cache: Cache, between: ModuleType | None = None, room: int = 0
) -> torch.Tensor:
    """Logits (1, vocabulary) of the last of some tokens.

    Args:
        embeds: (tokens, hidden size), of the tokens that follow those in the cache; overwritten.
        cache: of `RoomyLayer`s; the tokens' keys and values are added to it.
        between: `prompt_kernels`, to compute with them what lies between the matrix products.
        room: positions that the cache shall have room for afterwards.
    """
    config, decoder = model.config, model.model
    attend = AttentionInterface()[config._attn_implementation]
    tokens, length, heads = len(embeds), cache.get_seq_length(), config.num_attention_heads
    cos, sin = rotation(decoder, torch.arange(length, length + tokens, device=embeds.device), embeds)
    mask = None
    if tokens > 1 and length and config._attn_implementation == "sdpa":  # else the kernels know what is meant
        mask = torch.ones(tokens, length + tokens, dtype=torch.bool, device=embeds.device).tril_(length)[None, None]
    make_room(cache, model, length + tokens, room)
    if between:
        rooms = addresses(cache).to(embeds.device, non_blocking=True)
        place = torch.tensor([length, tokens]).to(embeds.device, non_blocking=True)
    gated = between.gated if between else _gated
    x = embeds
    for number, (layer, kept) in enumerate(zip(decoder.layers, cache.layers, strict=True)):
        attention, mlp = layer.self_attn, layer.mlp
        qkv = attention.qkv_proj(normed(layer.input_layernorm, x)).unflatten(-1, (-1, attention.head_dim))
        if between:
            q = between.turn_and_keep(qkv, cos, sin, heads, rooms[number], place)[:, :heads]
        else:
            q = _turn_and_keep(qkv, cos, sin, kept.room, length)[:, :heads]
        if layer is decoder.layers[-1]:  # of the other tokens only keys and values were wanted
            q, x, mask = q[-1:], x[-1:], None
        attended, _ = attend(
            attention, q.transpose(0, 1)[None], kept.keys, kept.values, mask, scaling=attention.scaling
        )
        add_linear(x, attended[0].flatten(1), attention.o_proj)
        del qkv, q, attended  # what comes next takes most memory
        add_linear(x, gated(mlp.gate_up_proj(normed(layer.post_attention_layernorm, x))), mlp.down_proj)
    return model.lm_head(normed(decoder.norm, x))


def rotation(decoder: nn.Module, positions: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine of positions, each (tokens, head size); `sin` negative in the first half, as what is multiplied
    with the other half wants it."""
    cos, sin = (each[0] for each in decoder.rotary_emb(like, positions[None]))
    half = sin.shape[-1] // 2
    return cos, torch.cat((-sin[:, :half], sin[:, half:]), -1)


def make_room(cache: Cache, model: Phi3VForCausalLM, length: int, room: int = 0) -> None:
    """Have a cache of so many positions, and room for more."""
    config = model.config
    heads, size = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    empty = torch.empty(1, heads, 0, size, dtype=model.dtype, device=model.device)
    for layer in cache.layers:
        if not layer.is_initialized:
            layer.lazy_initialization(empty, empty)
        layer.reserve(max(room, length))
        layer.set_length(length)


@torch.inference_mode()
def exact_logits(model: Phi3VForCausalLM, ids: torch.LongTensor) -> torch.Tensor:
    """Logits (vocabulary) of the last of some tokens, (tokens,), in float32."""
    decoder = model.model
    x = decoder.embed_tokens(ids)[None].float()
    positions = torch.arange(len(ids), device=ids.device)[None]
    turns = decoder.rotary_emb(x, positions)
    mask = torch.full((len(ids), len(ids)), float("-inf"), device=ids.device).triu_(1)[None, None]
    for layer in decoder.layers:
        x = exact(layer)(x, attention_mask=mask, position_ids=positions, position_embeddings=turns)
    return exact(model.lm_head)(exact(decoder.norm)(x[0, -1]))


def exact(module: nn.Module) -> nn.Module:
    """A copy that computes in float32. Of a layer at a time, so that a large model's memory is not doubled."""
    twin = deepcopy(module).float()
    for part in twin.modules():
        if isinstance(part, QuantizedLinear):
            part.unpack = unpacked
        if hasattr(part, "config"):
            part.config._attn_implementation = "eager"  # flash-attn has no float32
    return twin


def close(result: torch.Tensor, expected: torch.Tensor, exact: torch.Tensor) -> bool:
    """Whether a result is hardly further from what float32 gives than the model's own is.

    In bfloat16 two results of a deep model, rounded independently, are up to 5 % of their norm apart, and an adapter
    that was left out may change no more. But they are about equally far from the exact one, 0.9 to 1.3 times, and
    what was left out adds to that distance at a right angle: with those 5 %, 3.5 become 6.1.
    """
    distance, own = ((each.float() - exact).norm() for each in (result, expected))
    return bool(distance < max(1.5 * own, 0.01 * exact.norm()))


def _turn_and_keep(
    qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, room: tuple[torch.Tensor, torch.Tensor], begin: int
) -> torch.Tensor:
    """As `prompt_kernels.turn_and_keep`, of all tokens, from a position on."""
    keys, values = room
    kv_heads, end = keys.shape[1], begin + len(qkv)
    turned, v = qkv.split((qkv.shape[1] - kv_heads, kv_heads), 1)
    turned = turned * cos[:, None] + turned.roll(qkv.shape[-1] // 2, -1) * sin[:, None]
    keys[0, :, begin:end] = turned[:, -kv_heads:].transpose(0, 1)
    values[0, :, begin:end] = v.transpose(0, 1)
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
