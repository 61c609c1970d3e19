"""The preview model's training in small: a few steps on one kind of picture, the export, and an answer."""

import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from phi3v import Phi3VProcessor
from training import batches, canvas, checkpoint, fonts, instructions, losses, palette, prose, sampler, text, tokenizer
from training.adopt import adopt
from training.export import difference
from training.model import PreviewModel, Shape
from training.optimizer import Optimizer
from training.picture import plain
from training.scores import edits

SMALL = Shape(vision=64, vision_mlp=128, vision_layers=2, hidden=64, mlp=128, layers=4, vocabulary=1024)
ROOT = Path(__file__).resolve().parent.parent


def order(**changes) -> batches.Order:
    """A small batch of single-crop pictures."""
    settings = {"index": 0, "bucket": "one", "layouts": ((1, 1),), "num_crops": 1, "batch": 4, "questions": 2}
    return batches.Order(**{**settings, "room": 176, "progress": 0.0, "seed": 5, **changes})


@pytest.mark.parametrize("kind", list(sampler.RENDERERS))
def test_every_kind_of_picture_can_be_drawn(kind):
    picture = sampler.draw(random.Random(1), ((2, 2),), 4, 1.0, kind, held_out=True)
    assert picture.canvases[0].pixels().shape == (672, 672, 3)
    for question in picture.questions:
        assert plain(question.answer)
        text, _ = instructions.ask(random.Random(2), question.intent, question.slots, held_out=True)
        assert text
        assert tokenizer.load().decode(tokenizer.encode_answer(question.answer)[0][:-1]) == plain(question.answer)


@pytest.mark.parametrize("bucket", list(sampler.BUCKETS))
def test_a_batch_of_every_shape_can_be_drawn(bucket):
    for index in range(3):
        order = batches.order_for(index, 0.5, 1, 0, 0.05, (bucket,))
        _, notes = batches.fill(order)
        assert len(notes.answers) == order.batch * order.questions


def test_copied_characters_are_where_their_labels_say():
    arrays, notes = batches.fill(order(batch=6, kind="lines", progress=1.0))
    characters = arrays["characters0"]
    checked = 0
    for line, _ in enumerate(notes.tasks):
        for position, source in enumerate(arrays["source"][line]):
            text = tokenizer.load().decode([int(arrays["ids"][line, position])]).strip()
            if source < 0 or not text or not text.isascii():
                continue
            row, column = divmod(int(source) - 2, 13)
            patches = characters[line // 2][2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            checked += 1
            assert ord(text[0]) - 32 in patches or patches.all(-1).any()  # a patch labels three characters at most
    assert checked > 20


def test_widths_belong_to_the_face_and_size_that_is_drawn():
    for size in range(8, 60):
        font = fonts.load(fonts.choose(random.Random(size)), size)
        assert canvas._advances(font, "Wil")[-1] == pytest.approx(sum(map(font.getlength, "Wil")))
        fonts.load.cache_clear()  # the next face may well take this one's place in memory


def test_pages_do_not_outweigh_signs():
    page, sign = torch.ones(1, 24, 24, 3), torch.zeros(1, 24, 24, 3)
    sign[0, 0, :4, 0] = 1
    labels = torch.cat([page, sign])
    assert losses._emphasis([labels], 0.0)[0].tolist() == [1, 1]
    counts, weights = (labels > 0).flatten(1).sum(1), losses._emphasis([labels], 1.0)[0]
    assert (counts * weights).tolist() == pytest.approx([866, 866])


def test_comparisons_describe_first_and_then_conclude():
    picture = sampler.draw(random.Random(4), ((2, 2), (2, 2)), 4, 1.0)
    question = next(q for q in picture.questions if q.intent == "diff")
    assert plain(question.answer).startswith("The first image shows ")
    _, weights, _ = tokenizer.encode_answer(question.answer)
    assert weights[0] == 1
    assert weights[-2] == tokenizer.STRESS


@pytest.mark.parametrize("intent", ["detail", "count", "objects"])
def test_things_are_named_before_they_are_counted(intent):
    for seed in range(5):
        picture = sampler.draw(random.Random(seed), ((2, 2),), 4, 1.0, "shapes")
        text = plain(next(q for q in picture.questions if q.intent == intent).answer)
        named, counted = re.split(r"(?=\d)", text, maxsplit=1)
        places = re.findall(r"(?:in the|on the|at the) (?:center|left|right|top|bottom)", named)
        assert len(places) == sum(map(int, re.findall(r"\d", counted)))


def test_three_images_are_told_from_the_first_word():
    rng = random.Random(6)
    for layout in ((2, 2), (2, 1)):
        picture = sampler.draw(rng, (layout,) * 3, 4, 1.0)
        assert all(plain(q.answer).startswith("Of the three images, ") for q in picture.questions if not q.slots)
    asked = [instructions.ask(rng, "diff", images=3)[0].lower().split() for _ in range(200)]
    assert not any({"both", "two"} & set(words) for words in asked)


def test_wordings_are_held_out():
    rng = random.Random(3)
    seen = [instructions.ask(rng, "read")[1] for _ in range(300)]
    held = [instructions.ask(rng, "read", held_out=True)[1] for _ in range(300)]
    assert not any(seen)
    assert any(held)
    assert edits("kitten", "sitting") == 3


def test_what_is_asked_about_keeps_its_letters():
    rng = random.Random(4)
    asked = [instructions.ask(rng, "item", ("2 x Olive OIL",))[0] for _ in range(200)]
    assert all("2 x olive oil" in question.lower() for question in asked)
    assert any("2 x Olive OIL" in question for question in asked)


def test_prose_has_no_word_that_is_held_out():
    held = {word for part in (text.NOUNS, text.ADJECTIVES, text.VERBS) for word in part[1]}
    words = re.findall("[a-z]+", re.sub(r"{\w+}", "", " ".join(prose.SENTENCES).lower()))
    assert len(set(words)) > 2000
    assert not held & {word.removesuffix(end) for word in words for end in ("", "s", "ed", "ing")}
    assert not set("{}") & set(" ".join(prose.passage(random.Random(1), 5000)))


def test_type_is_labelled_with_its_colour():
    rng = random.Random(2)
    surface = canvas.Canvas(rng, (1, 1), 1, (255, 255, 255), size=(336, 336))
    surface.text(20, 100, "RED", fonts.choose(rng), 60, palette.COLORS["red"][0])
    surface.text(20, 250, "BLACK", fonts.choose(rng), 60, (0, 0, 0))
    labels = surface.labels()[1]
    red = 1 + len(palette.SHAPES) * len(palette.COLORS) + list(palette.COLORS).index("red")
    assert set(labels[:12].flat) == {0, red}
    assert not labels[12:].any()


def test_training_learns_and_the_export_answers(tmp_path):
    from phi3v import Phi3VForCausalLM, Phi3VProcessor

    torch.manual_seed(0)
    model = PreviewModel(SMALL)
    optimizer = Optimizer(model)
    arrays, _ = batches.fill(order())
    batch = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
    history = []
    for step in range(12):
        got = losses.losses(model, batch, ((1, 1),), noisy=False)
        sum(got[name] for name in ("answer", "characters", "cells", "shapes", "pointing")).backward()
        for p in model.parameters():
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        before = {name: values.clone() for name, values in model.state_dict().items()}
        optimizer.step(min(1, step / 4), 0.9, heads=min(1, (step + 1) / 4))
        if step == 0:
            learnt = {name for name, values in model.state_dict().items() if not torch.equal(values, before[name])}
            assert learnt and not [name for name in learnt if not name.startswith("aux.")]
        model.zero_grad()
        history.append(got["answer"].item())
    assert history[-1] < 0.75 * history[0]

    checkpoint.save(model, tmp_path / "run", {"step": 12})
    loaded, state = checkpoint.load(tmp_path / "run")
    assert state["step"] == 12
    checkpoint.export(loaded, tmp_path / "model")
    assert difference(tmp_path / "model") < 1e-3
    again = adopt(tmp_path / "model").state_dict()
    assert all(torch.equal(again[k], v) for k, v in loaded.state_dict().items() if not k.startswith("aux."))
    deeper, crops = adopt(tmp_path / "model", vision_layers=SMALL.vision_layers + 1), torch.randn(1, 3, 336, 336)
    assert torch.equal(deeper.encode(crops), loaded.encode(crops))
    (tmp_path / "model" / "tokenizer.json").write_text('{"model": {"vocab": {"H": 7, "a": 9}}}')
    head, vocabulary = adopt(tmp_path / "model").lm_head.weight, tokenizer.load().get_vocab()
    assert torch.equal(head[vocabulary["Ha"] if "Ha" in vocabulary else vocabulary["H"]], again["lm_head.weight"][7])
    assert torch.equal(head[vocabulary["a"]], again["lm_head.weight"][9])
    checkpoint.export(loaded, tmp_path / "model")
    native = Phi3VForCausalLM.from_pretrained(tmp_path / "model")
    processor = Phi3VProcessor.from_pretrained(tmp_path / "model")
    picture = sampler.draw(random.Random(1), ((2, 1),), 4, 0.0)
    inputs = processor(
        text="<|user|>\n<|image_1|>\nRead this.<|end|>\n<|assistant|>\n", images=[picture.canvases[0].image]
    )
    assert native.generate(**inputs, max_new_tokens=4).shape[1] > inputs["input_ids"].shape[1]


def test_the_documented_command(tmp_path):
    command = [sys.executable, "-m", "training.train", "--steps", "2", "--batch-scale", "0.02", "--buckets", "one"]
    command += ["--workers", "1", "--eval-batches", "0", "--out", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "2"})
    assert (tmp_path / "training.json").exists()


def test_questions_that_follow_one_another_are_written_as_the_chat_template_does():
    processor = Phi3VProcessor.from_pretrained(ROOT / "assets" / "preview-model")
    turns = [("What is it?", ["A sign."]), ("And the color?", ["Green."])]
    encoded = []
    for question, answer in turns:
        asked, (ids, weights, sources) = tokenizer.encode_question(question), tokenizer.encode_answer(answer)
        encoded.append((asked + ids, len(asked), weights, sources))
    ids, start, weights, sources = batches._as_conversation(encoded, 200)[1]
    messages = [
        {"role": "user", "content": "What is it?"},
        {"role": "assistant", "content": "A sign."},
        {"role": "user", "content": "And the color?"},
    ]
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert tokenizer.load().decode([tokenizer.USER, *ids], skip_special_tokens=False) == f"{prompt}Green.<|end|>"
    assert len(weights) == len(sources) == len(ids) - start
    learnt = [i for i, weight in zip(ids[start:], weights, strict=True) if weight]
    assert tokenizer.load().decode(learnt, skip_special_tokens=False) == "A sign.<|end|>Green.<|end|>"
    assert len(batches._as_conversation(encoded, 20)[1][0]) == len(encoded[1][0])
