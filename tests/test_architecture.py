"""The native model as a citizen of transformers: Auto classes, checkpoints, caches, batches, devices."""

import json
import subprocess
import sys

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
        "             t.AutoModelForCausalLM, t.AutoModelForImageTextToText):\n"
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
    }


def test_every_published_tensor_is_consumed():
    """All names of the published weight index, none missing, none left over, and their sizes: on the meta device."""
    index = json.loads((REFERENCE / "hub-files" / "model.safetensors.index.json").read_text())
    config = AutoConfig.from_pretrained(REFERENCE / "hub-files")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    saved_names = {
        name.replace("img_processor.", "img_processor.vision_model."): tensor
        for name, tensor in model.state_dict().items()
    }
    assert len(index["weight_map"]) == 592
    assert saved_names.keys() == index["weight_map"].keys()
    assert sum(tensor.numel() * 2 for tensor in saved_names.values()) == index["metadata"]["total_size"]


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
    tower = other.model.vision_embed_tokens.img_processor
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


@pytest.mark.parametrize("cache_implementation", ["dynamic", "static"])
def test_batch_beside_a_prompt_beyond_4096(cache_implementation, model, processor):
    """Each prompt gets the rotary factors of its own length: one is long from the start, one crosses, one is short."""
    long, crossing = "word " * 4200, "word " * 4070
    prompts = [f"<|user|>\n{text}<|end|>\n<|assistant|>\n" for text in (long, crossing, "Hi")]
    inputs = processor(text=prompts)
    lengths = inputs.attention_mask.sum(-1).tolist()
    assert lengths[0] > 4096 and 4072 < lengths[1] <= 4096
    settings = {"max_new_tokens": 30, "eos_token_id": None, "pad_token_id": 0}
    answers = greedy(model, inputs, **settings, cache_implementation=cache_implementation, disable_compile=True)
    for prompt, answer in zip(prompts, answers, strict=True):
        alone = processor(text=prompt)
        assert greedy(model, alone, **settings, use_cache=False)[0].tolist() == answer.tolist()


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


def test_tokenizer_of_the_folder_is_the_published_one():
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINT)
    for entry in reference_table("tokenizer_cases.json")["encode"]:
        assert tokenizer(entry["text"]).input_ids == entry["ids"]
