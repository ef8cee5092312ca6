"""Event streams (protocol page, part 10; HTML standard, 9.2): their events, and the mark from which a client resumes.

A mark is the composite cursor of an event's id line, `CURSOR:*` and then `,CURSOR:ID` for channels of which the first
does not hold: all messages at or below it have been sent in every channel that is not named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from rplx.errors import Refusal
from rplx.messages import Message, cursor_value
from rplx.protocol.identifiers import CURSOR_MAX, ID
from rplx.protocol.json_texts import as_json

MARK_MAX = 4096  # bytes of a mark that the server writes; a client sends it back in a header
RETRY = 1000  # milliseconds after which a client whose stream broke comes back

_PART = re.compile(rf"([0-9]+(?:\.[0-9]+)?):(\*|{ID})")
_ASKED = re.compile(rb"\A\S+ \S*[?&]stream(?:=1)?(?:&|\s)|\naccept:[^\r\n]*\btext/event-stream\b", re.IGNORECASE)
_LINE_END = re.compile(rb"\r\n|\r|\n")

Write = Callable[[tuple[str, ...]], bytes]


class Mark(NamedTuple):
    """`common` holds in every channel that is not in `named`; None: those begin now."""

    common: str | None
    named: dict[str, str]


def parse_mark(text: str) -> Mark | None:
    """Returns the mark that a client sent back, None if it is none of ours. Of two cursors the smaller one counts."""
    common: str | None = None
    named: dict[str, str] = {}
    for item in text.strip().split(","):
        part = _PART.fullmatch(item)
        if part is None or len(part[1]) > CURSOR_MAX:
            return None
        cursor, id = part.groups()
        if id == "*":
            common = cursor if common is None else min(common, cursor, key=cursor_value)
        else:
            named[id] = min(named.get(id, cursor), cursor, key=cursor_value)
    return Mark(common, named)


def mark_text(common: str, named: Mapping[str, str]) -> str:
    """Returns the text of a mark. Past MARK_MAX it is held back: the smallest of all cursors, and no channel named."""
    text = f"{common}:*"
    if not named:
        return text
    text = ",".join([text, *[f"{cursor}:{id}" for id, cursor in named.items()]])
    if len(text) <= MARK_MAX:
        return text
    return f"{min([common, *named.values()], key=cursor_value)}:*"


def event_data(message: Message, charset: str | None) -> Write:
    """Returns what writes the JSON of one message by some of its ids, which are sorted.

    `charset`: messages may be no JSON, and are taken for text of it then (part 7.5); None: all are JSON.
    """
    data = message.data if charset is None else as_json(message.data, charset)
    cursors = message.cursors

    def write(ids: tuple[str, ...]) -> bytes:
        pairs = ",".join([f'"{id}":"{cursors[id]}"' for id in ids])
        return b'{"ids":{%b},"data":%b}' % (pairs.encode("ascii"), data)

    return write


def asks_for_stream(head: bytes) -> bool:
    """Returns whether the head of a request, which may be cut, asks for an event stream, as far as can be seen."""
    return _ASKED.search(head) is not None


class EventStream:
    """The encoding of event streams.

    `chunked`: each event is a chunk of HTTP/1.1 (RFC 9112, 7.1). `charset`: as for `event_data`.
    """

    def __init__(self, *, chunked: bool, charset: str | None) -> None:
        self._chunked = chunked
        self._charset = charset
        self._end = b"0\r\n\r\n" if chunked else b""

    def writer(self, message: Message) -> Write:
        """Returns what writes the data lines of a message by some of its ids, which are sorted."""
        write = event_data(message, self._charset)
        if b"\n" not in message.data and b"\r" not in message.data:
            return lambda ids: b"data: %b\n" % write(ids)
        return lambda ids: b"data: %b\n" % _LINE_END.sub(b"\ndata: ", write(ids))

    def event(self, written: bytes, common: str, named: Mapping[str, str]) -> bytes:
        """Returns the event of a message, as `writer` wrote it, behind which the stream is at this mark."""
        return self._framed(b"id: %b\n%b\n" % (mark_text(common, named).encode("ascii"), written))

    def opened(self, common: str, named: Mapping[str, str], position: str, gaps: Iterable[str]) -> bytes:
        """Returns the first event. `position`: where channels without a cursor begin; `gaps`: as in part 7.4."""
        data = f'{{"cursor":"{position}","gaps":[{_listed(gaps)}]}}'
        text = f"retry: {RETRY}\nid: {mark_text(common, named)}\nevent: open\ndata: {data}\n\n"
        return self._framed(text.encode("ascii"))

    def gap(self, ids: Iterable[str]) -> bytes:
        """Returns the event that says that messages of `ids` are missing before those that follow."""
        return self._framed(b'event: gap\ndata: {"ids":[%b]}\n\n' % _listed(ids).encode("ascii"))

    def refused(self, ids: Iterable[str]) -> bytes:
        """Returns the event that says that `ids` may not be listened to (part 12)."""
        return self._framed(b'event: refused\ndata: {"ids":[%b]}\n\n' % _listed(ids).encode("ascii"))

    def expires(self, seconds: int) -> bytes:
        """Returns the event that says that the grant of this stream ends in `seconds`."""
        return self._framed(b'event: expires\ndata: {"in":%d}\n\n' % seconds)

    def heartbeat(self, common: str, named: Mapping[str, str]) -> bytes:
        """Returns what keeps a quiet stream from being cut, and calls nobody."""
        return self._framed(b"id: %b\n\n" % mark_text(common, named).encode("ascii"))

    def bye(self, error: Refusal, retry: int) -> bytes:
        """Returns the last event and the stream's end. `retry`: milliseconds after which the client may come back."""
        return self._framed(b'retry: %d\nevent: bye\ndata: {"retry":%d}\n\n' % (retry, retry)) + self._end

    def _framed(self, event: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event


@cache
def event_stream(*, chunked: bool, charset: str | None) -> EventStream:
    """Returns the one encoding of streams of this kind."""
    return EventStream(chunked=chunked, charset=charset)


def refused(text: str, retry: int) -> bytes:
    """Returns the body of a stream that is refused for now: EventSource never comes back after a 503.

    `text` is a comment, for who looks; `retry`: milliseconds after which the client may come back.
    """
    return b": %b\nretry: %d\n\n" % (_LINE_END.sub(b" ", text.encode()), retry)


def _listed(ids: Iterable[str]) -> str:
    """Returns ids as the values of a JSON array: none of their characters has to be escaped."""
    return ",".join([f'"{id}"' for id in ids])
