"""The app as an MCP server, with the protocol's own client."""

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor

import jsonschema
import pytest
from conftest import EXAMPLES
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


def data_url(path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


@pytest.fixture
def session(server):
    """Runs a function over a connected session."""

    def run(function):
        async def connected():
            async with (
                streamable_http_client(f"{server.url}/gradio_api/mcp/") as (read, write, _),
                ClientSession(read, write) as session,
            ):
                await session.initialize()
                return await function(session)

        # On a thread of its own: Playwright has a loop running on this one.
        with ThreadPoolExecutor(1) as executor:
            return executor.submit(asyncio.run, connected()).result()

    return run


def text(result) -> str:
    return "".join(part.text for part in result.content if part.type == "text")


def test_every_task_is_a_tool_with_descriptions(session):
    tools = {tool.name: tool for tool in session(lambda s: s.list_tools()).tools}
    assert {"describe", "ocr", "compare", "chat"} <= tools.keys()
    for name in ("describe", "ocr", "compare", "chat"):
        assert tools[name].description
        properties = tools[name].inputSchema["properties"]
        assert all(properties[argument].get("description") for argument in properties), name
        assert "max_new_tokens" in properties


def test_tools_answer(session):
    sign = {"image": data_url(EXAMPLES / "street_sign.png"), "question": "What does the sign say?"}
    assert "Maple Avenue" in text(session(lambda s: s.call_tool("describe", sign)))
    receipt = {"document": data_url(EXAMPLES / "receipt.png"), "output_format": "json"}
    assert json.loads(text(session(lambda s: s.call_tool("ocr", receipt))))["total"] == "$14.25"
    images = [data_url(EXAMPLES / f"compare_1{letter}.png") for letter in "ab"]
    assert "orange in the second" in text(session(lambda s: s.call_tool("compare", {"images": images})))


def test_chat_goes_on(session):
    arguments = {
        "question": "What color is the sign?",
        "images": [data_url(EXAMPLES / "street_sign.png")],
        "history": [["What does the sign say?", "Maple Avenue"]],
    }
    assert "green" in text(session(lambda s: s.call_tool("chat", arguments)))


def test_schemas_are_valid(session):
    for tool in session(lambda s: s.list_tools()).tools:
        jsonschema.Draft202012Validator.check_schema(tool.inputSchema)


def test_a_private_address_is_not_fetched(session, server):
    result = session(lambda s: s.call_tool("describe", {"image": f"{server.url}/theme.css"}))
    assert result.isError


def test_a_list_of_files_takes_no_paths_and_no_private_addresses(session, server):
    """A list's strings are not looked at by Gradio."""
    for path in (str(EXAMPLES / "compare_1a.png"), f"file://{EXAMPLES}/compare_1a.png", f"{server.url}/theme.css"):
        result = session(lambda s, path=path: s.call_tool("compare", {"images": [path, path]}))
        assert result.isError
        assert "red circle" not in text(result)
