"""The blocks of a WAIT answer, one by one: so that a message that Python cannot read costs no other (part 2, step 3).

What a valid JSON text may hold and `json.loads` still refuses: a whole number of more than 4,300 digits, and arrays or
objects nested deeper than the interpreter's stack. A server that does not check its messages may send what is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_CLOSING = {b"[": b"]", b"{": b"}"}
_SPACE = re.compile(rb"[ \t\r\n]*+")
_BLOCK = re.compile(
    rb'[ \t\r\n]*+[\[,][ \t\r\n]*+\{[ \t\r\n]*+"ids":[ \t\r\n]*+(\{[^{}]*+\})[ \t\r\n]*+,[ \t\r\n]*+"data":'
)
_BLOCK_END = re.compile(rb"[ \t\r\n]*+\}")
_END = re.compile(rb"[ \t\r\n]*+\][ \t\r\n]*+\Z")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]|[^][{}"]++')
_SCALAR = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^][{}",: \t\r\n]++')
# A message that is no JSON has no end of its own: the server's lines behind it are the sign.
_NEXT_BLOCK = re.compile(rb'\n  \}(?=,\n  \{\n    "ids": \{|\n\][ \t\r\n]*+\Z)')


class Unreadable(NamedTuple):
    """Stands as `data` of a message that is there and cannot be read: `raw` is its text as it came, `reason` why."""

    raw: bytes
    reason: str


def read_one_by_one(body: bytes) -> Iterator[tuple[Any, Any]]:
    """The ids and the data of each block, Unreadable where that cannot be read. ValueError if these are no blocks."""
    at = 0
    while not _END.match(body, at):
        block = _BLOCK.match(body, at)
        if block is None:
            raise ValueError(f"no block at byte {at}")
        start, end, at = _message(body, block.end())
        yield json.loads(block[1]), _read(body[start:end])


def _read(raw: bytes) -> Any:
    try:
        return json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        return Unreadable(raw, str(error))


def _message(body: bytes, at: int) -> tuple[int, int, int]:
    """Where the message behind "data": begins and ends, and where its block ends."""
    start = _end_of(_SPACE.match(body, at))
    end = _value_end(body, start)
    closing = _BLOCK_END.match(body, end) if end else _NEXT_BLOCK.search(body, at)
    if end and closing is None:
        end, closing = 0, _NEXT_BLOCK.search(body, at)
    if closing is None:
        raise ValueError(f"no end of the message at byte {start}")
    return start, end or closing.start(), closing.end()


def _value_end(body: bytes, at: int) -> int:
    """Where the JSON value at `at` ends, judged by its quotes and brackets alone, however deep; 0 if it has no end."""
    if body[at : at + 1] not in _CLOSING:
        return _end_of(_SCALAR.match(body, at))
    open_: list[bytes] = []
    for token in _TOKEN.finditer(body, at):
        if token.start() != at:
            return 0
        at = token.end()
        if token[0] in _CLOSING:
            open_.append(_CLOSING[token[0]])
        elif token[0] in (b"]", b"}"):
            if open_.pop() != token[0]:
                return 0
            if not open_:
                return at
    return 0


def _end_of(match: re.Match[bytes] | None) -> int:
    return 0 if match is None else match.end()
