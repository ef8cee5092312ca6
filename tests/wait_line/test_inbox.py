"""When a message of a WebSocket has to be whole."""

from __future__ import annotations

from rplx.protocol.websocket import FrameReader, Opcode
from rplx.wait_line.connection import Inbox
from tests.protocol.frames import frame, text

WHOLE = text('{"stop":["a"]}')
PING = frame(Opcode.PING, b"x")


def deadlines(*pieces: bytes) -> list[float]:
    """The deadline behind each piece; they come at 1, 2, 3 and so on, and a message has 10 seconds."""
    inbox = Inbox(FrameReader())
    found = []
    for now, piece in enumerate(pieces, 1):
        inbox.received += inbox.reader.feed(piece)
        inbox.watch(now, 10)
        found.append(inbox.deadline)
    return found


def test_each_message_has_its_own_time() -> None:
    """Also one that begins in the very piece that ends the last."""
    assert deadlines(WHOLE[:3], WHOLE[3:8], WHOLE[8:] + WHOLE[:3], WHOLE[3:] + WHOLE[:3], WHOLE[3:]) == [
        11,
        11,
        13,
        14,
        0,
    ]
    assert deadlines(PING[:3], PING[3:] + PING[:3], PING[3:]) == [11, 12, 0]


def test_what_comes_between_fragments_makes_it_no_longer() -> None:
    begin, more = frame(Opcode.TEXT, b"{", fin=False), frame(Opcode.CONTINUATION, b" ", fin=False)
    assert deadlines(begin, PING, more + PING[:3], PING[3:], frame(Opcode.CONTINUATION, b"}")) == [11, 11, 11, 11, 0]
