"""Loads a checkpoint as people have it, whole or as an adapter, or says in words what keeps it from being loaded."""

import json
import logging
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HFValidationError
from jinja2.exceptions import TemplateError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from transformers import AutoProcessor, AutoTokenizer, PretrainedConfig
from transformers.utils import find_adapter_config_file

from ..model.configuration_phi3_v import Phi3VConfig
from ..model.image_processing_phi3_v import Phi3VImageProcessor
from ..model.modeling_phi3_v import Phi3VForCausalLM, published_name
from ..model.processing_phi3_v import CHAT_TEMPLATE, Phi3VProcessor
from .errors import is_out_of_memory

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
# What was trained beside an adapter, as recipes for fine-tuning save it; by themselves they write a pickle.
OTHER_WEIGHTS, OTHER_WEIGHTS_PICKLED = "non_lora_state_dict.safetensors", "non_lora_state_dict.bin"
# Of a model on the Hub: neither Python nor pickled weights. The one pickle is fetched to be named, not to be opened.
FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", OTHER_WEIGHTS_PICKLED]
IMAGE_SETTINGS = ("preprocessor_config.json", "processor_config.json")
SETTINGS = (
    *IMAGE_SETTINGS,
    "config.json",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
LFS_POINTER = b"version https://git-lfs"
NAMES = 3  # that a message tells at most

log = logging.getLogger("phi3v")


class CheckpointError(ValueError):
    """What is wrong with a checkpoint and what to do, in words for a person that name no folder."""


def load_checkpoint(model: str, revision: str | None = None, **settings) -> tuple[Phi3VForCausalLM, Phi3VProcessor]:
    """Model and processor. An adapter is merged into the weights of the model that it was trained on.

    Args:
        model: a name on the Hub or a local folder.
        revision: branch, tag or commit of a model on the Hub.
        settings: for the model's `from_pretrained`.

    Raises:
        CheckpointError: it is of another kind, incomplete or damaged, or needs a package that is not installed.
        OSError: it can't be found or fetched.
    """
    try:
        if find_adapter_config_file(model, revision=revision):
            folder = Path(model)
            if not folder.is_dir():
                folder = Path(snapshot_download(model, revision=revision, allow_patterns=FILES))
            loaded, processor = _load_adapter(folder, settings)
        else:
            check_folder(model)
            loaded, processor = _load_model(model, revision, settings), _load_processor(model, revision)
    except (CheckpointError, HFValidationError):
        raise
    except ImportError as error:  # of the package that a quantised one needs, say
        raise CheckpointError(_lacking(error)) from error
    except (ValueError, LookupError, TypeError, AttributeError, AssertionError, SafetensorError) as error:
        # The libraries' own words are for programmers, and may name folders.
        raise CheckpointError(f"Its files don't fit together ({type(error).__name__}); the log says more.") from error
    if processor.image_token_id != loaded.config.image_token_id or _may_pass(processor, loaded.config.vocab_size):
        raise CheckpointError("Its tokenizer is another model's. Copy it from the model that it was trained from.")
    return loaded, processor


def _may_pass(processor: Phi3VProcessor, vocab_size: int) -> bool:
    """Whether a prompt's ids may be beyond the vocabulary's size, where the model has no embeddings."""
    tokenizer = processor.tokenizer
    beyond = {token for token in tokenizer.get_vocab().values() if token >= vocab_size}
    if not beyond:
        return False
    # Nobody can type these: see `literal_text`. Normalised ones, and single characters, are found in any text.
    added = tokenizer.added_tokens_decoder.items()
    markup = {token for token, its in added if not its.normalized and len(its.content) > 1}
    messages = [{"role": role, "content": "What?"} for role in ("user", "assistant", "user")]
    chat = processor.encode(processor.apply_chat_template(messages, add_generation_prompt=True), [])
    if beyond - markup or beyond & {*chat}:
        return True
    log.warning("The tokenizer has %d tokens that the model has no place for. No prompt uses them.", len(beyond))
    return False


def check_folder(model: str | Path) -> None:
    """Look whether a folder holds a checkpoint; a name on the Hub is none.

    Raises:
        CheckpointError: something is missing or damaged.
    """
    folder = Path(model)
    if not folder.is_dir():
        return
    names = _names(folder)
    config = _read_json(folder / "config.json") if "config.json" in names else {}
    if config:
        _check_architecture(config)
    _check_weights(folder, names)
    if not config:
        raise CheckpointError("It has no config.json. Copy it from the model that it was trained from.")
    if "tokenizer.json" not in names:
        raise CheckpointError(
            "It has no tokenizer. Copy tokenizer.json, tokenizer_config.json and special_tokens_map.json from the "
            "model that it was trained from."
        )


def _names(folder: Path) -> set[str]:
    names = {path.name for path in folder.iterdir() if path.is_file()}
    if not names:
        folders = [f"{path.name}/" for path in folder.iterdir()]
        if not folders:
            raise CheckpointError("The folder is empty.")
        raise CheckpointError(f"The folder has only folders: {_listed(folders)}. Give the one with the model's files.")
    for name in sorted(names & set(SETTINGS)):
        _read_json(folder / name)
    return names


def _check_architecture(config: dict) -> None:
    model_type = config.get("model_type")
    if model_type == "phi3":
        raise CheckpointError("It is a Phi-3 for text alone, which can't see images.")
    if model_type != Phi3VConfig.model_type:
        raise CheckpointError(f"It is of another architecture, {model_type}; Phi-3-Vision's is phi3_v.")


def _check_weights(folder: Path, names: set[str]) -> None:
    files = [WEIGHTS]  # looked for first, as by transformers: an index beside it is of what was there before
    if WEIGHTS not in names and INDEX in names:
        files = sorted(set(_read_json(folder / INDEX).get("weight_map", {}).values()))
        if missing := [name for name in files if name not in names]:
            raise CheckpointError(f"Weight files are missing: {_listed(missing)}. Fetch or copy them.")
    elif WEIGHTS not in names:
        kinds = {Path(name).suffix for name in names}
        for kind, name in ((".gguf", "llama.cpp's, GGUF"), (".onnx", "ONNX")):
            if kind in kinds:
                raise CheckpointError(f"Its format is {name}. Take the safetensors that it was made from.")
        if kinds & {".bin", ".pt", ".pth"}:
            raise CheckpointError(
                "Its weights are pickled. Such files can run programs, so they are not opened. If you trust this one, "
                'convert it, with phi3v imported: AutoModelForImageTextToText.from_pretrained("folder")'
                '.save_pretrained("folder").'
            )
        raise CheckpointError(f"It has no weights in safetensors, neither {WEIGHTS} nor {INDEX}.")
    for name in files:
        _check_safetensors(folder / name)


def _check_pointer(file: Path) -> None:
    """Of a file that is used: pictures in a model's folder, say, may have stayed where they were."""
    with file.open("rb") as opened:
        if opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise CheckpointError(
                f"{file.name} is a pointer of Git LFS instead of the file. Run `git lfs pull` in the folder, or fetch "
                "the model with `hf download`."
            )


def _check_safetensors(file: Path) -> None:
    _check_pointer(file)
    try:
        with safe_open(file, "pt"):
            pass
    except SafetensorError as error:
        raise CheckpointError(f"{file.name} is damaged, or only a part of it was fetched. Fetch it again.") from error


def _load_model(model: str, revision: str | None, settings: dict) -> Phi3VForCausalLM:
    config, _ = PretrainedConfig.get_config_dict(model, revision=revision)
    _check_architecture(config)
    if "quantization_config" in config:  # of another dtype, transformers would convert only a part
        settings = {**settings, "dtype": "auto"}
    loaded, report = Phi3VForCausalLM.from_pretrained(
        model,
        revision=revision,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # instead of failing, names them in the report
        output_loading_info=True,
        **settings,
    )
    for name, found, wanted in sorted(report["mismatched_keys"]):
        raise CheckpointError(f"Its weights don't fit its configuration: {_sizes(name, found, wanted)}")
    if adapters := [name for name in report["unexpected_keys"] if ".lora_" in name]:
        raise CheckpointError(f"It has an adapter beside its weights: {_listed(adapters)}. Merge it before saving.")
    if strangers := report["unexpected_keys"]:
        raise CheckpointError(
            "It has weights that Phi-3-Vision has not, or that its configuration has no place for: "
            f"{_listed(strangers)}. If they are an adapter's, merge it before saving."
        )
    if missing := report["missing_keys"]:
        raise CheckpointError(f"Weights are missing: {_listed(missing)}. Fetch it, or save it, once more.")
    return loaded


def _load_processor(model: str | Path, revision: str | None = None) -> Phi3VProcessor:
    folder = Path(model)
    if folder.is_dir() and not any((folder / name).exists() for name in IMAGE_SETTINGS):
        log.warning("There is no preprocessor_config.json: images are prepared as for the published model.")
        return Phi3VProcessor(Phi3VImageProcessor(), AutoTokenizer.from_pretrained(folder, padding_side="left"))
    processor = AutoProcessor.from_pretrained(model, revision=revision)
    try:
        processor.apply_chat_template([{"role": "user", "content": [{"type": "text", "text": "Hi"}]}])
    except (TypeError, TemplateError):
        # A tokenizer that was saved by itself brings the published template along, which takes texts alone.
        processor.chat_template = CHAT_TEMPLATE
    return processor


def _load_adapter(folder: Path, settings: dict) -> tuple[Phi3VForCausalLM, Phi3VProcessor]:
    if find_spec("peft") is None:
        raise CheckpointError("It is an adapter. To load it, install the package for those: pip install peft.")
    from peft import PeftConfig, PeftModel, load_peft_weights, set_peft_model_state_dict

    names = _names(folder)
    if OTHER_WEIGHTS_PICKLED in names and OTHER_WEIGHTS not in names:
        raise CheckpointError(
            f"What was trained beside the adapter is pickled, in {OTHER_WEIGHTS_PICKLED}. Such files can run "
            "programs, so they are not opened. If you trust this one, convert it: safetensors.torch.save_file("
            f'torch.load("{OTHER_WEIGHTS_PICKLED}", weights_only=True), "{OTHER_WEIGHTS}").'
        )
    if ADAPTER_WEIGHTS not in names:
        raise CheckpointError(f"It is an adapter without {ADAPTER_WEIGHTS}. Save or convert it as safetensors.")
    _check_safetensors(folder / ADAPTER_WEIGHTS)
    config = PeftConfig.from_pretrained(folder)
    if config.is_prompt_learning:
        raise CheckpointError(
            f"An adapter of the kind {config.peft_type.value} can't be merged into a model's weights."
        )
    base, revision = _base_of(config.base_model_name_or_path, folder), getattr(config, "revision", None)
    try:
        check_folder(base)
        loaded = _load_model(base, revision, settings)
    except CheckpointError as error:
        raise CheckpointError(
            f"It is an adapter, and the model that it was trained on can't be loaded. {error}"
        ) from error
    if OTHER_WEIGHTS in names:
        _check_safetensors(folder / OTHER_WEIGHTS)
        tensors = {published_name(name): tensor for name, tensor in load_file(folder / OTHER_WEIGHTS).items()}
        places = loaded.state_dict()
        for name, tensor in sorted(tensors.items()):
            if name in places and tensor.shape != places[name].shape:
                sizes = _sizes(name, tensor.shape, places[name].shape)
                raise CheckpointError(f"What is in {OTHER_WEIGHTS} doesn't fit the model that it names: {sizes}")
        if strangers := loaded.load_state_dict(tensors, strict=False).unexpected_keys:
            raise CheckpointError(f"The model has no place for what is in {OTHER_WEIGHTS}: {_listed(strangers)}.")
    adapted = PeftModel(loaded, config)
    try:
        report = set_peft_model_state_dict(adapted, load_peft_weights(str(folder), device="cpu"))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        raise CheckpointError("The adapter's weights are of other sizes than the model that it names.") from error
    if strangers := [*report.unexpected_keys, *(name for name in report.missing_keys if ".default" in name)]:
        raise CheckpointError(f"The adapter doesn't fit the model that it names: {_listed(strangers)}.")
    return adapted.merge_and_unload(), _processor_of_adapter(folder, names, base, revision)


def _processor_of_adapter(folder: Path, names: set[str], base: str, revision: str | None) -> Phi3VProcessor:
    """What of it is in the adapter's folder, the rest from the model that it was trained on."""
    has_tokenizer, has_settings = "tokenizer.json" in names, bool(names & set(IMAGE_SETTINGS))
    if has_tokenizer and has_settings:
        return _load_processor(folder)
    processor = _load_processor(base, revision)
    images, tokenizer = processor.image_processor, processor.tokenizer
    if has_tokenizer:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    if has_settings:
        images = Phi3VImageProcessor.from_pretrained(folder)
    return Phi3VProcessor(images, tokenizer, processor.chat_template)


def _base_of(name: str | None, folder: Path) -> str:
    """The model that an adapter names: a folder, seen from here or from the adapter's, or a name on the Hub."""
    if not name:
        raise CheckpointError("Its adapter_config.json names no model that it was trained on.")
    for path in (Path(name), folder / name):
        if path.is_dir():
            return str(path)
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        return name
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    raise CheckpointError(
        f"It is an adapter to the model in a folder {last}, which is not here. Write into its adapter_config.json, as "
        "base_model_name_or_path, where that is."
    )


def _sizes(name: str, found: Sequence[int], wanted: Sequence[int]) -> str:
    hint = " With DeepSpeed's ZeRO-3, weights have to be gathered when they are saved." if 0 in found else ""
    return f"{name} is {tuple(found)} and should be {tuple(wanted)}.{hint}"


def _lacking(error: ImportError) -> str:
    """Which package is missing or of another version; the error's own words may name the server's folders."""
    name = (error.name or "").partition(".")[0]
    if not name and (advice := re.search(r"pip install (?:-U |--upgrade )?([\w-]+)", str(error))):
        name = advice[1]  # transformers raises it without a name
    if not name:
        return "It needs a package that is not installed here, or not in the right version; the log says more."
    if find_spec(name) is None:
        return f"It needs a package that is not installed here: pip install {name}."
    return f"It needs another version of a package than the one installed here: pip install -U {name}."


def _read_json(file: Path) -> dict:
    _check_pointer(file)
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file.name} is damaged. Fetch it again.") from error


def _listed(names: list[str] | set[str]) -> str:
    some = sorted(names)
    return ", ".join(some[:NAMES]) + (f" and {len(some) - NAMES:,} more" if len(some) > NAMES else "")
