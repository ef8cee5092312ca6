"""Streams over WebSocket: the frames of messages, and of what is said between them."""

from __future__ import annotations

import json
import zlib

from rplx.errors import Ending, Unavailable
from rplx.messages import Message
from rplx.protocol.deflate import DEFLATE_MIN
from rplx.protocol.websocket_stream import WebSocketStream, websocket_stream

PLAIN = websocket_stream(deflate=False, charset=None)
DEFLATING = websocket_stream(deflate=True, charset=None)
MESSAGE = Message(b'{"text":"hi"}', {"a": "5", "b": "6.5"})


def payload(frame: bytes) -> bytes:
    """The payload of an only frame of text, which is inflated if it says so."""
    assert frame[0] in (0x81, 0xC1)
    size, start = frame[1], 2
    if size == 126:
        size, start = int.from_bytes(frame[2:4], "big"), 4
    assert len(frame) == start + size
    data = frame[start:]
    return data if frame[0] == 0x81 else zlib.decompressobj(-15).decompress(data + b"\0\0\xff\xff")


def test_a_message_is_a_frame_by_the_ids_by_which_it_is_due() -> None:
    write = PLAIN.writer(MESSAGE)
    assert payload(write(("a", "b"))) == b'{"ids":{"a":"5","b":"6.5"},"data":{"text":"hi"}}'
    frame = write(("b",))
    assert payload(frame) == b'{"ids":{"b":"6.5"},"data":{"text":"hi"}}'
    assert PLAIN.event(frame, "7", {"b": "6"}) is frame


def test_a_message_keeps_its_lines() -> None:
    frame = PLAIN.writer(Message(b'{"a":\n 1}', {"a": "5"}))(("a",))
    assert payload(frame) == b'{"ids":{"a":"5"},"data":{"a":\n 1}}'


def test_a_message_that_is_no_json_becomes_a_string() -> None:
    encoding = WebSocketStream(deflate=False, charset="windows-1251")
    frame = encoding.writer(Message("да".encode("windows-1251"), {"a": "5"}))(("a",))
    assert json.loads(payload(frame)) == {"ids": {"a": "5"}, "data": "да"}


def test_short_frames_are_not_compressed_and_long_ones_are() -> None:
    around = len(payload(PLAIN.writer(Message(b'""', {"a": "5"}))(("a",))))
    for size, first in ((DEFLATE_MIN - around - 1, 0x81), (DEFLATE_MIN - around, 0xC1), (5000, 0xC1)):
        message = Message(b'"%b"' % (b"x" * size), {"a": "5"})
        frame = DEFLATING.writer(message)(("a",))
        assert frame[0] == first
        assert payload(frame) == payload(PLAIN.writer(message)(("a",)))


def test_what_is_said_between_messages() -> None:
    assert payload(PLAIN.opened("1", {}, "2.5", ["a"])) == b'{"open":"2.5","gaps":["a"]}'
    assert payload(PLAIN.gap(["a", "b"])) == b'{"gap":["a","b"]}'
    assert payload(PLAIN.heartbeat("7.5", {"a": "6"})) == b'{"at":"7.5:*,6:a"}'
    many = [f"channel{number}" for number in range(99)]
    assert DEFLATING.gap(many)[0] == 0xC1
    assert payload(DEFLATING.gap(many)) == payload(PLAIN.gap(many))


def test_the_goodbye_of_a_server_that_ends() -> None:
    for error, code, said in (
        (Ending(), 4200, {"retry": 2, "code": "ending"}),
        (Unavailable("no Redis"), 4103, {"retry": 2, "code": "unavailable", "text": "no Redis"}),
    ):
        frame = PLAIN.bye(error, 1500)
        assert frame[0] == 0x88
        assert int.from_bytes(frame[2:4], "big") == code
        assert json.loads(frame[4:]) == said
