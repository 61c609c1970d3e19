"""Checkpoints and adapters as people have them: made with the published code, renamed by trainers, incomplete."""

import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from conftest import PREVIEW_MODEL, REFERENCE
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AddedToken, AutoConfig, AutoModelForCausalLM, AutoProcessor, AutoTokenizer

import phi3v
from phi3v import Phi3Vision
from phi3v.app.loading import EngineLoader, explain
from phi3v.app.options import Options
from phi3v.engine.checkpoint import load_checkpoint
from phi3v.engine.device import pick_dtype

CHECKPOINT = REFERENCE / "checkpoint"
NAMES = set(json.loads((CHECKPOINT / "model.safetensors.index.json").read_text())["weight_map"])


@pytest.fixture(scope="module")
def weights():
    return {name: tensor for file in CHECKPOINT.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.fixture
def folder(tmp_path, weights):
    """A writer of a checkpoint's folder: of these weights, by default the reference's, under other names."""

    def write(name=lambda name: name, tensors=None, leave_out=(), **config):
        place = tmp_path / "checkpoint"
        place.mkdir()
        for file in CHECKPOINT.glob("*.json"):
            if file.name not in ("model.safetensors.index.json", *leave_out):
                shutil.copy(file, place)
        if config:
            settings = json.loads((place / "config.json").read_text())
            (place / "config.json").write_text(json.dumps({**settings, **config}))
        tensors = {name(key): tensor for key, tensor in (weights if tensors is None else tensors).items()}
        save_file(tensors, place / "model.safetensors", {"format": "pt"})
        return place

    return write


@pytest.fixture
def adapter(tmp_path):
    """The adapter that the published code trained, in a folder from which its base is found."""
    place = shutil.copytree(REFERENCE / "adapter", tmp_path / "adapter")
    config = json.loads((place / "adapter_config.json").read_text())
    (place / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(CHECKPOINT)}))
    return place


@pytest.fixture(scope="module")
def question(processor):
    image = Image.open(REFERENCE / "public" / "images" / "square_400.png")
    prompt = "<|user|>\n<|image_1|>\nWhat is shown?<|end|>\n<|assistant|>\n"
    return processor(text=prompt, images=[image], num_crops=4)


@torch.no_grad()
def logits(model, question):
    return model.eval()(**question, logits_to_keep=8).logits[0]


def assert_adapted(model, question):
    """It computes what the published code computes with the adapter; every 16th of its logits is kept."""
    with np.load(REFERENCE / "adapter" / "expected.npz") as expected:
        assert question.image_sizes.tolist() == expected["image_sizes"].tolist()
        np.testing.assert_allclose(logits(model, question)[:, ::16], expected["last_logits"], rtol=0, atol=3e-4)


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32")


def test_an_adapter_of_the_published_code_is_applied_whole(adapter, question):
    """Image tower and all, by each of the ways to load one."""
    assert_adapted(PeftModel.from_pretrained(load(CHECKPOINT), adapter), question)
    model = load(CHECKPOINT)
    report = model.load_adapter(adapter)
    assert not report.missing_keys and not report.unexpected_keys
    assert_adapted(model, question)
    assert_adapted(load(adapter), question)


def test_the_engine_merges_an_adapter(adapter, question, tmp_path):
    engine = Phi3Vision.from_pretrained(adapter, dtype="float32")
    assert not [name for name, _ in engine.model.named_parameters() if "lora" in name]
    assert_adapted(engine.model, question)
    engine.model.save_pretrained(tmp_path / "merged")
    assert set(load_file(tmp_path / "merged" / "model.safetensors")) == NAMES
    assert_adapted(load(tmp_path / "merged"), question)
    quantized, plain = (
        Phi3Vision.from_pretrained(each, dtype="float32", quantize="int8") for each in (adapter, CHECKPOINT)
    )
    difference = logits(quantized.model, question) - logits(engine.model, question)
    assert difference.norm() < 0.1 * (logits(plain.model, question) - logits(engine.model, question)).norm()


@pytest.mark.parametrize("by", ["peft", "transformers"])
def test_an_adapter_made_here_has_the_published_names(by, question, tmp_path):
    """Saved by PEFT or by transformers, whose own code writes it otherwise; the head included."""
    config = LoraConfig(r=2, target_modules=["q_proj", "fc1", "qkv_proj", "lm_head"], init_lora_weights=False)
    model = load(CHECKPOINT)
    if by == "peft":
        adapted = get_peft_model(model, config)
    else:
        model.add_adapter(config)
        adapted = model
    expected = logits(adapted, question)
    adapted.save_pretrained(tmp_path)
    layer = "base_model.model.model.vision_embed_tokens.img_processor.vision_model.encoder.layers.0"
    assert f"{layer}.self_attn.q_proj.lora_A.weight" in load_file(tmp_path / "adapter_model.safetensors")
    by_transformers = load(CHECKPOINT)
    by_transformers.load_adapter(tmp_path)
    by_engine = Phi3Vision.from_pretrained(tmp_path, dtype="float32").model
    for again in (PeftModel.from_pretrained(load(CHECKPOINT), tmp_path), by_transformers, load(tmp_path), by_engine):
        torch.testing.assert_close(logits(again, question), expected, rtol=0, atol=3e-4)


def test_modules_are_found_by_their_published_names():
    """As lists and patterns in recipes for fine-tuning name them."""
    model = load(CHECKPOINT)
    tower = model.model.vision_embed_tokens.img_processor.vision_model
    assert len(tower.encoder.layers) == 4
    config = LoraConfig(target_modules="all-linear", exclude_modules=".*vision_model.*")
    adapted = [name for name, _ in get_peft_model(model, config).named_parameters() if "lora_A" in name]
    assert adapted and not [name for name in adapted if "vision_model" in name]


def test_what_was_trained_beside_an_adapter_is_loaded(adapter, question, tmp_path):
    name = "model.vision_embed_tokens.img_projection.2.bias"
    model = load(CHECKPOINT)
    tensor = model.get_parameter(name).detach() + 1
    pickled = adapter / "non_lora_state_dict.bin"
    torch.save({f"base_model.model.{name}": tensor}, pickled)
    with pytest.raises(ValueError, match=r"non_lora_state_dict.bin.*convert"):
        load_checkpoint(str(adapter))
    save_file(torch.load(pickled, weights_only=True), adapter / "non_lora_state_dict.safetensors")
    loaded, _ = load_checkpoint(str(adapter), dtype="float32")
    model.get_parameter(name).data = tensor
    expected = PeftModel.from_pretrained(model, adapter)
    torch.testing.assert_close(logits(loaded, question), logits(expected, question), rtol=0, atol=3e-4)


@pytest.mark.parametrize("own", ["nothing", "tokenizer", "image settings", "both"])
def test_what_an_adapter_lacks_of_a_processor_is_its_base_s(own, adapter, tmp_path):
    base = shutil.copytree(CHECKPOINT, tmp_path / "base")
    change(base / "preprocessor_config.json", num_crops=4)
    change(adapter / "adapter_config.json", base_model_name_or_path=str(base))
    if own in ("tokenizer", "both"):
        for file in CHECKPOINT.glob("*token*.json"):
            shutil.copy(file, adapter)
        change(adapter / "tokenizer_config.json", model_max_length=777)
    if own in ("image settings", "both"):
        shutil.copy(CHECKPOINT / "preprocessor_config.json", adapter)
        change(adapter / "preprocessor_config.json", num_crops=2)
    _, processor = load_checkpoint(str(adapter), dtype="float32")
    assert processor.image_processor.num_crops == (2 if own in ("image settings", "both") else 4)
    assert (processor.tokenizer.model_max_length == 777) == (own in ("tokenizer", "both"))
    assert processor.tokenizer.padding_side == "left"


@pytest.mark.parametrize(
    ("size", "words"), [(0, "gathered when they are saved"), (3, r"is \(3,\) and should be \(64,\)")]
)
def test_what_was_trained_beside_an_adapter_must_fit(size, words, adapter):
    name = "base_model.model.model.vision_embed_tokens.img_projection.2.bias"
    save_file({name: torch.zeros(size)}, adapter / "non_lora_state_dict.safetensors")
    assert re.search(words, said(adapter))


def change(file, **values):
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"base_model_name_or_path": "/home/somebody/base"}, "folder base, which is not here"),
        ({"base_model_name_or_path": None}, "names no model"),
        ({"base_model_name_or_path": str(PREVIEW_MODEL), "r": 8}, "other sizes"),
        ({"target_modules": ["qkv_proj"]}, "doesn't fit"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(adapter, values, words):
    change(adapter / "adapter_config.json", **values)
    with pytest.raises(ValueError, match=words) as refusal:
        Phi3Vision.from_pretrained(adapter)
    assert "/home" not in str(refusal.value)


def test_an_adapter_to_another_architecture_is_refused(adapter, folder):
    change(adapter / "adapter_config.json", base_model_name_or_path=str(folder(model_type="phi3")))
    with pytest.raises(ValueError, match="trained on can't be loaded. It is a Phi-3 for text alone"):
        Phi3Vision.from_pretrained(adapter)


def test_an_adapter_that_is_no_change_of_weights_is_refused(tmp_path):
    config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    get_peft_model(load(CHECKPOINT), config).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="PROMPT_TUNING can't be merged"):
        Phi3Vision.from_pretrained(tmp_path)


def test_without_peft_an_adapter_is_named(adapter):
    script = (
        "import sys\nsys.modules['peft'] = None\nfrom phi3v import Phi3Vision\n"
        f"try: Phi3Vision.from_pretrained({str(adapter)!r})\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install peft" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "name",
    [
        lambda name: name.replace("vision_model.", ""),
        lambda name: f"base_model.model.{name}",
        lambda name: f"module._orig_mod.{name}",
        lambda name: name.replace("_proj.", "_proj.base_layer."),
        lambda name: re.sub(
            r"\b(layers\.\d+|img_processor|self_attn)\.",
            r"\1._fsdp_wrapped_module._checkpoint_wrapped_module.",
            f"_checkpoint_wrapped_module.{name.replace('vision_model.', '')}",
        ),
    ],
    ids=["flat tower", "peft", "wrapped", "base layers", "wrapped each"],
)
def test_names_that_trainers_give_are_read_and_published_ones_written(name, folder, weights, tmp_path):
    model, report = AutoModelForCausalLM.from_pretrained(folder(name), dtype="float32", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    model.save_pretrained(tmp_path / "again")
    written = load_file(tmp_path / "again" / "model.safetensors")
    assert written.keys() == weights.keys()
    assert all(torch.equal(written[key], tensor) for key, tensor in weights.items())


def test_a_model_from_scratch_is_saved_under_the_published_names(tmp_path):
    phi3v.Phi3VForCausalLM(AutoConfig.from_pretrained(CHECKPOINT)).save_pretrained(tmp_path)
    assert set(load_file(tmp_path / "model.safetensors")) == NAMES


def test_weights_that_are_missing_are_named(folder, weights):
    part = {name: tensor for name, tensor in weights.items() if "model.layers.1." not in name}
    with pytest.raises(ValueError, match=r"missing: model.layers.1.input_layernorm.weight, .* and 3 more"):
        Phi3Vision.from_pretrained(folder(tensors=part))


def test_a_head_that_the_configuration_ties_is_the_embeddings(folder, weights, question, tmp_path):
    """As in transformers 4.44, where the published code runs, though the checkpoint has a head of its own."""
    model = load(folder(tie_word_embeddings=True))
    assert torch.equal(model.lm_head.weight, weights["model.embed_tokens.weight"])
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path / "again")
    assert set(load_file(tmp_path / "again" / "model.safetensors")) == NAMES - {"lm_head.weight"}
    again, _ = load_checkpoint(_with_tokenizer(tmp_path / "again"), dtype="float32")
    assert torch.equal(logits(again, question), logits(model, question))


def _with_tokenizer(folder):
    for file in CHECKPOINT.glob("*token*.json"):
        shutil.copy(file, folder)
    return str(folder)


def test_layers_that_are_never_run_may_be_missing(folder, weights, question, model):
    unused = ("vision_model.encoder.layers.3.", "vision_model.post_layernorm.")
    used = {name: tensor for name, tensor in weights.items() if not any(part in name for part in unused)}
    assert len(used) < len(weights)
    loaded, _ = load_checkpoint(str(folder(tensors=used)), dtype="float32")
    assert torch.equal(logits(loaded, question), logits(model, question))


def test_layers_that_are_never_run_may_be_deleted(question, model):
    """As a published recipe for adapters does it."""
    loaded = load(CHECKPOINT)
    embedding = loaded.model.vision_embed_tokens
    tower = embedding.img_processor.vision_model
    del tower.encoder.layers[len(tower.encoder.layers) + embedding.layer_idx + 1 :]
    del tower.post_layernorm
    assert torch.equal(logits(loaded, question), logits(model, question))


def test_weights_of_other_sizes_are_named(folder, weights):
    short = {**weights, "lm_head.weight": weights["lm_head.weight"][:100]}
    with pytest.raises(ValueError, match=r"lm_head.weight is \(100, 64\) and should be \(32064, 64\)"):
        Phi3Vision.from_pretrained(folder(tensors=short))


def test_an_adapter_that_was_not_merged_is_named(folder, weights):
    name = "model.layers.0.mlp.down_proj.lora_A.default.weight"
    with pytest.raises(ValueError, match=f"{name}.*Merge"):
        Phi3Vision.from_pretrained(folder(tensors={**weights, name: torch.zeros(8, 128)}))


def base_layers_with_ia3(weights):
    tensors = {name.replace("down_proj.weight", "down_proj.base_layer.weight"): weights[name] for name in weights}
    return {**tensors, "model.layers.0.mlp.down_proj.ia3_l.default": torch.full((1, 128), 5.0)}


@pytest.mark.parametrize(
    ("change", "config", "words"),
    [
        (base_layers_with_ia3, {}, "model.layers.0.mlp.down_proj.ia3_l.default. If they are an adapter's, merge it"),
        (dict, {"num_hidden_layers": 1}, "no place for: model.layers.1.input_layernorm.weight, .* and 9 more"),
        (
            lambda weights: {**weights, "model.layers.0.mlp.gate.weight": torch.zeros(2)},
            {},
            "layers.0.mlp.gate.weight",
        ),
    ],
    ids=["unmerged", "fewer layers", "another architecture's"],
)
def test_weights_without_a_place_are_named(change, config, words, folder, weights):
    with pytest.raises(ValueError, match=words):
        Phi3Vision.from_pretrained(folder(tensors=change(weights), **config))


def test_what_older_conversions_have_besides_is_left_out(folder, weights, question, model):
    tower = "model.vision_embed_tokens.img_processor.vision_model"
    surplus = {
        "model.vision_embed_tokens.wte.weight": weights["model.embed_tokens.weight"].clone(),
        "model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8),
        f"{tower}.embeddings.position_ids": torch.arange(577)[None],
    }
    loaded, _ = load_checkpoint(str(folder(tensors={**weights, **surplus})), dtype="float32")
    assert torch.equal(logits(loaded, question), logits(model, question))


def said(folder, **options):
    """What the page says of it."""
    loader = EngineLoader(Options(model=str(folder), device="cpu", **options)).start()
    assert loader.wait(60)
    assert loader.state.stage == "failed"
    assert str(folder.parent) not in loader.state.problem and "log says" not in loader.state.problem
    return loader.state.problem


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({}, "The folder is empty"),
        ({"onnx/model.onnx": "x", "gguf/model.gguf": "x"}, "only folders: gguf/, onnx/. Give the one"),
        ({"README.md": "Hello"}, "no weights in safetensors"),
        ({"model-Q4_K_M.gguf": "GGUF"}, "GGUF"),
        ({"config.json": '{"model_type": "phi3_v"}', "model.onnx": "x"}, "ONNX"),
        ({"config.json": '{"model_type": "phi3_v"}', "pytorch_model.bin": "x"}, "pickled.*save_pretrained"),
        ({"config.json": '{"model_type": "phi3"}'}, "text alone"),
        ({"config.json": '{"model_type": "llava"}'}, "another architecture, llava"),
        ({"config.json": '{"model_type": "phi3'}, "config.json is damaged"),
        ({"config.json": "version https://git-lfs.github.com/spec/v1"}, "Git LFS"),
        ({"adapter_config.json": "{}", "adapter_model.bin": "x"}, "adapter without adapter_model.safetensors"),
    ],
    ids=lambda value: next(iter(value), "empty") if isinstance(value, dict) else "",
)
def test_what_is_no_checkpoint_is_explained(files, words, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    assert re.search(f"^mine could not be loaded. .*{words}", said(folder))


def cut(file):
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


def point(file):
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("model.safetensors", cut, "model.safetensors is damaged, or only a part"),
        ("model.safetensors", point, "Git LFS"),
        ("config.json", Path.unlink, "no config.json. Copy it"),
        ("tokenizer.json", Path.unlink, "no tokenizer. Copy tokenizer.json"),
        ("tokenizer.json", lambda file: shutil.copy(PREVIEW_MODEL / file.name, file), "tokenizer is another model's"),
        ("tokenizer.json", cut, "tokenizer.json is damaged"),
    ],
    ids=["half", "pointer", "configuration", "tokenizer", "vocabulary", "half a tokenizer"],
)
def test_what_a_folder_lacks_is_explained(name, change, words, folder):
    place = folder()
    change(place / name)
    assert re.search(words, said(place))


def test_files_that_are_not_used_may_be_missing_or_old(folder, question, model):
    place = folder()
    shutil.copy(CHECKPOINT / "model.safetensors.index.json", place)  # of two shards that are not here
    for name in ("demo.png", "tokenizer.model", "consolidated.safetensors"):
        point(place / name)
    assert torch.equal(logits(load_checkpoint(str(place), dtype="float32")[0], question), logits(model, question))


def with_tokens(place, tokens, **settings):
    """A folder whose tokenizer has been given tokens, more than its model has rows left."""
    tokenizer = AutoTokenizer.from_pretrained(place)
    tokenizer.add_tokens([AddedToken(token, **settings) for token in tokens])
    tokenizer.chat_template = None  # the processor's own
    tokenizer.save_pretrained(place)
    return place


MARKUP = [f"<|mark_{number}|>" for number in range(80)]


def test_tokens_beyond_the_vocabulary_that_no_prompt_uses_are_harmless(folder, question, caplog):
    place = with_tokens(folder(), MARKUP, special=True, normalized=False)
    engine = Phi3Vision.from_pretrained(place, dtype="float32")
    assert max(engine.processor.tokenizer.get_vocab().values()) >= engine.model.config.vocab_size
    assert "no place for" in caplog.text
    assert max(engine._prompter("".join(MARKUP), [], [], 1).ids) < engine.model.config.vocab_size


@pytest.mark.parametrize(
    ("tokens", "settings"),
    [
        ([f"word{number}" for number in range(80)], {"normalized": True}),
        ([chr(0x2600 + number) for number in range(80)], {"normalized": False}),
    ],
    ids=["words", "characters"],
)
def test_tokens_beyond_the_vocabulary_that_can_be_typed_are_refused(tokens, settings, folder):
    assert "tokenizer is another model's" in said(with_tokens(folder(), tokens, **settings))


def test_tokens_beyond_the_vocabulary_that_the_chat_uses_are_refused(folder):
    place = with_tokens(folder(), MARKUP, special=True, normalized=False)
    (place / "chat_template.jinja").write_text(MARKUP[-1] + "{{ messages[0]['content'] }}")
    assert "tokenizer is another model's" in said(place)


def test_a_shard_that_is_missing_is_named(tmp_path):
    place = shutil.copytree(CHECKPOINT, tmp_path / "part")
    (place / "model-00002-of-00002.safetensors").unlink()
    assert "missing: model-00002-of-00002.safetensors" in said(place)


def test_weights_of_another_vocabulary_are_explained(folder):
    assert "lm_head.weight is (32064, 64) and should be (32060, 64)" in said(folder(vocab_size=32060))


def test_settings_that_contradict_each_other_are_told_from_a_crash(folder):
    with pytest.raises(ValueError, match="don't fit together"):
        Phi3Vision.from_pretrained(folder(vocab_size=100))  # less than the padding token's id


def test_weights_that_were_not_gathered_are_explained(folder, weights):
    empty = {**weights, "model.embed_tokens.weight": torch.zeros(0)}
    assert "ZeRO-3" in said(folder(tensors=empty))


def test_a_quantised_folder_without_its_package_is_explained(folder):
    words = said(folder(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}))
    assert words.endswith("It needs a package that is not installed here: pip install bitsandbytes.")


def test_a_package_of_another_version_is_named_without_its_place(adapter):
    """Python's own words for a name that a package lacks tell its folder."""
    script = (
        "import peft\ndel peft.set_peft_model_state_dict\nfrom phi3v import Phi3Vision\n"
        f"try: Phi3Vision.from_pretrained({str(adapter)!r})\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    words = "It needs another version of a package than the one installed here: pip install -U peft."
    assert done.stdout.strip() == words, done.stderr


def test_without_settings_images_are_prepared_as_published(folder, question, caplog):
    _, processor = load_checkpoint(str(folder(leave_out=["preprocessor_config.json"])), dtype="float32")
    assert "preprocessor_config.json" in caplog.text
    image = Image.open(REFERENCE / "public" / "images" / "square_400.png")
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is shown?"}]}],
        add_generation_prompt=True,
    )
    inputs = processor(text=prompt, images=[image], num_crops=4)
    assert all(torch.equal(inputs[name], question[name]) for name in question)


def test_a_template_that_takes_texts_alone_is_not_taken(folder, question):
    """Saved by itself, the published tokenizer brings one along."""
    path = folder()
    AutoTokenizer.from_pretrained(path).save_pretrained(path)
    _, processor = load_checkpoint(str(path), dtype="float32")
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is shown?"}]}],
        add_generation_prompt=True,
    )
    inputs = processor(
        text=prompt, images=[Image.open(REFERENCE / "public" / "images" / "square_400.png")], num_crops=4
    )
    assert torch.equal(inputs["input_ids"], question["input_ids"])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RepositoryNotFoundError, "no model somebody/model, or not for you"),
        (GatedRepoError, "no model somebody/model, or not for you"),
        (RevisionNotFoundError, "no such revision"),
    ],
)
def test_answers_of_the_hub_are_explained(error, words):
    response = httpx.Response(404, request=httpx.Request("GET", "http://127.0.0.1/"))
    assert words in explain("somebody/model", error("…", response=response))


def test_every_allocator_s_lack_of_memory_is_explained():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    for error in (caught.value, MemoryError(), torch.OutOfMemoryError("CUDA out of memory")):
        assert explain("somebody/model", error).startswith("The memory does not hold somebody/model.")


def test_other_words_that_may_name_a_folder_are_not_shown():
    assert explain("somebody/model", OSError("/home/somebody/secret")).endswith(
        "could not be loaded (OSError); the server's log says more."
    )


def test_the_caller_s_processor_stays_as_it_is(tmp_path):
    """Whatever engines do so that what users type is text."""
    processor = AutoProcessor.from_pretrained(CHECKPOINT)
    processor.save_pretrained(tmp_path / "before")
    typed = "a\ufdd0b <|end|>"
    ids = processor.tokenizer(typed).input_ids
    engines = [Phi3Vision(load(CHECKPOINT), processor, "") for _ in range(2)]
    assert {tuple(engine._prompter(typed, [], [], 1).ids) for engine in engines} != {tuple(ids)}
    assert processor.tokenizer(typed).input_ids == ids
    processor.save_pretrained(tmp_path / "after")
    for file in (tmp_path / "before").iterdir():
        assert file.read_bytes() == (tmp_path / "after" / file.name).read_bytes(), file.name


def test_a_decoder_quantised_here_is_not_saved(tmp_path):
    engine = Phi3Vision.from_pretrained(CHECKPOINT, dtype="float32", quantize="int8")
    with pytest.raises(ValueError, match="Save the model before it is quantised"):
        engine.model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_cpu_s_dtype_does_not_depend_on_how_busy_it_is():
    picked = pick_dtype("auto", torch.device("cpu"))
    flags = Path("/proc/cpuinfo")
    known = flags.exists() and re.search(r"^flags.*$", flags.read_text(), re.MULTILINE)
    has_bfloat16 = bool({"avx512_bf16", "amx_tile"} & set(known[0].split())) if known else picked == torch.bfloat16
    assert picked == (torch.bfloat16 if has_bfloat16 else torch.float32)


def test_loading_that_failed_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())
    for _ in range(3):
        with pytest.raises(ValueError, match="empty"):
            Phi3Vision.from_pretrained(tmp_path, device="cpu")
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_the_bundled_model_after_a_failure(tmp_path):
    loader = EngineLoader(Options(model=str(tmp_path), device="cpu"))
    loader.use_preview()  # nothing has failed yet
    assert loader.state.stage == "asleep"
    loader.wake()
    loader.wake()
    assert loader.wait(60) and loader.state.stage == "failed"
    words = loader.state.problem
    loader.use_preview()
    assert loader.wait(60) and loader.engine.is_preview
    assert loader.state.problem == words
