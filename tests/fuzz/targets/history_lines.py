"""The lines of a history: a wrong one is named, whatever it is; what was read is written and read back the same."""

from __future__ import annotations

import io
from collections.abc import Iterator

from rplx.engine.archive import lines
from rplx.engine.archive.records import ArchivedMessage, Floor, Head, OnlineId, Record
from rplx.messages import Event
from tests.fuzz.inputs import plain, repeated

SIZE = 65536
SLOWEST = 0.2
RECORDS: list[Record] = [
    Head("1795494981.5", 1795494981476271),
    Floor("abc", "5.5", None),
    Floor("gone", "1795494981.000001", 1795494981),
    ArchivedMessage(5, {"abc": "5.5", "d-e.f": "000007"}, '{"ü": 1}'.encode(), ("lim", "x"), ("abc",)),
    ArchivedMessage(1795494981476271, {"_": "1795494981.476271"}, b"\xff\x00"),
    Event(11, "online", "abc"),
    Event(13, "offline", "abc"),
    OnlineId("abc"),
]


def seeds() -> Iterator[bytes]:
    yield plain(b"".join(lines.written(RECORDS)))
    for record in RECORDS[1:]:
        yield plain(b"".join(lines.written([RECORDS[0], record])))
    for text in (b"[", b'{"a":', b"\n", b'{"online":"a"}\n', b"9", b'{"message":"'):
        yield repeated(text)


def check(data: bytes) -> None:
    try:
        found = list(lines.read(io.BytesIO(data)))
    except lines.WrongLine:
        return
    again = b"".join(lines.written(found))
    assert list(lines.read(io.BytesIO(again))) == found
