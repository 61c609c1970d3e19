"""The README's head is a Space's configuration: keys and values that the Hub documents."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
# https://huggingface.co/docs/hub/spaces-config-reference
KEYS = {
    "title", "emoji", "colorFrom", "colorTo", "sdk", "python_version", "sdk_version", "suggested_hardware",
    "suggested_storage", "app_file", "app_port", "base_path", "fullWidth", "header", "short_description", "models",
    "datasets", "tags", "thumbnail", "pinned", "hf_oauth", "hf_oauth_scopes", "hf_oauth_expiration_minutes",
    "disable_embedding", "startup_duration_timeout", "custom_headers", "preload_from_hub", "license",
}  # fmt: skip
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}


def front_matter() -> dict:
    text = (ROOT / "README.md").read_text()
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL).group(1))


def test_front_matter():
    head = front_matter()
    assert head.keys() <= KEYS
    assert {"title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "app_file", "license"} <= head.keys()
    assert {head["colorFrom"], head["colorTo"]} <= COLORS
    assert head["sdk"] == "gradio"
    assert (ROOT / head["app_file"]).exists()
    assert len(head["short_description"]) <= 60
    assert re.fullmatch(r"\d+(m|h|s)?", str(head["startup_duration_timeout"]))
    assert head["python_version"] in ("3.10.13", "3.12.12")  # what ZeroGPU has


def test_gradio_s_version_is_one_that_the_requirements_allow():
    wanted = re.search(r"gradio\[mcp\]>=(\d+\.\d+),<(\d+\.\d+)", (ROOT / "requirements.txt").read_text())
    version = tuple(map(int, front_matter()["sdk_version"].split(".")[:2]))
    low, high = (tuple(map(int, group.split("."))) for group in wanted.groups())
    assert low <= version < high
