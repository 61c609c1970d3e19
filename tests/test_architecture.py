"""The native model as a citizen of transformers: Auto classes, checkpoints, caches, batches, devices."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import REFERENCE, reference_table
from PIL import Image
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

import phi3v

CHECKPOINT = REFERENCE / "checkpoint"
PROMPT = "<|user|>\n<|image_1|>\n{}<|end|>\n<|assistant|>\n"


def picture(width, height):
    return Image.linear_gradient("L").resize((width, height)).convert("RGB")


def greedy(model, inputs, **settings):
    settings = {"max_new_tokens": 8, "do_sample": False, **settings}
    return model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]


def test_auto_classes_load_a_published_folder():
    """Although its `auto_map` names remote code: in a process without a terminal to ask on, and without a network."""
    script = (
        "import phi3v, transformers as t\n"
        f"folder = {str(CHECKPOINT)!r}\n"
        "for auto in (t.AutoConfig, t.AutoProcessor, t.AutoTokenizer, t.AutoImageProcessor, t.AutoModel,\n"
        "             t.AutoModelForCausalLM, t.AutoModelForImageTextToText, t.AutoModelForMultimodalLM):\n"
        "    print(auto.__name__, type(auto.from_pretrained(folder)).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert dict(line.split() for line in done.stdout.splitlines()) == {
        "AutoConfig": "Phi3VConfig",
        "AutoProcessor": "Phi3VProcessor",
        "AutoTokenizer": "TokenizersBackend",
        "AutoImageProcessor": "Phi3VImageProcessor",
        "AutoModel": "Phi3VModel",
        "AutoModelForCausalLM": "Phi3VForCausalLM",
        "AutoModelForImageTextToText": "Phi3VForCausalLM",
        "AutoModelForMultimodalLM": "Phi3VForCausalLM",
    }


# Of the published model; per layer in the decoder and in the image tower.
DECODER_LAYER = {
    "input_layernorm.weight": (3072,),
    "post_attention_layernorm.weight": (3072,),
    "self_attn.qkv_proj.weight": (9216, 3072),
    "self_attn.o_proj.weight": (3072, 3072),
    "mlp.gate_up_proj.weight": (16384, 3072),
    "mlp.down_proj.weight": (3072, 8192),
}
TOWER_LAYER = {f"{norm}.{kind}": (1024,) for norm in ("layer_norm1", "layer_norm2") for kind in ("weight", "bias")}
TOWER_LAYER |= {f"self_attn.{name}_proj.weight": (1024, 1024) for name in ("q", "k", "v", "out")}
TOWER_LAYER |= {f"self_attn.{name}_proj.bias": (1024,) for name in ("q", "k", "v", "out")}
TOWER_LAYER |= {"mlp.fc1.weight": (4096, 1024), "mlp.fc1.bias": (4096,)}
TOWER_LAYER |= {"mlp.fc2.weight": (1024, 4096), "mlp.fc2.bias": (1024,)}
TOWER = "model.vision_embed_tokens.img_processor.vision_model."
PUBLISHED = {
    "lm_head.weight": (32064, 3072),
    "model.embed_tokens.weight": (32064, 3072),
    "model.norm.weight": (3072,),
    "model.vision_embed_tokens.glb_GN": (1, 1, 4096),
    "model.vision_embed_tokens.sub_GN": (1, 1, 1, 4096),
    "model.vision_embed_tokens.img_projection.0.weight": (3072, 4096),
    "model.vision_embed_tokens.img_projection.0.bias": (3072,),
    "model.vision_embed_tokens.img_projection.2.weight": (3072, 3072),
    "model.vision_embed_tokens.img_projection.2.bias": (3072,),
    f"{TOWER}embeddings.class_embedding": (1024,),
    f"{TOWER}embeddings.patch_embedding.weight": (1024, 3, 14, 14),
    f"{TOWER}embeddings.position_embedding.weight": (577, 1024),
    **{f"{TOWER}{norm}.{kind}": (1024,) for norm in ("pre_layrnorm", "post_layernorm") for kind in ("weight", "bias")},
    **{f"model.layers.{i}.{name}": shape for i in range(32) for name, shape in DECODER_LAYER.items()},
    **{f"{TOWER}encoder.layers.{i}.{name}": shape for i in range(24) for name, shape in TOWER_LAYER.items()},
}


def test_every_published_tensor_is_consumed(tmp_path):
    """All names of the published weight index and their shapes, none missing, none left over: on the meta device.

    A checkpoint of these names and shapes goes through the real loader; its tensors share one zero, so that its files
    are small and nothing of 8 GB is made.
    """
    index = json.loads((REFERENCE / "hub-files" / "model.safetensors.index.json").read_text())
    assert len(index["weight_map"]) == 592
    assert index["weight_map"].keys() == PUBLISHED.keys()
    assert sum(2 * math.prod(shape) for shape in PUBLISHED.values()) == index["metadata"]["total_size"]

    config = AutoConfig.from_pretrained(REFERENCE / "hub-files")
    zero = torch.zeros((), dtype=torch.bfloat16)
    model, report = phi3v.Phi3VForCausalLM.from_pretrained(
        None,
        config=config,
        state_dict={name: zero.expand(shape) for name, shape in PUBLISHED.items()},
        device_map="meta",
        dtype=torch.bfloat16,
        output_loading_info=True,
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert not report["mismatched_keys"]
    assert sum(parameter.numel() for parameter in model.parameters()) * 2 == index["metadata"]["total_size"]


def test_save_and_load_round_trip(tmp_path, model, processor):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    weight_map = json.loads((CHECKPOINT / "model.safetensors.index.json").read_text())["weight_map"]
    with safe_open(tmp_path / "model.safetensors", "pt") as saved:
        assert set(saved.keys()) == weight_map.keys()
    published, written = (json.loads((folder / "config.json").read_text()) for folder in (CHECKPOINT, tmp_path))
    for key in ("model_type", "architectures", "rope_scaling", "rope_theta", "embd_layer", "hidden_size"):
        assert written[key] == published[key], key
    assert written["img_processor"]["vision_config"]["hidden_size"] == 128
    assert "auto_map" not in written and "vision_config" not in written

    again = AutoModelForImageTextToText.from_pretrained(tmp_path, dtype="float32")
    inputs = AutoProcessor.from_pretrained(tmp_path)(text=PROMPT.format("What?"), images=picture(300, 200))
    expected = processor(text=PROMPT.format("What?"), images=picture(300, 200))
    assert all(torch.equal(inputs[name], expected[name]) for name in expected)
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, model(**inputs).logits)


def test_chat_ends_where_the_model_ends_it(model, processor):
    """The published config names </s>; answers end with <|end|> or <|endoftext|>."""
    ends = processor.tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"])
    assert model.generation_config.eos_token_id == ends


def test_unsupported_layout_is_named():
    with pytest.raises(ValueError, match="hd_transform_order.*glb_sub"):
        phi3v.Phi3VConfig(embd_layer={"hd_transform_order": "glb_sub"})


@pytest.mark.parametrize(
    ("img_processor", "words"),
    [({"type_feature": "cls_patch"}, "type_feature.*cls_patch"), ({"layer_idx": -26}, "layer_idx.*24 layers")],
)
def test_unsupported_features_of_the_tower_are_named(img_processor, words):
    with pytest.raises(ValueError, match=words):
        phi3v.Phi3VConfig(img_processor={"name": "clip_vision_model", **img_processor})


@pytest.mark.parametrize("layer_idx", [-3, 2, -1])
@torch.no_grad()
def test_features_come_from_the_layer_that_the_configuration_says(layer_idx, model):
    config = AutoConfig.from_pretrained(CHECKPOINT)
    config.img_processor["layer_idx"] = layer_idx
    embedding = AutoModelForCausalLM.from_pretrained(
        CHECKPOINT, config=config, dtype="float32"
    ).model.vision_embed_tokens
    tower, crops = model.model.vision_embed_tokens.img_processor.vision_model, torch.randn(1, 3, 336, 336)
    states = [tower.pre_layrnorm(tower.embeddings(crops))]
    for layer in tower.encoder.layers:
        states.append(layer(states[-1], None))
    assert torch.equal(embedding.encode(crops), states[layer_idx][:, 1:])
    trained = [name for name, p in embedding.img_processor.named_parameters() if p.requires_grad]
    assert any(".layers.1." in name for name in trained)
    assert any(".layers.3." in name for name in trained) == (layer_idx == -1)
    assert not any("post_layernorm" in name for name in trained)


def test_messages_with_images(processor):
    image = picture(500, 300)
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "image", "image": image},
                {"type": "image", "image": image.rotate(90, expand=True)},
                {"type": "text", "text": "What differs?"},
            ],
        },
        {"role": "assistant", "content": "The second is turned."},
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "And now?"}]},
    ]
    prompt = (
        "<|user|>\n<|image_1|>\n<|image_2|>\nWhat differs?<|end|>\n<|assistant|>\nThe second is turned.<|end|>\n"
        "<|user|>\n<|image_3|>\nAnd now?<|end|>\n<|assistant|>\n"
    )
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == prompt
    inputs = processor.apply_chat_template(
        messages,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        processor_kwargs={"num_crops": 4},
        return_tensors="pt",
    )
    assert inputs.pixel_values.shape == (3, 5, 3, 336, 336)
    assert inputs.image_sizes.tolist() == [[672, 672]] * 3


@pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
def test_attention_implementations_agree(attn_implementation, model, processor):
    inputs = processor(text=PROMPT.format("What is this?"), images=picture(700, 300), num_crops=4)
    other = AutoModelForCausalLM.from_pretrained(CHECKPOINT, attn_implementation=attn_implementation, dtype="float32")
    tower = other.model.vision_embed_tokens.img_processor.vision_model
    assert other.config._attn_implementation == tower.config._attn_implementation == attn_implementation
    with torch.no_grad():
        torch.testing.assert_close(other(**inputs).logits, model(**inputs).logits, rtol=0, atol=3e-4)


def test_batch_equals_single_prompts(model, processor):
    """Prompts of different length and number of images, padded on the left."""
    prompts = [PROMPT.format("What?"), "<|user|>\nHello there, how are you?<|end|>\n<|assistant|>\n"]
    prompts.append("<|user|>\n<|image_1|>\n<|image_2|>\nWhat differs between the two?<|end|>\n<|assistant|>\n")
    images = [[picture(400, 400)], [], [picture(300, 100), picture(100, 300)]]
    inputs = processor(text=prompts, images=images, num_crops=4)
    assert not inputs.attention_mask.all()
    flat = processor(text=prompts, images=[image for of_prompt in images for image in of_prompt], num_crops=4)
    assert torch.equal(flat.input_ids, inputs.input_ids)
    answers = greedy(model, inputs)
    for prompt, of_prompt, answer in zip(prompts, images, answers, strict=True):
        alone = processor(text=prompt, images=of_prompt, num_crops=4)
        assert greedy(model, alone)[0].tolist() == answer.tolist()


@pytest.mark.parametrize("beams", [{"num_return_sequences": 2, "do_sample": True, "top_k": 1}, {"num_beams": 2}])
def test_several_sequences_a_prompt_keep_their_images(beams, model, processor):
    prompts = [PROMPT.replace("<|image_1|>", "<|image_1|>\n<|image_2|>").format("What?"), PROMPT.format("And this?")]
    images = [[Image.new("RGB", (80, 80), "red"), picture(100, 300)], [Image.new("RGB", (300, 90), "blue")]]
    inputs = processor(text=prompts, images=images, num_crops=2)
    together = greedy(model, inputs, **beams)
    width = len(together) // 2
    for number, (prompt, of_prompt) in enumerate(zip(prompts, images, strict=True)):
        alone = greedy(model, processor(text=prompt, images=of_prompt, num_crops=2), **beams)
        assert together[number * width : (number + 1) * width].tolist() == alone.tolist()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_positions_keep_their_precision_in_half_precision(dtype, model, processor):
    """Angles computed from rounded frequencies would be off by radians at the end of an image."""
    loaded = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype=dtype)
    converted = AutoModelForCausalLM.from_pretrained(CHECKPOINT, dtype="float32").to(getattr(torch, dtype))
    for other in (loaded, converted):
        for name in ("short_inv_freq", "long_inv_freq"):
            assert torch.equal(getattr(other.model.rotary_emb, name), getattr(model.model.rotary_emb, name))
    inputs = processor(text=PROMPT.format("What is this?"), images=picture(700, 300), num_crops=16)
    with torch.no_grad():
        expected, logits = model(**inputs).logits[0, -1], loaded(**inputs).logits[0, -1].float()
    assert torch.corrcoef(torch.stack([expected, logits]))[0, 1] > 0.99


def test_embeddings_instead_of_ids(model, processor):
    inputs = processor(text=PROMPT.format("What?"), images=picture(90, 90), num_crops=1)
    embeds = model.model.embed(inputs.input_ids, inputs.pixel_values, inputs.image_sizes)
    settings = {"max_new_tokens": 8, "do_sample": False}
    from_embeds = model.generate(inputs_embeds=embeds, attention_mask=inputs.attention_mask, **settings)
    assert from_embeds.tolist() == greedy(model, inputs).tolist()
    assert len(model(**inputs, return_dict=False)[0]) == 1


@torch.no_grad()
def test_images_beside_embeddings(model, processor):
    """As tuned prompts need it: image positions are filled among embeddings too."""
    inputs = processor(text=PROMPT.format("What?"), images=picture(90, 90), num_crops=1)
    embeds = model.model.embed_tokens(inputs.input_ids)
    images = {name: inputs[name] for name in ("pixel_values", "image_sizes")}
    assert torch.equal(model(inputs_embeds=embeds, **images).logits, model(**inputs).logits)
    settings = {"max_new_tokens": 8, "do_sample": False}
    generated = model.generate(inputs_embeds=embeds, attention_mask=inputs.attention_mask, **images, **settings)
    assert generated.tolist() == greedy(model, inputs).tolist()
    for both in ({"input_ids": inputs.input_ids, "inputs_embeds": embeds}, {}):
        with pytest.raises(ValueError, match="exactly one of input_ids or inputs_embeds"):
            model(**both)
    with pytest.raises(ValueError, match="0 image positions in `inputs_embeds`"):
        model(inputs_embeds=embeds + 1, **images)
    with pytest.raises(ValueError, match="without `image_sizes`"):
        model(inputs.input_ids, inputs.pixel_values)


def test_the_former_name_of_logits_to_keep(model, processor):
    inputs = processor(text="<|user|>\nHello<|end|>\n<|assistant|>\n")
    with torch.no_grad():
        assert model(**inputs, num_logits_to_keep=2).logits.shape[1] == 2
    assert greedy(model, inputs, num_logits_to_keep=1).tolist() == greedy(model, inputs).tolist()


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_a_forward_pass_beside_a_prompt_beyond_4096(side, model, processor):
    """Without `position_ids`, as trainers call it."""
    short, long = (f"<|user|>\n{text}<|end|>\n<|assistant|>\n" for text in ("What is the total?", "word " * 4100))
    alone = model(**processor(text=short)).logits[0]
    inputs = processor(text=[short, long], padding_side=side)
    tokens = inputs.attention_mask[0].nonzero()[:, 0]
    beside = model(**inputs, logits_to_keep=tokens).logits[0]
    torch.testing.assert_close(beside, alone, rtol=0, atol=3e-4)


def test_batch_beside_a_prompt_beyond_4096(model, processor):
    """Each prompt gets the rotary factors of its own length: one is long from the start, one crosses, one is short."""
    long, crossing = "word " * 4100, "word " * 4086
    prompts = [f"<|user|>\n{text}<|end|>\n<|assistant|>\n" for text in (long, crossing, "Hi")]
    inputs = processor(text=prompts)
    lengths = inputs.attention_mask.sum(-1).tolist()
    assert lengths[0] > 4096 and 4089 < lengths[1] <= 4095
    settings = {"max_new_tokens": 12, "eos_token_id": None, "pad_token_id": 0}
    alone = [greedy(model, processor(text=prompt), **settings, use_cache=False)[0].tolist() for prompt in prompts]
    for implementation in ("dynamic", "static"):
        answers = greedy(model, inputs, **settings, cache_implementation=implementation, disable_compile=True)
        assert answers.tolist() == alone, implementation


def test_static_cache_equals_dynamic(model, processor):
    inputs = processor(text=PROMPT.format("What is this?"), images=picture(700, 300), num_crops=4)
    static = greedy(model, inputs, cache_implementation="static", disable_compile=True)
    assert static.tolist() == greedy(model, inputs).tolist()


def test_device_map(model, processor):
    mapped = AutoModelForCausalLM.from_pretrained(CHECKPOINT, device_map={"": "cpu"}, dtype="float32")
    automatic = AutoModelForCausalLM.from_pretrained(CHECKPOINT, device_map="auto", dtype="float32")
    inputs = processor(text=PROMPT.format("What?"), images=picture(90, 90), num_crops=1)
    assert greedy(mapped, inputs).tolist() == greedy(automatic, inputs).tolist() == greedy(model, inputs).tolist()


def test_padding_crops_are_not_encoded(model, processor):
    """What stands in the crops beyond an image's own makes no difference."""
    inputs = processor(text=PROMPT.format("What?"), images=picture(300, 100), num_crops=4)
    height, width = inputs.image_sizes[0].tolist()
    own = 1 + height * width // 336**2
    assert own < inputs.pixel_values.shape[1]
    with torch.no_grad():
        expected = model(**inputs).logits
        inputs.pixel_values[:, own:] = float("nan")
        assert torch.equal(model(**inputs).logits, expected)


def test_wrong_number_of_image_positions_is_named(model, processor):
    inputs = processor(text=PROMPT.format("What?"), images=picture(300, 100), num_crops=4)
    inputs["input_ids"] = inputs.input_ids[:, 5:]
    inputs["attention_mask"] = inputs.attention_mask[:, 5:]
    with pytest.raises(ValueError, match="image positions"):
        model(**inputs)


def test_loss_can_be_trained(model, processor):
    inputs = processor(text=PROMPT.format("What?"), images=picture(90, 90), num_crops=1)
    loss = model(**inputs, labels=inputs.input_ids).loss
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert loss.isfinite() and "model.vision_embed_tokens.sub_GN" in gradients


def test_arrays_are_images_too(processor):
    image = picture(60, 40)
    array = np.asarray(image)
    expected = processor.image_processor(image, num_crops=1, return_tensors="pt").pixel_values
    for same in (array, array.transpose(2, 0, 1), torch.tensor(array)):
        assert torch.equal(processor.image_processor(same, num_crops=1, return_tensors="pt").pixel_values, expected)


def test_positional_arguments_are_the_reference_s(processor):
    """`processor(text, images, padding, truncation, max_length, return_tensors)`."""
    inputs = processor(PROMPT.format("What?"), [picture(60, 40)], True, None, None, "pt")
    assert inputs.pixel_values.shape[1] == 17
    assert processor("word " * 50, None, True, True, 10, "pt").input_ids.shape == (1, 10)
    with pytest.raises(ValueError, match="truncated"):
        processor(PROMPT.format("What?"), [picture(60, 40)], True, True, 10, "pt")


def test_tokenizer_of_the_folder_is_the_published_one():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    for entry in reference_table("tokenizer_cases.json")["encode"]:
        assert tokenizer(entry["text"]).input_ids == entry["ids"]
