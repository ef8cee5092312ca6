"""Malformed requests and those that smuggle others (tests/lines/hostile.py): the answer, and nothing behind it."""

from __future__ import annotations

import re

import pytest

from tests.lines.hostile import CASES, NEXT, SERVED, SMUGGLED, Case, filled, new_prefix
from tests.lines.wire import Conversation, Wire, http

by_name = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r]*\r\n")
MANY = 40  # pieces that a request is cut into


@pytest.fixture
def prefix() -> str:
    return new_prefix()


def statuses(data: bytes) -> tuple[int, ...]:
    return tuple(int(status) for status in _STATUS.findall(data))


def cut(conversation: Conversation, data: bytes) -> None:
    """Sends `data` in pieces; the other side may end the connection meanwhile."""
    size = max(1, len(data) // MANY)
    try:
        for begin in range(0, len(data), size):
            conversation.send(data[begin : begin + size])
        conversation.end()
    except OSError:
        pass


def whole(conversation: Conversation, data: bytes) -> None:
    try:
        conversation.send(data)
        conversation.end()
    except OSError:
        pass


@by_name
@pytest.mark.parametrize("how", [whole, cut])
def test_on_wait(wire: Wire, prefix: str, case: Case, how) -> None:
    for id, text in (("a", "1"), ("s", '"smuggled"'), ("n", '"next"')):
        wire.send(f"5:{prefix}{id}", text)
    listener = wire.on_wait()
    how(listener, filled(case.request + NEXT, prefix))
    answer = listener.rest()
    assert statuses(answer) == case.wait, answer
    assert b"smuggled" not in answer
    assert (b'"next"' in answer) is (len(case.wait) == 2)


@by_name
@pytest.mark.parametrize("how", [whole, cut])
def test_on_in(wire: Wire, prefix: str, case: Case, how) -> None:
    backend = wire.on_in()
    how(backend, filled(case.request + NEXT, prefix))
    answer = backend.rest()
    expected = case.wait if case.in_ is None else case.in_
    assert statuses(answer) == expected, answer
    assert wire.poll(f"0:{prefix}s") == b""
    assert (wire.poll(f"0:{prefix}n") != b"") is (len(expected) == 2)
    assert (wire.poll(f"0:{prefix}a") != b"") is (expected[:1] == (200,))


class TestContinue:
    """A client that asks before it sends its body (RFC 9110, 10.1.1)."""

    def head(self, *lines: str, size: int) -> bytes:
        return http("\n".join(["POST / HTTP/1.1", "Host: h", f"Content-Length: {size}", *lines]), length=False)

    def test_it_is_told_to_go_on(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        body = f"identifier=1:{prefix}a\n".encode()
        listener = wire.on_wait(self.head("Expect: 100-continue", size=len(body)))
        assert listener.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert listener.waits()
        listener.send(body)
        assert b'"data": 1\n' in listener.answer()[1]

    def test_behind_another_request(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        body = f"identifier=1:{prefix}a\n".encode()
        first = http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h")
        listener = wire.on_wait(first + self.head("Expect: 100-continue", size=len(body)))
        assert b'"data": 1\n' in listener.answer()[1]
        assert listener.exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        listener.send(body)
        assert b'"data": 1\n' in listener.answer()[1]

    @pytest.mark.parametrize("line", ["wait", "in"])
    def test_it_is_not_told_so_where_there_is_nothing_to_send(self, wire: Wire, prefix: str, line: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        request = self.head("Expect: 100-continue", size=0)
        request = request.replace(b"/ ", f"/?identifier=1:{prefix}a ".encode(), 1)
        listener = wire.on_wait(request) if line == "wait" else wire.on_in(request)
        assert b" 100 " not in listener.answer()[0]
        assert listener.waits()

    def test_it_is_refused_at_once_if_the_body_is_too_long(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(self.head("Expect: 100-continue", size=10_000_000))
        assert listener.rest().startswith(b"HTTP/1.1 413 ")


def test_the_table_says_what_it_is_for() -> None:
    assert len(CASES) > 60
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(SMUGGLED in case.request for case in CASES) > 30
    assert any(case.wait == SERVED for case in CASES)
