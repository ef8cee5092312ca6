"""Last-Event-ID, and what is peeked at of a head: marks are read as they are written, and no text takes long."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.protocol.event_stream import MARK_MAX, asks_for_stream, mark_text, parse_mark
from tests.fuzz.inputs import plain, repeated

SIZE = 16384  # wait.head_max


def seeds() -> Iterator[bytes]:
    yield plain(b"5:*,7.5:a,6:room-1.x")
    yield plain(b"7:a,5:a,6:*,5:*")
    yield plain(b"GET /?identifier=a&stream HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n")
    yield repeated(b"\xff1795494981.476271:channel_1,")
    yield repeated(b"\xff1.")
    yield repeated(b"\xff?stream")
    yield repeated(b"\xff\naccept: ")


def check(data: bytes) -> None:
    asks_for_stream(data)
    mark = parse_mark(data.decode("latin-1"))
    if mark is None:
        return
    common, named = mark
    if common is not None:
        text = mark_text(common, named)
        assert len(text) <= MARK_MAX or not named
        if len(named) < 20:
            assert parse_mark(text) == mark
