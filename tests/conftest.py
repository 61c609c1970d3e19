import json
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoProcessor

import phi3v  # noqa: F401 - registers the architecture

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
