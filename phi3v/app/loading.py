"""Loads the engine behind a page that is already up."""

import logging
import threading
from dataclasses import dataclass
from pathlib import Path

import torch
from httpx import TransportError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm.auto import tqdm

from ..engine.checkpoint import FILES
from ..engine.device import pick_device
from ..engine.engine import PREVIEW_MODEL, Phi3Vision
from ..engine.errors import is_out_of_memory
from ..inputs.fair_semaphore import FairSemaphore
from ..inputs.image_cache import ImageCache
from .options import Options, refuse
from .zero import keep, on_zero_gpu

PHI_3_VISION = "microsoft/Phi-3-vision-128k-instruct"
# What Phi-3-Vision takes, by quantisation. In bfloat16: weights 7.7 GiB, the rest for an image at 16 crops.
PHI_3_VISION_GIB = {None: 10, "int8": 6.5, "int4": 5}

log = logging.getLogger("phi3v")


@dataclass(frozen=True)
class LoadState:
    """How far loading is.

    Attributes:
        stage: `asleep` (until the first question), `fetching`, `loading`, `ready` or `failed`.
        model: what is being loaded, a name or a folder.
        progress: part of the download that is done, 0 to 1, while fetching and if known.
        problem: what went wrong and what to do, if `failed`; why the preview model stands in, if it does.
    """

    stage: str
    model: str
    progress: float | None = None
    problem: str | None = None


class EngineLoader:
    """Loads an engine on a thread; whoever needs it waits for it.

    Attributes:
        state: how far loading is.
        engine: the engine, once it is there.
    """

    def __init__(self, options: Options):
        self.options = options
        self.engine: Phi3Vision | None = None
        self.places = FairSemaphore(options.concurrency)  # of requests whose images are in memory
        self.images = ImageCache()
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self.state = LoadState("asleep", resolve_model(options))

    def wake(self) -> None:
        """Begin to load, if nobody has."""
        self.start()

    def start(self, model: str | None = None) -> "EngineLoader":
        """Begin to load, if nobody has, or after a failure another model.

        Returns at once; on ZeroGPU, which takes only what the main thread loads, at the end.
        """
        with self._lock:
            if self.state.stage != ("asleep" if model is None else "failed"):
                return self
            model = model or self.state.model
            self.state = LoadState("loading", model, problem=self.state.problem)
            self._settled.clear()
        if on_zero_gpu():
            self._load(model)
        else:
            threading.Thread(target=self._load, args=(model,), name="phi3v-load", daemon=True).start()
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine is there or can't be had. Returns whether it has come to that."""
        return self._settled.wait(timeout)

    def use_preview(self) -> None:
        """After a failure: load the bundled model instead."""
        self.start(str(PREVIEW_MODEL))

    def _load(self, model: str) -> None:
        options, problem = self.options, self.state.problem
        is_preview = model == str(PREVIEW_MODEL)
        try:
            folder = model
            if not Path(model).is_dir():
                self.state = LoadState("fetching", model)
                folder = self._fetch(model)
            self.state = LoadState("loading", model, problem=problem)
            engine = Phi3Vision.from_pretrained(
                folder,
                None,
                options.device,
                options.dtype,
                options.attn_implementation,
                options.num_crops,
                options.quantize,
                here=on_zero_gpu(),
            )
            engine.model_id = model
            self.engine = engine
            keep(engine)
            self.state = LoadState("ready", model, problem=problem)
        except Exception as error:
            cause = error.__cause__ or error  # which words for a person may leave out
            log.warning("Loading %s failed: %s: %s", model, type(cause).__name__, cause)
            self.state = LoadState("failed", model, problem=explain(model, error))
            if options.model == "auto" and not is_preview:
                self.use_preview()
                return
        self._settled.set()
        if self.engine is not None and not on_zero_gpu():
            self.engine.warm_up()

    def _fetch(self, model: str) -> str:
        loader = self

        class Progress(tqdm):
            """Shows the bytes' bar on the page as well as in the terminal."""

            def update(self, n=1):
                shown = super().update(n)
                if getattr(self, "unit", "") == "B" and self.total:  # a disabled bar has no unit
                    loader.state = LoadState("fetching", model, progress=min(1.0, self.n / self.total))
                return shown

        return snapshot_download(
            model, revision=self.options.revision, allow_patterns=FILES, tqdm_class=Progress, max_workers=4
        )


def check_device(options: Options) -> None:
    """Exit with the usual message and status 2 where the device asked for is not there."""
    try:
        pick_device(options.device)
    except ValueError as error:
        refuse("device", options.device, str(error))


def resolve_model(options: Options) -> str:
    """The model that `--model` means: `auto` depends on the GPU, `preview` is the bundled folder."""
    if options.model == "preview" or (options.model == "auto" and not _holds_phi_3_vision(options)):
        return str(PREVIEW_MODEL)
    return PHI_3_VISION if options.model == "auto" else options.model


def _holds_phi_3_vision(options: Options) -> bool:
    needed = PHI_3_VISION_GIB[options.quantize] * 2**30
    try:
        picked = pick_device(options.device)
    except ValueError:
        return False  # loading says what is wrong
    if picked.type == "cuda":
        return torch.cuda.get_device_properties(picked).total_memory >= needed
    return picked.type == "mps" and torch.mps.recommended_max_memory() >= needed


def public_name(model: str) -> str:
    """A model's name; of a folder only its last part, since the page is public."""
    return Path(model).name if Path(model).is_dir() else model


def explain(model: str, error: Exception) -> str:
    """What went wrong while loading and what to do, in words for a person that name no folder but by its last part."""
    model = public_name(model)
    if isinstance(error, MemoryError) or is_out_of_memory(error):
        return f"The memory does not hold {model}. Try --dtype bfloat16, or a machine with more."
    if isinstance(error, RevisionNotFoundError):
        return f"The Hub has no such revision of {model}. Check --revision."
    if isinstance(error, RepositoryNotFoundError):  # a gated one's too
        return f"The Hub has no model {model}, or not for you. Check the name, or log in with `hf auth login`."
    if isinstance(error, HFValidationError | NotADirectoryError):
        return f"{model} is neither a folder here nor the name of a model on the Hub. Check --model."
    if isinstance(error, LocalEntryNotFoundError | HfHubHTTPError | OfflineModeIsEnabled | TransportError):
        return (
            f"{model} could not be fetched from the Hub. Check the connection; or download it where there is one "
            f"(`hf download {model}`) and pass its folder with --model."
        )
    if isinstance(error, ValueError):  # of a setting, or a `CheckpointError`
        return f"{model} could not be loaded. {error}"
    return f"{model} could not be loaded ({type(error).__name__}); the server's log says more."
