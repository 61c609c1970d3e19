"""The engine: a processor and a model, loaded once; answers streamed, stopped, counted."""

import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from ..model.image_processing_phi3_v import hd_transform
from ..model.processing_phi3_v import Phi3VProcessor
from ..paths import PREVIEW_MODEL
from .answer_stream import AnswerStream, Stats, StopWhenSet, TokenStreamer
from .checkpoint import load_checkpoint
from .device import memory_to_spare, pick_attention, pick_device, pick_dtype
from .errors import GPU_FAILED, EngineFailedError, is_lost, is_out_of_memory
from .fast.chunk_graph import ChunkGraph
from .fast.decode_graph import DecodeGraph
from .fast.forward import Layers, is_plain, is_small, lay_out, suits, without_cudnn
from .fast.generate import FastGenerate
from .fast.image_graphs import ImageGraphs
from .fast.prompt_graphs import PromptGraphs
from .interrupt import AnswerStoppedError, between_layers
from .kv_cache import Pixels, PrefixCache, cut, roomy_cache
from .prompt import Prompt, Prompter
from .quantize import name_of_precision, quantize_decoder
from .settings import BITS, BOUNDS
from .worker import Worker

log = logging.getLogger("phi3v")


SAMPLING = ("do_sample", "temperature", "top_p", "top_k")  # settings of `generate`
MAX_SALT = 256  # characters; as many as a session's name takes, and no more than can be kept for each request


@dataclass(frozen=True)
class Answer:
    """A whole answer and what it cost."""

    text: str
    stats: Stats


@dataclass
class _Request:
    """What the engine's thread needs to make an answer; see `Phi3Vision.stream`."""

    prompt: Prompt
    settings: dict
    seed: int | None
    cache_salt: str | None
    streamer: TokenStreamer
    stop: threading.Event
    deadline: float = math.inf  # of `time.perf_counter`, once its turn has come

    def check(self) -> None:
        """Raises an `AnswerStoppedError` if it was stopped or its time is over."""
        if self.stop.is_set() or time.perf_counter() >= self.deadline:
            raise AnswerStoppedError


class Phi3Vision:
    """A Phi-3-Vision model that answers questions about images.

    ```python
    engine = Phi3Vision.from_pretrained(model="microsoft/Phi-3.5-vision-instruct")
    for text in engine.stream("What is shown?", images=[image]):
        print(text, end="", flush=True)
    ```

    One request runs at a time, on a thread of the engine's; others wait their turn in the order they came. Questions
    and earlier turns are text: chat markup or image tags in them are read as the characters they are. What a prompt
    begins with is not computed again if an earlier one began so too, with equal images.

    Attributes:
        model_id: the name or folder that was loaded.
        device, dtype, attn_implementation: what was picked, and is in use.
        precision: the weights', in words.
        num_crops: crops an image takes at most, unless a request says otherwise.
        context_length: tokens that prompt and answer share.
        failure: `None`, or words for a person once the GPU has failed for good: no request is answered any more.
    """

    def __init__(
        self,
        model,
        processor: Phi3VProcessor,
        model_id: str,
        num_crops: int | None = None,
        worker: Worker | None = None,
    ):
        self.model = model.eval()
        self.processor = processor
        self.model_id = model_id
        self.device: torch.device = model.device
        self.dtype: torch.dtype = model.dtype
        self.attn_implementation: str = model.config._attn_implementation
        self.precision: str = name_of_precision(model)
        self.num_crops: int = processor.image_processor.num_crops if num_crops is None else num_crops
        self.context_length: int = model.config.max_position_embeddings
        self.failure: str | None = None
        self._prompter = Prompter(processor, self.context_length)
        self._prefixes = PrefixCache(memory_to_spare(self.device))
        self._end_ids = self._find_end_ids()
        self._worker = worker or Worker("phi3v")
        self._layers = Layers(self.model)
        self._fast = FastGenerate(self.model) if suits(self.model) else None
        self._image_graphs = ImageGraphs(self.model, processor.image_processor, BOUNDS["num_crops"][1])

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = PREVIEW_MODEL,
        revision: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        attn_implementation: str = "auto",
        num_crops: int | None = None,
        quantize: str | None = None,
        here: bool = False,
    ) -> "Phi3Vision":
        """Load a checkpoint, or an adapter with the checkpoint that it was trained on, merged.

        Args:
            model: a name on the Hub or a local folder; by default the bundled preview model.
            revision: branch, tag or commit of a model on the Hub.
            device: `auto`, `cuda`, `cuda:1`, `mps` or `cpu`.
            dtype: `auto`, `bfloat16`, `float16` or `float32`.
            attn_implementation: `auto`, `flash_attention_2`, `sdpa` or `eager`.
            num_crops: crops an image takes at most, 1 to 16; by default what the checkpoint says.
            quantize: `int8` or `int4`: the decoder's weights in so many bits, for half or a quarter of the memory.
            here: load on the calling thread, as ZeroGPU needs it, instead of the engine's own.

        Raises:
            ValueError: a setting is unknown or can't be had on this machine; the checkpoint is of another kind,
                incomplete, damaged, or needs a package that is not installed.
            OSError: the checkpoint can't be found or fetched.
        """
        _check(num_crops=num_crops)
        if quantize not in (None, *BITS):
            raise ValueError(f"Unknown quantisation {quantize!r}. Choose {' or '.join(BITS)}.")
        picked_device = pick_device(device)  # on this thread, whose current GPU `cuda` is
        worker = Worker("phi3v")

        def load():
            if picked_device.type == "cuda" and not here:
                torch.cuda.set_device(picked_device)  # each thread has its own
            picked_dtype = pick_dtype(dtype, picked_device)
            loaded, processor = load_checkpoint(
                str(model),
                revision,
                dtype=picked_dtype,
                attn_implementation=pick_attention(attn_implementation, picked_device, picked_dtype),
                device_map="cpu" if quantize else picked_device,
            )
            if quantize and not is_plain(loaded):
                raise ValueError("The checkpoint is quantised already. Leave out --quantize.")
            if quantize:
                quantize_decoder(loaded, quantize, picked_device)
            elif picked_device.type == "cpu" and is_small(loaded) and is_plain(loaded):
                if dtype == "auto":
                    loaded.float()  # a large product may be quicker in bfloat16, those of one token are not
                lay_out(loaded)
            return loaded, processor

        # All of torch's work is done by one thread: OpenMP keeps a pool of threads for each thread that computes, and
        # with more than one pool on a CPU they no longer wait for each other awake, which costs a third of the speed.
        try:
            loaded, processor = load() if here else worker.submit(load).result()
            return cls(loaded, processor, str(model), num_crops, worker)
        except BaseException:
            worker.close()
            raise

    def warm_up(self) -> None:
        """On a CUDA GPU: make ready what makes answers fastest. Until then they are made as elsewhere.

        Call it from another thread than those that wait for answers.
        """
        if self._fast is None or self.device.type != "cuda":
            return

        def record() -> None:
            graph.record()
            chunk.record(pool)

        try:
            with torch.cuda.device(self.device):
                graph, chunk = DecodeGraph(self.model), ChunkGraph(self.model)
                prompts = PromptGraphs(self.model) if self.attn_implementation == "sdpa" else None
                works = self._fast.try_kernels() and graph.agrees() and chunk.agrees()
                works = works and (prompts is None or prompts.agrees())
            if not works:
                log.warning("The kernels compute something else on this GPU; they are not used.")
                return
            pool = torch.cuda.graph_pool_handle()
            self._submit(record).result()
            self._fast.graph, self._fast.chunk = graph, chunk
            # What remains is done one by one, so that answers need not wait for all.
            gc.freeze()  # older torch collects garbage before each graph, among all that was ever loaded
            photo = Image.new("RGB", (4000, 3000))  # the first would wait for memory that the GPU can read
            jobs = [partial(self.processor.image_processor.hd_pixels, photo, self.num_crops, self.device)]
            jobs += [partial(self._image_graphs.record, grid, pool) for grid in self._image_graphs.grids]
            if prompts:
                self._fast.prompts = prompts
                jobs += [partial(prompts.record, size, pool) for size in prompts.sizes]
            for job in jobs:
                self._submit(job).result()
        except Exception as error:  # no Triton, a GPU that it doesn't know, no memory left: slower, but it works
            if is_lost(error, self.device):
                self.failure = GPU_FAILED
            log.warning("Not all that makes it fast could be made ready: %s: %s", type(error).__name__, error)
        finally:
            gc.unfreeze()

    def close(self) -> None:
        """End the engine's thread after what is queued, and let go of what is kept of earlier requests.

        Nothing more can be asked. Dropping the last reference to an engine does the same; `with engine:` too.
        """
        with suppress(RuntimeError):  # closed already, perhaps by another thread just now
            self._submit(self._prefixes.clear)
        self._worker.close()

    def __enter__(self) -> "Phi3Vision":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def _fast(self) -> FastGenerate | None:
        """The engine's own loop, as long as the model's layers are those that it was made for.

        An adapter that is loaded into `model` puts its layers in their place. From then on transformers' loop is used,
        and nothing is kept of prompts, since adapters can be switched unseen.
        """
        if not self._layers.are_the_same():
            log.warning("Layers of the model were changed. Answers take longer, and prompts are read anew each time.")
            self._layers = Layers(self.model)
            self._own_loop = None
            self.model.model.vision_embed_tokens.__dict__.pop("encode", None)  # `LeanTower`
            self._prefixes.clear()
        if not self._layers.are_plain:
            self._prefixes.clear()
        return self._own_loop

    @_fast.setter
    def _fast(self, loop: FastGenerate | None) -> None:
        self._own_loop = loop

    @property
    def is_preview(self) -> bool:
        """Whether this is the project's own small checkpoint instead of Microsoft's."""
        return Path(self.model_id).resolve() == PREVIEW_MODEL.resolve()

    @property
    def device_name(self) -> str:
        """The device in a person's words."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return {"cpu": "CPU", "mps": "Apple GPU"}.get(self.device.type, self.device.type)

    def transformed(self, image: Image.Image, num_crops: int | None = None) -> Image.Image | None:
        """An image as the HD transform makes it: in its place it gives the same answers, and takes less to prepare.

        Returns:
            RGB, both sides multiples of 336 pixels; None where transforming it again would change it.
        """
        num_crops = num_crops or self.num_crops
        result = hd_transform(image, num_crops)
        return result if hd_transform(result, num_crops) is result else None

    def image_tokens(self, sizes: Sequence[tuple[int, int]], num_crops: int | None = None) -> list[int]:
        """Prompt positions that images of these sizes (width, height in pixels) would take."""
        return self._prompter.image_tokens(sizes, num_crops or self.num_crops)

    def stream(
        self,
        question: str,
        images: Sequence[Image.Image] = (),
        history: Sequence[dict] = (),
        *,
        max_new_tokens: int = 500,
        temperature: float = 0.0,
        top_p: float = 1.0,
        repetition_penalty: float = 1.0,
        seed: int | None = None,
        num_crops: int | None = None,
        max_time: float | None = None,
        cache_salt: str | None = None,
    ) -> AnswerStream:
        """Ask, and get the answer's pieces as they are made.

        Args:
            question: the user's words.
            images: images that come before the question, in order. They are read when its turn has come.
            history: earlier turns, oldest first, as transformers' chat messages: `role` `user` or `assistant`;
                `content` a string, or a list of `{"type": "image", "image": image}` and `{"type": "text", "text": …}`.
            max_new_tokens: 1 to 4096, cut to what the context leaves.
            temperature: 0 to 2; 0 takes the likeliest token each time.
            top_p: 0.01 to 1, with a temperature.
            repetition_penalty: 1 to 2; 1 is none.
            seed: 0 to 2**32 - 1, with a temperature; by default another one each time.
            num_crops: 1 to 16, crops an image takes at most.
            max_time: seconds after which the answer ends, from when its turn has come, reading the prompt included.
            cache_salt: up to 256 characters; what is kept of earlier requests is shared only by those with the same
                salt, as in vLLM. Give each visitor another one, and nobody can find out by `cached_tokens` or by the
                time to the first token what somebody else asked or showed: images too, since to know that a picture
                was shown can say as much as a question. By default shared by all requests without one.

        Raises:
            ValueError: the question is empty, a setting is out of bounds, an image is too thin, or the prompt is
                longer than the context. Raised here, before anything is queued.
            MemoryError: raised by the stream: the GPU's memory does not hold the request.
            EngineFailedError: raised here or by the stream: the GPU has failed for good, see `failure`.
            RuntimeError: the engine is closed.
        """
        requested_at = time.perf_counter()
        if self.failure:
            raise EngineFailedError(self.failure)
        _check(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            seed=seed,
            num_crops=num_crops,
        )
        if len(cache_salt or "") > MAX_SALT:
            raise ValueError(f"cache_salt must have at most {MAX_SALT} characters.")
        prompt = self._prompter(question, images, history, num_crops or self.num_crops)
        stats = Stats(image_tokens=sum(prompt.tokens_of_image))
        settings = {
            "max_new_tokens": max_new_tokens,
            "repetition_penalty": repetition_penalty,
            "do_sample": temperature > 0,
            "eos_token_id": self._end_ids,
        }
        if temperature > 0:
            settings |= {"temperature": temperature, "top_p": top_p, "top_k": 0}

        stop = threading.Event()
        streamer = TokenStreamer(self.processor.tokenizer, stats, requested_at)
        request = _Request(prompt, settings, seed, cache_salt, streamer, stop)
        queued_at = time.perf_counter()

        def job() -> None:
            began = time.perf_counter()
            stats.queued = began - queued_at
            if max_time is not None:
                request.deadline = began + max_time
            try:
                with suppress(AnswerStoppedError):
                    self._generate(request)
                stats.stop_reason = self._stop_reason(streamer, stop, max_new_tokens)
            except RuntimeError as error:
                if not is_lost(error, self.device):
                    raise
                self.failure = GPU_FAILED
                raise EngineFailedError(GPU_FAILED) from error
            finally:
                streamer.close()

        return AnswerStream(streamer, stop, self._submit(job), self._worker)

    def answer(
        self, question: str, images: Sequence[Image.Image] = (), history: Sequence[dict] = (), **settings
    ) -> Answer:
        """The whole answer, as an [`Answer`]; arguments and errors as of `stream`."""
        stream = self.stream(question, images, history, **settings)
        return Answer("".join(stream), stream.stats)

    def _submit(self, job: Callable[[], object]) -> Future:
        """Queue a job for the engine's thread, with its GPU as the current one, by which events and Triton go."""

        def run() -> object:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)
            return job()

        return self._worker.submit(run)

    def _generate(self, request: _Request) -> None:
        """Run the model; once more with all memory if what is kept of earlier requests was in the way."""
        if self.failure:
            raise EngineFailedError(self.failure)
        stats = request.streamer.stats
        while not self._fits(request):
            kept = self._prefixes.clear() or stats.cached_tokens > 0
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if not kept or stats.new_tokens:
                count = len(request.prompt.ids)
                raise MemoryError(
                    f"The memory does not hold a prompt of {count} tokens. Use fewer images or fewer crops."
                )

    @torch.inference_mode()
    def _fits(self, request: _Request) -> bool:
        """Run the model. Returns whether the memory sufficed.

        Raises:
            AnswerStoppedError: it was stopped, or its time is over, before there was a token.
        """
        prompt, streamer, salt = request.prompt, request.streamer, request.cache_salt
        streamer.stats.cached_tokens = 0
        limit = self.model.config.original_max_position_embeddings
        generator = self._generator(request) if request.settings["do_sample"] else None
        try:
            request.check()
            with between_layers(request.check, self.device):
                images, begun = [], {}
                for image in self._known(prompt):
                    request.check()
                    images.append(image)
                if self._fast:  # a GPU begins with new images, so that what a CPU has to do meanwhile takes no time
                    for image in dict.fromkeys(images):
                        if not self._prefixes.holds(image, salt):
                            request.check()
                            begun[image] = self._image_graphs(image.data)
            streamer.stats.prompt_tokens = count = len(prompt.ids)
            new_tokens = min(request.settings["max_new_tokens"], self.context_length - count)
            settings = {**request.settings, "max_new_tokens": new_tokens}
            longest, keys = count + new_tokens, prompt.keys(images)
            cache, length = self._prefixes.take(keys, count > limit, salt)
            streamer.stats.cached_tokens = length
            self._prefixes.make_room(self._kv_bytes(count))
            if cache is None:
                cache = roomy_cache(self.model.config.num_hidden_layers)
            inputs = {**self._inputs(prompt), "past_key_values": cache}
            if self._fast:
                try:
                    with between_layers(request.check, self.device):
                        embeds = self._embeds(prompt, images, length, begun)
                        request.check()
                        logits = self._fast.begin(inputs["input_ids"][0, length:], cache, embeds, longest)
                except AnswerStoppedError:
                    cut(cache, length)  # what was there before is whole
                    self._prefixes.put(keys[:length], cache, count > limit, salt)
                    raise
                inputs["custom_generate"] = partial(
                    self._fast,
                    streamer=streamer,
                    logits=logits,
                    all_images=partial(self._embeds, prompt, images, 0, {}),
                    generator=generator,
                    check=request.check,
                )
            else:
                # Keys beyond this many positions are rotated otherwise, all of a sequence's: see
                # `Phi3VRotaryEmbedding`. All is computed anew then, images too.
                crosses = count <= limit < longest
                inputs |= {name: inputs[name].to(self.device) for name in ("input_ids", "attention_mask")}
                inputs |= self._images(prompt, images, 0 if crosses else length)
                if generator:
                    inputs["logits_processor"] = _drawing(settings, generator)
                    settings = {name: value for name, value in settings.items() if name not in SAMPLING}
                    settings["do_sample"] = False
            streamer.next_tokens_are_prompt = True
            if request.deadline < math.inf:  # counted by `generate` from here on
                settings["max_time"] = max(request.deadline - time.perf_counter(), 1e-3)
            stop = StopWhenSet(request.stop)
            with self._as_generate_needs(request):
                self.model.generate(**inputs, **settings, streamer=streamer, stopping_criteria=[stop])
            self._prefixes.put([*keys, *streamer.ids], cache, cache.get_seq_length() > limit, salt)
        except RuntimeError as error:
            if is_out_of_memory(error):
                return False  # and the error no longer holds the tensors of the frames it came from
            raise
        return True

    def _generator(self, request: _Request) -> torch.Generator:
        """Random numbers for one request."""
        generator = torch.Generator(self.device)
        generator.seed() if request.seed is None else generator.manual_seed(request.seed)
        return generator

    @contextmanager
    def _as_generate_needs(self, request: _Request) -> Iterator[None]:
        """What transformers' own loop can't be told is the thread's meanwhile, and then as it was."""
        if self._fast:
            yield
            return

        def check() -> None:
            if not request.streamer.stats.new_tokens:  # later on it ends between tokens, with a cache that can be kept
                request.check()

        with without_cudnn(self.device), between_layers(check, self.device):
            yield

    def _inputs(self, prompt: Prompt) -> dict[str, torch.Tensor]:
        """What `generate` takes of a prompt's text, on the CPU."""
        ids = torch.from_numpy(np.array([prompt.ids]))  # in a fifth of the time that torch takes for a list
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def _known(self, prompt: Prompt) -> Iterator[Pixels]:
        """A prompt's images on the model's device, one by one, or those of earlier prompts that are equal."""
        for image in prompt.images:
            pixels = self.processor.image_processor.hd_pixels(image, prompt.num_crops, self.device)
            yield self._prefixes.known(pixels)

    def _images(self, prompt: Prompt, images: list[Pixels], position: int) -> dict[str, torch.Tensor]:
        """What it takes of those of a prompt's images that begin at this position or later."""
        pixels = [image.data for _, image in prompt.placed(images, position)]
        if not pixels:
            return {}
        preprocess = self.processor.image_processor.preprocess
        inputs = preprocess(pixels, prompt.num_crops, do_resize=False, device=self.device)
        return {name: inputs[name] for name in ("pixel_values", "image_sizes")}  # the sizes are read on the CPU

    def _embeds(
        self, prompt: Prompt, images: list[Pixels], position: int, begun: dict[Pixels, torch.Tensor]
    ) -> list[tuple[int, torch.Tensor]]:
        """Where the images begin that begin at this position or later, and their embeddings, unless they are begun."""
        return [
            (start, begun[image] if image in begun else self._image_graphs(image.data))
            for start, image in prompt.placed(images, position)
        ]

    def _kv_bytes(self, tokens: int) -> int:
        """Memory of a sequence's keys and values."""
        config = self.model.config
        size = config.num_key_value_heads * config.hidden_size // config.num_attention_heads
        return 2 * config.num_hidden_layers * size * self.dtype.itemsize * tokens

    def _stop_reason(self, streamer: TokenStreamer, stop: threading.Event, max_new_tokens: int) -> str:
        if streamer.ids and streamer.ids[-1] in self._end_ids:
            return "end"
        if stop.is_set():
            return "stopped"
        stats = streamer.stats
        if stats.prompt_tokens + stats.new_tokens >= self.context_length:
            return "context"
        return "length" if stats.new_tokens >= max_new_tokens else "time"

    def _find_end_ids(self) -> list[int]:
        """What ends an answer: the chat format's tokens that the vocabulary has, and the checkpoint's own."""
        vocabulary = self.processor.tokenizer.get_vocab()
        ids = {vocabulary[token] for token in ("<|end|>", "<|endoftext|>") if token in vocabulary}
        own = self.model.generation_config.eos_token_id
        ids.update([own] if isinstance(own, int) else own or [])
        return sorted(ids)


class _Draw(LogitsProcessor):
    """Leaves one token of each row, drawn by a generator: `generate` itself draws from the process's."""

    def __init__(self, generator: torch.Generator):
        self.generator = generator

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        drawn = torch.multinomial(scores.softmax(-1), 1, generator=self.generator)
        return torch.full_like(scores, -math.inf).scatter(-1, drawn, 0)


def _drawing(settings: dict, generator: torch.Generator) -> LogitsProcessorList:
    """What draws as these settings say, in a `generate` that takes the likeliest token."""
    steps: list[LogitsProcessor] = [TemperatureLogitsWarper(settings["temperature"])]
    if settings["top_p"] < 1:
        steps.append(TopPLogitsWarper(settings["top_p"]))
    return LogitsProcessorList([*steps, _Draw(generator)])


def _check(**settings) -> None:
    for name, value in settings.items():
        lowest, highest = BOUNDS[name]
        if value is not None and not lowest <= value <= highest:
            raise ValueError(f"{name} must be between {lowest} and {highest}, got {value}.")
