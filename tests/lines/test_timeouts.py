"""Each named timeout, set small (protocol page, parts 2.4 and 3; the option tables)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lines.wire import CLOSED, Conversation, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import at_best, eventually, takes_less

OPTIONS = settings(
    "wait.timeout=0.4",
    "wait.head_timeout=0.4",
    "wait.keepalive_timeout=1",
    "in.timeout=1",
    "history.expire_after=1",
    "log.connections=true",
)
PROGRAM = ("-m", "tests.swift")
SWEEP = 1.0  # seconds between two looks at the deadlines, of a server that is not swift
LATE = 2.5  # seconds after which a timeout must have counted, in the best of several tries


ESTABLISHED = "01"  # in /proc/net/tcp


def seconds(begin: float) -> float:
    return time.monotonic() - begin


def is_left(conversation: Conversation) -> bool:
    """Whether the server has closed it, whatever of its answer the kernel still holds for the client."""
    ours, theirs = (
        f":{address[1]:04X}" for address in (conversation.sock.getsockname(), conversation.sock.getpeername())
    )
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return not any(row[1].endswith(theirs) and row[2].endswith(ours) and row[3] == ESTABLISHED for row in rows)


class TestWaitTimeout:
    def test_the_body_is_that_of_the_start_alone(self, wire: Wire, prefix: str) -> None:
        def poll() -> None:
            begin = time.monotonic()
            listener = wire.on_wait(f"identifier={prefix}a\n".encode())
            assert listener.rest() == CLOSED
            assert seconds(begin) >= 0.4
            wire.server.wait_for(rf"WAIT: {listener.peer}: DEBUG: \[[\d.]+:{prefix}a\] timeout$")

        takes_less(LATE, poll)

    def test_no_poll_can_ask_for_more(self, wire: Wire, prefix: str) -> None:
        assert wire.on_wait(http(f"GET /?identifier={prefix}a&timeout=900 HTTP/1.1\nHost: h")).answer()[1] == b" \r\n"

    def test_http(self, wire: Wire, prefix: str) -> None:
        kept = wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.1\nHost: h"))
        closed = wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.0"))
        assert closed.rest().endswith(b"\r\n\r\n \r\n")
        head, body = kept.answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b" \r\n"
        wire.send(f"5:{prefix}a", "1")
        kept.send(http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h"))
        assert kept.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))

    def test_a_timed_out_listener_is_counted_no_more(self, wire: Wire, prefix: str) -> None:
        listener = wire.listen(f"{prefix}a")
        listener.rest()
        assert wire.online(prefix) == f"{prefix}a 0\n"


class TestHeadTimeout:
    @pytest.mark.parametrize(
        "data", [b"G", b"GET / HTTP/1.1\r\nHost:", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nident"]
    )
    def test_http(self, wire: Wire, data: bytes) -> None:
        def ask() -> None:
            begin = time.monotonic()
            head, _, text = wire.on_wait(data).rest().partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert text == b"no whole request within 0.4 s\n"
            assert seconds(begin) >= 0.4

        takes_less(LATE, ask)

    def test_plain_text_is_closed(self, wire: Wire) -> None:
        assert wire.on_wait(b"identifier=ab").rest() == b""

    def test_not_restarted_by_each_byte(self, wire: Wire) -> None:
        def ask() -> None:
            slow = wire.on_wait(b"GET / HTTP/1.1\r\nX: ")
            for _ in range(100):
                if not slow.waits(0.1):
                    break
                slow.send(b"x")
            assert slow.rest().startswith(b"HTTP/1.1 408 ")

        takes_less(LATE, ask)


class TestKeepaliveTimeout:
    def test_an_idle_kept_connection_ends(self, wire: Wire, prefix: str) -> None:
        def idle() -> None:
            begin = time.monotonic()
            listener = wire.on_wait(http(f"GET /?identifier={prefix}a&position HTTP/1.1\nHost: h"))
            listener.answer()
            assert listener.rest() == b""
            assert seconds(begin) > 0.9

        takes_less(LATE, idle)


class TestInTimeout:
    @pytest.mark.parametrize(
        "data", [b"O", b"identifier=a\n\n{}", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n{}"]
    )
    def test_a_silent_connection_is_closed(self, wire: Wire, data: bytes) -> None:
        def ask() -> None:
            begin = time.monotonic()
            sender = wire.on_in(data)
            assert sender.rest() == b""
            assert seconds(begin) > 0.9
            wire.server.wait_for(rf"IN: {sender.peer}: ERROR: timeout")

        takes_less(1.7, ask)

    def test_between_two_requests_it_is_no_error(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in(http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", b"1"))
        sender.answer()
        assert sender.rest() == b""
        wire.server.wait_for(rf"IN: {sender.peer}: DEBUG: timeout")
        assert not [line for line in wire.server.log if f"IN: {sender.peer}: ERROR" in line]

    def test_each_byte_renews_it(self, wire: Wire, prefix: str) -> None:
        def ask() -> None:
            sender = wire.on_in(f"identifier=5:{prefix}a\n".encode())
            for byte in b"\n[1]":
                time.sleep(0.4)
                sender.send(bytes([byte]))
            sender.end()
            sender.rest()
            assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "[1]"))

        at_best(ask)


class TestExpireAfter:
    def test_a_channel_into_which_nothing_is_sent_is_emptied(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        wire.server.wait_for(rf"\[{prefix}a\] cleaned, because no data is pushed within last 1 seconds$")
        assert wire.poll(f"1:{prefix}a") == b""
        assert wire.poll(f"1:{prefix}a") == b""


class TestWriteTimeout:
    MESSAGE = b'"' + b"x" * 900_000 + b'"'

    @pytest.mark.parametrize("poll", ["GET /?identifier=1:a HTTP/1.1\nHost: h", "GET /?identifier=1:a HTTP/1.0"])
    @pytest.mark.parametrize("waits", [True, False], ids=["it waited", "it was due"])
    def test_who_reads_slowly_gets_all(self, poll: str, waits: bool) -> None:
        """For longer than write_timeout in all, but never for so long without taking anything."""
        at_best(lambda: self.read_slowly(poll, waits))

    def read_slowly(self, poll: str, waits: bool) -> None:
        with LiveServer(*settings("wait.write_timeout=1", "in.maxlen=2000000")) as server:
            wire = Wire(server)
            if not waits:
                wire.send("5:a", self.MESSAGE.decode())
            listener = wire.on_wait(receive_buffer=8192)
            listener.send(http(poll))
            if waits:
                eventually(lambda: wire.online("a"), "a 1\n")
                wire.send("5:a", self.MESSAGE.decode())
            begin, came = time.monotonic(), b""
            while not came.endswith(b'x"\n  }\n]'):
                part = listener.sock.recv(65536)
                assert part, f"cut after {len(came)} bytes"
                came += part
                time.sleep(4 * len(part) / len(self.MESSAGE))  # four seconds for all of it
            assert self.MESSAGE in came
            assert seconds(begin) > 1 + SWEEP
            assert not [line for line in server.log if "dropped" in line]

    def test_who_reads_nothing_is_dropped(self) -> None:
        """A reader that takes nothing, with more to send than the kernel holds."""
        with LiveServer(
            "--set", "wait.write_timeout=1", "--set", "in.maxlen=20000000", "--set", "wait.out_max=30000000"
        ) as server:
            wire = Wire(server)
            stuck = wire.listen("1:a")
            kept = wire.on_wait(http("GET /?identifier=1:a HTTP/1.1\nHost: h"))
            eventually(lambda: wire.online("a"), "a 2\n")
            wire.send("5:a", '"' + "x" * 15_000_000 + '"')
            eventually(lambda: is_left(stuck) and is_left(kept))
            for listener in (stuck, kept):
                with pytest.raises((ConnectionError, AssertionError)):
                    listener.until(b'x"\n  }\n]')
            wire.server.wait_for(
                r"WAIT: 127\.0\.0\.1: dropped, as it read nothing of its answer for wait\.write_timeout"
            )
            assert sum("dropped" in line for line in server.log) == 1
