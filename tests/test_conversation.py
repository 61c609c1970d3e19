"""Conversations as they are saved, and as the model gets them."""

import json

from phi3v.app.conversation import Exchange, as_history, files_of, to_json, to_markdown

EXCHANGES = [
    Exchange("What is it?", ["/tmp/x/a.png", "/tmp/x/b.png"], "A *cat*."),
    Exchange("And now?", [], "Still é."),
]


def test_markdown_has_everything_in_order_and_no_paths():
    text = to_markdown(EXCHANGES, "model")
    parts = ["a.png", "b.png", "What is it?", "A *cat*.", "And now?", "Still é."]
    assert sorted(parts, key=text.index) == parts
    assert "/tmp" not in text


def test_json_is_chat_messages():
    messages = json.loads(to_json(EXCHANGES, "model"))["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert messages[0]["content"][1] == {"type": "image", "image": "b.png"}
    assert messages[3]["content"] == "Still é."


def test_history_keeps_each_turn_s_images():
    history = as_history(EXCHANGES, ["first", "second"])
    assert [part["type"] for part in history[0]["content"]] == ["image", "image", "text"]
    assert history[0]["content"][1]["image"] == "second"
    assert [part["type"] for part in history[2]["content"]] == ["text"]
    assert files_of(EXCHANGES) == ["/tmp/x/a.png", "/tmp/x/b.png"]
