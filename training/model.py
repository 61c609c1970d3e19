"""The model as it is trained: parameters named as in the checkpoint, computed in a way that is fast to train.

The pieces work on flat (tokens, size) tensors, so that `torch.compile` compiles each once for all layers and batches.
Several questions about the same images share the computation of everything before them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right

from .canvas import CHARACTERS, SEGMENTS, SLOTS
from .geometry import CELLS, CROP, PATCH, PATCHES, Layout

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HEAD = 64  # size of an attention head, in both towers


@dataclass(frozen=True)
class Shape:
    """Sizes of the model. ``vision_layers`` are those that are used; the checkpoint holds one more, as CLIP does."""

    vision: int = 256
    vision_mlp: int = 1024
    vision_layers: int = 7
    hidden: int = 320
    mlp: int = 896
    layers: int = 6
    vocabulary: int = 1024


class Group(nn.Module):
    """A place in the checkpoint's names."""

    def __init__(self, **members: nn.Module | Tensor):
        super().__init__()
        for name, member in members.items():
            if isinstance(member, nn.Module):
                self.add_module(name, member)
            else:
                self.register_parameter(name, nn.Parameter(member))


def _linear(inputs: int, outputs: int, bias: bool = True, std: float | None = None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=inputs**-0.5 if std is None else std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def _positions(side: int, size: int) -> Tensor:
    """Sines and cosines of row and column: where position embeddings begin. The class token comes first."""
    quarter = size // 4
    omega = 1.0 / (40 ** (torch.arange(quarter) / max(1, quarter - 1)))
    t = torch.arange(side).float()[:, None] * omega[None]
    e = torch.cat([t.sin(), t.cos()], 1)
    grid = torch.cat([e[:, None].expand(side, side, -1), e[None].expand(side, side, -1)], -1).reshape(side * side, -1)
    return torch.cat([torch.zeros(1, grid.shape[1]), grid]) * 0.5


def _vision_layer(s: Shape) -> Group:
    d, scale = s.vision, (2 * s.vision_layers) ** -0.5
    attention = Group(
        q_proj=_linear(d, d), k_proj=_linear(d, d), v_proj=_linear(d, d), out_proj=_linear(d, d, std=d**-0.5 * scale)
    )
    mlp = Group(fc1=_linear(d, s.vision_mlp), fc2=_linear(s.vision_mlp, d, std=s.vision_mlp**-0.5 * scale))
    return Group(self_attn=attention, layer_norm1=nn.LayerNorm(d), layer_norm2=nn.LayerNorm(d), mlp=mlp)


def _text_layer(s: Shape) -> Group:
    e, scale = s.hidden, (2 * s.layers) ** -0.5
    return Group(
        self_attn=Group(
            qkv_proj=_linear(e, 3 * e, False), o_proj=_linear(e, e, False, std=e**-0.5 * scale)
        ),
        mlp=Group(
            gate_up_proj=_linear(e, 2 * s.mlp, False), down_proj=_linear(s.mlp, e, False, std=s.mlp**-0.5 * scale)
        ),
        input_layernorm=Group(weight=torch.ones(e)),
        post_attention_layernorm=Group(weight=torch.ones(e)),
    )  # fmt: skip


# Compiled pieces -----------------------------------------------------------------------------------------------------


def _norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return functional.layer_norm(x.float(), (x.shape[-1],), w, b, 1e-5).to(x.dtype)


def rms_norm(x: Tensor, w: Tensor) -> Tensor:
    """RMS norm in float32."""
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5) * w).to(x.dtype)


def vision_in(x, lw, lb, wq, bq, wk, bk, wv, bv):
    """Norm and queries, keys, values of the image tower."""
    h, t = _norm(x, lw, lb), x.dtype
    return tuple(functional.linear(h, w.to(t), b.to(t)) for w, b in ((wq, bq), (wk, bk), (wv, bv)))


def vision_out(x, attended, wo, bo, lw, lb, w1, b1, w2, b2):
    """The rest of a layer of the image tower."""
    t = x.dtype
    x = x + functional.linear(attended, wo.to(t), bo.to(t))
    h = functional.linear(_norm(x, lw, lb), w1.to(t), b1.to(t))
    return x + functional.linear(h * torch.sigmoid(1.702 * h), w2.to(t), b2.to(t))


def text_in(x, norm, w, cos, sin):
    """Norm, queries and keys with their rotation, and values of the decoder: (tokens, heads, HEAD) each."""
    q, k, v = functional.linear(rms_norm(x, norm), w.to(x.dtype)).view(x.shape[0], 3, -1, HEAD).unbind(1)
    c, s = cos[:, None], sin[:, None]

    def rotate(t):
        a, b = t[..., : HEAD // 2].float(), t[..., HEAD // 2 :].float()
        return torch.cat([a * c - b * s, b * c + a * s], -1).to(x.dtype)

    return rotate(q), rotate(k), v.contiguous()


def text_out(x, attended, wo, norm, gate_up, down):
    """The rest of a layer of the decoder."""
    x = x + functional.linear(attended, wo.to(x.dtype))
    gate, up = functional.linear(rms_norm(x, norm), gate_up.to(x.dtype)).chunk(2, -1)
    return x + functional.linear(functional.silu(gate) * up, down.to(x.dtype))


def project(x, w1, b1, w2, b2):
    """Merged patches to the decoder's size."""
    t = x.dtype
    return functional.linear(functional.gelu(functional.linear(x, w1.to(t), b1.to(t))), w2.to(t), b2.to(t))


def classify(features, w, b, labels, emphasis, blank: float):
    """Cross-entropy of several labels a row, and the share of the labels that is right.

    A label weighs what its row's ``emphasis`` says; 0 stands for none, which weighs ``blank``.
    """
    logits = functional.linear(features, w.to(features.dtype), b.to(features.dtype)).float()
    logits = logits.view(features.shape[0], labels.shape[1], -1)
    labels = labels.long()
    loss = torch.logsumexp(logits, -1) - logits.gather(-1, labels[..., None])[..., 0]
    seen = (labels > 0).float()
    weight = seen * emphasis[:, None] + (1 - seen) * blank
    right = ((logits.argmax(-1) == labels).float() * seen).sum() / seen.sum().clamp(min=1)
    return (loss * weight).sum() / (weight.sum() + 1e-6), right.detach()


_PIECES = {f.__name__: f for f in (vision_in, vision_out, text_in, text_out, project, classify)}
_running = dict(_PIECES)


def compile_pieces(on: bool = True) -> None:
    """Compile the pieces, or go back to running them as they are (for evaluation, which has other shapes)."""
    if on:
        torch._dynamo.config.cache_size_limit = 64
    for name, f in _PIECES.items():
        _running[name] = torch.compile(f) if on else f


def piece(name: str, *args):
    """Run a piece. The number of tokens is dynamic; everything else is fixed."""
    f = _running[name]
    if f is not _PIECES[name]:
        for t in args:
            if torch.is_tensor(t) and not isinstance(t, nn.Parameter) and t.shape[0] == args[0].shape[0]:
                torch._dynamo.maybe_mark_dynamic(t, 0)
    return f(*args)


def check_attention(device: torch.device, dtype: torch.dtype) -> None:
    """Make sure that a text sees its whole prefix: kernels differ in where a mask that isn't square begins."""
    q, k = (
        torch.randn(2, 2, 5, HEAD, device=device, dtype=dtype),
        torch.randn(2, 2, 9, HEAD, device=device, dtype=dtype),
    )
    mask = torch.ones(5, 9, dtype=torch.bool, device=device).tril(4)
    expected = functional.scaled_dot_product_attention(q, k, k, attn_mask=mask)
    got = functional.scaled_dot_product_attention(q, k, k, attn_mask=causal_lower_right(5, 9))
    if not torch.allclose(got.float(), expected.float(), atol=3e-2):
        raise RuntimeError("causal_lower_right attention is wrong on this device")


# The model -----------------------------------------------------------------------------------------------------------


class PreviewModel(nn.Module):
    """Phi-3-Vision in small, with heads that only training uses (``aux``)."""

    def __init__(self, shape: Shape, dtype: torch.dtype = torch.float32):
        super().__init__()
        s = self.shape = shape
        self.dtype = dtype
        d, e = s.vision, s.hidden
        tower = Group(
            embeddings=Group(
                class_embedding=torch.randn(d) * 0.02,
                patch_embedding=nn.Conv2d(3, d, PATCH, PATCH, bias=False),
                position_embedding=nn.Embedding(PATCHES**2 + 1, d),
            ),
            pre_layrnorm=nn.LayerNorm(d),
            encoder=Group(layers=nn.ModuleList(_vision_layer(s) for _ in range(s.vision_layers))),
        )
        nn.init.normal_(tower.embeddings.patch_embedding.weight, std=(3 * PATCH**2) ** -0.5)
        with torch.no_grad():
            tower.embeddings.position_embedding.weight.copy_(_positions(PATCHES, d))
        self.model = Group(
            embed_tokens=nn.Embedding(s.vocabulary, e),
            vision_embed_tokens=Group(
                img_processor=Group(vision_model=tower),
                glb_GN=torch.randn(1, 1, 4 * d) * 0.1,
                sub_GN=torch.randn(1, 1, 1, 4 * d) * 0.1,
                img_projection=nn.Sequential(_linear(4 * d, e), nn.GELU(), _linear(e, e)),
            ),
            layers=nn.ModuleList(_text_layer(s) for _ in range(s.layers)),
            norm=Group(weight=torch.ones(e)),
        )
        nn.init.normal_(self.model.embed_tokens.weight, std=0.5)
        self.lm_head = _linear(e, s.vocabulary, False, std=0.5 * e**-0.5)
        self.aux = Group(
            characters=_linear(d, SLOTS * CHARACTERS, std=0.02),
            cells=_linear(e, 4 * SLOTS * CHARACTERS, std=0.02),
            shapes=_linear(d, SEGMENTS, std=0.02),
            changed=_linear(e, 1, std=0.02),
        )
        frequencies = 1.0 / (10000 ** (torch.arange(0, HEAD, 2).float() / HEAD))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def crops(self, pixels: Tensor, layout: Layout, noisy: bool = False) -> Tensor:
        """Padded images, uint8 (n, height, width, 3), to normalised crops (n, all, 3, 336, 336), global first."""
        w, h = layout
        n, device = pixels.shape[0], pixels.device
        mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (MEAN, STD))
        x = (pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std
        if noisy:
            amount = (torch.rand(n, 1, 1, 1, device=device) < 0.2) * torch.rand(n, 1, 1, 1, device=device) * 0.2
            x = x + torch.randn_like(x[:, :1]) * amount
            some = (torch.rand(n, 1, 1, 1, device=device) < 0.25).float()
            x = x * (1 + some * (torch.rand_like(some) - 0.5) * 0.3) + some * (torch.rand_like(some) - 0.5) * 0.3
        if w * h == 1:  # the global view is the crop: it is encoded once
            return x[:, None].to(self.dtype)
        whole = functional.interpolate(x, size=(CROP, CROP), mode="bicubic")
        parts = x.view(n, 3, h, CROP, w, CROP).permute(0, 2, 4, 1, 3, 5).reshape(n, h * w, 3, CROP, CROP)
        return torch.cat([whole[:, None], parts], 1).to(self.dtype)

    def encode(self, crops: Tensor) -> Tensor:
        """(n, 3, 336, 336) to patch features (n, 576, vision): the layer before CLIP's last."""
        tower, n, d = self.model.vision_embed_tokens.img_processor.vision_model, crops.shape[0], self.shape.vision
        e, t = tower.embeddings, self.dtype
        x = crops.view(n, 3, PATCHES, PATCH, PATCHES, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(n * PATCHES**2, -1)
        x = functional.linear(x, e.patch_embedding.weight.to(t).reshape(d, -1)).view(n, -1, d)
        x = torch.cat([e.class_embedding.to(t).expand(n, 1, d), x], 1) + e.position_embedding.weight.to(t)
        tokens = x.shape[1]
        x = _norm(x, tower.pre_layrnorm.weight, tower.pre_layrnorm.bias).reshape(n * tokens, d)
        for layer in tower.encoder.layers:
            a, n1, n2, m = layer.self_attn, layer.layer_norm1, layer.layer_norm2, layer.mlp
            parts = piece("vision_in", x, n1.weight, n1.bias, a.q_proj.weight, a.q_proj.bias, a.k_proj.weight,
                          a.k_proj.bias, a.v_proj.weight, a.v_proj.bias)  # fmt: skip
            q, k, v = (y.view(n, tokens, -1, HEAD).transpose(1, 2) for y in parts)
            o = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n * tokens, d)
            x = piece("vision_out", x, o, a.out_proj.weight, a.out_proj.bias, n2.weight, n2.bias, m.fc1.weight,
                      m.fc1.bias, m.fc2.weight, m.fc2.bias)  # fmt: skip
        return x.view(n, tokens, d)[:, 1:]

    def visual_tokens(self, features: Tensor, layout: Layout) -> Tensor:
        """Features (n, 1 + crops, 576, vision) to the decoder's visual tokens (n, tokens, hidden)."""
        ve, (w, h), d = self.model.vision_embed_tokens, layout, self.shape.vision
        n, per = features.shape[:2]
        f = features.reshape(n, per, CELLS, 2, CELLS, 2, d).permute(0, 1, 2, 4, 3, 5, 6)
        f = f.reshape(n, per, CELLS, CELLS, 4 * d)
        sub = f[:, -w * h :].reshape(n, h, w, CELLS, CELLS, 4 * d).permute(0, 1, 3, 2, 4, 5)
        sub = sub.reshape(n, h * CELLS, w * CELLS, 4 * d)
        end = ve.sub_GN.to(self.dtype)
        sub = torch.cat([sub, end.expand(n, h * CELLS, 1, 4 * d)], 2).reshape(n, -1, 4 * d)
        whole = torch.cat([f[:, 0], end.expand(n, CELLS, 1, 4 * d)], 2).reshape(n, -1, 4 * d)
        x = torch.cat([sub, ve.glb_GN.to(self.dtype).expand(n, 1, 4 * d), whole], 1)
        p = ve.img_projection
        out = piece("project", x.reshape(-1, 4 * d), p[0].weight, p[0].bias, p[2].weight, p[2].bias)
        return out.view(n, x.shape[1], -1)

    def embed(self, ids: Tensor) -> Tensor:
        """Embeddings of token ids."""
        return functional.embedding(ids.long(), self.model.embed_tokens.weight.to(self.dtype))

    def angles(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotation at positions."""
        f = positions.float()[:, None] * self.frequencies[None]
        return f.cos(), f.sin()

    def decode(self, prefix: Tensor, text: Tensor, watch: tuple[int, ...] = (), probe: int = -1):
        """Run the decoder on prefixes (b, p, hidden) and, for each, as many texts (b * questions, t, hidden) after it.

        Returns the texts' last states; for each layer in ``watch`` the texts' queries and all keys; the prefixes'
        states after layer ``probe``; and every layer's keys and values of prefix and text.
        """
        (b, p, e), (bq, t, _) = prefix.shape, text.shape
        heads = e // HEAD
        positions = torch.cat(
            [torch.arange(p, device=prefix.device).repeat(b), torch.arange(p, p + t, device=prefix.device).repeat(bq)]
        )
        cos, sin = self.angles(positions)
        x = torch.cat([prefix.reshape(b * p, e), text.reshape(bq * t, e)])
        watched, probed, cache = [], None, []
        bias = causal_lower_right(t, p + t)

        def apart(y: Tensor) -> tuple[Tensor, Tensor]:
            before, after = y.split([b * p, bq * t])
            return before.view(b, p, heads, HEAD).transpose(1, 2), after.view(bq, t, heads, HEAD).transpose(1, 2)

        def together(before: Tensor, after: Tensor) -> Tensor:
            before = before[:, None].expand(-1, bq // b, -1, -1, -1)
            return torch.cat([before, after.unflatten(0, before.shape[:2])], 3).flatten(0, 1)

        for i, layer in enumerate(self.model.layers):
            a, m = layer.self_attn, layer.mlp
            parts = piece("text_in", x, layer.input_layernorm.weight, a.qkv_proj.weight, cos, sin)
            (qp, qt), (kp, kt), (vp, vt) = (apart(y) for y in parts)
            k, v = together(kp, kt), together(vp, vt)
            op = functional.scaled_dot_product_attention(qp, kp, vp, is_causal=True).transpose(1, 2).reshape(b * p, e)
            ot = functional.scaled_dot_product_attention(qt, k, v, attn_mask=bias).transpose(1, 2).reshape(bq * t, e)
            if i in watch:
                watched.append((qt, k))
            cache.append((k, v))
            x = piece("text_out", x, torch.cat([op, ot]), a.o_proj.weight, layer.post_attention_layernorm.weight,
                      m.gate_up_proj.weight, m.down_proj.weight)  # fmt: skip
            if i == probe:
                probed = x[: b * p].view(b, p, e)
        return x[b * p :].view(bq, t, e), watched, probed, cache

    def logits(self, states: Tensor) -> Tensor:
        """Scores of the next token, float32."""
        return functional.linear(rms_norm(states, self.model.norm.weight), self.lm_head.weight.to(self.dtype)).float()
