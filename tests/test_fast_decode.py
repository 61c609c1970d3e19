"""The fast decoder makes the tokens that transformers' own loop makes. Its kernels are interpreted, on a CPU."""

import pytest
from conftest import EXAMPLES
from PIL import Image

from phi3v import Phi3Vision, fast_decode

WORDS = "Tell me about the weather, the sea and the ships."


@pytest.fixture
def engines(monkeypatch, endless_checkpoint):
    """One with transformers' loop, and one with the decoder; few large blocks, since the interpreter is slow."""
    monkeypatch.setattr(fast_decode, "NORMED", (4096, 64, 4))
    monkeypatch.setattr(fast_decode, "GATED", (128, 64, 4))
    monkeypatch.setattr(fast_decode, "ADDED", (64, 128, 4))
    monkeypatch.setattr(fast_decode, "SPLITS", 2)
    monkeypatch.setattr(fast_decode, "POSITIONS", 128)
    plain, fast = (Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32") for _ in range(2))
    fast._decoder = fast_decode.FastDecoder(fast.model)
    return plain, fast


def both(engines, *question, **settings):
    answers = [engine.answer(*question, **{"max_new_tokens": 6, **settings}) for engine in engines]
    assert answers[0].stats.new_tokens == answers[1].stats.new_tokens
    assert answers[0].stats.stop_reason == answers[1].stats.stop_reason
    return [answer.text for answer in answers]


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.0, "seed": 3}, {"repetition_penalty": 1.5}],
    ids=["greedy", "sampled", "penalty"],
)
def test_the_same_answer(engines, settings):
    plain, fast = both(engines, WORDS, **settings)
    assert plain == fast != ""


def test_an_answer_about_an_image_and_the_next_one(engines):
    image = Image.open(EXAMPLES / "street_sign.png").convert("RGB")
    for question in ("What is it?", "What is it not?"):
        plain, fast = both(engines, question, [image], num_crops=1, max_new_tokens=4)
        assert plain == fast
    assert engines[1].answer("What is it?", [image], num_crops=1, max_new_tokens=2).stats.cached_tokens > 300


@pytest.mark.parametrize("later", [0, 3])
def test_passing_the_length_from_which_keys_are_rotated_otherwise(engines, later):
    prompt = engines[0].answer(WORDS, max_new_tokens=1).stats.prompt_tokens
    for engine in engines:
        engine.model.config.original_max_position_embeddings = prompt + later
        engine._prefixes.clear()
    plain, fast = both(engines, WORDS)
    assert plain == fast


def test_it_ends_where_the_context_ends(engines):
    prompt = engines[0].answer(WORDS, max_new_tokens=1).stats.prompt_tokens
    for engine in engines:
        engine.context_length = engine._prompter.context_length = prompt + 4
    plain, fast = both(engines, WORDS)
    assert plain == fast


def test_more_positions_than_were_made_ready(engines, monkeypatch):
    monkeypatch.setattr(fast_decode, "ROOM", 4)
    monkeypatch.setattr("phi3v.kv_cache.STEP", 4)
    plain, fast = both(engines, WORDS)
    assert plain == fast


def test_it_is_checked_before_it_is_used(engines):
    decoder = engines[1]._decoder
    assert decoder.agrees()
    engines[1].model.model.layers[0].input_layernorm.variance_epsilon = 0.5
    assert not decoder.agrees()


def test_a_cpu_keeps_transformers_loop(engines):
    engines[0].warm_up()
    assert engines[0]._decoder is None
