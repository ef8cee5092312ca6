"""What polls have that go through any path (protocol page, part 9), in our own server."""

from __future__ import annotations

import pytest

from tests.lines.wire import CLOSED, Wire, blocks, http, settings

OPTIONS = settings("wait.timeout=600", "log.connections=true")
PROGRAM = ("-m", "tests.swift")


def target(text: str, version: str = "1.1") -> bytes:
    return http(f"GET {text} HTTP/{version}\nHost: h")


class TestTimeout:
    """Part 9.1: `timeout=SECONDS` in a poll's target."""

    @pytest.mark.parametrize(
        "asked",
        ["/?identifier=~a&timeout=1", "/?timeout=1.5&identifier=~a", "/?7?timeout=x&timeout=1&identifier=~a&n=2"],
    )
    def test_the_poll_ends_then_and_its_connection_goes_on(self, wire: Wire, prefix: str, asked: str) -> None:
        listener = wire.on_wait(target(asked.replace("~", prefix)))
        assert listener.waits(0.5)
        head, body = listener.answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b" \r\n"
        wire.send(f"5:{prefix}a", "1")
        listener.send(target(f"/?identifier=1:{prefix}a&timeout=1"))
        assert listener.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))
        wire.server.wait_for(rf"WAIT: {listener.peer}: DEBUG: \[[\d.]+:{prefix}a\] timeout$")

    def test_one_that_has_its_head_already_and_a_post(self, wire: Wire, prefix: str) -> None:
        closed = wire.on_wait(target(f"/?identifier={prefix}a&timeout=1", "1.0"))
        posted = wire.on_wait(http("POST /?timeout=1 HTTP/1.1\nHost: h", f"identifier={prefix}a\n".encode()))
        assert closed.rest().endswith(b"\r\n\r\n \r\n")
        assert posted.answer()[1] == b" \r\n"

    def test_what_is_no_number_from_1_on_is_ignored(self, wire: Wire, prefix: str) -> None:
        values = ["", "x", "0", "0.5", "-1", "1e0", "1s", "+1", "1,2", "01x", "%31", "1" * 20]
        listeners = {value: wire.on_wait(target(f"/?identifier={prefix}a&timeout={value}")) for value in values}
        assert wire.on_wait(target(f"/?identifier={prefix}b&timeout=1")).answer()[1] == b" \r\n"
        assert {value: listener.waits(0.03) for value, listener in listeners.items()} == dict.fromkeys(values, True)

    def test_another_name_and_another_place_are_no_timeout(self, wire: Wire, prefix: str) -> None:
        listeners = [
            wire.on_wait(target(f"/?identifier={prefix}a&mytimeout=1")),
            wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.1\nHost: h\nReferer: http://h/?timeout=1")),
            wire.on_wait(http("POST / HTTP/1.1\nHost: h", f"identifier={prefix}a&timeout=1\n".encode())),
            wire.on_wait(f"identifier={prefix}a&timeout=1\n".encode()),
        ]
        assert listeners[3].exactly(len(CLOSED)) == CLOSED
        assert wire.on_wait(target(f"/?identifier={prefix}b&timeout=1")).answer()[1] == b" \r\n"
        assert all(listener.waits(0.3) for listener in listeners)
