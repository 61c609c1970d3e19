"""Embeddings of an image, from pixels to what the decoder takes: CUDA graphs, one for each arrangement of crops.

Launched one by one, its 300 operations take nearly as long to launch as to run, and the prompt's wait behind them.
"""

import math
from dataclasses import dataclass

import torch

from ...model.image_processing_phi3_v import CROP, Phi3VImageProcessor, num_image_tokens
from ...model.modeling_phi3_v import Phi3VForCausalLM
from .decode_graph import recorded


@dataclass
class _Recorded:
    """A graph, and where it reads pixels and writes embeddings."""

    pixels: torch.Tensor
    graph: torch.cuda.CUDAGraph
    embeds: torch.Tensor


class ImageGraphs:
    """Computes embeddings of one image at a time, on any device; a CUDA GPU replays what was recorded.

    Attributes:
        grids: arrangements of crops, (rows, columns), those of most crops first.
    """

    def __init__(self, model: Phi3VForCausalLM, processor: Phi3VImageProcessor, most_crops: int):
        self.model = model
        self.processor = processor
        pairs = [(rows, columns) for rows in range(1, most_crops + 1) for columns in range(1, most_crops // rows + 1)]
        self.grids = sorted(pairs, key=math.prod, reverse=True)
        self._graphs: dict[tuple[int, int], _Recorded] = {}

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Embeddings (image positions, hidden size) of an image as of `Phi3VImageProcessor.hd_pixels`."""
        known = self._graphs.get((pixels.shape[1] // CROP, pixels.shape[2] // CROP))
        if known is None:
            return self._embed(pixels)
        known.pixels.copy_(pixels)
        known.graph.replay()
        return known.embeds.clone()

    @torch.inference_mode()
    def record(self, grid: tuple[int, int], pool: tuple[int, int]) -> None:
        """Record the graph of one of the grids on the thread that will replay it.

        Args:
            pool: as of `recorded`.
        """
        if not self._graphs:
            device, dtype = self.model.device, self.model.dtype
            tokens = max(num_image_tokens(rows * CROP, columns * CROP) for rows, columns in self.grids)
            self._pixels = torch.zeros(3 * math.prod(self.grids[0]) * CROP**2, dtype=torch.uint8, device=device)
            self._embeds = torch.empty(tokens, self.model.config.hidden_size, dtype=dtype, device=device)
        height, width = (CROP * count for count in grid)
        pixels = self._pixels[: 3 * height * width].view(3, height, width)
        embeds = self._embeds[: num_image_tokens(height, width)]
        self._graphs[grid] = _Recorded(pixels, recorded(lambda: embeds.copy_(self._embed(pixels)), pool), embeds)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        crops = pixels.shape[1] * pixels.shape[2] // CROP**2
        inputs = self.processor.preprocess([pixels], crops, do_resize=False, device=pixels.device)
        return self.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"])
