"""HTTP around the WAIT line (protocol page, parts 2 and 7): heads, where the marker counts, the position header."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, blocks, http, own

HEAD = (
    r"HTTP/1.1 200 OK\r\n"
    r"{connection}"
    r"Cache-Control: no-store, no-cache, must-revalidate{untouched}\r\n"
    r"Expires: Mon, 26 Jul 1997 05:00:00 GMT\r\n"
    r"Content-Type: text/javascript; charset=utf-8\r\n"
    r"(?P<added>(?:[A-Za-z-]+: [^\r\n]*\r\n)*?)"
    r"{length}\r\n"
)
CLOSED_HEADS = {  # in HTTP/1.0 it has the old lines, and of the new ones those that tell a position (part 9.3)
    b"HTTP/1.1": HEAD.format(connection=r"Connection: close\r\n", untouched=", no-transform", length=""),
    b"HTTP/1.0": HEAD.format(connection=r"Connection: close\r\n", untouched="", length=""),
}
KEPT_HEAD = HEAD.format(connection="", untouched=", no-transform", length=r"Content-Length: \d+\r\n")


@pytest.mark.parametrize(
    "request_",
    [
        http("GET /?identifier=1:~a HTTP/1.0"),
        http("GET /?identifier=1:~a HTTP/1.0\nConnection: keep-alive"),
        http("GET /?identifier=1:~a HTTP/1.1\nHost: h\nConnection: close"),
        http("GET /?identifier=1:~a HTTP/1.1\nHost: h\nconnection: Close, x"),
        http("POST / HTTP/1.0", b"identifier=1:~a\n"),
    ],
)
def test_a_connection_that_ends_gets_its_head_at_once(wire: Wire, prefix: str, request_: bytes) -> None:
    listener = wire.on_wait(own(request_, prefix))
    head = listener.until(b"\r\n\r\n")
    version = request_.partition(b"\r\n")[0][-8:]
    match = re.fullmatch(CLOSED_HEADS[version], head.decode())
    assert match
    assert ("X-Accel-Buffering: no\r\n" in match["added"]) == (version == b"HTTP/1.1")
    assert listener.exactly(3) == b" \r\n"
    assert listener.waits()
    wire.send(f"5:{prefix}a", "1")
    assert listener.rest() == blocks(({f"{prefix}a": "5"}, "1"))


@pytest.mark.parametrize(
    "request_",
    [http("GET /?identifier=1:~a HTTP/1.1\nHost: h"), http("POST / HTTP/1.1\nHost: h", b"identifier=1:~a\n")],
)
def test_a_kept_connection_gets_its_answer_in_one_piece(wire: Wire, prefix: str, request_: bytes) -> None:
    listener = wire.on_wait(own(request_, prefix))
    assert listener.waits()
    wire.send(f"5:{prefix}a", "1")
    head, body = listener.answer()
    assert re.fullmatch(KEPT_HEAD, head.decode())
    assert body == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))
    assert listener.waits()


# Where the marker counts over HTTP (part 7.6), and where it does not.
COUNTS = [
    http("GET /?identifier=1:~a HTTP/1.1\nHost: h"),
    http("GET /?identifier=1:~a&ncrnd=123 HTTP/1.1\nHost: h"),
    http("GET /?1234?identifier=1:~a HTTP/1.1\nHost: h"),
    http("GET /rpl/?0?identifier=1:~a&HOST=h HTTP/1.1\nHost: h"),
    http("GET /any/path?x=y&identifier=1:~a HTTP/1.1\nHost: h"),
    http("GET http://h/?identifier=1:~a HTTP/1.1\nHost: h"),
    http("GET /?identifier=1%3A~a%2C%2A~b HTTP/1.1\nHost: h"),
    http("GET /?identifier=1%3a~a%2c%2a~b HTTP/1.1\nHost: h"),
    http("POST /?=identifier=1:~a HTTP/1.1\nHost: h", b""),
    http("POST / HTTP/1.1\nHost: h", b"identifier=1:~a"),
    http("POST / HTTP/1.1\nHost: h", b"identifier=1:~a\n"),
    http("POST / HTTP/1.1\nHost: h\nContent-Type: application/x-www-form-urlencoded", b"x=y&identifier=1%3A~a"),
    b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nidentifier=1\r\n1\r\n:\r\n",
    http("GET /?identifier=1:~a HTTP/1.1\nHost: h\nReferer: http://h/?identifier=IFRAME&x"),
    http("GET /?identifier=1:~a HTTP/1.1\nHost: h\nCookie: identifier=SCRIPT; a=b"),
    http("GET /?identifier=me:pw@1:~a HTTP/1.1\nHost: h"),
    http("GET /?identifier=1:~a&mail=a@b HTTP/1.1\nHost: h"),
]
NOT = [
    http("GET / HTTP/1.1\nHost: h\nReferer: http://h/?identifier=1:~a"),
    http("GET / HTTP/1.1\nHost: h\nCookie: identifier=1:~a"),
    http("GET / HTTP/1.1\nHost: identifier=~a"),
    http("GET /?Identifier=1:~a HTTP/1.1\nHost: h"),
    http("GET /?xidentifier=1:~a HTTP/1.1\nHost: h"),
    http("GET /?identifier%3D1:~a HTTP/1.1\nHost: h"),
    http("GET / HTTP/1.1\nHost: h", b"identifier=1:~a"),
]


@pytest.mark.parametrize("request_", COUNTS)
def test_where_the_marker_counts(wire: Wire, prefix: str, request_: bytes) -> None:
    if request_.endswith(b":\r\n"):  # the chunked one, whose last chunk's length depends on the prefix
        request_ += b"%x\r\n~a\r\n0\r\n\r\n" % (len(prefix) + 1)
    wire.send(f"5:{prefix}a", "1")
    assert wire.on_wait(own(request_, prefix)).answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))


@pytest.mark.parametrize("request_", NOT)
def test_where_it_does_not(wire: Wire, prefix: str, request_: bytes) -> None:
    head, text = wire.on_wait(own(request_, prefix)).answer()
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert text.startswith(b"Empty identifier passed; listen with ?identifier=CHANNEL")


class TestPosition:
    """Part 7.4: the cursor at which channels without one were entered."""

    def poll(self, wire: Wire, ids: str) -> dict[str, str]:
        listener = wire.on_wait(http(f"GET /?identifier={ids} HTTP/1.0"))
        lines = listener.until(b"\r\n\r\n").decode().split("\r\n")[1:-2]
        listener.close()
        return dict(line.split(": ", 1) for line in lines)

    def test_it_is_ours(self, wire: Wire, prefix: str) -> None:
        first = self.poll(wire, f"{prefix}a")["X-Realplexor-Cursor"]
        second = self.poll(wire, f"5:{prefix}a")["X-Realplexor-Cursor"]
        assert re.fullmatch(r"\d{10}\.\d{6}", first)
        assert second > first

    def test_nothing_sent_between_two_polls_is_lost(self, wire: Wire, prefix: str) -> None:
        position = self.poll(wire, f"{prefix}a")["X-Realplexor-Cursor"]
        wire.send(f"{prefix}a", "1")
        body = wire.on_wait(http(f"GET /?identifier={position}:{prefix}a HTTP/1.1\nHost: h")).answer()[1]
        assert b'"data": 1\n' in body
        later = self.poll(wire, f"{prefix}a")["X-Realplexor-Cursor"]
        assert wire.on_wait(http(f"GET /?identifier={later}:{prefix}a HTTP/1.1\nHost: h")).waits()

    def test_no_gap_where_history_reaches_back(self, wire: Wire, prefix: str) -> None:
        position = self.poll(wire, f"{prefix}a")["X-Realplexor-Cursor"]
        wire.send(f"{prefix}a", "1")
        assert "X-Realplexor-Gap" not in self.poll(wire, f"{prefix}a")
        assert "X-Realplexor-Gap" not in self.poll(wire, f"{position}:{prefix}a,{position}:{prefix}b")

    def test_a_gap_where_it_does_not(self, wire: Wire, prefix: str) -> None:
        position = self.poll(wire, f"{prefix}a")["X-Realplexor-Cursor"]
        for number in range(31):
            wire.send(f"{prefix}a", str(number))
        assert self.poll(wire, f"{position}:{prefix}a,{position}:{prefix}b")["X-Realplexor-Gap"] == f"{prefix}a"
        assert self.poll(wire, f"1:{prefix}b,1:{prefix}a")["X-Realplexor-Gap"] == f"{prefix}a,{prefix}b"

    def test_plain_text_gets_the_old_head_and_nothing_else(self, wire: Wire, prefix: str) -> None:
        wire.listen(f"1:{prefix}a").close()  # `listen` compares the head byte for byte


class TestForeignOrigins:
    """Part 7.10: without wait.allowed_origins nothing is said about other sites."""

    def test_no_header(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.0\nOrigin: http://other"))
        assert b"Access-Control" not in listener.until(b"\r\n\r\n")
        listener.close()


def test_a_header_with_an_underscore_is_not_another_one(wire: Wire, prefix: str) -> None:
    request = http("POST / HTTP/1.1\nHost: h\nContent_Length: 0", f"identifier=1:{prefix}a\n".encode())
    wire.send(f"5:{prefix}a", "1")
    assert wire.on_wait(request).answer()[1].endswith(blocks(({f"{prefix}a": "5"}, "1")))


def test_an_upgrade_is_not_taken(wire: Wire, prefix: str) -> None:
    """It may be ignored (RFC 9110, 7.8): the poll is served as it is."""
    wire.send(f"5:{prefix}a", "1")
    request = http(f"GET /?identifier=1:{prefix}a HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: websocket")
    for portions in ([request], [request[:40], request[40:]]):
        listener = wire.on_wait()
        for portion in portions:
            listener.send(portion)
            listener.waits(0.02)
        assert listener.answer()[1].endswith(blocks(({f"{prefix}a": "5"}, "1")))
