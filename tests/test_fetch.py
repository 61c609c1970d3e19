"""Images from the web, from servers as they should be and from hostile ones."""

import io
import logging
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from phi3v.inputs import fetch
from phi3v.inputs.deadline import Deadline
from phi3v.inputs.fetch import MAX_ATTEMPTS, MAX_REDIRECTS, fetch_image, is_public
from phi3v.inputs.images import open_image

NAME = "pictures.example"
NO_SERVER = "No public server"


def png(size=(40, 30), mode="RGB", colour=(200, 30, 60)) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def loopback(address: str) -> bool:
    return address == "127.0.0.1"


def fetch_here(url, seconds=5, **settings):
    with tempfile.TemporaryDirectory() as folder:
        return open_image(fetch_image(url, folder, deadline=Deadline(seconds), **{"allowed": loopback, **settings}))


class Web:
    """A server on the loopback address. `replies`: what it does at which path; `requests`: what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None):
        self.replies, self.requests = {}, []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.requests.append((self.path, self.headers))
                with suppress(OSError):  # the other side has heard enough
                    web.replies[self.path](self)

            def log_message(self, *_):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads, block_on_close = True, False

            def handle_error(self, *_):
                pass  # handshakes that fail as they should

        self.server = Server(("127.0.0.1", 0), Handler)
        if context:
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def web(monkeypatch):
    """The server that is on port 80 of every host, as far as the module knows."""
    running = Web()
    monkeypatch.setitem(fetch.PORTS, "http", running.port)
    yield running
    running.stop()


@pytest.fixture
def names(monkeypatch):
    """The name server: what names lead to, in turn. `names.asked`: which ones somebody wanted to know."""

    class Names(dict):
        def __init__(self):
            self.asked = []

    table = Names()

    def look_up(host, port, *_, **__):
        table.asked.append(host)
        if host not in table:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        families = [(socket.AF_INET6 if ":" in address else socket.AF_INET, address) for address in table[host]]
        return [(family, socket.SOCK_STREAM, 6, "", (address, port)) for family, address in families]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


@pytest.fixture
def dialled(monkeypatch):
    """Fails the test when something is dialled, and lists it."""
    addresses = []

    def connect(_, address):
        addresses.append(address)
        raise AssertionError(f"{address} was dialled")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return addresses


def sends(content: bytes, kind: str = "image/png", status: int = 200, length: int | None = None, location: str = ""):
    def reply(handler):
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.send_header("Location", location)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def redirects(location: str, status: int = 302):
    return sends(b"", status=status, location=location)


def sends_raw(*parts: bytes, then: bytes = b"", every: float = 0.0):
    """`parts` without a word from http.server; `then`, again and again."""

    def reply(handler):
        for part in parts:
            handler.wfile.write(part)
        while then:
            handler.wfile.write(then)
            time.sleep(every)

    return reply


# What is allowed


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"),
        *("192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "192.0.2.1"),
        *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1"),
        *("255.255.255.255", "168.63.129.16", "192.88.99.1"),
        *("::", "::1", "::127.0.0.1", "::8.8.8.8", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254"),
        *("ff02::1", "ff0e::1", "100::1", "2001:db8::1", "3fff::1", "4000::1", "5f00::1", "2001:10::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::1", "2002:a9fe:a9fe::1"),
        *("2001:0:808:808::f7f7:f7f7", "2001:0:7f00:1::1"),
        *("", "localhost", "127.1", "example.com"),
    ],
)
def test_addresses_that_are_not_public(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *(
            "localhost",
            "LOCALHOST",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1.",
            "127.1",
            "127.0.1",
            "0x7f000001",
            "0x7f.1",
        ),
        *("2130706433", "0177.0.0.1", "017700000001", "0", "0.0.0.0", "①②⑦.⓪.⓪.①", "127。0。0。1", "1２7.0.0.1"),
        *("169.254.169.254", "0xa9fea9fe", "2852039166", "10.0.0.1", "192.168.0.1", "172.17.0.1", "100.64.0.1"),
        *("224.0.0.1", "255.255.255.255", "192.0.0.192"),
        *("[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
        *("[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:0:7f00:1::]"),
        *("[fe80::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]"),
        *("ex%61mple.com", "127.0.0.1%00.example.com", "exa mple.com", "a_b!.example"),
    ],
)
@pytest.mark.parametrize("url", ["http://{}/a.png", "https://{}:443/a.png"])
def test_hosts_that_are_not_public_are_not_dialled(dialled, tmp_path, url, host):
    with pytest.raises(ValueError, match=NO_SERVER):
        fetch_image(url.format(host), tmp_path)
    assert dialled == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "begin with https"),
        ("pictures.example/a.png", "begin with https"),
        ("//pictures.example/a.png", "begin with https"),
        ("file:///etc/passwd", "begin with https"),
        ("ftp://pictures.example/a.png", "begin with https"),
        ("gopher://pictures.example:80/_GET", "begin with https"),
        ("data:image/png;base64,AAAA", "begin with https"),
        ("http://user:secret@pictures.example/", "name and a password"),
        ("http://@pictures.example/", "name and a password"),
        ("http://pictures.example\\@127.0.0.1/", "name and a password"),
        ("http://pictures.example:22/", "port"),
        ("http://pictures.example:0/", "port"),
        ("http://pictures.example:8080/", "port"),
        ("http://pictures.example:80a/", "valid"),
        ("http://pictures.example:99999/", "valid"),
        ("http://[::1/", "valid"),
        ("http://[1.2.3.4]/", "valid|No public"),
        ("http://[::1:2:3:x]/", "valid"),
        ("http://a..b/", "valid"),
        (f"http://{'a' * 64}.example/", "valid"),
        ("http://\ud800/", "valid"),
        ("http://pictures.example/\ud800", "valid"),
        ("http://", NO_SERVER),
        ("http:///a.png", NO_SERVER),
        ("http:pictures.example", NO_SERVER),
    ],
)
def test_addresses_that_are_not_opened(dialled, names, tmp_path, url, words):
    with pytest.raises(ValueError, match=words):
        fetch_image(url, tmp_path)
    assert dialled == names.asked == []


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"], []])
def test_names_that_lead_inside(dialled, names, tmp_path, addresses):
    names[NAME] = addresses
    with pytest.raises(ValueError, match=NO_SERVER):
        fetch_image(f"http://{NAME}/a.png", tmp_path)
    assert names.asked == [NAME]
    assert dialled == []


def test_the_answer_does_not_tell_which_names_exist(names, tmp_path):
    names["database.internal"] = ["10.0.0.1"]
    answers = set()
    for host in ("database.internal", "nothing.internal"):
        with pytest.raises(ValueError, match=NO_SERVER) as error:
            fetch_image(f"http://{host}/", tmp_path)
        answers.add(str(error.value))
    assert len(answers) == 1


# What is fetched


def test_an_image(web):
    web.replies["/a.png"] = sends(png())
    image = fetch_here(f" http://127.0.0.1:{web.port}/a.png#top\n")
    assert (image.mode, image.size, image.getpixel((5, 5))) == ("RGB", (40, 30), (200, 30, 60))
    [(_, headers)] = web.requests
    assert headers["User-Agent"] == "phi3v-demo"
    assert headers["Accept-Encoding"] == "identity"
    assert not {"Cookie", "Authorization", "Referer"} & set(headers)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/"),
        ("?a=1&b=%20", "/?a=1&b=%20"),
        ("/ä b.png", "/%C3%A4%20b.png"),
        ("/%C3%A4.png?q='x'", "/%C3%A4.png?q='x'"),
    ],
)
def test_paths(web, path, asked):
    web.replies[asked] = sends(png())
    assert fetch_here(f"http://127.0.0.1{path}").size == (40, 30)


def test_without_a_length(web):
    web.replies["/closed"] = sends_raw(b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n\r\n", png())
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    web.replies["/chunks"] = sends_raw(head, *(b"1\r\n%c\r\n" % byte for byte in png()), b"0\r\n\r\n")
    assert fetch_here("http://127.0.0.1/closed").size == (40, 30)
    assert fetch_here("http://127.0.0.1/chunks").size == (40, 30)


def test_no_proxy(web, monkeypatch):
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    web.replies["/a.png"] = sends(png())
    assert fetch_here("http://127.0.0.1/a.png").size == (40, 30)


def test_the_address_that_was_checked_is_dialled(web, names):
    """A name server that gives another answer the second time is not asked a second time."""
    names[NAME] = ["127.0.0.1"]
    web.replies["/a.png"] = sends(png())
    assert fetch_here(f"http://{NAME.upper()}./a.png").size == (40, 30)
    assert names.asked == [NAME]
    assert web.requests[0][1]["Host"] == NAME


def test_international_names(web, names):
    names["xn--bcher-kva.example"] = ["127.0.0.1"]
    web.replies["/"] = sends(png())
    assert fetch_here("http://bücher.example").size == (40, 30)
    assert web.requests[0][1]["Host"] == "xn--bcher-kva.example"


def test_the_next_address_where_one_does_not_answer(web, names):
    names[NAME] = ["127.0.0.2", "127.0.0.1"]
    web.replies["/"] = sends(png())
    assert fetch_here(f"http://{NAME}", allowed=lambda _: True).size == (40, 30)


def test_an_address_that_keeps_silent_leaves_time_for_the_next(web, names, monkeypatch):
    names[NAME] = ["127.0.0.2", "127.0.0.1"]
    web.replies["/"] = sends(png())
    connect = socket.socket.connect

    def reach(self, address):
        if address[0] == "127.0.0.2":
            time.sleep(self.gettimeout())
            raise TimeoutError
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", reach)
    assert fetch_here(f"http://{NAME}", seconds=2, allowed=lambda _: True).size == (40, 30)


def test_few_addresses_of_one_name_are_dialled(names, monkeypatch, tmp_path):
    names[NAME] = [f"8.8.8.{number}" for number in range(100)]
    dialled = []

    def connect(_, address):
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    with pytest.raises(ValueError, match="did not answer as it should"):
        fetch_image(f"http://{NAME}/", tmp_path)
    assert dialled == names[NAME][:MAX_ATTEMPTS]


def test_no_server_answers(web):
    web.stop()
    with pytest.raises(ValueError, match="did not answer as it should") as error:
        fetch_here("http://127.0.0.1/")
    assert error.value.__suppress_context__


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(web, names, status):
    names[NAME] = names["other.example"] = ["127.0.0.1"]
    web.replies["/1/"] = redirects("../ä 2".encode().decode("latin-1"), status)
    web.replies["/%C3%A4%202"] = redirects(f"//other.example:{web.port}/3", status)
    web.replies["/3"] = sends(png())
    assert fetch_here(f"http://{NAME}/1/").size == (40, 30)
    assert names.asked == [NAME, NAME, "other.example"]
    assert [headers["Host"] for _, headers in web.requests] == names.asked


def test_too_many_redirects(web):
    for number in range(MAX_REDIRECTS + 2):
        web.replies[f"/{number}"] = redirects(f"/{number + 1}")
    web.replies[f"/{MAX_REDIRECTS + 1}"] = sends(png())
    with pytest.raises(ValueError, match="too often"):
        fetch_here("http://127.0.0.1/0")
    assert len(web.requests) == MAX_REDIRECTS + 1
    assert fetch_here("http://127.0.0.1/1").size == (40, 30)


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://127.0.0.2/secret", NO_SERVER),
        ("http://169.254.169.254/latest/meta-data/", NO_SERVER),
        ("http://[::ffff:127.0.0.1]/", NO_SERVER),
        ("//0x7f000002/", NO_SERVER),
        ("https://[::1]/", NO_SERVER),
        ("http://127.0.0.1:22/", "port"),
        ("http://a:b@127.0.0.1/", "name and a password"),
        ("file:///etc/passwd", "begin with https"),
        ("http://[", "did not answer as it should"),
        ("", "did not answer as it should"),
    ],
)
def test_redirects_that_are_not_followed(web, location, words):
    web.replies["/"] = redirects(location)
    with pytest.raises(ValueError, match=words):
        fetch_here("http://127.0.0.1/")
    assert len(web.requests) == 1


def test_a_name_that_leads_elsewhere_at_the_redirect(web, names):
    names[NAME] = ["127.0.0.1"]

    def reply(handler):
        names[NAME] = ["127.0.0.2"]
        redirects("/again")(handler)

    web.replies["/"] = reply
    with pytest.raises(ValueError, match=NO_SERVER):
        fetch_here(f"http://{NAME}/")
    assert len(web.requests) == 1


# Limits


def test_too_large_by_its_own_word(web):
    web.replies["/"] = sends(b"", length=2001)
    with pytest.raises(ValueError, match=r"more than 0\.002 MB"):
        fetch_here("http://127.0.0.1/", max_bytes=2000)


def test_as_large_as_it_may_be(web):
    web.replies["/"] = sends(png())
    size = len(png())
    assert fetch_here("http://127.0.0.1/", max_bytes=size).size == (40, 30)
    web.replies["/"] = sends_raw(b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n\r\n", png())
    with pytest.raises(ValueError, match="more than"):
        fetch_here("http://127.0.0.1/", max_bytes=size - 1)


ENDLESS = {
    "body": (b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n\r\n", bytes(65536)),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n" + bytes(65536) + b"\r\n",
    ),
    "chunk of -1": (
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        bytes(65536),
    ),
    "trailer": (
        b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"a: b\r\n" * 9000,
    ),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_answers(web, kind):
    head, then = ENDLESS[kind]
    web.replies["/"] = sends_raw(head, then=then)
    begin = time.monotonic()
    with pytest.raises(ValueError, match="more than 2 MB"):
        fetch_here("http://127.0.0.1/", max_bytes=2_000_000, seconds=20)
    assert time.monotonic() - begin < 10


DRIPS = {
    "silence": lambda handler: time.sleep(9),
    "status": sends_raw(then=b"H", every=0.05),
    "headers": sends_raw(b"HTTP/1.1 200 OK\r\n", then=b"a", every=0.05),
    "body": sends_raw(b"HTTP/1.0 200 OK\r\nContent-Type: image/png\r\n\r\n", then=b"a", every=0.05),
    "redirects": lambda handler: (time.sleep(0.3), redirects("/")(handler)),
}


@pytest.mark.parametrize("kind", DRIPS)
def test_slow_answers_end_in_time(web, kind):
    web.replies["/"] = DRIPS[kind]
    begin = time.monotonic()
    with pytest.raises(ValueError, match="did not arrive in time"):
        fetch_here("http://127.0.0.1/", seconds=0.6)
    assert time.monotonic() - begin < 8


def test_a_name_server_that_takes_its_time(names, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(9))
    begin = time.monotonic()
    with pytest.raises(ValueError, match="did not arrive in time"):
        fetch_here(f"http://{NAME}/", seconds=0.3)
    assert time.monotonic() - begin < 8


# What is not an image


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (sends(b"<!doctype html><title>Sign in</title>", "text/html; charset=utf-8"), "web page"),
        (sends(b"hello, I am text", "image/png"), "not an image"),
        (sends(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "not an image"),
        (sends(b""), "not an image"),
        (sends(png()[:60]), "not an image|damaged"),
        (sends(png(), length=5000), "did not answer as it should"),
        (sends(png((9000, 9000), "1", 0)), "megapixels"),
        (sends(png(), status=404), "answered 404"),
        (sends(png(), status=500), "answered 500"),
        (sends(png(), status=206), "answered 206"),
        (sends_raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "did not answer as it should"),
        (sends_raw(b""), "did not answer as it should"),
        (
            sends_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello"),
            "did not answer as it should",
        ),
        (
            sends_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello"),
            "did not answer as it should",
        ),
        (sends_raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200), "did not answer as it should"),
    ],
)
def test_what_is_not_an_image_is_explained(web, reply, words):
    web.replies["/"] = reply
    with pytest.raises(ValueError, match=words):
        fetch_here("http://127.0.0.1/")


def test_nothing_of_the_address_is_told(web, names, caplog, capfd):
    names["hidden.example"] = ["127.0.0.1"]
    names["inside.example"] = ["10.1.2.3"]
    web.replies["/path"] = redirects("http://inside.example/")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match=NO_SERVER) as error:
        fetch_here("http://hidden.example/path")
    told = " ".join([str(error.value), caplog.text, *capfd.readouterr()])
    assert not re.search(r"hidden|inside|path|10\.1|127\.0", told)
    assert error.value.__cause__ is None


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of NAME that nobody has signed, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("makes its certificate with openssl")
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={NAME} -addext subjectAltName=DNS:{NAME} "
        "-keyout key.pem -out certificate.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def secure_web(certificate, names, monkeypatch):
    """A server on port 443; `secure_web.names`: for whom it was taken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.sni_callback = lambda _, name, __: running.names.append(name)
    running = Web(context)
    running.names = []
    running.replies["/a.png"] = sends(png())
    names[NAME] = names["other.example"] = ["127.0.0.1"]
    monkeypatch.setitem(fetch.PORTS, "https", running.port)
    yield running
    running.stop()


def test_tls_with_the_name_of_the_host(secure_web, names, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    assert fetch_here(f"https://{NAME}/a.png").size == (40, 30)
    assert secure_web.names == names.asked == [NAME]
    assert secure_web.requests[0][1]["Host"] == NAME


def test_a_certificate_that_nobody_has_signed(secure_web):
    with pytest.raises(ValueError, match="no valid certificate") as error:
        fetch_here(f"https://{NAME}/a.png")
    assert error.value.__suppress_context__
    assert secure_web.requests == []


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_a_certificate_of_another_name(secure_web, names, certificate, monkeypatch, host):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    names["127.0.0.1"] = ["127.0.0.1"]
    with pytest.raises(ValueError, match="no valid certificate"):
        fetch_here(f"https://{host}/a.png")
    assert secure_web.requests == []


def test_slow_answers_over_tls(secure_web, certificate, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    secure_web.replies["/a.png"] = DRIPS["body"]
    with pytest.raises(ValueError, match="did not arrive in time"):
        fetch_here(f"https://{NAME}/a.png", seconds=0.6)


def test_a_handshake_that_does_not_come(names, monkeypatch):
    names[NAME] = ["127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setitem(fetch.PORTS, "https", silent.getsockname()[1])
        begin = time.monotonic()
        with pytest.raises(ValueError, match="did not arrive in time"):
            fetch_here(f"https://{NAME}/a.png", seconds=0.4)
    assert time.monotonic() - begin < 8


def test_plain_http_at_the_port_of_https(web, names, monkeypatch):
    names[NAME] = ["127.0.0.1"]
    monkeypatch.setitem(fetch.PORTS, "https", web.port)
    with pytest.raises(ValueError, match="did not answer as it should"):
        fetch_here(f"https://{NAME}/a.png", seconds=3)
