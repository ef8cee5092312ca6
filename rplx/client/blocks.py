"""Messages of a WAIT answer, read from its blocks (protocol page, part 2, step 3).

The whole answer is read as JSON at once. If Python cannot read it, each block is read by itself, so that a message that
cannot be read costs no other. A valid JSON text may hold what `json.loads` refuses: a whole number of more than 4,300
digits, and arrays or objects nested deeper than the interpreter's stack. A server that does not check its messages may
send what is no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from rplx.client.errors import BrokenResponse
from rplx.client.names import is_cursor

_CLOSING = {b"[": b"]", b"{": b"}"}
_SPACE = re.compile(rb"[ \t\r\n]*+")
_BLOCK = re.compile(
    rb'[ \t\r\n]*+[\[,][ \t\r\n]*+\{[ \t\r\n]*+"ids":[ \t\r\n]*+(\{[^{}]*+\})[ \t\r\n]*+,[ \t\r\n]*+"data":'
)
_ONE = re.compile(rb'\{"ids":(\{[^{}]*+\}),"data":')
_BLOCK_END = re.compile(rb"[ \t\r\n]*+\}")
_END = re.compile(rb"[ \t\r\n]*+\][ \t\r\n]*+\Z")
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{}]|[^][{}"]++')
_SCALAR = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[^][{}",: \t\r\n]++')
# A message that is no JSON has no end of its own, so it is taken to end where the server's own lines go on.
_NEXT_BLOCK = re.compile(rb'\n  \}(?=,\n  \{\n    "ids": \{|\n\][ \t\r\n]*+\Z)')


class Unreadable(NamedTuple):
    """Stands in a message's `data` where Python cannot read it: `raw` is its text as it came, `reason` says why."""

    raw: bytes
    reason: str


class Message(NamedTuple):
    """A message that a listener received. `ids`: its cursor in each of the listener's channels that it reached.

    `data` is what `json` makes of it, or an `Unreadable` if Python cannot read it.
    """

    data: Any
    ids: dict[str, str]


def read(body: bytes) -> list[Message]:
    """Returns the messages of a WAIT answer's body, none for the empty one (part 2, steps 3 and 4).

    A message that cannot be read has an Unreadable as its data. Raises BrokenResponse if these are no blocks.
    """
    text = body.strip()
    if not text:
        return []
    try:
        return [Message(data, _cursors(ids)) for ids, data in _blocks(text)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenResponse(f"the answer is no list of messages ({error}): is this the WAIT line?") from error


def read_one(text: bytes) -> Message:
    """Returns the message of a stream's event, `{"ids":{...},"data":...}` (part 10.1); else as `read`."""
    try:
        try:
            block = json.loads(text)
            return Message(block["data"], _cursors(block["ids"]))
        except (ValueError, RecursionError):
            start = _ONE.match(text)
            if start is None:
                raise
            return Message(_read(text[start.end() : -1]), _cursors(json.loads(start[1])))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenResponse(f"an event is no message ({error})") from error


def _blocks(text: bytes) -> list[tuple[Any, Any]]:
    """Returns the ids and the data of each block."""
    try:
        blocks = json.loads(text)
    except (ValueError, RecursionError):
        return list(read_one_by_one(text))
    return [(block["ids"], block["data"]) for block in blocks]


def _cursors(ids: dict[str, Any]) -> dict[str, str]:
    """Returns `ids`. Raises TypeError unless each has a cursor."""
    if not all(isinstance(cursor, str) and is_cursor(cursor) for cursor in ids.values()):
        raise TypeError("a cursor is a decimal number in a string")
    return ids


def read_one_by_one(body: bytes) -> Iterator[tuple[Any, Any]]:
    """Yields the ids and the data of each block; the data is Unreadable if it cannot be read.

    Raises ValueError if these are no blocks.
    """
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
    """Returns where the message behind "data": begins and ends, and where its block ends. Raises ValueError."""
    start = _end_of(_SPACE.match(body, at))
    end = _value_end(body, start)
    closing = _BLOCK_END.match(body, end) if end else _NEXT_BLOCK.search(body, at)
    if end and closing is None:
        end, closing = 0, _NEXT_BLOCK.search(body, at)
    if closing is None:
        raise ValueError(f"no end of the message at byte {start}")
    return start, end or closing.start(), closing.end()


def _value_end(body: bytes, at: int) -> int:
    """Returns where the JSON value at `at` ends, judged by quotes and brackets alone; 0 if it has no end."""
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
