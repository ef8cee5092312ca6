"""A connection has its turn, then others have theirs."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from tests.lines.wire import PATIENCE, Conversation, Wire, http
from tests.waiting import eventually

POLLS = 5


class Greedy:
    """A back-end that sends without a pause, and reads all answers, until it is told to end."""

    def __init__(self, wire: Wire, request: bytes) -> None:
        self._conversation = Conversation(wire.in_)
        self._conversation.sock.settimeout(PATIENCE)
        self._data = request * (1 + (1 << 20) // len(request))
        self._ended = threading.Event()
        self.received = 0
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while not self._ended.is_set():
                self._conversation.send(self._data)

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while part := self._conversation.sock.recv(1 << 20):
                self.received += len(part)

    @property
    def sending(self) -> bool:
        return self._threads[0].is_alive()

    def end(self) -> None:
        self._ended.set()
        self._conversation.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._conversation.reset()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    "request_",
    [
        http("POST /?identifier=a HTTP/1.1\nHost: h", b"1"),
        http("POST / HTTP/1.1\nHost: h", b"ONLINE nobody_"),
        http("POST /?identifier=a HTTP/1.1\nHost: h", b"no JSON"),
        http("POST / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked", length=False) + b"6\r\nONLINE\r\n0\r\n\r\n",
    ],
    ids=["sends", "commands", "refusals", "chunked"],
)
def test_a_back_end_that_never_pauses(wire: Wire, count: int, request_: bytes) -> None:
    """Polls and other back-ends' sends are answered while it goes on, not when it has ended."""
    greedy = [Greedy(wire, request_) for _ in range(count)]
    try:
        for number in range(POLLS):
            poll = wire.on_wait(http("GET /?identifier=b&position HTTP/1.1\nHost: h"))
            assert poll.answer()[1].startswith(b" \r\n")
            poll.close()
            send = wire.on_in(http(f"POST /?identifier={number + 1}:c HTTP/1.1\nHost: h", b"1"))
            assert send.answer()[1] == f"c {number + 1}\n".encode()
            send.close()
        assert all(one.sending for one in greedy)
        eventually(lambda: all(one.received for one in greedy), True)
    finally:
        for one in greedy:
            one.end()
