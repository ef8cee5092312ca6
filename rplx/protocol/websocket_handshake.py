"""The handshake of WebSocket (RFC 6455, 4.2), on a request that was read as every other.

It is one hash and two short negotiations; a library would read the request a second time for them.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from rplx.errors import BadRequest, UpgradeRequired
from rplx.protocol.deflate import accepted_offer

SUBPROTOCOL = "rplx.1"
VERSION = "13"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_SIZE = 16  # bytes of a key, which comes in Base64


@dataclass(frozen=True, slots=True)
class Offer:
    """What a client asks for: the values of the Sec-WebSocket headers, "" for those that are not there."""

    key: str
    version: str
    protocols: str = ""
    extensions: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What was agreed on: the headers of the answer 101, and whether messages may be compressed."""

    headers: tuple[tuple[str, str], ...]
    deflate: bool


def is_asked_for(method: str, upgrade: str, connection: str) -> bool:
    """Returns whether a request of HTTP/1.1 that has a Sec-WebSocket-Key asks for WebSocket.

    `upgrade` and `connection` are the values of these headers. Anything else is a request like others, whose upgrade
    may be ignored (RFC 9110, 7.8).
    """
    return method == "GET" and "websocket" in _tokens(upgrade) and "upgrade" in _tokens(connection)


def accept(offer: Offer, *, deflate: bool) -> Accepted:
    """Returns what is agreed on; with `deflate` that may be permessage-deflate.

    Raises UpgradeRequired for another version, BadRequest for a wrong key.
    """
    if offer.version != VERSION:
        raise UpgradeRequired(f"the version of WebSocket that is spoken here is {VERSION}")
    extension = accepted_offer(offer.extensions) if deflate else None
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", _answer_to(offer.key)),
    ]
    if SUBPROTOCOL in [protocol.strip() for protocol in offer.protocols.split(",")]:
        headers.append(("Sec-WebSocket-Protocol", SUBPROTOCOL))
    if extension is not None:
        headers.append(("Sec-WebSocket-Extensions", extension))
    return Accepted(tuple(headers), extension is not None)


def _answer_to(key: str) -> str:
    """Returns what proves that the request was understood. Raises BadRequest."""
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):  # the second is of one that is not ASCII
        size = 0
    if size != _KEY_SIZE:
        raise BadRequest(f"Sec-WebSocket-Key is not {_KEY_SIZE} bytes in Base64")
    return base64.b64encode(hashlib.sha1(key.encode() + _GUID).digest()).decode()


def _tokens(value: str) -> list[str]:
    return [token.strip() for token in value.lower().split(",")]
