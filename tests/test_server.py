"""The parts in front of Gradio, each by itself."""

import os
import shutil
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from phi3v.server import asgi, connections, uploads
from phi3v.server.asgi import Access, Gateway
from phi3v.server.connections import limit_connections
from phi3v.server.hosts import is_local_name, own_origins, split_host
from phi3v.server.listeners import Listeners
from phi3v.server.login import LONGEST_SHARED_PAUSE, LoginThrottle
from phi3v.server.sessions import CAPACITY, Sessions
from phi3v.server.uploads import UploadFolder
from phi3v.server.visitors import public_address


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = UploadFolder(max_bytes=1000)
    yield made
    made.remove()


def written(folder, name, size, age):
    path = folder.path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_files_go_by_age_and_the_oldest_where_there_are_too_many(folder):
    old = written(folder, "a/old.png", 10, 3700)
    part = written(folder, "tmpabc", 10, 200)
    growing = written(folder, "tmpdef", 10, 5)
    empty = written(folder, "b/tmp123", 0, 200)
    first, second = written(folder, "c/first.png", 600, 300), written(folder, "d/second.png", 600, 200)
    new = written(folder, "e/new.png", 900, 1)
    folder.sweep()
    assert [path.exists() for path in (old, part, empty, first, second)] == [False] * 5
    assert growing.exists()
    assert new.exists()  # somebody is about to ask about it


def test_what_the_page_brings_along_stays(folder):
    own = written(folder, "a/example.png", 10, 99_999)
    folder.watch()
    folder.sweep()
    assert own.exists()


def test_uploads_are_refused_where_the_disk_is_full(folder, monkeypatch):
    assert folder.take(None, 10) is None
    full = shutil._ntuple_diskusage(10**12, 10**12, uploads.FREE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert "no space" in folder.take(None, 0)


def test_uploads_are_refused_while_new_ones_fill_the_folder(folder):
    written(folder, "a/new.png", 1300, 1)
    folder.sweep()
    assert "no space" in folder.take(None, 0)


def test_uploads_that_come_at_once_are_counted_while_they_come(folder):
    assert [bool(folder.take(None, 200)) for _ in range(10)] == [False] * 6 + [True] * 4


def test_one_address_has_a_share_of_the_folder(folder):
    assert folder.take("1.2.3.4", 240) is None
    assert "too many uploads" in folder.take("1.2.3.4", 20)
    assert folder.take("5.6.7.8", 20) is None
    assert folder.take(None, 300) is None  # who may be everybody


def test_pauses_between_logins_grow_and_end():
    throttle = LoginThrottle()
    for _ in range(20):
        throttle.begun("1.2.3.4")
        throttle.begun(None)
    assert throttle.wait_seconds("1.2.3.4") >= 59
    assert 0 < throttle.wait_seconds(None) <= LONGEST_SHARED_PAUSE  # behind a proxy nobody keeps all others out
    assert throttle.wait_seconds("5.6.7.8") == 0
    throttle.ended("1.2.3.4", "1.2.3.4", True)
    assert throttle.wait_seconds("1.2.3.4") == 0


def test_sessions_that_nobody_has_open_go_first():
    class Blocks:
        blocks, default_config, state_session_capacity = {}, None, 10_000

    listeners, blocks = Listeners(), Blocks()
    blocks.default_config = blocks
    sessions = Sessions(listeners)
    sessions.set_blocks(blocks)
    listeners.join("open")
    sessions["open"].marker = "a conversation"
    for number in range(3 * CAPACITY):
        sessions[f"stranger {number}"]
    assert sessions["open"].marker == "a conversation"
    assert len(sessions.session_data) <= CAPACITY + 2


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("8.8.8.8", 1), "8.8.8.8"),
        (("127.0.0.1", 1), None),
        (("10.1.2.3", 1), None),
        (("2a00:1450:4001:81b::200e", 1), "2a00:1450:4001:81b::/64"),
        (("testclient", 1), None),
        (None, None),
    ],
)
def test_addresses_that_stand_for_one_visitor(client, expected):
    assert public_address(client) == expected


@pytest.mark.parametrize(
    ("host", "name", "local"),
    [
        ("localhost:7860", "localhost", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("[::1]:80", "::1", True),
        ("Demo.Example.:443", "demo.example", False),
        ("127.0.0.1.evil.example", "127.0.0.1.evil.example", False),
    ],
)
def test_names_of_hosts(host, name, local):
    assert split_host(host)[0] == name
    assert is_local_name(name) == local


def test_origins_of_a_proxy_that_sends_the_port_along():
    assert own_origins("demo.example:443") >= {"https://demo.example", "https://demo.example:443"}
    assert "http://demo.example" not in own_origins("demo.example:443")
    assert own_origins("demo.example", "a.example, b.example") >= {"https://demo.example", "https://a.example"}
    assert "https://b.example" not in own_origins("demo.example", "a.example, b.example")


@contextmanager
def serving(app):
    """A server of an ASGI app; yields its port and settings."""
    config = uvicorn.Config(app, port=0, log_level="error")
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1], config
    finally:
        server.should_exit = True


async def hello(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def sent(port, content: bytes) -> bytes:
    """All that a server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(20)
        connection.sendall(content)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


def test_half_a_request_is_ended(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    with serving(hello) as (port, config):
        limit_connections(config)
        assert sent(port, b"GET / HTTP/1.1\r\nHost: a\r\n") == b""
        assert sent(port, b"") == b""
        whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        assert sent(port, whole + b"GET / HT").count(b"200 OK") == 1  # the second one on a connection too
        assert b"ok" in sent(port, whole)


def test_there_is_a_limit_to_connections(monkeypatch):
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (0, 0))
    monkeypatch.setattr(connections.resource, "setrlimit", lambda *_: None)
    with serving(hello) as (port, config):
        limit_connections(config)
        most = 8
        several = [socket.create_connection(("127.0.0.1", port)) for _ in range(most)]
        time.sleep(0.2)
        assert answered(port) is False
        for each in several:
            each.close()
        time.sleep(0.2)
        assert answered(port) is True


def answered(port) -> bool:
    """Whether a new connection gets an answer."""
    try:
        return b"ok" in sent(port, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    except ConnectionError:
        return False


def test_half_a_body_is_ended_and_errors_have_words(folder, monkeypatch, caplog):
    monkeypatch.setattr(asgi, "IDLE_SECONDS", 0.3)
    access = Access(has_login=False, hosts=(), max_body_bytes=1000, max_file_bytes=1000)

    async def app(scope, receive, send):
        if scope.get("path") == "/broken":
            raise ValueError("secret words of a visitor")
        if scope.get("path") == "/full":
            raise OSError(28, "No space left on device")
        await hello(scope, receive, send)

    gateway = Gateway(app, access, folder, Listeners(), lambda: (200, {}), lambda: None)
    head = "HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
    with serving(gateway) as (port, _):
        assert b" 408 " in sent(port, b"POST / " + head.format(10).encode() + b"abc")
        assert b" 200 " in sent(port, b"POST / " + head.format(3).encode() + b"abc")
        assert b" 413 " in sent(port, b"POST / " + head.format(2000).encode() + bytes(2000))
        assert b" 500 " in sent(port, b"POST /broken " + head.format(3).encode() + b"abc")
        assert b" 507 " in sent(port, b"POST /full " + head.format(3).encode() + b"abc")
    assert "ValueError in app" in caplog.text
    assert "secret" not in caplog.text


def test_who_has_left_is_known_for_a_while():
    listeners = Listeners()
    began = time.monotonic() - 100
    assert listeners.seconds_away(began, "a") >= 100
    listeners.join("a")
    listeners.join("a")
    listeners.leave("a")
    assert listeners.present("a", "b")
    assert listeners.seconds_away(began, "a") == 0
    listeners.leave("a")
    assert listeners.seconds_away(began, "a") < 50
    listeners.forget(0)
    assert listeners.seconds_away(began, "a") >= 100
