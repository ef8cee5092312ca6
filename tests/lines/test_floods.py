"""Who sends without end: bounded, in turns with all others, and for `wait.head_timeout` at most (SECURITY.md)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lines.wire import PATIENCE, Conversation, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings("wait.head_timeout=2", "log.connections=true")
AT_ONCE = 8
FLOOD = 1 << 30  # bytes that one sends at most


class Flood(threading.Thread):
    """Sends the same again and again until the server ends it; `ended` says that it did."""

    def __init__(self, wire: Wire, begin: bytes, piece: bytes) -> None:
        super().__init__(daemon=True)
        self.conversation: Conversation = wire.on_wait(begin)
        self.piece = piece * (65536 // len(piece))
        self.ended = False
        self.stopped = False

    def run(self) -> None:
        sent = 0
        while sent < FLOOD and not self.stopped:
            try:
                self.conversation.send(self.piece)
            except TimeoutError:
                return
            except OSError:
                self.ended = True
                return
            sent += len(self.piece)


@contextmanager
def floods(wire: Wire, begin: bytes, piece: bytes) -> Iterator[list[Flood]]:
    found = [Flood(wire, begin, piece) for _ in range(AT_ONCE)]
    for flood in found:
        flood.start()
    try:
        yield found
    finally:
        for flood in found:
            flood.stopped = True
            flood.join(PATIENCE)
            flood.conversation.close()


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"POST x\n", b"%2c"),
        (b"POST x\nidentifier=", b"%2c"),
        (b"POST x\nidentifier=me:", b"x"),
        (b"identifier=", b"a,"),
        (b"x", b"Referer: identifier=a\n"),
    ],
)
def test_plain_text_without_end(wire: Wire, prefix: str, begin: bytes, piece: bytes) -> None:
    wire.send(f"5:{prefix}a", "1")
    with floods(wire, begin, piece) as found:
        for _ in range(5):
            assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "1"))
        for flood in found:
            flood.join(PATIENCE)
        assert all(flood.ended for flood in found)
    wire.server.wait_for(r"overflow \(received \d+ bytes total\)")


def test_blank_lines_without_end(wire: Wire, prefix: str) -> None:
    """They are no request, so the time for one to come passes."""
    wire.send(f"5:{prefix}a", "1")
    with floods(wire, b"\r\n", b"\r\n") as found:
        for _ in range(5):
            assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "1"))
        eventually(lambda: all(flood.ended for flood in found))


def test_the_next_request_has_its_own_time(wire: Wire, prefix: str) -> None:
    """Half a request that came ahead of an answer has `head_timeout`, not the time that a kept connection may idle."""
    client = wire.on_wait(http(f"GET /?identifier={prefix}a&position HTTP/1.1\nHost: h") + b"GET /?ident")
    assert client.answer()[0].startswith(b"HTTP/1.1 200 OK\r\n")
    assert client.rest().startswith(b"HTTP/1.1 408 Request Timeout\r\n")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_of_a_body(server: LiveServer, address: tuple[str, int], target: bytes) -> float:
    """CPU seconds that 300 bytes of a body cost, one by one, behind a head with this target."""
    client = Conversation(address, b"POST /?" + target + b" HTTP/1.1\r\nHost: h\r\n\r\n")
    client.waits(0.3)
    before = cpu_seconds(server.process.pid)
    for _ in range(300):
        client.send(b"x")
        client.waits(0.002)
    client.close()
    return cpu_seconds(server.process.pid) - before


@pytest.mark.parametrize("line", ["wait", "in_"])
def test_a_head_is_looked_at_once_however_its_body_comes_in(line: str) -> None:
    """A head that is long to read, and a body byte by byte: it costs about what a short head does."""
    with LiveServer("--set", "wait.head_timeout=60") as server:
        address = getattr(server, line)
        short = cpu_of_a_body(server, address, b"x")
        assert cpu_of_a_body(server, address, b"%2C" * 5000) < 4 * short + 0.1
