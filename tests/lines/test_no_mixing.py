"""Nothing that one connection sent ever reaches another, however it ended (protocol page, part 2)."""

from __future__ import annotations

import pytest

from tests.lines.wire import Wire, blocks, http

ROUNDS = 5
POSITION = http("GET /?identifier=~a&position HTTP/1.1\nHost: h")
EATS = b"GET /?identifier=~evil HTTP/1.1\r\nX-Eat: "

# What leaves half a request behind in a connection that is refused, or is answered for the last time.
HOSTILE = {
    "more ahead than there may be, and half a request": POSITION * 17 + EATS,
    "a head without a marker that is too long": http(
        "GET / HTTP/1.1\nHost: h\nConnection: close\nX: " + "x" * 5200, length=False
    ),
    "such a head, and half a request": http("GET / HTTP/1.1\nHost: h\nX: " + "x" * 5200, length=False) + EATS,
    "half a request behind the last": http("GET /?identifier=~a&position HTTP/1.1\nHost: h\nConnection: close") + EATS,
    "half a request behind one": POSITION + EATS,
    "half a head": EATS,
    "half a body": b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nidentifier=~evil",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nidentifier=~evil",
    "half a line": b"POST /?identifier=~evil",
    "half a list": b"identifier=~evil",
    "a malformed request behind a good one": POSITION + b"GET / HTTP/1.1\r\nno header\r\n\r\n" + EATS,
    "a malformed request": b"GET / HTTP/1.1\r\nno header\r\n\r\n" + EATS,
    "plain text that is too long": b"x" * 6000 + b"identifier=~evil",
    "a TLS handshake": b"\x16\x03\x01\x02\x00" + EATS,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_the_next_client_gets_its_own_answer(wire: Wire, prefix: str, hostile: bytes) -> None:
    wire.send(f"5:{prefix}mine", '"mine"')
    wire.send(f"5:{prefix}evil", '"evil"')
    for _ in range(ROUNDS):
        other = wire.on_wait(hostile.replace(b"~", prefix.encode()))
        mine = wire.on_wait(http(f"GET /?identifier=1:{prefix}mine HTTP/1.1\nHost: h"))
        assert mine.answer()[1] == b" \r\n" + blocks(({f"{prefix}mine": "5"}, '"mine"'))
        other.close()
        mine.close()


class TestTls:
    @pytest.mark.parametrize("portions", [[b"\x16\x03\x01\x02\x00\x01"], [b"\x16", b"\x03"]])
    def test_it_is_closed_at_once_and_counted(self, wire: Wire, portions: list[bytes]) -> None:
        for _ in range(2):
            client = wire.on_wait()
            for portion in portions:
                client.send(portion)
                client.waits(0.05)
            assert client.rest() == b""
        wire.server.wait_for(r"^WAIT: 127\.0\.0\.1: a TLS handshake on a port without TLS: https needs a proxy ")
        assert sum("TLS handshake" in line for line in wire.server.log) == 1
