"""What was computed for one question serves the next one, and never changes an answer."""

import pytest
import torch
from conftest import EXAMPLES, REFERENCE
from PIL import Image

from phi3v import Phi3Vision
from phi3v.engine.kv_cache import PrefixCache, roomy_cache


@pytest.fixture(scope="module")
def load():
    """A function that gives an engine of the preview model that knows nothing yet."""
    return lambda: Phi3Vision.from_pretrained(dtype="float32")


@pytest.fixture
def engine(load):
    return load()


@pytest.fixture
def reference():
    """An engine whose answers to long prompts are rotated otherwise: beyond 4096 positions."""
    return lambda: Phi3Vision.from_pretrained(REFERENCE / "checkpoint", dtype="float32", num_crops=1)


def example(name):
    return Image.open(EXAMPLES / f"{name}.png").convert("RGB")


SIGN, RECEIPT = "What does the sign say?", "What is the total?"


def test_the_second_question_about_an_image_does_not_pay_for_it_again(engine, load):
    first = engine.answer(SIGN, [example("street_sign")])
    second = engine.answer("What color is the sign?", [example("street_sign")])
    assert first.stats.cached_tokens == 0
    assert second.stats.image_tokens < second.stats.cached_tokens < second.stats.prompt_tokens
    assert second.text == load().answer("What color is the sign?", [example("street_sign")]).text


def test_an_image_seen_before_is_not_encoded_for_an_answer_that_may_pass_4096_positions(engine, monkeypatch):
    engine.answer(SIGN, [example("street_sign")])
    monkeypatch.setattr(engine.model, "get_image_features", lambda **_: pytest.fail("it is known"))
    assert "Maple" in engine.answer(SIGN, [example("street_sign")], max_new_tokens=4000).text


def test_the_same_question_again_gets_the_same_answer(engine):
    answers = [engine.answer(SIGN, [example("street_sign")]) for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert answers[2].stats.cached_tokens == answers[2].stats.prompt_tokens - 1


def test_an_image_is_known_in_another_mode(engine):
    """By what the model sees of it."""
    assert "Maple" in engine.answer(SIGN, [example("street_sign").convert("RGBA")]).text
    assert engine.answer(SIGN, [example("street_sign")]).stats.cached_tokens > 0


def test_another_image_of_the_same_size_is_looked_at(engine):
    image = example("street_sign")
    engine.answer(SIGN, [image])
    answer = engine.answer(SIGN, [image.transpose(Image.Transpose.ROTATE_180)])
    assert answer.stats.cached_tokens == 0


def test_other_crops_are_another_look(engine):
    assert engine.answer(SIGN, [example("street_sign")]).stats.cached_tokens == 0
    assert engine.answer(SIGN, [example("street_sign")], num_crops=1).stats.cached_tokens == 0


def test_the_image_that_is_new_among_several_is_looked_at(engine, load):
    known, new, question = example("compare_1a"), example("compare_1b"), "What is different between these images?"
    engine.answer("Describe this image.", [known])
    answer = engine.answer(question, [known, new])
    fresh = load().answer(question, [known, new])
    assert fresh.stats.cached_tokens == 0
    assert answer.stats.cached_tokens > fresh.stats.image_tokens // 2
    assert answer.text == fresh.text


def test_a_conversation_goes_on_from_its_last_answer(engine, load):
    content = [{"type": "image", "image": example("receipt")}, {"type": "text", "text": RECEIPT}]
    said = engine.answer(RECEIPT, [example("receipt")]).text
    history = [{"role": "user", "content": content}, {"role": "assistant", "content": said}]
    answer = engine.answer("And the tax?", history=history)
    fresh = load().answer("And the tax?", history=history)
    assert answer.stats.cached_tokens > fresh.stats.prompt_tokens - 30
    assert answer.text == fresh.text


def test_after_a_stop_the_next_answer_is_whole(engine, load):
    stream = engine.stream("Describe this image in detail.", [example("shapes")])
    next(stream)
    stream.close()
    list(stream)
    answer = engine.answer("Describe this image in detail.", [example("shapes")])
    assert answer.stats.cached_tokens > 0
    assert answer.text == load().answer("Describe this image in detail.", [example("shapes")]).text


@pytest.mark.parametrize("words", [3760, 3900])
def test_passing_4096_changes_nothing(reference, words):
    """Short prompts' keys are of no use to long ones nor the other way round; an answer that passes needs all anew."""
    image, engine = example("street_sign"), reference()
    question = "word " * words
    fresh = {each: reference().answer(each, [image], max_new_tokens=30) for each in ("Short?", question)}
    long = fresh[question].stats
    assert long.prompt_tokens + long.new_tokens > 4096
    assert (long.prompt_tokens > 4096) == (words == 3900)
    for each in ("Short?", question, "Short?", question):
        answer = engine.answer(each, [image], max_new_tokens=30)
        assert answer.stats.stop_reason in ("length", "end")
        assert answer.text == fresh[each].text


def test_what_is_kept_makes_room_when_memory_runs_out(engine, monkeypatch):
    engine.answer(SIGN, [example("street_sign")])
    generate, failures = engine.model.generate, [RuntimeError("DefaultCPUAllocator: can't allocate memory")]

    def short_of_memory(**arguments):
        if failures:
            arguments["streamer"].put(arguments["input_ids"])
            raise failures.pop()
        return generate(**arguments)

    monkeypatch.setattr(engine.model, "generate", short_of_memory)
    answer = engine.answer(SIGN, [example("street_sign")])
    assert "Maple" in answer.text
    assert answer.stats.cached_tokens == 0
    failures += [RuntimeError("can't allocate memory")] * 2
    with pytest.raises(MemoryError, match="Use fewer images"):
        engine.answer(SIGN, [example("street_sign")])


def test_nobody_finds_out_what_was_asked_or_shown_with_another_salt(engine, load, monkeypatch):
    image, asked = example("receipt"), {"images": [example("receipt")], "max_new_tokens": 8}
    first = engine.answer("Is the number 4711?", **asked, cache_salt="anna")
    encoded, embed = [], engine._image_graphs
    monkeypatch.setattr(engine, "_image_graphs", lambda pixels: encoded.append(1) or embed(pixels))
    for salt in ("bert", None):
        probe = engine.answer("Is the number 4711?", **asked, cache_salt=salt)
        assert probe.stats.cached_tokens == 0
        assert probe.text == first.text
    assert len(encoded) == 2  # nor by the time that an image takes
    again = engine.answer("Is the number 4712?", images=[image], max_new_tokens=8, cache_salt="anna")
    assert again.stats.cached_tokens > again.stats.image_tokens
    assert again.text == load().answer("Is the number 4712?", **asked).text
    assert engine.answer("Is the number 4711?", **asked).stats.cached_tokens > 0  # of those without a salt
    assert len(encoded) == 2


def test_a_conversation_with_a_salt_goes_on(engine):
    said = engine.answer(SIGN, [example("street_sign")], cache_salt="anna").text
    content = [{"type": "image", "image": example("street_sign")}, {"type": "text", "text": SIGN}]
    history = [{"role": "user", "content": content}, {"role": "assistant", "content": said}]
    stats = {salt: engine.answer("And?", history=history, cache_salt=salt).stats for salt in ("anna", "bert")}
    assert stats["anna"].cached_tokens > stats["anna"].prompt_tokens - 20
    assert stats["bert"].cached_tokens == 0


def test_a_salt_has_a_length(engine):
    with pytest.raises(ValueError, match="at most 256"):
        engine.stream(SIGN, cache_salt="x" * 257)


def test_many_salts_take_no_more_than_one():
    size = cache_of(100).layers[0].nbytes
    store = PrefixCache(3 * size)
    for number in range(50):
        store.put(["a"] * 100, cache_of(100), False, str(number))
    assert sum(entry.nbytes for entry in store._entries) <= 3 * size
    assert store.take(["a"] * 100, False, "46") == (None, 0)
    assert store.take(["a"] * 100, False) == (None, 0)
    assert [store.take(["a"] * 100, False, salt)[1] for salt in ("47", "48", "49")] == [99, 99, 99]


def cache_of(length):
    cache = roomy_cache(1)
    cache.update(torch.zeros(1, 1, length, 8), torch.zeros(1, 1, length, 8), 0)
    return cache


def test_the_oldest_go_first():
    store = PrefixCache(3 * cache_of(100).layers[0].nbytes)
    for letter in "abcd":
        store.put([letter] * 100, cache_of(100), False)
    assert store.take(["a"] * 100, False) == (None, 0)
    cache, length = store.take(["b"] * 50 + ["x"] * 50, False)
    assert length == cache.get_seq_length() == 50
    assert store.take(["b"] * 100, False) == (None, 0)  # handed out
    assert store.take(["c"] * 100, True) == (None, 0)  # rotated otherwise
    assert store.clear()
    assert not store.clear()


def test_a_roomy_cache_holds_what_a_dynamic_one_does():
    cache, parts = roomy_cache(1), [torch.randn(1, 2, n, 8) for n in (5, 300, 1, 1)]
    for part in parts:
        keys, values = cache.update(part, -part, 0)
    assert torch.equal(keys, torch.cat(parts, -2))
    assert torch.equal(values, -torch.cat(parts, -2))
    cache.layers[0].crop(-302)
    keys, _ = cache.update(parts[1], parts[1], 0)
    assert torch.equal(keys, torch.cat([parts[0], parts[1]], -2))
