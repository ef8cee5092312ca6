"""Who sends without end: bounded, in turns with all others, and for `wait.head_timeout` at most (SECURITY.md)."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lines.wire import PATIENCE, Conversation, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings("wait.head_timeout=5", "log.connections=true")
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


CROWD = 600  # connections that a flood opens
FEW = 100  # of their polls that may be carried out before an honest one which came behind them all
REGISTERED = re.compile(r"\[\S+,\(and 479 more\)\] registered")


def long_poll(number: int) -> bytes:
    list_ = ",".join(f"{1000 + item}.55:f{number}_{item}" for item in range(480))
    return f"GET /?identifier={list_} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def before(lines: list[str], name: str) -> int:
    """How many of the flood's polls were carried out before that of this channel."""
    end = next(number for number, line in enumerate(lines) if f":{name}] registered" in line)
    return sum(bool(REGISTERED.search(line)) for line in lines[:end])


@contextmanager
def polled_at_once(server: LiveServer, *, hang_up: bool) -> Iterator[list[Conversation]]:
    """All of a flood has come before the server sees any of it."""
    server.process.send_signal(signal.SIGSTOP)
    try:
        flood = [Conversation(server.wait, long_poll(number % 8)) for number in range(CROWD)]
        if hang_up:
            for client in flood:
                client.close()
        yield flood
    finally:
        server.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("hang_up", [True, False])
def test_who_asks_for_little_does_not_wait_for_a_flood_of_long_polls(*, hang_up: bool) -> None:
    with LiveServer(*settings("log.connections=true")) as server:
        with polled_at_once(server, hang_up=hang_up) as flood:
            honest = Conversation(server.wait, http("GET /?identifier=honest&position HTTP/1.1\nHost: h"))
            half_closed = Conversation(server.wait, b"identifier=half", end=True)
            sender = Conversation(server.in_, b"identifier=5:a\n\n1", end=True)
        assert honest.answer()[0].startswith(b"HTTP/1.1 200 ")
        assert half_closed.rest().startswith(b"HTTP/1.1 200 ")
        assert sender.rest() == b""
        for name in ("honest", "half"):
            server.wait_for(rf":{name}\] registered")
            assert before(server.log, name) < FEW
        if hang_up:
            server.wait_for("ERROR: busy: ")
        else:  # those that stay are all carried out
            eventually(
                lambda: sum(bool(REGISTERED.search(line)) for line in list(server.log)) == CROWD, timeout=5 * PATIENCE
            )
        for client in flood:
            client.close()


def test_half_closed_long_polls_are_answered_or_refused() -> None:
    """They are never left without a word, however many come at once."""
    with LiveServer() as server:
        with polled_at_once(server, hang_up=False) as flood:
            for client in flood:
                client.end()
        heads = [client.rest().partition(b"\r\n")[0] for client in flood]
        assert set(heads) <= {b"HTTP/1.1 200 OK", b"HTTP/1.1 503 Service Unavailable"}
        assert heads.count(b"HTTP/1.1 200 OK") > 0
