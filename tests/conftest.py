import json
import os
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton: its kernels then run on a CPU


import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from servers import Server
from transformers import AutoModelForCausalLM, AutoProcessor

from phi3v.engine.fast import chunk_graph, decode_graph, prompt_graphs

REFERENCE = Path(__file__).parent / "reference"
PREVIEW_MODEL = Path(__file__).parent.parent / "assets" / "preview-model"
EXAMPLES = Path(__file__).parent.parent / "assets" / "examples"


def reference_table(name: str) -> list | dict:
    return json.loads((REFERENCE / "public" / name).read_text())


@pytest.fixture(scope="session")
def processor():
    return AutoProcessor.from_pretrained(REFERENCE / "checkpoint")


@pytest.fixture(scope="session")
def model():
    return AutoModelForCausalLM.from_pretrained(REFERENCE / "checkpoint", dtype="float32").eval()


@pytest.fixture(scope="session")
def endless_checkpoint(tmp_path_factory):
    """Random weights that never choose an end token: answers of noise, as long as they may be."""
    folder = tmp_path_factory.mktemp("endless")
    model = AutoModelForCausalLM.from_pretrained(REFERENCE / "checkpoint", dtype="float32")
    with torch.no_grad():
        model.lm_head.weight[model.generation_config.eos_token_id] = 0
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(REFERENCE / "checkpoint").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def few_large_blocks():
    """Triton's interpreter is slow: a kernel's programs become few and large."""
    blocks = ((2048, 64, 4, 2), (128, 64, 4, 1), (64, 128, 4, 2), (64, 128, 4, 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_graph, "BLOCKS", dict.fromkeys((4, 8, 16), blocks))
        for graph in (decode_graph, chunk_graph):
            patch.setattr(graph, "SPLITS", 2)
            patch.setattr(graph, "POSITIONS", 128)
        patch.setattr(chunk_graph, "ROWS", 16)
        patch.setattr(prompt_graphs, "ROW_STEP", 16)
        yield


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The app with the preview model."""
    running = Server(tmp_path_factory.mktemp("server") / "log.txt", "--max-file-size", "2")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def endless_server(tmp_path_factory, endless_checkpoint):
    """The app with a model whose answers don't end by themselves."""
    log = tmp_path_factory.mktemp("endless-server") / "log.txt"
    running = Server(log, "--model", str(endless_checkpoint), "--dtype", "float32", "--max-new-tokens", "4000")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def hello(tmp_path_factory):
    """A picture of the words HELLO WORLD, as a file."""
    path = tmp_path_factory.mktemp("images") / "hello.png"
    page = Image.new("RGB", (600, 400), "white")
    ImageDraw.Draw(page).text((60, 150), "HELLO WORLD", fill="black", font=ImageFont.load_default(60))
    page.save(path)
    return path


@pytest.fixture(scope="session")
def three_pages(tmp_path_factory):
    """A PDF of a receipt, a book's cover and a table."""
    path = tmp_path_factory.mktemp("documents") / "three.pdf"
    names = ("receipt", "book_cover", "table")
    first, *others = (Image.open(EXAMPLES / f"{name}.png").convert("RGB") for name in names)
    first.save(path, "PDF", save_all=True, append_images=others)
    return path
