"""permessage-deflate (RFC 7692) without context takeover: each message is compressed by itself, once for all.

With context takeover a connection would keep a compressor of its own, and a message would be compressed for each.
"""

from __future__ import annotations

import re
import zlib

DEFLATE_MIN = 256  # bytes from which on a message is compressed
WINDOW_BITS = 12  # of what is sent, so that clients which ask for a window as small can have it

_ANY_WINDOW_BITS = 15  # reads what was compressed with any window
_MEMORY_LEVEL = 5
_TAIL = b"\0\0\xff\xff"  # what a flush ends with, and a message leaves out (7.2.1)
_FINAL_TAILS = (
    _TAIL,
    b"\0" + _TAIL,
)  # what stands behind a message's last block if that is marked as the last (7.2.3.4)
_BITS = re.compile(r"8|9|1[0-5]")
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_ANSWER = f"permessage-deflate; {_FLAGS[0]}; {_FLAGS[1]}"


class BadDeflate(ValueError):
    """A message is not compressed as it says."""


class TooLong(ValueError):
    """A message inflates to more than it may have."""


def deflated(data: bytes) -> bytes:
    """Returns a message compressed (7.2.1)."""
    compressor = zlib.compressobj(wbits=-WINDOW_BITS, memLevel=_MEMORY_LEVEL)
    return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[: -len(_TAIL)]


def inflated(data: bytes, at_most: int) -> bytes:
    """Returns a compressed message as it was (7.2.2). Raises TooLong for more than `at_most` bytes, BadDeflate."""
    decompressor = zlib.decompressobj(wbits=-_ANY_WINDOW_BITS)
    try:
        message = decompressor.decompress(data + _TAIL, at_most + 1)
    except zlib.error as error:
        raise BadDeflate(str(error)) from None
    if len(message) > at_most:
        raise TooLong
    if decompressor.eof and decompressor.unused_data not in _FINAL_TAILS:
        raise BadDeflate("something stands behind the last block")
    return message


def accepted_offer(offers: str) -> str | None:
    """Returns what answers the first offer of permessage-deflate that can be met, None if there is none.

    `offers` and the answer are values of Sec-WebSocket-Extensions (RFC 6455, 9.1; RFC 7692, 7.1).
    """
    for offer in offers.split(","):
        name, *parameters = [part.strip() for part in offer.split(";")]
        if name == "permessage-deflate":
            answer = _answer_to(parameters)
            if answer is not None:
                return answer
    return None


def _answer_to(parameters: list[str]) -> str | None:
    """Returns the answer to one offer, None if it is declined: it is wrong, unknown or asks for a smaller window."""
    asked: dict[str, str | None] = {}  # None: it stands there without a value
    for parameter in parameters:
        name, equals, value = [part.strip() for part in parameter.partition("=")]
        if name in asked:
            return None
        asked[name] = value.removeprefix('"').removesuffix('"') if equals else None
    answer = _ANSWER
    for name, given in asked.items():
        if name == "server_max_window_bits":
            if given is None or not _BITS.fullmatch(given) or int(given) < WINDOW_BITS:
                return None
            answer += f"; server_max_window_bits={WINDOW_BITS}"
        elif name == "client_max_window_bits":
            if given is not None and not _BITS.fullmatch(given):
                return None
        elif name not in _FLAGS or given is not None:
            return None
    return answer
