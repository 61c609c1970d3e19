"""The native architecture against data computed with Microsoft's own code; see reference/README.md."""

import hashlib

import numpy as np
import pytest
import torch
from conftest import REFERENCE, reference_table
from PIL import Image

from phi3v.model.image_processing_phi3_v import hd_transform

PUBLIC = REFERENCE / "public"
CASES = [case["id"] for case in reference_table("index.json")["cases"]]
CROSSES_4096 = "p15_crosses_4096"


@pytest.fixture(scope="module", params=CASES)  # so that all tests of a case run one after another
def case(request):
    return reference_table(f"cases/{request.param}.json")


@pytest.fixture(scope="module")
def arrays(case):
    return np.load(PUBLIC / "cases" / f"{case['id']}.npz")


@pytest.fixture(scope="module")
def inputs(case, processor):
    return inputs_of(case, processor)


def inputs_of(case, processor):
    images = [Image.open(PUBLIC / "images" / image["file"]) for image in case["images"]]
    return processor(text=case["prompt"], images=images or None, num_crops=case["num_crops"], return_tensors="pt")


def test_inputs(case, arrays, inputs, processor):
    expected = torch.tensor([case["input_ids"]])
    assert torch.equal(inputs.input_ids, expected.where(expected >= 0, processor.image_token_id))
    assert inputs.attention_mask.all()
    if not case["images"]:
        assert "pixel_values" not in inputs
        return
    assert inputs.image_sizes.tolist() == case["image_sizes"]
    assert int((inputs.input_ids == processor.image_token_id).sum()) == sum(case["num_img_tokens"])
    pixels = case["pixel_values"]
    assert list(inputs.pixel_values.shape) == pixels["shape"]
    samples = inputs.pixel_values[..., pixels["sample_rows"], :][..., pixels["sample_cols"]]
    np.testing.assert_allclose(samples, arrays["pixel_samples"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(inputs.pixel_values.double().sum((-2, -1)), arrays["pixel_crop_sums"], atol=0.1)


@torch.no_grad()
def test_embeddings_and_logits(case, arrays, inputs, model):
    output = model(**inputs, logits_to_keep=1, output_hidden_states=True)
    np.testing.assert_allclose(output.logits[0, -1], arrays["last_logits"], rtol=0, atol=3e-4)
    if case["images"]:
        embeds = output.hidden_states[0][0]
        np.testing.assert_allclose(embeds[arrays["image_embeds_index"]], arrays["image_embeds"], rtol=0, atol=5e-5)


@pytest.mark.parametrize("case", [case for case in CASES if case != CROSSES_4096], indirect=True)
def test_greedy_continuation(case, inputs, processor, model):
    golden = case["generation"]
    output = model.generate(
        **inputs, max_new_tokens=golden["max_new_tokens"], do_sample=False, eos_token_id=golden["eos_token_ids"]
    )
    ids = output[0, case["input_length"] :].tolist()
    assert ids == golden["ids"]
    decoded = processor.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded == golden["text"]


def test_crossing_4096_differs_on_purpose(processor, model):
    """The reference keeps keys of the short factors in the cache; here the cache is recomputed.

    So the truth is what the reference computes without a cache, `no_cache_forward`.
    """
    case = reference_table(f"cases/{CROSSES_4096}.json")
    inputs, golden = inputs_of(case, processor), case["generation"]
    # One forward over all: every position with the long factors.
    ids = torch.cat([inputs.input_ids, torch.tensor([golden["ids"]])], dim=1)
    with torch.no_grad():
        logits = model(ids[:, :-1], inputs.pixel_values, inputs.image_sizes, logits_to_keep=len(golden["ids"])).logits
    assert logits[0].argmax(-1).tolist() == golden["no_cache_forward"]["argmax_per_step"]

    first_long = golden["first_step_with_long_factors"]
    settings = {"max_new_tokens": first_long + 3, "do_sample": False, "eos_token_id": 32000}
    without_cache = model.generate(**inputs, **settings, use_cache=False)
    assert without_cache[0, case["input_length"] :][:first_long].tolist() == golden["ids"][:first_long]
    for implementation in ("dynamic", "static"):
        with_cache = model.generate(**inputs, **settings, cache_implementation=implementation, disable_compile=True)
        assert with_cache.tolist() == without_cache.tolist(), implementation


def test_tokenizer(processor):
    tables = reference_table("tokenizer_cases.json")
    for entry in tables["encode"]:
        assert processor.tokenizer(entry["text"]).input_ids == entry["ids"], entry["text"]
        assert processor.tokenizer(entry["text"], add_special_tokens=False).input_ids == entry["ids_without_bos"]
    for entry in tables["decode"]:
        decode = {"clean_up_tokenization_spaces": False}
        assert processor.decode(entry["ids"], skip_special_tokens=True, **decode) == entry["text"]
        assert processor.decode(entry["ids"], **decode) == entry["text_with_special_tokens"]


def test_chat_template(processor):
    for entry in reference_table("tokenizer_cases.json")["chat_template"]:
        arguments = {"add_generation_prompt": entry["add_generation_prompt"], "tokenize": False}
        assert processor.apply_chat_template(entry["messages"], **arguments) == entry["prompt"]
        assert processor.tokenizer.apply_chat_template(entry["messages"], **arguments) == entry["prompt"]


def test_geometry(processor):
    image_processor = processor.image_processor
    for entry in reference_table("geometry.json"):
        size, num_crops = (entry["width"], entry["height"]), entry["num_crops"]
        if "error" in entry:
            with pytest.raises(ValueError, match="too thin"):
                image_processor.num_image_tokens(*size, num_crops=num_crops)
            continue
        assert image_processor.num_image_tokens(*size, num_crops=num_crops) == entry["num_img_tokens"], entry
        if size[0] * size[1] < 1_000_000:
            inputs = image_processor.preprocess(Image.new("RGB", size), num_crops=num_crops)
            assert inputs.image_sizes.tolist() == [entry["image_size"]], entry
            assert inputs.num_img_tokens == [entry["num_img_tokens"]], entry


def test_padding_is_where_the_reference_puts_it(processor):
    """Above and below, in the transposed frame for tall images: the reference's hash of the padded image."""
    for case_id in CASES:
        case = reference_table(f"cases/{case_id}.json")
        for image in case["images"]:
            padded = hd_transform(Image.open(PUBLIC / "images" / image["file"]).convert("RGB"), case["num_crops"])
            assert hashlib.sha256(padded.tobytes()).hexdigest() == image["padded_rgb_sha256"], case_id


# Accepted here, refused there: no images is no images. Refused before the model instead of in it: a tag given twice.
DIFFERENT_ON_PURPOSE = {"empty image list": "ok", "same tag twice, one image": "ValueError"}


def test_rejections(processor, model):
    """What the reference refuses is refused, with a ValueError that names the tags, where it has an AssertionError."""
    for entry in reference_table("rejections.json"):
        sizes = entry["image_sizes_wh"]
        images = None if sizes is None else [Image.new("RGB", tuple(size), (90, 120, 30)) for size in sizes]
        expected = DIFFERENT_ON_PURPOSE.get(entry["description"], entry["processor"])
        if expected != "ok":
            with pytest.raises(ValueError, match="too thin|<\\|image_1\\|>"):
                processor(text=entry["prompt"], images=images, num_crops=entry["num_crops"])
            continue
        inputs = processor(text=entry["prompt"], images=images, num_crops=entry["num_crops"])
        if "input_length" in entry:
            assert inputs.input_ids.shape == (1, entry["input_length"])
            assert int((inputs.input_ids == processor.image_token_id).sum()) == entry["image_positions"]
        with torch.no_grad():
            assert model(**inputs).logits.isfinite().all()
