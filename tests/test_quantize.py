"""Weights of 8 and 4 bits. Their kernels are interpreted, on a CPU."""

import pytest
import torch
from conftest import EXAMPLES
from PIL import Image

from phi3v import Phi3Vision
from phi3v.engine.fast import prompt_kernels
from phi3v.engine.fast.decode_graph import DecodeGraph
from phi3v.engine.quantize import QuantizedLinear


@pytest.mark.parametrize(("bits", "error"), [(8, 0.01), (4, 0.11)])
def test_a_product_is_nearly_the_same_in_a_part_of_the_memory(bits, error):
    weight, x = torch.randn(48, 320), torch.randn(3, 320)
    weight[5] = 0
    linear = QuantizedLinear(weight, bits)
    exact = x @ weight.T
    assert (linear(x) - exact).norm() < error * exact.norm()
    assert linear(x)[:, 5].eq(0).all()
    assert linear.weight.nbytes == weight.numel() * bits // 8
    by_kernel = prompt_kernels.unpacked(linear.weight, linear.scale, bits)
    torch.testing.assert_close(by_kernel, linear.unpack(linear.weight, linear.scale, bits))


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_it_still_reads(kind):
    engine = Phi3Vision.from_pretrained(dtype="float32", quantize=kind)
    sign = Image.open(EXAMPLES / "street_sign.png").convert("RGB")
    assert engine.answer("What does the sign say?", [sign]).text == "Maple Avenue"
    assert engine.precision == f"{kind} and float32"


@pytest.mark.parametrize("kind", ["int8", "int4"])
def test_the_graph_computes_the_same(kind, few_large_blocks):
    assert DecodeGraph(Phi3Vision.from_pretrained(dtype="float32", quantize=kind).model).agrees()
