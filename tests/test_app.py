"""The running app over HTTP: its endpoints, its limits, what it refuses."""

import base64
import itertools
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import EXAMPLES
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from servers import ROOT, Server


@pytest.fixture(scope="module")
def client(server):
    return Client(server.url, verbose=False)


def post(url, data):
    request = urllib.request.Request(url, json.dumps(data).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=30))


def call_raw(server, endpoint, data):
    """What the server sends to a client that fills in the protocol by itself."""
    event = post(f"{server.url}/gradio_api/call/{endpoint}", {"data": data})["event_id"]
    with urllib.request.urlopen(f"{server.url}/gradio_api/call/{endpoint}/{event}", timeout=60) as stream:
        return stream.read().decode()


def test_endpoints_and_their_defaults(server):
    info = json.load(urllib.request.urlopen(f"{server.url}/gradio_api/info"))
    named = info["named_endpoints"]
    assert named.keys() == {"/describe", "/ocr", "/compare", "/chat"}
    for name, own in (
        ("/describe", ["image", "question"]),
        ("/ocr", ["document", "output_format"]),
        ("/compare", ["images", "question"]),
        ("/chat", ["question", "images", "history"]),
    ):
        parameters = named[name]["parameters"]
        assert [parameter["parameter_name"] for parameter in parameters[: len(own)]] == own
        assert all(parameter["parameter_has_default"] for parameter in parameters[1:])
        assert [result["python_type"]["type"] for result in named[name]["returns"]] == ["str"]


def test_describe(client, hello):
    assert "HELLO WORLD" in client.predict(handle_file(hello), "What does the text say?", api_name="/describe")


def test_chat_with_images_and_earlier_exchanges(client, hello):
    images = [handle_file(hello)]
    assert "HELLO WORLD" in client.predict("What does the text say?", images, api_name="/chat")
    history = [["What is shown?", "A text."]]
    assert "HELLO WORLD" in client.predict("What does the text say?", images, history, api_name="/chat")
    for wrong in ([["no answer"]], [[1, 2]], {"a": 1}):
        with pytest.raises(AppError, match="list of pairs"):
            client.predict("Hi", None, wrong, api_name="/chat")


def test_ocr_is_text_without_commentary(client, hello):
    assert client.predict(handle_file(hello), api_name="/ocr").strip() == "HELLO WORLD"


def test_ocr_of_a_page_reads_all_of_it(client):
    text = client.predict(handle_file(EXAMPLES / "receipt.png"), api_name="/ocr")
    for words in ("CORNER BAKERY", "2026-03-14", "Bread $3.20", "$14.25"):
        assert words in text


def test_ocr_of_a_pdf(client, three_pages):
    text = client.predict(handle_file(three_pages), api_name="/ocr")
    words = ["page 1", "CORNER BAKERY", "page 2", "ALONE", "page 3", "Oslo"]
    assert sorted(words, key=text.index) == words


def test_a_pdf_that_can_not_be_read_is_refused_with_the_reason(client, tmp_path):
    broken = tmp_path / "broken.pdf"
    broken.write_bytes(b"%PDF-1.7 nothing")
    with pytest.raises(AppError, match="damaged or incomplete"):
        client.predict(handle_file(broken), api_name="/ocr")


def test_title_and_author(client):
    answer = client.predict(handle_file(EXAMPLES / "book_cover.png"), "title and author", api_name="/ocr")
    assert "ALONE" in answer
    assert "Morgan Maxwell" in answer


def test_describes_what_is_in_the_picture(client):
    answer = client.predict(
        handle_file(EXAMPLES / "shapes.png"), "Describe this image in detail.", api_name="/describe"
    )
    for words in ("red circle", "yellow star", "green triangle", "blue square"):
        assert words in answer


def test_compare_names_both_images(client):
    pair = [handle_file(EXAMPLES / f"compare_1{letter}.png") for letter in "ab"]
    answer = client.predict(pair, api_name="/compare").lower()
    assert "first" in answer
    assert "second" in answer


def test_answer_streams(endless_server, hello):
    job = Client(endless_server.url, verbose=False).submit(
        handle_file(hello), "What?", max_new_tokens=300, num_crops=1, api_name="/describe"
    )
    job.result(timeout=60)
    pieces = job.outputs()
    assert len(pieces) > 3
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(pieces))


def test_leaving_frees_the_model(endless_server, hello):
    client = Client(endless_server.url, verbose=False)
    long = client.submit(handle_file(hello), "What?", max_new_tokens=4000, num_crops=1, api_name="/describe")
    while not long.outputs():
        time.sleep(0.02)
    long.cancel()
    started = time.monotonic()
    client.predict(handle_file(hello), "What?", max_new_tokens=1, num_crops=1, api_name="/describe")
    assert time.monotonic() - started < 15  # all 4000 tokens would take far longer


@pytest.mark.parametrize(
    ("endpoint", "arguments", "words"),
    [
        ("/describe", {"image": None}, "There is no image"),
        ("/describe", {"question": "x" * 5000}, "limit is 4000"),
        ("/describe", {"temperature": 9}, "temperature|2.0"),
        ("/describe", {"max_new_tokens": 100_000}, "max_new_tokens|1000"),
        ("/describe", {"seed": -5}, "seed must be a whole number between -1"),
        ("/describe", {"seed": None}, "seed must be a whole number"),
        ("/describe", {"num_crops": "many"}, "num_crops must be a whole number between 0 and 16"),
        ("/describe", {"image": "receipt.png"}, "handle_file"),
        ("/ocr", {"output_format": "docx"}, "docx"),
        ("/compare", {"images": 1}, "at least 2 images"),
        ("/compare", {"images": 9}, "At most 8 images"),
        ("/compare", {"images": 8}, "context holds"),
    ],
)
def test_refusals_say_what_to_do_and_the_next_request_works(client, hello, endpoint, arguments, words):
    own = {"/describe": "image", "/ocr": "document", "/compare": "images"}[endpoint]
    filled = {own: handle_file(hello), **arguments}
    if endpoint == "/compare":
        filled["images"] = [handle_file(hello)] * filled["images"]
    with pytest.raises(AppError, match=words) as refusal:
        client.predict(**filled, api_name=endpoint)
    assert "Traceback" not in str(refusal.value)
    assert client.predict(handle_file(hello), api_name="/ocr").strip() == "HELLO WORLD"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("text.png", b"no image at all", "not an image"),
        ("thin.png", None, "too thin"),
        ("bomb.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image"),
    ],
)
def test_bad_files(client, tmp_path, name, content, words):
    path = tmp_path / name
    if content is None:
        Image.new("RGB", (20_000, 1)).save(path)
    else:
        path.write_bytes(content)
    with pytest.raises(AppError, match=words):
        client.predict(handle_file(path), api_name="/describe")


def test_files_of_the_server_are_not_read(server):
    """A client that names a path of the server instead of an upload."""
    for path in ("/etc/passwd", "app.py", "assets/preview-model/config.json"):
        data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "What?", 500, 0, 1, 1, -1, 0]
        answer = call_raw(server, "describe", data)
        assert "event: error" in answer
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{server.url}/gradio_api/file={path}")


@pytest.fixture
def foreign(tmp_path):
    """An image of the server's that nobody uploaded, in a folder that Gradio would serve from."""
    path = tmp_path / "foreign.png"
    path.write_bytes((EXAMPLES / "street_sign.png").read_bytes())
    return path


def test_no_function_takes_a_file_that_was_not_uploaded(server, foreign):
    """Whatever shape names it, with and without the field that Gradio goes by; also those that are not in the API."""
    config = json.load(urllib.request.urlopen(f"{server.url}/config"))
    inside = f"data:image/png,/../../../../../..{foreign}"
    for path in (str(foreign), inside, "data:image/png,/../../app.py"):
        for file in ({"path": path}, {"path": path, "meta": {"_type": "gradio.FileData"}}):
            pair = {"image": file, "caption": None}
            for shape in (file, [file], [pair, pair], {"text": "What?", "files": [file]}):
                for function in config["dependencies"]:
                    data = {"fn_index": function["id"], "session_hash": "a", "data": [shape] * len(function["inputs"])}
                    try:
                        answer = json.dumps(post(f"{server.url}/gradio_api/run/predict", data))
                    except urllib.error.HTTPError:
                        continue
                    assert "/file=" not in answer, (function["id"], shape)


def test_a_file_that_was_not_uploaded_is_not_looked_at(server, foreign):
    answer = call_raw(server, "describe", [{"path": str(foreign)}, "What does the sign say?", 500, 0, 1, 1, -1, 0])
    assert "event: error" in answer
    assert "Maple" not in answer


def test_an_address_that_is_not_marked_as_a_file_is_refused(server):
    answer = call_raw(server, "describe", [{"path": "https://example.com/zebra.png"}, "What?", 500, 0, 1, 1, -1, 0])
    assert "event: error" in answer
    assert "zebra" not in server.log()


def test_a_pipe_in_place_of_a_file_holds_nobody_up(server, client, hello, tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    call_raw(server, "describe", [{"path": str(tmp_path / "pipe.png")}, "What?", 500, 0, 1, 1, -1, 0])
    assert client.predict(handle_file(hello), api_name="/ocr").strip() == "HELLO WORLD"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "http://127.0.0.1:9/a.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
    ],
)
def test_addresses_are_not_fetched(server, url):
    data = [{"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}, "What?", 500, 0, 1, 1, -1, 0]
    assert "event: error" in call_raw(server, "describe", data)


def test_large_upload_is_refused(server):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n' + bytes(3_000_000)
    request = urllib.request.Request(
        f"{server.url}/gradio_api/upload", body + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request)
    assert refusal.value.code == 413


def test_visitors_at_once_each_get_their_own_answer(server, hello):
    expected = {str(hello): "HELLO WORLD", str(EXAMPLES / "street_sign.png"): None}
    answers = {}

    def visit(path):
        answers[path] = Client(server.url, verbose=False).predict(handle_file(path), api_name="/ocr")

    threads = [threading.Thread(target=visit, args=(path,)) for path in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[str(hello)].strip() == "HELLO WORLD"
    assert "HELLO" not in answers[str(EXAMPLES / "street_sign.png")]


def test_questions_and_answers_are_not_logged(server, client, hello):
    client.predict(handle_file(hello), "Where is the zebra?", api_name="/describe")
    assert "zebra" not in server.log()
    assert "HELLO" not in server.log()


@pytest.mark.parametrize(
    "data",
    [
        [{"path": "/tmp/zebra-1.png"}, "zebra-2"],
        ["zebra-3", "zebra-4", 500, 0, 1, 1, -1, 0],
        [None, "zebra-5", "zebra-6", 0, 1, 1, -1, 0],
        [{"path": ["zebra-7"]}, {"zebra": 8}, {}, [], 1, 1, -1, 0],
    ],
)
def test_requests_that_do_not_fit_are_refused_with_words_and_not_logged(server, data):
    answer = call_raw(server, "describe", data)
    assert "event: error" in answer
    assert '"error": null' not in answer
    assert "zebra" not in server.log()
    assert "Traceback" not in server.log()


def test_a_port_in_use_is_said(server):
    port = server.url.rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "app.py", "--server-port", port], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "--server-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_login_is_asked_for_and_a_question_waits_for_the_model(tmp_path, hello):
    """The question comes first, while the model loads."""
    running = Server(tmp_path / "log.txt", "--auth", "ann:long secret")
    try:
        for path in ("config", "gradio_api/info", "gradio_api/mcp/schema"):
            with pytest.raises(urllib.error.HTTPError):
                urllib.request.urlopen(f"{running.url}/{path}")
        client = Client(running.url, auth=("ann", "long secret"), verbose=False)
        assert client.predict(handle_file(hello), api_name="/ocr").strip() == "HELLO WORLD"
        assert client.predict("Hi", api_name="/chat")
    finally:
        running.stop()


def test_the_api_says_what_the_app_was_started_with(tmp_path):
    running = Server(tmp_path / "log.txt", "--max-new-tokens", "100", "--max-images", "3", "--max-pages", "7")
    try:
        info = json.load(urllib.request.urlopen(f"{running.url}/gradio_api/info"))["named_endpoints"]
        for name in ("/describe", "/ocr", "/compare", "/chat"):
            defaults = {each["parameter_name"]: each["parameter_default"] for each in info[name]["parameters"]}
            assert defaults["max_new_tokens"] == 100
            assert (defaults["temperature"], defaults["seed"], defaults["num_crops"]) == (0, -1, 0)
        tools = urllib.request.urlopen(f"{running.url}/gradio_api/mcp/schema").read().decode()
        assert "2 to 3 image files" in tools
        assert "up to 7" in tools
        assert "1 to 100" in tools
        assert "{" not in "".join(tool["description"] for tool in json.loads(tools))
    finally:
        running.stop()


META = {"_type": "gradio.FileData"}


@pytest.mark.parametrize(
    "spelled",
    [
        lambda url: {"url": url, "meta": META},
        lambda url: {"url": url},
        lambda url: {"path": url, "meta": META},
        lambda url: {"path": "image.png", "url": url, "meta": META},
        lambda url: url,
    ],
    ids=["url", "url without meta", "path", "path and url", "text"],
)
def test_data_urls_are_taken_in_any_spelling_by_every_endpoint(server, spelled):
    sign = (EXAMPLES / "street_sign.png").read_bytes()
    file, settings = spelled("data:image/png;base64," + base64.b64encode(sign).decode()), [20, 0, 1, 1, -1, 0]
    for name, data in (
        ("describe", [file, "What does the sign say?", *settings]),
        ("ocr", [file, "text", *settings]),
        ("chat", ["What does the sign say?", [file], None, *settings]),
    ):
        assert "Maple Avenue" in call_raw(server, name, data), name
    assert "event: complete" in call_raw(server, "compare", [[file, file], "What differs?", *settings])


def test_a_page_that_is_cut_off_says_so(client, three_pages):
    text = client.predict(handle_file(three_pages), max_new_tokens=3, api_name="/ocr")
    assert text.count("cut off at max new tokens ---") == 3
    assert "[cut off at max new tokens]" in client.predict(
        handle_file(EXAMPLES / "receipt.png"), max_new_tokens=3, api_name="/ocr"
    )


def test_a_follow_up_about_a_photo_gives_the_answer_of_the_first_question(client, tmp_path):
    """The photo is not decoded and resized again; what is kept in its place must not change the answer."""
    photo = tmp_path / "photo.png"
    Image.open(EXAMPLES / "receipt.png").convert("RGB").resize((1800, 2600)).save(photo)
    question = "Read all the text in this image. Output only the text."
    answers = {client.predict(handle_file(photo), question, num_crops=6, api_name="/describe") for _ in range(3)}
    assert len(answers) == 1
