"""Requests by hand of old listeners: without Host, without a length, without an end (protocol page, part 7.18)."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import CLOSED, Wire, blocks, own

ENDS_AT_ONCE = [
    b"GET /?identifier=1:~a HTTP/1.1\r\n\r\n",
    b"POST /?identifier=1:~a HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: h\r\n\r\nidentifier=1:~a\n",
    b"POST / HTTP/1.0\r\n\r\nidentifier=1:~a&x=y\n",
    b"POST / HTTP/1.1\r\n\r\nidentifier=1:~a\r\n",
    b"POST /?identifier=1:~a HTTP/1.0\r\nContent-Type: text/plain\r\n\r\nanything",
]
HALF_CLOSES = [
    b"GET /?identifier=1:~a HTTP/1.1\r\nHost: h\r\n",
    b"GET /?identifier=1:~a HTTP/1.1\r\nHost: h\r\nUser-Agent: x",
    b"GET /?identifier=1:~a HTTP/1.0\r\n",
    b"GET /?identifier=1:~a HTTP/1.0",
    b"POST / HTTP/1.1\r\nHost: h\r\n\r\nidentifier=1:~a",
    b"POST / HTTP/1.0\r\n\r\nidentifier=1:~a",
]


def due(answer: bytes, prefix: str) -> None:
    """What a listener of part 2 gets: the head at once, what is due, the end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n"), answer
    assert body == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("data", ENDS_AT_ONCE)
def test_answered_without_an_end(wire: Wire, prefix: str, data: bytes, cut: bool) -> None:
    wire.send(f"5:{prefix}a", "1")
    data = own(data, prefix)
    listener = wire.on_wait()
    for place in range(0, len(data), 20 if cut else len(data)):
        listener.send(data[place : place + (20 if cut else len(data))])
    due(listener.rest(), prefix)


@pytest.mark.parametrize("data", [*HALF_CLOSES, *ENDS_AT_ONCE])
def test_answered_at_the_end(wire: Wire, prefix: str, data: bytes) -> None:
    wire.send(f"5:{prefix}a", "1")
    due(re.sub(rb"\AHTTP/1.1 200 OK\r\n(?!Conn)", b"", wire.on_wait(own(data, prefix), end=True).rest()), prefix)


def test_it_waits_like_any_other(wire: Wire, prefix: str) -> None:
    listener = wire.on_wait(f"POST / HTTP/1.1\r\n\r\nidentifier=1:{prefix}a\n".encode())
    assert listener.until(b"\r\n\r\n \r\n").startswith(CLOSED[:40])
    assert listener.waits()
    wire.send(f"5:{prefix}a", "1")
    assert listener.rest() == blocks(({f"{prefix}a": "5"}, "1"))


@pytest.mark.parametrize("line", ["Host: h ", "Host: h\t", "Connection: keep-alive \r\nHost: h"])
def test_blanks_behind_a_value(wire: Wire, prefix: str, line: str) -> None:
    wire.send(f"5:{prefix}a", "1")
    listener = wire.on_wait(f"GET /?identifier=1:{prefix}a HTTP/1.1\r\n{line}\r\n\r\n".encode())
    assert listener.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))


def test_blanks_behind_an_expectation(wire: Wire) -> None:
    for listener in (wire.on_wait(), wire.on_in()):
        listener.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue \r\n\r\n")
        assert listener.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        listener.close()
