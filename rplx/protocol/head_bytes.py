"""The bytes of an HTTP head: where it ends, and what is mended in it that llhttp does not take."""

from __future__ import annotations

import re

from rplx.errors import BadRequest

_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_EMPTY_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*\r\n")
_WRONG_LENGTH = re.compile(rb"(?im)^content-length:[^\n]*\n")
_FRAMING = re.compile(rb"(?im)^(?:content-length|transfer-encoding):")
_UPGRADE = re.compile(rb"(?im)^upgrade:[ \t]*([^\r\n]*)")


def end_of_head(buffer: bytes | bytearray, looked: int) -> int:
    """Returns where the head in `buffer` ends, behind its blank line, or 0 if that has not come.

    A head has no end before `looked`.
    """
    end = buffer.find(b"\n\r\n", looked) + 3
    bare = buffer.find(b"\n\n", looked, end if end > 2 else len(buffer)) + 2
    if bare > 1:
        return bare
    return end if end > 2 else 0


def with_line_ends(head: bytes) -> bytes:
    """Returns a head whose lines all end in CR LF."""
    return head if head.count(b"\n") == head.count(b"\r\n") else _BARE_LINE_FEED.sub(b"\r\n", head)


def without_upgrade(head: bytes) -> bytes:
    """Returns a head that asks for no upgrade, behind which llhttp would not read on. Raises BadRequest for CONNECT."""
    if head.startswith(b"CONNECT"):
        raise BadRequest("CONNECT is not served here")
    return _UPGRADE.sub(rb"x-upgrade: \1", head)


def upgrades(head: bytes) -> list[tuple[bytes, bytes]]:
    """Returns the headers of a head that ask for an upgrade, with their name in lower case."""
    return [(b"upgrade", match[1].strip()) for match in _UPGRADE.finditer(head)]


def without_length(head: bytes, error: str, *, empty: bool, wrong: bool) -> bytes:
    """Returns a head without the Content-Length that llhttp refuses with the text `error`.

    `empty`, `wrong`: whether one that is empty, or no number, may be ignored. Raises BadRequest for anything else, and
    where another length stands beside it.
    """
    if wrong and "character in Content-Length" in error:
        head = _WRONG_LENGTH.sub(b"", head, 1)
    elif empty and "Empty Content-Length" in error:
        head = _EMPTY_LENGTH.sub(b"", head, 1)
    else:
        raise BadRequest(f"malformed HTTP request: {error}")
    if _FRAMING.search(head):
        raise BadRequest("an empty or wrong Content-Length beside another length")
    return head
