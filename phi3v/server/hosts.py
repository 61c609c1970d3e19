"""Names of hosts, as they come in the headers `Host` and `Origin`."""

import ipaddress
import socket

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def split_host(host: str) -> tuple[str, str]:
    """Name (or number, without brackets) and port of a `Host` header, in lower case."""
    host = host.strip().lower()
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = host.partition(":")
    return name.removesuffix("."), port


def is_local_name(name: str) -> bool:
    """Whether a name can't be made to lead here by somebody else's name server: numbers, and the machine's own."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in ("", "localhost") or name.endswith(".localhost") or name == socket.gethostname().lower()
    return True


def own_origins(*hosts: str | None) -> set[str]:
    """The origins of pages from these hosts; of several in a header, which proxies have added, from the first."""
    names = [host.split(",")[0].strip().lower() for host in hosts if host]
    return {
        f"{scheme}://{each}"
        for name in names
        for scheme, port in (("http", ":80"), ("https", ":443"))
        for each in (name, name.removesuffix(port))  # browsers leave the usual one out, proxies put it in
    }
