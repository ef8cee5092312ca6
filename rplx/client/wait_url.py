"""The WAIT line's URL, as it is given to a listener (protocol page, part 9.7)."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from rplx.client.connection import UNIX, Address
from rplx.client.errors import InvalidArgument, shown

PORT = 8088


def url_beside(address: Address) -> str:
    """Returns the WAIT line's URL of the server whose IN line is there. Raises InvalidArgument if nothing says so."""
    if address.is_unix:
        raise InvalidArgument("wait must be given, as the IN line is at the path of a socket")
    return f"http://{Address(address.host, PORT)}/"


def parsed_url(url: str, tls: bool | ssl.SSLContext) -> tuple[Address, str]:
    """Returns where to connect, and the request target up to the marker. Raises InvalidArgument."""
    if url.startswith(UNIX):
        return Address.of(url, 0, False), "/?"
    wrong = InvalidArgument(f'WAIT URL must be http://HOST:PORT/, https://HOST/ or unix:/PATH, "{shown(url)}" given')
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    if "@" in parts.netloc:
        raise InvalidArgument("WAIT URL must have no USER:PASSWORD@: neither this client nor a browser sends them")
    is_sendable = url.isascii() and url.isprintable() and " " not in url
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_sendable:
        raise wrong
    secure = parts.scheme == "https"
    target = (parts.path or "/") + "?" + (f"{parts.query}&" if parts.query else "")
    return Address.of(parts.hostname, port or (443 if secure else 80), tls if secure else False), target
