"""What the hardware allows: its bandwidth and matrix rate, measured, and what a model must move and multiply."""

import time
from dataclasses import dataclass

import torch

from phi3v.engine.quantize import QuantizedLinear


@dataclass(frozen=True)
class Limits:
    """Bytes a second that a copy moves (read and written), floating-point operations a second of a matrix product."""

    bandwidth: float
    matrix_rate: float

    def decode_seconds(self, model, tokens: int) -> float:
        """Of one token after `tokens` others: every weight of the decoder and every key and value is read once."""
        return (_decoder_bytes(model) + tokens * kv_bytes(model)) / self.bandwidth

    def first_token_seconds(self, model, tokens: int, crops: int) -> float:
        """Of a prompt with so many crops: two operations for each weight that a token or patch meets, and four for
        each pair of them and hidden channel, of which the decoder's causal mask leaves half."""
        config, vision = model.config, model.config.vision_config
        tower = model.model.vision_embed_tokens.layers
        patches = (vision.image_size // vision.patch_size) ** 2 + 1
        decoder = 2 * _numel(model.model.layers) * tokens
        decoder += 2 * config.num_hidden_layers * config.hidden_size * tokens**2
        image_tower = 2 * _numel(tower) * patches + 4 * len(tower) * vision.hidden_size * patches**2
        return (decoder + crops * image_tower) / self.matrix_rate


def measure(device: torch.device, dtype: torch.dtype) -> Limits:
    """The limits of this device."""
    on_gpu = device.type == "cuda"
    source = torch.empty(2**31 if on_gpu else 2**28, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    copy = _best_seconds(lambda: target.copy_(source), device)
    size = 8192 if on_gpu else 1024
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = _best_seconds(lambda: left @ right, device)
    return Limits(2 * source.nbytes / copy, 2 * size**3 / product)


def kv_bytes(model) -> int:
    """Bytes of one token's keys and values."""
    config = model.config
    size = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * size * model.dtype.itemsize


def _decoder_bytes(model) -> int:
    read = [model.model.layers, model.lm_head]
    return sum(tensor.nbytes for module in read for tensor in [*module.parameters(), *module.buffers()])


def _numel(module: torch.nn.Module) -> int:
    quantized = [part for part in module.modules() if isinstance(part, QuantizedLinear)]
    numel = sum(parameter.numel() for parameter in module.parameters())
    return numel + sum(part.weight.nbytes * 8 // part.bits for part in quantized)


def _best_seconds(function, device: torch.device, times: int = 10) -> float:
    seconds = []
    for _ in range(times):
        synchronize(device)
        began = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
