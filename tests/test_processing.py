"""The processor as transformers' own code, trainers and collators call one."""

import pytest
import torch
from conftest import REFERENCE
from PIL import Image
from transformers import AutoProcessor

PROMPT = "<|user|>\n<|image_1|>\nWhat is shown?<|end|>\n<|assistant|>\n"
TEXT = "<|user|>\nHi<|end|>\n<|assistant|>\n"
IMAGE = Image.linear_gradient("L").resize((300, 200)).convert("RGB")


@pytest.fixture
def ask(processor):
    """A prompt with an image beside one without."""
    return lambda **keywords: processor(text=[PROMPT, TEXT], images=[[IMAGE], None], **{"num_crops": 1, **keywords})


def test_keywords_may_be_grouped(ask, processor):
    expected = ask(padding="max_length", max_length=400, return_tensors="np")
    grouped = processor(
        text=[PROMPT, TEXT],
        images=[[IMAGE], None],
        text_kwargs={"padding": "max_length", "max_length": 400},
        images_kwargs={"num_crops": 1},
        common_kwargs={"return_tensors": "np"},
    )
    assert expected.input_ids.shape == (2, 400) and expected.pixel_values.shape == (1, 2, 3, 336, 336)
    assert grouped.keys() == expected.keys()
    assert all((grouped[name] == expected[name]).all() for name in expected)


def test_padding_is_where_it_is_wanted(ask, processor):
    left = ask()
    right = ask(padding_side="right", pad_to_multiple_of=8)
    assert right.input_ids.shape[1] % 8 == 0
    assert left.attention_mask[1].tolist() == sorted(left.attention_mask[1].tolist())
    assert right.attention_mask[1].tolist() == sorted(right.attention_mask[1].tolist(), reverse=True)
    for row, others in zip(left.input_ids, right.input_ids, strict=True):
        length = int((row != 32000).sum())  # the padding token is in no prompt
        assert row[-length:].tolist() == others[:length].tolist()


def test_the_tokenizer_s_side_is_honoured():
    """Loaded, it is the left, although the published file says right: `generate` continues from there."""
    processor = AutoProcessor.from_pretrained(REFERENCE / "checkpoint")
    prompts = ["Hi", "A longer text"]
    assert processor(text=prompts).attention_mask[0, 0] == 0
    processor.tokenizer.padding_side = "right"
    assert processor(text=prompts).attention_mask[0, 0] == 1
    asked_for = AutoProcessor.from_pretrained(REFERENCE / "checkpoint", padding_side="right", num_crops=2)
    assert asked_for(text=prompts).attention_mask[0, 0] == 1
    assert asked_for.image_processor.num_crops == 2


@pytest.mark.parametrize("prompt", [PROMPT, TEXT])
def test_without_special_tokens_a_prompt_has_no_bos(prompt, processor):
    """The one after an image belongs to the image."""
    images = [IMAGE] if "image" in prompt else None
    ids, without = (
        processor(text=prompt, images=images, add_special_tokens=add).input_ids[0] for add in (True, False)
    )
    assert ids[0] == processor.tokenizer.bos_token_id
    assert ids[1:].tolist() == without.tolist()


def test_columns_that_tokenizers_give(ask, processor):
    given = ask(
        return_offsets_mapping=True,
        return_mm_token_type_ids=True,
        return_token_type_ids=True,
        return_special_tokens_mask=True,
        return_length=True,
    )
    shape = given.input_ids.shape
    assert given.offset_mapping.shape == (*shape, 2)
    assert torch.equal(given.mm_token_type_ids == 1, given.input_ids == processor.image_token_id)
    assert given.token_type_ids.shape == given.special_tokens_mask.shape == shape
    assert given.length.tolist() == given.attention_mask.sum(-1).tolist()
    for ids, offsets in zip(given.input_ids.tolist(), given.offset_mapping.tolist(), strict=True):
        spans = {PROMPT[begin:end] for token, (begin, end) in zip(ids, offsets, strict=True) if token == 32044}
        assert spans <= {"<|image_1|>"}
    shown = processor.tokenizer("shown", add_special_tokens=False).input_ids[-1]
    begin, end = given.offset_mapping[0][given.input_ids[0] == shown][0].tolist()
    assert PROMPT[begin:end].strip() == "shown"
    assert "attention_mask" not in ask(return_attention_mask=False)


def test_a_limit_that_cuts_nothing_is_no_truncation(ask):
    assert torch.equal(ask(truncation=True, max_length=400).input_ids, ask().input_ids)
    with pytest.raises(ValueError, match=r"can't be truncated.*takes 3\d\d tokens, more than 100"):
        ask(truncation=True, max_length=100)


@pytest.mark.parametrize(
    "keywords",
    [
        {"padding": "max_length", "max_length": 64},
        {"padding": "max_length", "max_length": 300},
        {"padding": True, "max_length": 64},
        {"max_length": 64},
        {"padding": False, "max_length": 64},
        {"padding": "max_length", "max_length": 64, "truncation": True},
        {"truncation": "do_not_truncate", "max_length": 64},
    ],
)
@pytest.mark.filterwarnings("ignore:`max_length` is ignored")
def test_text_is_cut_where_the_tokenizer_cuts_it(keywords, processor):
    text = "word " * 200
    assert processor(text=text, **keywords).input_ids[0].tolist() == processor.tokenizer(text, **keywords).input_ids


def test_a_length_in_the_tokenizer_s_file_cuts_nothing(tmp_path):
    written = AutoProcessor.from_pretrained(REFERENCE / "checkpoint")
    written.tokenizer.init_kwargs |= {"max_length": 32, "stride": 8, "truncation": True}
    written.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    assert loaded.tokenizer.init_kwargs["max_length"] == 32
    assert loaded(text="word " * 200).input_ids.shape[1] > 200
    assert loaded(text=PROMPT, images=[IMAGE], num_crops=1).input_ids.shape[1] > 300


def test_flags_of_what_is_done_anyway_change_nothing(ask):
    flags = dict.fromkeys(("do_convert_rgb", "do_resize", "do_rescale", "do_normalize", "do_pad"), True)
    assert torch.equal(ask(**flags, do_center_crop=False).pixel_values, ask().pixel_values)


@pytest.mark.parametrize(
    "keyword",
    [
        {"size": {"height": 100, "width": 100}},
        {"do_normalize": False},
        {"do_resize": False},
        {"do_center_crop": True},
        {"stride": 3},
    ],
)
def test_what_it_does_not_do_is_named(ask, keyword):
    with pytest.raises(ValueError, match=f"has no `{next(iter(keyword))}`"):
        ask(**keyword)


def test_what_the_assistant_says_can_be_told_apart(processor):
    content = [{"type": "image", "image": IMAGE}, {"type": "text", "text": "What is shown?"}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "A gradient."}]
    settings = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "return_assistant_tokens_mask": True}
    inputs = processor.apply_chat_template(messages, **settings, processor_kwargs={"num_crops": 1})
    said = inputs.input_ids[inputs["assistant_masks"] == 1]
    assert processor.decode(said) == "A gradient.<|end|>"


def test_images_may_be_missing_in_a_batch(processor):
    nested = processor(text=[TEXT, PROMPT], images=[None, [IMAGE]], num_crops=1)
    flat = processor(text=[TEXT, PROMPT], images=[None, IMAGE], num_crops=1)
    assert torch.equal(nested.input_ids, flat.input_ids)
    assert len(nested.pixel_values) == 1
    assert "pixel_values" not in processor(text=[TEXT, TEXT], images=[None, []])
