"""Memory of history does not pass history.max_bytes, whatever the messages are made of: a real process is filled."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from rplx.system.limits import resident_mb
from tests.live import LiveServer

LIMIT = 24  # MB of history
FACTOR = 1.25  # how far resident memory may pass it
SLACK = 6  # MB for what sending itself needs
BATCH = 200  # sends ahead of their answers

Marker = Callable[[int], str]


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        (lambda n: f"c{n}", b"1"),
        (lambda n: f"c{n}".ljust(128, "x"), b"1"),
        (lambda n: f"c{n // 30}", b"1"),
        (lambda n: f"c{n // 30}", b"1" * 100_000),
        (lambda n: ",".join([f"c{n}", *(f"*limiter{n}x{k}" for k in range(1000))]), b"1"),
    ],
    ids=["many channels", "long names", "many messages", "long messages", "many limiters"],
)
def test_the_process_grows_by_what_history_may_take_and_goes_on(marker: Marker, text: bytes) -> None:
    with LiveServer("--set", f"history.max_bytes={LIMIT << 20}") as server:
        fill(server, lambda n: "warm", text, count=200)
        before = resident_mb(server.process.pid)
        assert fill(server, marker, text) == b"more than %d bytes of history" % (LIMIT << 20)
        grown = resident_mb(server.process.pid) - before
        assert LIMIT / 2 < grown < LIMIT * FACTOR + SLACK
        assert fill(server, lambda n: "0:warm", b"1" * 199_000).startswith(b"more than")  # and the server goes on


def fill(server: LiveServer, marker: Marker, text: bytes, count: int = 1_000_000) -> bytes:
    """Sends until it is refused, `count` times at most; gives the refusal's text."""
    with socket.create_connection(server.in_, timeout=120) as sock, sock.makefile("rb") as answers:
        for start in range(0, count, BATCH):
            sock.sendall(b"".join(request(marker(n), text) for n in range(start, start + BATCH)))
            for _ in range(BATCH):
                status, answer = read_answer(answers)
                if status != b"200":
                    assert status == b"507"
                    return answer.strip()
    return b""


def request(ids: str, text: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: h\r\nX-Realplexor: identifier={ids}\r\nContent-Length: {len(text)}\r\n\r\n"
    return head.encode() + text


def read_answer(answers: socket.SocketIO) -> tuple[bytes, bytes]:
    status = answers.readline().split()[1]
    length = 0
    while line := answers.readline().strip():
        if line.startswith(b"Content-Length: "):
            length = int(line[16:])
    return status, answers.read(length) or b""
