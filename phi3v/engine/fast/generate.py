"""The loop that makes tokens, for one sequence: what `generate` calls as its `custom_generate`.

The prompt, the cache, logits processors, stopping criteria and streamer are transformers' own. On a GPU nothing waits
for it but the streamer, which gets each token while the next one is computed.
"""

from collections.abc import Callable
from types import ModuleType

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.cache_utils import Cache
from transformers.generation.streamers import BaseStreamer

from ...model.image_processing_phi3_v import CROP
from ...model.modeling_phi3_v import Phi3VForCausalLM
from ..interrupt import between_layers
from ..kv_cache import roomy_cache
from ..quantize import QuantizedLinear, unpacked
from ..threads import use_threads
from .chunk_graph import ChunkGraph
from .decode_graph import DecodeGraph
from .forward import close, exact_logits, is_small, lean_forward, without_cudnn
from .prompt_graphs import PromptGraphs
from .tower import LeanTower, exact_features

Images = list[tuple[int, torch.Tensor]]  # where in a prompt each begins, and its embeddings

ROOM = 512  # positions made ready at a time
FEW_TOKENS = 64  # for so few a small model keeps to one thread on a CPU: others gain nothing, and where something else
# runs too they wait for each other thousands of times a second


class LeanStep:
    """A step by `lean_forward`; as `DecodeGraph`, for any device."""

    def __init__(self, model: Phi3VForCausalLM):
        self.model = model
        self.token = torch.zeros(1, dtype=torch.long, device=model.device)
        self.logits = torch.empty(0)

    def reserve(self, cache: Cache, length: int, wanted: int) -> int:
        """Go on with this cache after `length` positions; returns how many there is room for in all."""
        self.cache = cache
        for layer in cache.layers:
            layer.set_length(length)
            layer.reserve(wanted)
        return wanted

    def run(self) -> None:
        """Read `token`; write its keys and values, `logits`, and the next `token`."""
        with without_cudnn(self.model.device):
            self.logits = lean_forward(self.model, self.model.model.embed_tokens(self.token), self.cache)
        self.token.copy_(self.logits.argmax(-1))


class FastGenerate:
    """Generates with one model, one sequence at a time.

    Attributes:
        graph: steps by kernels in a CUDA graph, once that is ready.
        chunk: reads a few tokens by a CUDA graph, once that is ready.
        prompts: reads whole prompts by CUDA graphs, of which there are more and more.
        between: `prompt_kernels`, once they are known to work here.
    """

    def __init__(self, model: Phi3VForCausalLM):
        self.model = model
        self.graph: DecodeGraph | None = None
        self.chunk: ChunkGraph | None = None
        self.prompts: PromptGraphs | None = None
        self.between: ModuleType | None = None
        self._threads = torch.get_num_threads()
        self._spare_threads = model.device.type == "cpu" and is_small(model)

    @torch.inference_mode()
    def try_kernels(self) -> bool:
        """Use `prompt_kernels` from now on if they compute here what the model does. Returns whether they do."""
        from . import prompt_kernels  # Triton comes with CUDA builds of torch only

        model, tower = self.model, self.model.model.vision_embed_tokens
        quantized = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
        # All is tried beside the model, which answers meanwhile; the weights one of each kind.
        for linear in {(linear.bits, linear.weight.shape): linear for linear in quantized}.values():
            stored = linear.weight, linear.scale, linear.bits
            expected = unpacked(*stored).float()
            if (prompt_kernels.unpacked(*stored).float() - expected).norm() > 0.01 * expected.norm():
                return False
        ids = torch.arange(32, device=model.device)
        expected = model(ids[None]).logits[0, -1]
        embeds = model.model.embed_tokens(ids)
        logits = lean_forward(model, embeds, roomy_cache(model.config.num_hidden_layers), prompt_kernels)
        if not close(logits[0], expected, exact_logits(model, ids)):
            return False
        for linear in quantized:
            linear.unpack = prompt_kernels.unpacked
        self.between = prompt_kernels
        if model.config.vision_config.hidden_act != "quick_gelu":
            return True
        crops = torch.linspace(-1, 1, 3 * CROP**2).to(tower.glb_GN).view(1, 3, CROP, CROP)
        lean = LeanTower(tower, prompt_kernels)
        if not close(lean(crops), tower.encode(crops), exact_features(tower, crops)):
            return False
        tower.encode = lean
        return True

    def begin(self, ids: torch.LongTensor, cache: Cache, images: Images, longest: int) -> torch.Tensor:
        """Read a prompt; a GPU is at it when this returns.

        Args:
            ids: (tokens,), those that follow what is in the cache.
            cache: of `RoomyLayer`s.
            images: where the images begin in the prompt that the cache doesn't hold, and their embeddings.
            longest: tokens of the prompt and its answer together.

        Returns:
            Logits (1, vocabulary) of the last token.
        """
        self._use_threads(len(ids))
        try:
            return self._begin(ids, cache, images, longest)
        except BaseException:
            self._use_threads(FEW_TOKENS)
            raise

    def _begin(self, ids: torch.LongTensor, cache: Cache, images: Images, longest: int) -> torch.Tensor:
        length, model = cache.get_seq_length(), self.model
        ids = ids.to(model.device, non_blocking=True)
        if self.chunk and not images and self.chunk.suits(length, len(ids)):
            return self.chunk(ids, cache)
        embeds = model.model.embed_tokens(ids)
        for start, image_embeds in images:
            embeds[start - length : start - length + len(image_embeds)] = image_embeds
        room = min(length + len(ids) + ROOM, longest)
        if self.prompts and not length and self.prompts.holds(len(ids)):
            return self.prompts(embeds, cache, room)
        with without_cudnn(model.device):
            return lean_forward(model, embeds, cache, self.between, room)

    @torch.inference_mode()
    def __call__(self, *args, **kwargs) -> torch.LongTensor:
        """What `generate` calls to make the tokens, with more arguments bound to it than it gives itself.

        Args:
            streamer: transformers hands it to its own loops, but not to others.
            past_key_values: the cache, as `begin` left it.
            logits: what `begin` returned.
            all_images: where all images begin, and their embeddings, for a sequence that passes 4096 positions.
            generator: of the random numbers, on the model's device, where tokens are sampled.
            check: as of `between_layers`, for a sequence that passes 4096 positions.
        """
        try:
            return self._generate(*args, **kwargs)
        finally:
            self._use_threads(FEW_TOKENS)

    def _generate(
        self,
        model: Phi3VForCausalLM,
        input_ids: torch.LongTensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        *,
        streamer: BaseStreamer,
        past_key_values: Cache,
        logits: torch.Tensor,
        all_images: Callable[[], Images],
        generator: torch.Generator | None,
        check: Callable[[], None],
        **others,
    ) -> torch.LongTensor:
        cache, count, longest = past_key_values, input_ids.shape[1], generation_config.max_length
        device, on_gpu = model.device, model.device.type == "cuda"
        limit = model.config.original_max_position_embeddings
        step = self.graph or LeanStep(model)
        known = torch.zeros(1, longest, dtype=torch.long, pin_memory=on_gpu)
        known[:, :count] = input_ids
        ids = torch.empty_like(known, device=device).copy_(known, non_blocking=on_gpu)
        arriving = torch.zeros(1, dtype=torch.long, pin_memory=on_gpu)
        arrived = torch.cuda.Event() if on_gpu else None

        def pick(logits: torch.Tensor) -> torch.Tensor:
            scores = logits_processor(ids[:, :count], logits.float())
            if generation_config.do_sample:
                return torch.multinomial(scores.softmax(-1), 1, generator=generator)[0]
            return scores.argmax(-1)

        as_the_step_picks = not generation_config.do_sample and not logits_processor
        done = False
        while not done:
            step.token.copy_(pick(logits))
            self._use_threads(1)
            room, last = 0, limit if count <= limit else longest
            while True:
                ids[:, count] = step.token
                arriving.copy_(step.token, non_blocking=on_gpu)
                if arrived:
                    arrived.record(torch.cuda.current_stream(device))
                # The token is on its way; the next one is begun before it has come. It can't be at the end, nor where
                # all keys have to be rotated anew.
                goes_on = count + 1 < longest and count < last
                if goes_on:
                    if count >= room:
                        room = step.reserve(cache, count, min(count + ROOM, longest))
                    step.run()
                if arrived:
                    arrived.synchronize()
                known[:, count] = arriving
                count += 1
                streamer.put(known[0, count - 1 : count])
                done = bool(stopping_criteria(known[:, :count], None))
                if done or not goes_on:
                    break
                if not as_the_step_picks:
                    step.token.copy_(pick(step.logits))
            for layer in cache.layers:
                layer.set_length(count if goes_on else count - 1)
            if not done:  # all keys are rotated anew
                cache.reset()
                with between_layers(check, device):
                    logits = self.begin(ids[0, :count], cache, all_images(), longest)
        streamer.end()
        return known[:, :count]

    def _use_threads(self, tokens: int) -> None:
        if self._spare_threads:
            use_threads(1 if tokens < FEW_TOKENS else self._threads)
