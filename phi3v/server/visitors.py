"""Who sends a request, as far as limits for each visitor go."""

import ipaddress


def public_address(client: tuple | None) -> str | None:
    """A visitor's address, for limits by address; None where it may be a proxy's, which all visitors share.

    Args:
        client: host and port of an ASGI scope. Behind a trusted proxy it is what `X-Forwarded-For` says.
    """
    try:
        address = ipaddress.ip_address(client[0]) if client else None
    except ValueError:
        return None
    if address is None or not address.is_global:
        return None
    if address.version == 6:  # a household has a whole network of them
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
