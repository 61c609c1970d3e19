"""Attacks on a running app: nobody stops it for others, fills it, or takes a login."""

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile
import pytest
from conftest import EXAMPLES
from PIL import Image
from raw_http import API, SIGN, Http, Web, page_event, read_on_the_page
from servers import ROOT, Server
from test_documents import PAGE_OF_RED, several_pages


@pytest.fixture
def http(server):
    return Http(server.url)


def memory(server) -> int:
    """The most that the server's process has had, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{server.pid}/status").read_text())[1]) // 1024


def files_of(server) -> list[Path]:
    """Files in the server's folder of uploads."""
    return [path for path in upload_folder(server).rglob("*") if path.is_file()]


def upload_folder(server) -> Path:
    (folder,) = Path(server.temporary).glob("phi3v-*")
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A server of this module's own, with a folder for what it writes."""
    folder = tmp_path_factory.mktemp("alone")
    running = Server(folder / "log.txt", "--max-file-size", "4", environment={"GRADIO_TEMP_DIR": str(folder)})
    running.temporary = folder
    yield running
    running.stop()


# Documents and images that cost more than they look.


def test_a_document_named_many_times_is_one_and_many_are_refused_unopened(http):
    page = http.upload(several_pages(PAGE_OF_RED), "one.pdf")
    assert "Page" not in read_on_the_page(http, [page] * 60, "named60")
    many = [http.upload(several_pages(PAGE_OF_RED) + b"\n%%%d" % number, f"{number}.pdf") for number in range(51)]
    assert "These are 51 files; at most 50" in read_on_the_page(http, many, "many51")
    assert http.ask() == "Maple Avenue"


@pytest.mark.parametrize(
    "content",
    [
        hostile.jpeg_with_scans(4000, 500),
        hostile.jpeg_with_scans(4000, 60),
        hostile.jpeg_with_segments(200_000),
        hostile.gif_with_comments(400_000),
        hostile.tiff_with_tags(2000, 1_000_000),
        hostile.png_with_tags(3000, 1_000_000),
    ],
    ids=["scans", "pixels times scans", "segments", "comments", "tags", "Exif tags"],
)
def test_files_that_cost_much_are_refused_with_words_and_without_memory(alone, content):
    http = Http(alone.url)
    http.ask()
    before = memory(alone)
    bomb = http.upload(content)
    for endpoint, data in (("describe", [bomb, *SIGN]), ("ocr", [bomb, "text", 2, 0, 1, 1, -1, 1])):
        kind, message = http.call(endpoint, data)
        assert kind == "error"
        assert re.search("more parts than pictures have|too much memory", message), message
    assert memory(alone) - before < 150
    assert http.ask() == "Maple Avenue"


def test_a_slow_image_holds_nobody_up(alone):
    """64 megapixels take seconds to decode, in which others are answered."""
    buffer = io.BytesIO()
    noise = Image.effect_noise((500, 400), 90).resize((7900, 7900))
    noise.save(buffer, "JPEG", progressive=True, quality=40)
    http = Http(alone.url)
    slow = http.upload(buffer.getvalue(), "slow.jpg")
    with ThreadPoolExecutor() as threads:
        ends = []
        attack = threads.submit(http.call, "describe", [slow, *SIGN])
        attack.add_done_callback(lambda _: ends.append("attack"))
        time.sleep(0.3)
        assert http.ask() == "Maple Avenue"
        ends.append("visitor")
        assert attack.result()[0] == "complete"
    assert ends == ["visitor", "attack"]


def as_data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


@pytest.mark.parametrize("endpoint", ["compare", "chat"])
def test_images_in_a_request_are_counted_before_they_are_opened(alone, endpoint):
    buffer = io.BytesIO()
    Image.new("RGB", (4000, 4000), "gray").save(buffer, "PNG")
    http, urls = Http(alone.url), [as_data_url(buffer.getvalue())] * 40
    http.ask()
    before = memory(alone)
    data = [urls, *SIGN] if endpoint == "compare" else ["What?", urls, None, *SIGN[1:]]
    kind, message = http.call(endpoint, data)
    assert kind == "error"
    assert "there are 40. Remove some" in message
    assert memory(alone) - before < 100


def test_images_of_a_request_share_the_limit_of_pixels(http):
    urls = []
    for shade in (1, 2):
        buffer = io.BytesIO()
        Image.new("RGB", (6000, 6000), (shade, 0, 0)).save(buffer, "PNG")
        urls.append(as_data_url(buffer.getvalue()))
    kind, message = http.call("compare", [urls, *SIGN])
    assert (kind, "megapixels" in message) == ("error", True)


def test_a_long_history_is_refused_unread(http):
    kind, message = http.call("chat", ["And?", None, [["word " * 200_000, "b"]], *SIGN[1:]])
    assert (kind, "The request does not fit" in message) == ("error", True)
    kind, message = http.call("chat", ["And?", None, [["word " * 100_000, "b"]], *SIGN[1:]])
    assert (kind, "The conversation is too long" in message) == ("error", True)
    kind, message = http.call("chat", ["And?", None, [["a", "b"]] * 200, *SIGN[1:]])
    assert (kind, "The conversation is too long" in message) == ("error", True)


# Addresses.


@pytest.fixture(scope="module")
def web():
    running = Web()
    yield running
    running.shutdown()


@pytest.fixture(scope="module")
def online(tmp_path_factory, web):
    """The app, on the internet as far as it can tell."""
    log = tmp_path_factory.mktemp("online") / "log.txt"
    port = str(web.server_address[1])
    running = Server(log, script="tests/loopback_is_public.py", environment={"LOOPBACK_PORT": port})
    yield running
    running.stop()


@pytest.mark.parametrize("endpoint", ["compare", "chat"])
def test_addresses_are_counted_before_they_are_fetched(online, web, endpoint):
    addresses = [f"http://127.0.0.1/{number}.png" for number in range(100)]
    data = [addresses, *SIGN] if endpoint == "compare" else ["What?", addresses, None, *SIGN[1:]]
    web.requests.clear()
    kind, message = Http(online.url).call(endpoint, data)
    assert (kind, "there are 100" in message) == ("error", True)
    assert web.requests == []


def test_an_address_named_twice_is_fetched_once_and_slow_ones_hold_nobody_up(online, web):
    http = Http(online.url)
    web.requests.clear()
    with ThreadPoolExecutor(20) as threads:
        ends = []
        late = ["http://127.0.0.1/late"]
        attacks = [threads.submit(http.call, "chat", ["What?", late * 2, None, *SIGN[1:]]) for _ in range(8)]
        for attack in attacks:
            attack.add_done_callback(lambda _: ends.append("attack"))
        time.sleep(0.5)
        assert http.ask() == "Maple Avenue"
        ends.append("visitor")
        assert {attack.result()[0] for attack in attacks} == {"complete"}
    assert ends[0] == "visitor"
    assert len(web.requests) == 8


ADDRESS = "http://127.0.0.1:8099/page.png"
CLOSED = [f"file={ADDRESS}", f"file=%68ttp{ADDRESS[4:]}", f"file=HTTP{ADDRESS[4:]}", f"file=/{ADDRESS}"]
CLOSED += [f"file/{ADDRESS}", f"/file={ADDRESS}", f"proxy={ADDRESS}", "token", "token/", "deep_link?session_hash=a"]
CLOSED += ["run-history/connect", "dev/reload", "component_server", "process_recording", "vibe-edit"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
@pytest.mark.parametrize("path", CLOSED)
def test_routes_that_the_page_has_no_use_for_are_closed(online, web, path, method):
    web.requests.clear()
    status, _, body = Http(online.url)(f"{API}/{path}", b"{}" if method == "POST" else None, method=method)
    assert status == 403
    assert "<script" not in body
    assert web.requests == []


# Other websites, other names, logins.

LOGIN = ("ann", "a long password")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The app with a login."""
    running = Server(tmp_path_factory.mktemp("guarded") / "log.txt", "--auth", ":".join(LOGIN))
    yield running
    running.stop()


def log_in(http: Http, user=LOGIN[0], password=LOGIN[1], **headers):
    body = f"username={user}&password={password.replace(' ', '+')}".encode()
    return http("/login", body, {"Content-Type": "application/x-www-form-urlencoded", **headers})


@pytest.fixture(scope="module")
def cookie(guarded):
    status, headers, _ = log_in(Http(guarded.url))
    assert status == 200
    return next(each.split(";")[0] for each in headers.get_all("set-cookie") if "unsecure" in each)


FOREIGN = [
    {"Origin": "https://evil.example", "Host": "demo.gradio.live"},
    {"Origin": "https://evil.example", "Host": "[::1]:7860"},
    {"Origin": "https://evil.example"},
    {"Origin": "null", "Host": "demo.example"},
    {"Origin": "https://demo.example.evil.example", "Host": "demo.example"},
    {"Origin": "http://127.0.0.1:9"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_other_website_acts_with_a_login(guarded, cookie, headers, method):
    preflight = {"Access-Control-Request-Method": "POST"} if method == "OPTIONS" else {}
    sent = {**headers, **preflight, "Cookie": cookie}
    status, answered, body = Http(guarded.url)(f"{API}/info", headers=sent, method=method)
    assert status == 403
    assert "named_endpoints" not in body
    assert not [name for name in answered if name.lower().startswith("access-control-allow")]


def test_the_page_itself_acts_with_its_login(guarded, cookie):
    http = Http(guarded.url)
    for host in ("demo.example", "127.0.0.1:7860", "demo.example:8443"):
        for scheme in ("http", "https"):
            headers = {"Host": host, "Origin": f"{scheme}://{host}", "Cookie": cookie}
            assert http(f"{API}/info", headers=headers)[0] == 200
    behind_a_proxy = {"Origin": "https://demo.example", "X-Forwarded-Host": "demo.example", "Cookie": cookie}
    assert http(f"{API}/info", headers=behind_a_proxy)[0] == 200
    assert http(f"{API}/info")[0] == 401


def test_without_a_login_others_may_use_a_public_api_as_nobody(http):
    foreign = {"Origin": "https://other.example"}
    _, headers, _ = http(f"{API}/info", headers={**foreign, "Host": "demo.example"})
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-allow-credentials"] is None
    assert http(f"{API}/info", headers=foreign)[0] == 403  # but not the one on a person's own machine
    assert http(f"{API}/upload", b"", foreign)[0] == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
    ],
)
def test_mcp_looks_at_host_and_origin(http, headers, status):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    assert http(f"{API}/mcp/", message, {**accept, **headers})[0] == status
    assert http(f"{API}/mcp/", message, accept)[0] == 200


def test_names_that_are_given_are_the_only_ones(tmp_path):
    running = Server(tmp_path / "log.txt", "--hosts", "demo.example, other.example")
    try:
        http = Http(running.url)
        for host in ("demo.example", "other.example:80", "127.0.0.1"):
            assert http("/", headers={"Host": host})[0] == 200
        status, _, body = http("/", headers={"Host": "evil.example"})
        assert (status, "--hosts" in body) == (421, True)
    finally:
        running.stop()


def test_passwords_can_not_be_tried_without_end(guarded):
    http = Http(guarded.url)
    from_one = {"X-Forwarded-For": "1.2.3.4"}
    results = [log_in(http, password=f"wrong {number}", **from_one) for number in range(12)]
    assert [status for status, *_ in results[:5]] == [400] * 5
    assert results[-1][0] == 429
    assert int(results[-1][1]["retry-after"]) >= 1
    assert log_in(http, **from_one)[0] == 429  # the right one too
    assert log_in(http, **{"X-Forwarded-For": "5.6.7.8"})[0] == 200  # others are not held up
    log = guarded.log()
    assert "A login failed, from 1.2.3.4" in log
    assert "wrong" not in log


def test_logging_out_is_no_link(guarded):
    http = Http(guarded.url)
    _, headers, _ = log_in(http)
    mine = next(each.split(";")[0] for each in headers.get_all("set-cookie") if "unsecure" in each)
    assert http("/logout", headers={"Cookie": mine})[0] == 405
    assert http(f"{API}/info", headers={"Cookie": mine})[0] == 200
    http("/logout", b"", {"Cookie": mine})
    assert http(f"{API}/info", headers={"Cookie": mine})[0] == 401


def test_a_short_password_is_refused_at_the_start():
    done = subprocess.run([sys.executable, "app.py", "--auth", "ann:short"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "at least 8 characters" in done.stderr


# The queue.


@pytest.fixture(scope="module")
def narrow(tmp_path_factory, endless_checkpoint):
    """A server with few places, whose answers are long."""
    options = ("--model", str(endless_checkpoint), "--dtype", "float32", "--max-new-tokens", "4000")
    log = tmp_path_factory.mktemp("narrow") / "log.txt"
    running = Server(log, *options, "--max-queue", "5", "--concurrency", "1", "--max-time", "20")
    yield running
    running.stop()


def test_nothing_goes_past_the_queue(http):
    sign = http.upload((EXAMPLES / "street_sign.png").read_bytes())
    for path in ("run/describe", "api/describe", "run/ocr", "run/predict"):
        _, event = page_event(http, "describe-image")
        body = {"data": [sign, *SIGN], "fn_index": event["id"], "session_hash": "past"}
        assert http(f"{API}/{path}", body)[0] == 404


def test_events_that_open_files_wait_in_a_queue(http):
    config = json.loads(http("/config")[2])
    kinds = {block["id"]: block["type"] for block in config["components"]}
    unqueued = [
        event
        for event in config["dependencies"]
        if event["backend_fn"]
        and event["queue"] is False
        and {"image", "gallery", "file"} & {kinds[each] for each in event["inputs"]}
    ]
    assert unqueued
    for event in unqueued:  # they show the names of files as code, or empty the conversation's box
        assert {kinds[each] for each in event["outputs"]} <= {"code"}


def test_requests_that_nobody_listens_to_make_room(narrow):
    http = Http(narrow.url)
    picture = http.upload((EXAMPLES / "street_sign.png").read_bytes())
    long = [picture, "What?", 4000, 0, 1, 1, -1, 1]
    statuses = [http(f"{API}/call/describe", {"data": long})[0] for _ in range(12)]
    assert statuses.count(200) == 6  # five that wait, and one that runs
    status, headers, body = http(f"{API}/call/describe", {"data": long})
    assert (status, headers["retry-after"]) == (503, "60")
    assert "The queue is full. Try again in a minute." in body
    time.sleep(3)  # after two seconds they count as left
    kind, _ = http.call("describe", [picture, "What?", 2, 0, 1, 1, -1, 1])
    assert kind == "complete"


def test_one_visitor_has_few_places(http):
    sign = http.upload((EXAMPLES / "street_sign.png").read_bytes())
    _, event = page_event(http, "describe-image")
    body = {"fn_index": event["id"], "data": [None, 0, sign, *SIGN], "session_hash": "greedy"}

    def join(_):
        return http(f"{API}/queue/join", body)

    with ThreadPoolExecutor(24) as threads:
        results = list(threads.map(join, range(24)))
    refused = [answer for answer in results if answer[0] == 429]
    assert refused
    assert "waiting already" in refused[0][2]
    assert refused[0][1]["retry-after"]
    by_address = {"X-Forwarded-For": "1.2.3.4"}
    with ThreadPoolExecutor(40) as threads:
        data = {"data": [sign, "What?", 500, 0, 1, 1, -1, 16]}
        statuses = list(threads.map(lambda _: http(f"{API}/call/describe", data, by_address)[0], range(40)))
    assert 429 in statuses
    assert http.ask() == "Maple Avenue"


def test_a_session_is_a_short_name(http):
    body = {"fn_index": 0, "data": [], "session_hash": "x" * 100_000}
    assert http(f"{API}/queue/join", body)[0] == 400
    assert http(f"{API}/run/predict", body)[0] in (404, 500)
    assert http.ask() == "Maple Avenue"


# Bodies, uploads, disk.


def test_large_bodies_are_refused(http):
    body = b'{"data":["' + b"q" * 45_000_000 + b'"]}'
    status, _, words = http(f"{API}/call/chat", body, {"Content-Type": "application/json"})
    assert (status, "MB" in words) == (413, True)


def test_a_large_body_of_no_announced_length_is_refused(http):
    def pieces():
        for _ in range(50):
            yield b"q" * 1_000_000

    request = urllib.request.Request(http.url + f"{API}/call/chat", pieces(), {"Content-Type": "application/json"})
    with pytest.raises((urllib.error.HTTPError, ConnectionError, urllib.error.URLError)) as refused:
        urllib.request.urlopen(request, timeout=60)
    if isinstance(refused.value, urllib.error.HTTPError):
        assert refused.value.code == 413


def test_uploads_that_end_early_leave_nothing(alone):
    host, port = alone.url.removeprefix("http://").split(":")
    head = f"POST {API}/upload HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: 9000000\r\n"
    head += "Content-Type: multipart/form-data; boundary=B\r\n\r\n"
    part = '--B\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    before, logged = set(files_of(alone)), len(alone.log())
    for _ in range(3):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall((head + part).encode() + b"z" * 3_000_000)
    deadline = time.monotonic() + 10
    while set(files_of(alone)) != before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert set(files_of(alone)) == before
    assert "Traceback" not in alone.log()[logged:]


def test_an_upload_without_a_file_is_explained(http):
    form = b'--B\r\nContent-Disposition: form-data; name="files"\r\n\r\nabc\r\n--B--\r\n'
    status, _, body = http(f"{API}/upload", form, {"Content-Type": "multipart/form-data; boundary=B"})
    assert (status, "`files`" in body) == (400, True)


def test_reading_documents_leaves_no_files(alone):
    http = Http(alone.url)
    http.call("ocr", [http.upload((EXAMPLES / "street_sign.png").read_bytes()), "text", 2, 0, 1, 1, -1, 1])
    before = set(files_of(alone))
    for _ in range(3):
        http.call("ocr", [http.upload((EXAMPLES / "street_sign.png").read_bytes()), "text", 2, 0, 1, 1, -1, 1])
    assert set(files_of(alone)) == before


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_uploads_are_gone_with_the_server(tmp_path, end):
    running = Server(tmp_path / "log.txt", environment={"GRADIO_TEMP_DIR": str(tmp_path)})
    Http(running.url).upload(b"something")
    assert list(tmp_path.glob("phi3v-*/*"))
    os.kill(running.pid, end)
    running._process.wait(timeout=30)
    assert list(tmp_path.glob("phi3v-*")) == []


def test_uploads_that_a_killed_server_leaves_are_gone_with_the_next(tmp_path):
    environment = {"GRADIO_TEMP_DIR": str(tmp_path)}
    killed = Server(tmp_path / "log.txt", environment=environment)
    other = Server(tmp_path / "other.txt", environment=environment)
    try:
        Http(killed.url).upload(b"something")
        Http(other.url).upload(b"something else")
        files = list(tmp_path.glob("phi3v-*/*/a.png"))
        (left,) = {file.parent.parent for file in files if file.read_bytes() == b"something"}
        killed._process.kill()
        killed._process.wait()
        Server(tmp_path / "third.txt", environment=environment).stop()
        assert not left.exists()
        assert len(list(tmp_path.glob("phi3v-*/*/a.png"))) == 1  # of the one that runs
    finally:
        other.stop()


@pytest.mark.parametrize("ranges", ["bytes=0-1,2-3", "bytes=a-b", "bytes=-", "lines=1-2"])
def test_odd_ranges_get_the_whole_file(http, ranges):
    path = http.upload(b"0123456789" * 100, "a.png")["path"]
    status, _, body = http(f"{API}/file={path}", headers={"Range": ranges})
    assert (status, len(body)) == (200, 1000)
    assert http(f"{API}/file={path}", headers={"Range": "bytes=2-4"})[2] == "234"


def test_a_path_is_spelled_as_the_server_spelled_it(http, server):
    path = http.upload((EXAMPLES / "street_sign.png").read_bytes())["path"]
    for other in (f"{path}/", path.replace("/a.png", "//a.png"), path.replace("/a.png", "/./a.png")):
        kind, message = http.call("describe", [{"path": other, "meta": {"_type": "gradio.FileData"}}, *SIGN])
        assert kind == "error"
        assert re.search("not a path|no longer here", message)
    assert "Traceback" not in server.log()


def test_a_file_that_is_gone_is_said_to_be(alone):
    http = Http(alone.url)
    sign = http.upload((EXAMPLES / "street_sign.png").read_bytes() + b"gone")
    Path(sign["path"]).unlink()
    kind, message = http.call("describe", [sign, *SIGN])
    assert (kind, "files are deleted after an hour. Add it again." in message) == ("error", True)


# What browsers are told.


def test_the_page_has_a_whole_policy(http, guarded):
    _, headers, _ = http("/")
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    for name in ("default-src", "media-src", "form-action", "base-uri", "connect-src"):
        assert "'self'" in policy[name]
        assert "http:" not in policy[name].split()
        assert "*" not in policy[name].split()
    assert policy["object-src"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    _, headers, _ = Http(guarded.url)("/")
    assert "frame-ancestors 'self'" in headers["content-security-policy"]  # no clicks under somebody's frame
    sign = http.upload(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg")
    assert "sandbox" in http(f"{API}/file={sign['path']}")[1]["content-security-policy"]


def test_health(http, tmp_path):
    status, _, body = http("/healthz")
    facts = json.loads(body)
    assert (status, facts["status"], facts["model"], facts["stage"]) == (200, "ok", "preview-model", "ready")
    assert facts["requests"] == 0


def test_health_without_a_model(tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(ROOT / "assets" / "preview-model", broken)
    (broken / "config.json").write_text("{}")
    running = Server(tmp_path / "log.txt", "--model", str(broken))
    try:
        http, deadline = Http(running.url), time.monotonic() + 60
        while http("/healthz")[0] != 503 and time.monotonic() < deadline:
            time.sleep(0.2)
        status, _, body = http("/healthz")
        assert (status, json.loads(body)["stage"]) == (503, "failed")
        assert str(tmp_path) not in body
    finally:
        running.stop()


def test_errors_have_no_quotes_around_them(http):
    buffer = io.BytesIO()
    Image.new("RGB", (20_000, 10)).save(buffer, "PNG")
    kind, message = http.call("ocr", [http.upload(buffer.getvalue()), "text", 2, 0, 1, 1, -1, 0])
    assert kind == "error"
    assert json.loads(message)["error"].startswith("The image is too thin")


# What Gradio does by itself.


def test_gradio_fetches_nothing_to_show_it(online, web):
    """A gallery's images are shown again after they were arranged; addresses among them would be fetched for that."""
    http = Http(online.url)
    config = json.loads(http("/config")[2])
    names = {block["id"]: block["props"].get("elem_id") for block in config["components"]}
    inputs = {event["id"]: [names.get(each) for each in event["inputs"]] for event in config["dependencies"]}
    takes = [event for event in config["dependencies"] if inputs[event["id"]][:1] == ["compare-images"]]
    assert takes
    images = [{"image": {"url": f"http://127.0.0.1/{name}"}, "caption": None} for name in ("a.svg", "b.png")]
    web.requests.clear()
    for event in takes:
        if not event["backend_fn"] or len(event["inputs"]) > 3:
            continue
        data, session = [images, 0][: len(event["inputs"])], f"show{event['id']}"
        body = {"fn_index": event["id"], "data": data, "session_hash": session}
        path = "queue/join" if event["queue"] is not False else "run/predict"
        status, _, text = http(f"{API}/{path}", body)
        if path == "queue/join" and status == 200:
            text = http(f"{API}/queue/data?session_hash={body['session_hash']}")[2]
        assert "data:image/svg" not in text
    assert web.requests == []


def form(*parts: tuple[str, bytes]) -> bytes:
    head = b"--B\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
    return b"".join(head % (name.encode(), body) for name, body in parts) + b"--B--\r\n"


def test_uploads_have_few_files_and_short_fields(http):
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    many = form(*((f'name="files"; filename="{number}.png"', b"x") for number in range(51)))
    assert http(f"{API}/upload", many, kind)[0] == 400
    long = form(('name="files"', b"y" * 1_000_000))
    assert http(f"{API}/upload", long, kind)[0] in (400, 413)
    fifty = form(*((f'name="files"; filename="{number}.png"', b"x") for number in range(50)))
    assert http(f"{API}/upload", fifty, kind)[0] == 200


def test_bodies_of_very_many_parts_are_refused(http):
    body = b'{"data":[' + b"[]," * 150_000 + b"0]}"
    status, _, words = http(f"{API}/call/chat", body, {"Content-Type": "application/json"})
    assert (status, "too many parts" in words) == (413, True)


def test_tools_are_called_by_few_at_once_and_others_are_answered(alone):
    http = Http(alone.url)
    accept = {"Accept": "application/json, text/event-stream", "X-Forwarded-For": "1.2.3.4"}
    sign = as_data_url((EXAMPLES / "street_sign.png").read_bytes())

    def call(number):
        arguments = {"image": sign, "question": f"What does the sign say? {number}", "max_new_tokens": 5}
        message = {"jsonrpc": "2.0", "id": number, "method": "tools/call"}
        return http(f"{API}/mcp/", {**message, "params": {"name": "describe", "arguments": arguments}}, accept)[0]

    with ThreadPoolExecutor(30) as threads:
        calls = [threads.submit(call, number) for number in range(30)]
        assert http.ask() == "Maple Avenue"
        statuses = {each.result() for each in calls}
    assert statuses == {200, 429}
    # What tools were sent lies with the other uploads, and goes with them.
    assert [path for path in Path(alone.temporary).rglob("*.png") if "phi3v-" not in str(path)] == []


def test_tools_log_nothing_of_what_they_are_sent(server, http):
    accept = {"Accept": "application/json, text/event-stream"}
    for name, arguments in ((5, "SECRETWORDS"), ("describe", {"image": "SECRETWORDS"})):
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
        http(f"{API}/mcp/", call, accept)
    assert "SECRETWORDS" not in server.log()


def test_passwords_can_not_be_tried_at_once(guarded):
    """Half-sent, they would all be looked at before the first was counted."""
    host, port = guarded.url.removeprefix("http://").split(":")
    body = b"username=ann&password=wrong"
    head = f"POST /login HTTP/1.1\r\nHost: {host}:{port}\r\nX-Forwarded-For: 9.9.9.9\r\nConnection: close\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    waiting = [socket.create_connection((host, int(port))) for _ in range(40)]
    for connection in waiting:
        connection.sendall(head.encode() + body[:-1])
    time.sleep(1)
    statuses = []
    for connection in waiting:
        connection.sendall(body[-1:])
        statuses.append(connection.recv(100).split()[1])
        connection.close()
    assert statuses.count(b"400") == 5
    assert set(statuses) == {b"400", b"429"}


@pytest.mark.parametrize("root", ["/", "/demo"])
def test_the_gateway_holds_under_a_path(tmp_path, root):
    environment = {"GRADIO_ROOT_PATH": root}
    running = Server(tmp_path / "log.txt", "--auth", ":".join(LOGIN), environment=environment)
    try:
        http = Http(running.url)
        assert http(f"{API}/token")[0] == 403
        assert http("/logout")[0] == 405
        assert http(f"{API}/file=http://127.0.0.1/a.png")[0] == 403
    finally:
        running.stop()


def test_names_of_uploads_and_listeners_are_short(http, server):
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    content = form(('name="files"; filename="a.png"', b"x"))
    assert http(f"{API}/upload?upload_id={'x' * 5000}", content, kind)[0] == 400
    assert http(f"{API}/upload?upload_id=abcdef", content, kind)[0] == 200
