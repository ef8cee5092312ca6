"""Messages as Redis keeps and announces them: what was packed comes back, what was not is a ValueError."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.engine.redis import codec
from rplx.messages import Identifiers, Send
from tests.fuzz.inputs import plain, repeated

SIZE = 65536
SOME = [
    b"00000000005.5 3 5.5 id1 - {}",
    b"k 4 1795494981.476271 id2 a,b \xff\x00 x",
    b"1795494981476271 a:5:1:17/18,b:6:2:0/1 id3 x,y null",
    b"0 a:5:1:0 id4 - [ ]",
]


def seeds() -> Iterator[bytes]:
    for text in SOME:
        yield plain(text)
    for text in (b"1 ", b"a:1:1:1,", b" ", b"1"):
        yield repeated(text)


def check(data: bytes) -> None:
    for unpack in (
        lambda: codec.unpack_body(data, {}),
        lambda: codec.unpack_member("a", data),
        lambda: codec.unpack_announced(data, lambda: None),
    ):
        try:
            unpack()
        except ValueError:
            pass
    send = Send(Identifiers({"a": None}, {"b": None} if len(data) % 2 else {}), data)
    back = codec.unpack_body(codec.pack_body(b"id", send), {"a": "5"})
    assert (back.data, back.id, back.limiters) == (data, b"id", frozenset(send.identifiers.limiters))
