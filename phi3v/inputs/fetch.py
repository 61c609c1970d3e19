"""Images from the web, fetched by a server that the public may tell what to fetch.

An address may lead to what only this server can reach: its own ports, its neighbours, the cloud's metadata service.
So only public addresses are dialled, and what is dialled is what was checked: a name is looked up once.
"""

import io
import ipaddress
import queue
import re
import socket
import ssl
import string
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from .deadline import Deadline

MAX_BYTES = 20_000_000
MAX_REDIRECTS = 3
MAX_ATTEMPTS = 4  # addresses of one name that are dialled; more are no use to people, only to those who scan others
SECONDS = 10.0
PORTS = {"http": 80, "https": 443}
# http.client adds Host and `Accept-Encoding: identity`.
HEADERS = {"User-Agent": "phi3v-demo", "Accept": "image/*", "Connection": "close"}
REDIRECTS = (301, 302, 303, 307, 308)
FRAMING = 1_000_000  # bytes a response may have beyond its body: headers, the sizes of chunks
CHUNK = 65536

HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")  # all that is assigned of IPv6 to public hosts
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # the last 32 bits are an IPv4 address
# Public by the number, or by the `is_global` of older Pythons.
NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's platform, seen from its virtual machines
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays, abolished
        "3fff::/20",  # documentation
    )
]

# One message for both, or the answer would tell which names exist inside.
NOT_FOUND = "No public server was found at this address. Check it, or download the image and send the file."
NO_ANSWER = "The server of this address did not answer as it should. Download the image and send the file."


def is_public(address: str) -> bool:
    """Whether an IP address is one that everybody on the internet reaches, as it is and as the IPv4 address in it."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour
        if ip in NAT64:
            embedded = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if embedded is None and ip not in GLOBAL_UNICAST:
            return False
        ip = embedded or ip
    unusual = ip.is_multicast or ip.is_reserved or any(ip in network for network in NOT_PUBLIC)
    return ip.is_global and not unusual  # Teredo (2001::/32) is not global


def fetch_image(
    url: str,
    folder: str | Path,
    *,
    max_bytes: int = MAX_BYTES,
    deadline: Deadline | None = None,
    allowed: Callable[[str], bool] = is_public,
) -> Path:
    """Save the image at an address of the web, for `open_image`.

    Args:
        folder: where the file goes.
        deadline: by when all of it has to be there, redirects included; by default in `SECONDS`.
        allowed: whether an IP address may be dialled.

    Returns:
        The file. Whether it is an image is not looked at.

    Raises:
        ValueError: the address is not one that is fetched, or the server fails, takes too long or sends too much. The
            message says what to do, and nothing of the servers that were asked.
        StoppedError: as of `Deadline.left`.
    """
    # Causes are left out (`from None`): they name hosts and addresses, and a log may show them.
    try:
        content = _download(url, max_bytes, deadline or Deadline(SECONDS), allowed)
    except TimeoutError:
        raise ValueError("The image did not arrive in time. Try again, or download it and send the file.") from None
    except _TooMuchError:
        raise ValueError(
            f"The image has more than {max_bytes / 1e6:g} MB. Make it smaller, or send another."
        ) from None
    except ssl.SSLCertVerificationError:
        raise ValueError(
            "The server of this address has no valid certificate. Download the image and send the file."
        ) from None
    except (OSError, HTTPException):
        raise ValueError(NO_ANSWER) from None
    with tempfile.NamedTemporaryFile(dir=folder, prefix="fetched-", delete=False) as file:
        file.write(content)
    return Path(file.name)


class _TooMuchError(Exception):
    pass


class _Target(NamedTuple):
    """An address, taken apart. `host` is in ASCII, IPv6 without brackets; `path` is with the query."""

    scheme: str
    host: str
    port: int
    path: str


def _download(url: str, max_bytes: int, deadline: Deadline, allowed: Callable[[str], bool]) -> bytes:
    url = url.strip()
    for _ in range(1 + MAX_REDIRECTS):
        target = _take_apart(url)
        places = _look_up(target, deadline, allowed)
        with closing(_Connection(target, places, deadline, max_bytes + FRAMING)) as connection:
            connection.request("GET", target.path, headers=HEADERS)
            with connection.getresponse() as response:
                if response.status not in REDIRECTS:
                    return _body(response, max_bytes)
                url = _join(url, response.headers["Location"])
    raise ValueError("The address leads from one to the next too often. Download the image and send the file.")


def _take_apart(url: str) -> _Target:
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme, parts.port
        host = (parts.hostname or "").encode("idna").decode().lower().removesuffix(".")
        if "[" in parts.netloc:
            ipaddress.IPv6Address(host)
        path = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=string.punctuation)
    except ValueError:  # of each of these, in words for programmers
        raise ValueError("This is not a valid address. Copy it once more, or send the file.") from None
    if scheme not in PORTS:
        raise ValueError("The address has to begin with https:// or http://. Copy it whole, or send the file.")
    if "@" in parts.netloc:
        raise ValueError("Addresses with a name and a password are not opened. Download the image and send the file.")
    if port is not None and port not in PORTS.values():
        raise ValueError("Addresses with a port of their own are not opened. Download the image and send the file.")
    if "%" in host or not (":" in host or HOST_NAME.fullmatch(host)):
        raise ValueError(NOT_FOUND)
    return _Target(scheme, host, port or PORTS[scheme], path)


def _join(url: str, location: str | None) -> str:
    if not location:
        raise HTTPException
    try:
        # http.client reads headers as Latin-1, whatever their bytes are.
        return urljoin(url, quote(location.strip().encode("latin-1"), safe=string.punctuation))
    except ValueError:
        raise HTTPException from None


def _look_up(target: _Target, deadline: Deadline, allowed: Callable[[str], bool]) -> list[tuple]:
    """What `socket.getaddrinfo` says, its first ones, if all of it may be dialled.

    Numbers for hosts in any of their spellings (`127.1`, `0x7f000001`) are addresses by then.
    """
    results: queue.SimpleQueue[list[tuple]] = queue.SimpleQueue()

    def ask() -> None:
        try:
            results.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except (OSError, ValueError):
            results.put([])

    # It knows no time limit of its own. A thread that is left behind ends with the resolver's.
    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        places = results.get(timeout=deadline.left())
    except queue.Empty:
        raise TimeoutError from None
    if not places or not all(allowed(place[4][0]) for place in places):
        raise ValueError(NOT_FOUND)
    return places[:MAX_ATTEMPTS]


def _body(response: HTTPResponse, max_bytes: int) -> bytes:
    if response.status != 200:
        raise ValueError(
            f"The server of this address answered {response.status} instead of sending an image. "
            "Check the address, or download the image and send the file."
        )
    if response.headers.get_content_type() == "text/html":
        raise ValueError(
            "This is the address of a web page, not of an image. Copy the one of the image itself, or send the file."
        )
    body = bytearray()
    if (response.length or 0) > max_bytes:
        raise _TooMuchError
    while chunk := _read(response):
        body += chunk
        if len(body) > max_bytes:
            raise _TooMuchError
    if response.length:  # what is missing of what was announced
        raise HTTPException
    return bytes(body)


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(CHUNK)
    except OSError:  # before ValueError: errors of TLS are both
        raise
    except ValueError:  # chunks of a negative size
        raise HTTPException from None


class _Connection(HTTPConnection):
    """Dials one of `places`, which were checked; the host's name is only told to the server there."""

    def __init__(self, target: _Target, places: list[tuple], deadline: Deadline, max_bytes: int):
        self.default_port = PORTS[target.scheme]  # is left out of the header Host
        super().__init__(target.host, target.port)
        self._target, self._places, self._deadline, self._max_bytes = target, places, deadline, max_bytes

    def connect(self) -> None:
        connected = self._dial()
        try:
            if self._target.scheme == "https":
                connected.settimeout(self._deadline.left())
                context = ssl.create_default_context()
                connected = context.wrap_socket(connected, server_hostname=self._target.host)
        except BaseException:
            connected.close()
            raise
        self.sock = _LimitedSocket(connected, self._deadline, self._max_bytes)

    def _dial(self) -> socket.socket:
        """The first that answers. Each may take its share of the time that is left."""
        for number, (family, kind, protocol, _, address) in enumerate(self._places):
            attempt = socket.socket(family, kind, protocol)
            try:
                attempt.settimeout(self._deadline.left() / (len(self._places) - number))
                attempt.connect(address)
                return attempt
            except OSError:
                attempt.close()
        self._deadline.left()
        raise ConnectionError


class _LimitedSocket:
    """What http.client uses of a socket, with limits for all that goes through it.

    A socket's own time limit begins again with every byte. And http.client reads a body to its end, whatever its
    length, where a server says that a chunk has -1 bytes.
    """

    def __init__(self, connected: socket.socket, deadline: Deadline, max_bytes: int):
        self._socket, self._deadline, self._max_bytes = connected, deadline, max_bytes

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self._deadline.left())
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_LimitedReader(self._socket, self._deadline, self._max_bytes))

    def close(self) -> None:
        self._socket.close()  # when its readers are closed too


class _LimitedReader(io.RawIOBase):
    def __init__(self, connected: socket.socket, deadline: Deadline, max_bytes: int):
        self._socket, self._deadline, self._left = connected, deadline, max_bytes
        self._file = connected.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        self._socket.settimeout(self._deadline.left())
        count = self._file.readinto(buffer)
        self._left -= count
        if self._left < 0:
            raise _TooMuchError
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
