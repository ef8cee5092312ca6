"""What clients do on WAIT that an operator wants to know of: once a minute each, with a count (part 4)."""

from __future__ import annotations

import pytest

from tests.lines.wire import Wire, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings(
    "wait.head_timeout=1", "wait.keepalive_timeout=1", "wait.allowed_origins=https://ours.example", "wait.maxlen=100"
)
FOREIGN = "GET /?identifier=a HTTP/1.1\nHost: h\nSec-Fetch-Mode: no-cors\nSec-Fetch-Site: cross-site"


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (http(FOREIGN), "refused, a page of another site may poll by CORS alone"),
        (b"GET / HTTP/1.1\r\nHost:", "refused, no whole request within 1 s"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 200, "refused, overflow (received "),
    ],
)
def test_refusals_are_told_once(wire: Wire, request_: bytes, line: str) -> None:
    for _ in range(3):
        assert wire.on_wait(request_).until(b"\r\n").startswith(b"HTTP/1.1 4")
    eventually(lambda: sum(f"WAIT: 127.0.0.1: {line}" in one for one in wire.server.log), 1)


def test_ordinary_mistakes_are_not(wire: Wire) -> None:
    before = len(wire.server.log)
    for request_ in (http("GET / HTTP/1.1\nHost: h"), http("GET /favicon.ico HTTP/1.1\nHost: h"), b"hello\n"):
        conversation = wire.on_wait(request_, end=True)
        conversation.rest()
    assert wire.server.log[before:] == []


def test_the_end_of_an_idle_connection_is_not(wire: Wire) -> None:
    before = len(wire.server.log)
    conversation = wire.on_wait(http("GET /?identifier=a&position HTTP/1.1\nHost: h"))
    conversation.answer()
    assert conversation.rest() == b""
    assert wire.server.log[before:] == []


def poll(origin: str, *lines: str, host: str = "h") -> bytes:
    return http("\n".join([f"GET /?identifier=a&position HTTP/1.1\nHost: {host}\nOrigin: {origin}", *lines]))


class TestOrigins:
    def named(self, wire: Wire, origin: str) -> int:
        return sum(f"pages of {origin} can read nothing here" in line for line in wire.server.log)

    def test_each_is_named_once_with_the_option(self, wire: Wire) -> None:
        for _ in range(3):
            for origin in ("https://other.example", "https://third.example:8443"):
                wire.on_wait(poll(origin)).answer()
        wire.server.wait_for(
            r"WAIT: pages of https://other\.example can read nothing here, as it is not among wait\.allowed_origins"
        )
        eventually(lambda: self.named(wire, "https://third.example:8443"), 1)
        assert self.named(wire, "https://other.example") == 1
        assert not [line for line in wire.server.log if "origins that are not among" in line]

    def test_a_preflight_too(self, wire: Wire) -> None:
        preflight = "OPTIONS / HTTP/1.1\nHost: h\nOrigin: https://before.example\nAccess-Control-Request-Method: POST"
        assert wire.on_wait(http(preflight)).answer()[0].startswith(b"HTTP/1.1 403 ")
        eventually(lambda: self.named(wire, "https://before.example"), 1)
        wire.on_wait(poll("https://last.example")).answer()
        eventually(lambda: self.named(wire, "https://last.example"), 1)  # what stood before is in the log
        assert not [line for line in wire.server.log if "this origin is not among" in line]

    def test_ours_and_our_own_are_not(self, wire: Wire) -> None:
        wire.on_wait(poll("https://ours.example")).answer()
        wire.on_wait(poll("https://own.example", host="own.example")).answer()
        wire.on_wait(poll("https://front.example", "Sec-Fetch-Site: same-origin", host="back")).answer()
        for origin in ("https://ours.example", "https://own.example", "https://front.example"):
            assert self.named(wire, origin) == 0

    def test_where_no_origin_is_allowed_at_all(self) -> None:
        with LiveServer() as server:
            wire = Wire(server)
            wire.on_wait(poll("https://other.example")).answer()
            eventually(lambda: self.named(wire, "https://other.example"), 1)

    def test_they_are_bounded(self) -> None:
        with LiveServer() as server:
            wire = Wire(server)
            conversation = wire.on_wait()
            for number in range(150):
                conversation.send(poll(f"https://o{number}.example"))
                conversation.answer()
            server.wait_for("origins that are not among wait.allowed_origins")
            assert sum("can read nothing here" in line for line in server.log) == 100
