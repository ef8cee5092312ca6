"""WebSocket frames: in whatever pieces they come the same is read, within bounds, and each text is a command
or refused.

The first byte of an input says whether messages may be compressed.
"""

from __future__ import annotations

from collections.abc import Iterator

from rplx.errors import Refusal
from rplx.protocol.websocket import CONTROL_MAX, MESSAGE_MAX, Close, Ping, Received, Text
from rplx.protocol.websocket_commands import CommandParser
from tests.fuzz.inputs import plain, repeated
from tests.protocol.feeding import split_at
from tests.protocol.frames import BYTEWISE_MAX, Outcome, frame, outcome, text
from tests.protocol.test_websocket import DEFLATED, RIGHT, WRONG

SIZE = 16384  # what the WAIT line reads at once
SLOWEST = 0.030  # an input is read four times
COMMAND = text('{"listen":{"news":null,"chat_7":"1795494981.1"}}')
PARSER = CommandParser()


def seeds() -> Iterator[bytes]:
    for case in (*RIGHT, *WRONG):
        yield plain(b"\0" + case[1][:600])
    for case in DEFLATED:
        yield plain(b"\1" + case[1][:600])
    yield plain(b"\0" + COMMAND)
    for data in (COMMAND, frame(1, fin=False), frame(9), b"\x81"):
        yield repeated(data)


def check(data: bytes) -> None:
    deflate = data[:1] == b"\1"
    data = data[1:]
    whole = outcome([data], deflate=deflate)
    _judge(whole)
    short = data[:BYTEWISE_MAX]
    assert outcome(split_at(short, range(len(short))), deflate=deflate) == outcome([short], deflate=deflate)
    assert outcome([data[: len(data) // 2], data[len(data) // 2 :]], deflate=deflate) == whole
    if not whole[2]:
        assert outcome([data + b"\x81"], deflate=deflate) == whole


def _judge(found: Outcome) -> None:
    received, code, goes_on = found
    assert code in (None, 1002, 1003, 1007, 1009)
    assert goes_on is (code is None and not any(isinstance(one, Close) for one in received))
    for one in received:
        _judge_one(one)


def _judge_one(one: Received) -> None:
    if isinstance(one, Ping):
        assert len(one.data) <= CONTROL_MAX
    elif isinstance(one, Text):
        assert len(one.text.encode()) <= MESSAGE_MAX
        assert _refusal_of(one.text).isprintable()


def _refusal_of(text: str) -> str:
    try:
        PARSER.parse(text)
    except Refusal as error:
        return error.text
    return ""
