"""The engine's loop makes the tokens that transformers' own makes. The graph's kernels are interpreted, on a CPU."""

import os
import subprocess
import sys
import threading
from contextlib import nullcontext

import pytest
import torch
from conftest import EXAMPLES
from peft import LoraConfig
from PIL import Image
from transformers import AutoModelForCausalLM

from phi3v import Phi3Vision
from phi3v.engine.answer_stream import TokenStreamer
from phi3v.engine.fast import decode_graph, forward, generate, prompt_kernels
from phi3v.engine.fast.chunk_graph import ChunkGraph
from phi3v.engine.fast.forward import without_cudnn
from phi3v.engine.fast.prompt_graphs import PromptGraphs
from phi3v.engine.fast.tower import LeanTower
from phi3v.engine.kv_cache import roomy_cache

WORDS = "Tell me about the weather, the sea and the ships."


class Recorded:
    """As a CUDA graph: does again what it was shown, with the same memory."""

    replays = 0

    def __init__(self, step, pool):
        self.step = step

    def replay(self):
        Recorded.replays += 1
        self.step()


def graph_of(model):
    """As on a GPU, where weights are stored by rows."""
    for parameter in model.parameters():
        parameter.data = parameter.data.contiguous()
    return decode_graph.DecodeGraph(model)


@pytest.fixture(scope="module", params=["lean", "graph"])
def loaded(request, few_large_blocks, endless_checkpoint):
    """One engine with transformers' loop, and one with its own."""
    plain, fast = (Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32") for _ in range(2))
    plain._fast = None
    if request.param == "graph":
        fast._fast.graph = graph_of(fast.model)
        fast._fast.chunk = ChunkGraph(fast.model)
        assert fast._fast.try_kernels()
        fast._fast.prompts = PromptGraphs(fast.model)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("phi3v.engine.fast.prompt_graphs.recorded", Recorded)
            for size in fast._fast.prompts.sizes:
                fast._fast.prompts.record(size, (0, 0))
    return plain, fast


@pytest.fixture
def engines(loaded):
    """Both, as they were loaded: with nothing of earlier answers."""
    for engine in loaded:
        engine._prefixes.clear()
    return loaded


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
    replays = Recorded.replays
    plain, fast = both(engines, WORDS, **settings)
    assert plain == fast != ""
    assert Recorded.replays == replays + bool(engines[1]._fast.prompts)


def test_an_answer_about_an_image_and_the_next_one(engines):
    image = Image.open(EXAMPLES / "street_sign.png").convert("RGB")
    for question in ("What is it?", f"What is it not? {WORDS}"):  # the second is longer than what is read at once
        plain, fast = both(engines, question, [image], num_crops=1, max_new_tokens=4)
        assert plain == fast
    assert engines[1].answer("What is it?", [image], num_crops=1, max_new_tokens=2).stats.cached_tokens > 300


@pytest.mark.parametrize("later", [0, 3])
def test_passing_the_length_from_which_keys_are_rotated_otherwise(engines, later, monkeypatch):
    prompt = engines[0].answer(WORDS, max_new_tokens=1).stats.prompt_tokens
    for engine in engines:
        monkeypatch.setattr(engine.model.config, "original_max_position_embeddings", prompt + later)
        engine._prefixes.clear()
    monkeypatch.setattr(engines[1]._fast, "prompts", None)  # made for another length
    plain, fast = both(engines, WORDS)
    assert plain == fast


def test_follow_ups_whose_keys_are_rotated_otherwise(engines, monkeypatch):
    turns = [{"role": "user", "content": "word " * 12}, {"role": "assistant", "content": "Yes."}]
    prompt = len(engines[0]._prompter("alpha " * 18, [], turns, 1).ids)
    for engine in engines:
        monkeypatch.setattr(engine.model.config, "original_max_position_embeddings", prompt - 3)
    monkeypatch.setattr(engines[1]._fast, "prompts", None)  # made for another length
    for word in ("alpha ", "beta "):
        plain, fast = (engine.answer(word * 18, [], turns, max_new_tokens=12) for engine in engines)
        assert plain.text == fast.text
    assert 0 < fast.stats.cached_tokens < prompt - 16  # more than a piece before that length


def test_it_ends_where_the_context_ends(engines, monkeypatch):
    prompt = engines[0].answer(WORDS, max_new_tokens=1).stats.prompt_tokens
    for engine in engines:
        for each in (engine, engine._prompter):
            monkeypatch.setattr(each, "context_length", prompt + 4)
    plain, fast = both(engines, WORDS)
    assert plain == fast
    assert engines[1].answer(WORDS).stats.stop_reason == "context"


def test_more_positions_than_were_made_ready(engines, monkeypatch):
    monkeypatch.setattr(generate, "ROOM", 4)
    monkeypatch.setattr("phi3v.engine.kv_cache.STEP", 4)
    plain, fast = both(engines, WORDS)
    assert plain == fast


def test_the_graphs_are_checked_before_they_are_used(few_large_blocks, endless_checkpoint):
    model = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32").model
    graph, chunk, prompts = graph_of(model), ChunkGraph(model), PromptGraphs(model)
    assert graph.agrees() and chunk.agrees() and prompts.agrees()
    model.model.layers[0].input_layernorm.variance_epsilon = 0.5
    assert not graph.agrees()


def with_adapter(model, std=0.006):
    """With an adapter, which by default changes the logits by 5 to 6 % of their norm."""
    torch.manual_seed(0)
    model.add_adapter(LoraConfig(r=8, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=std)
    return model


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@torch.inference_mode()
def test_an_adapter_that_is_left_out_is_told_from_rounding(dtype, endless_checkpoint):
    """By less than what two results in bfloat16 may differ by."""
    model = Phi3Vision.from_pretrained(endless_checkpoint, dtype=dtype).model
    ids = torch.arange(40)

    def logits():
        return model(ids[None]).logits[0, -1], forward.exact_logits(model, ids)

    embeds = model.model.embed_tokens(ids)
    lean = forward.lean_forward(model, embeds, roomy_cache(model.config.num_hidden_layers))[0]
    assert forward.close(lean, *logits())
    with torch.inference_mode(False):
        with_adapter(model)
    assert 0.04 < (logits()[0].float() - lean).norm() / lean.norm() < 0.08
    assert not forward.close(lean, *logits())


def test_layers_of_other_libraries_are_left_to_themselves(endless_checkpoint):
    model = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32").model
    assert forward.suits(model)
    assert not forward.suits(with_adapter(model))


def test_an_adapter_loaded_later_is_not_left_out(few_large_blocks, endless_checkpoint):
    """Nor is what was kept of prompts before it was there taken, or before it was switched off."""
    engine = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32")
    engine._fast.graph = graph_of(engine.model)
    tower = engine.model.model.vision_embed_tokens
    tower.encode = LeanTower(tower, prompt_kernels)
    before = engine.answer(WORDS, max_new_tokens=4)
    with_adapter(engine.model, 0.1)
    adapted = engine.answer(WORDS, max_new_tokens=4)
    assert adapted.stats.cached_tokens == 0
    assert engine._fast is None and "encode" not in tower.__dict__
    fresh = Phi3Vision(with_adapter(plain_model(endless_checkpoint), 0.1), engine.processor, "")
    assert adapted.text == fresh.answer(WORDS, max_new_tokens=4).text != before.text
    engine.model.disable_adapters()
    assert engine.answer(WORDS, max_new_tokens=4).text == before.text


def plain_model(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", attn_implementation="sdpa")


def test_kernels_that_fail_are_not_used(few_large_blocks, endless_checkpoint, monkeypatch):
    from phi3v.engine.fast import prompt_kernels

    engine = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32", quantize="int8")
    monkeypatch.setattr(prompt_kernels, "unpacked", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine._fast.try_kernels()
    assert engine.answer(WORDS, max_new_tokens=2).stats.new_tokens == 2


@pytest.mark.parametrize("wrong", ["unpacked", "gated", None])
def test_no_answer_uses_kernels_that_are_not_known_to_work(few_large_blocks, endless_checkpoint, monkeypatch, wrong):
    from phi3v.engine.fast import generate, prompt_kernels

    quantize = "int8" if wrong == "unpacked" else None  # the interpreter takes minutes for all of a model's weights
    engine = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32", quantize=quantize)
    right, meanwhile, checks = engine.answer(WORDS, max_new_tokens=6).text, [], generate.close

    def check(*results):
        engine._prefixes.clear()
        meanwhile.append(engine.answer(WORDS, max_new_tokens=6).text)
        return checks(*results)

    monkeypatch.setattr(generate, "close", check)
    if wrong:
        kernel = getattr(prompt_kernels, wrong)
        monkeypatch.setattr(prompt_kernels, wrong, lambda *arguments: kernel(*arguments).neg_())
    assert engine._fast.try_kernels() == (wrong is None)
    assert set(meanwhile) == (set() if wrong == "unpacked" else {right})  # stored weights are compared before all
    assert engine.answer(WORDS, max_new_tokens=6).text == right
    assert bool(engine._fast.between) == (wrong is None)


@torch.inference_mode()
def test_recorded_images_are_embedded_as_others(endless_checkpoint, monkeypatch):
    monkeypatch.setattr("phi3v.engine.fast.image_graphs.recorded", Recorded)
    embed = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32")._image_graphs
    images = [
        torch.randint(256, (3, 336 * height, 336 * width), dtype=torch.uint8) for height, width in [(1, 2), (2, 1)]
    ]
    expected = [embed(image) for image in images]
    assert (4, 4) in embed.grids and (4, 5) not in embed.grids
    for grid in (embed.grids[0], (1, 2), (2, 1)):
        embed.record(grid, (0, 0))
    replays = Recorded.replays
    results = [embed(image) for image in images]
    assert Recorded.replays == replays + 2
    for result, other in zip(results, expected, strict=True):
        assert torch.equal(result, other)


@pytest.mark.parametrize("loaded", ["lean"], indirect=True)
def test_the_caller_s_random_numbers_stay_the_caller_s(engines):
    """And a seed's answer is what torch's own generator gives with it."""
    for engine in engines:
        torch.manual_seed(1)
        expected = torch.rand(4).tolist()
        torch.manual_seed(1)
        begun = torch.rand(2).tolist()
        for seed in (3, None):
            engine.answer(WORDS, max_new_tokens=4, temperature=1.0, seed=seed)
        assert begun + torch.rand(2).tolist() == expected


@pytest.mark.parametrize("loaded", ["lean"], indirect=True)
def test_the_caller_s_random_numbers_stay_the_caller_s_meanwhile(engines, monkeypatch):
    """Also where others draw between an answer's tokens, which stays what its seed says."""
    settings = {"max_new_tokens": 8, "temperature": 1.5, "top_p": 0.9, "seed": 3}
    wholes = [engine.answer(WORDS, **settings).text for engine in engines]
    drawn, put = [], TokenStreamer.put

    def put_and_draw(streamer, value):
        drawn.append(torch.rand(1).item())
        put(streamer, value)

    monkeypatch.setattr(TokenStreamer, "put", put_and_draw)
    for engine, whole in zip(engines, wholes, strict=True):
        torch.manual_seed(1)
        expected = torch.rand(8).tolist()
        torch.manual_seed(1)
        drawn.clear()
        assert engine.answer(WORDS, **settings).text == whole
        assert drawn[:8] == expected


@pytest.mark.parametrize("loaded", ["lean"], indirect=True)
def test_a_seed_gives_what_transformers_gives_with_it(engines):
    plain, _ = engines
    prompt = plain._prompter(WORDS, [], (), 1)
    torch.manual_seed(3)
    settings = {
        "max_new_tokens": 12,
        "do_sample": True,
        "temperature": 1.5,
        "top_k": 0,
        "eos_token_id": plain._end_ids,
    }
    ids = plain.model.generate(**plain._inputs(prompt), **settings)[0, len(prompt.ids) :]
    for engine in engines:
        stream = engine.stream(WORDS, max_new_tokens=12, temperature=1.5, seed=3)
        list(stream)
        assert stream._streamer.ids == ids.tolist()


def test_two_threads_that_do_without_cudnn_leave_it_on():
    device, states = torch.device("cuda"), []
    a_in, b_in, a_out = (threading.Event() for _ in range(3))

    def first():
        with without_cudnn(device):
            a_in.set()
            b_in.wait()
        states.append(torch.backends.cuda.cudnn_sdp_enabled())
        a_out.set()

    def second():
        a_in.wait()
        with without_cudnn(device):
            b_in.set()
            a_out.wait()

    assert torch.backends.cuda.cudnn_sdp_enabled()
    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert states == [False]
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_a_small_model_s_one_thread_is_its_own_alone():
    """A thread that first computes while an answer is made has all of them."""
    script = (
        "import threading, torch; from phi3v import Phi3Vision\n"
        "engine, counts = Phi3Vision.from_pretrained(), []\n"
        "step = engine._fast._use_threads\n"
        "def watched(tokens):\n"
        "    step(tokens)\n"
        "    if tokens == 1:\n"
        "        other = threading.Thread(target=lambda: counts.append(torch.get_num_threads()))\n"
        "        other.start(); other.join()\n"
        "        counts.append(torch.get_num_threads())\n"
        "engine._fast._use_threads = watched\n"
        "engine.answer('What?', max_new_tokens=2)\n"
        "print(counts, torch.get_num_threads())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        timeout=120,
    )
    assert done.stdout.strip() == "[2, 1] 2", done.stderr


@pytest.mark.parametrize("loaded", ["lean"], indirect=True)
def test_several_images_and_turns(engines):
    images = [Image.open(EXAMPLES / f"compare_1{letter}.png").convert("RGB") for letter in "ab"]
    plain, fast = both(engines, "What differs?", images, num_crops=1)
    assert plain == fast
    turns = [{"role": "user", "content": [{"type": "image", "image": images[0]}, {"type": "text", "text": "This?"}]}]
    turns.append({"role": "assistant", "content": "That."})
    plain, fast = both(engines, "And this?", images[1:], turns, num_crops=1)
    assert plain == fast


def test_warm_up_makes_ready_what_helps_most_first(few_large_blocks, endless_checkpoint, monkeypatch):
    """Its order of work, where `Recorded` stands for recordings and a CPU for the GPU."""
    engine, order = Phi3Vision.from_pretrained(endless_checkpoint, dtype="float32"), []
    for parameter in engine.model.parameters():
        parameter.data = parameter.data.contiguous()
    right, pixels = engine.answer(WORDS, max_new_tokens=6).text, engine.processor.image_processor.hd_pixels
    engine._prefixes.clear()

    def recorded(step, pool=None):
        ready = engine._fast
        order.append((threading.current_thread().name, bool(ready.between), bool(ready.graph), bool(ready.prompts)))
        return Recorded(step, pool)

    with monkeypatch.context() as patch:
        for module in ("decode_graph", "chunk_graph", "image_graphs", "prompt_graphs"):
            patch.setattr(f"phi3v.engine.fast.{module}.recorded", recorded)
        for graphs in (decode_graph.DecodeGraph, ChunkGraph, PromptGraphs):  # tested above, and slow here
            patch.setattr(graphs, "agrees", lambda _: True)
        patch.setattr(engine, "device", torch.device("cuda:0"))
        patch.setattr(engine.processor.image_processor, "hd_pixels", lambda *arguments: pixels(*arguments[:2], "cpu"))
        patch.setattr(torch.cuda, "set_device", lambda device: order.append(str(device)))
        patch.setattr(torch.cuda, "device", lambda _: nullcontext())
        patch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
        engine.warm_up()
    assert {entry for entry in order if isinstance(entry, str)} == {"cuda:0"}
    recordings = [entry for entry in order if not isinstance(entry, str)]
    # Steps and short questions in one go; only then they are used. Images and prompts follow, one by one.
    others = len(engine._image_graphs.grids) + len(engine._fast.prompts.sizes)
    assert recordings == 2 * [("phi3v", True, False, False)] + others * [("phi3v", True, True, True)]
    assert order[:2] == ["cuda:0", recordings[0]] and order[3:5] == ["cuda:0", "cuda:0"]
    replays = Recorded.replays
    assert engine.answer(WORDS, max_new_tokens=6).text == right
    assert Recorded.replays > replays + 5
