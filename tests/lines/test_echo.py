"""Nothing that a client sends reaches a header, another line of the log, or an error text unescaped."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Conversation, Wire, http, settings
from tests.waiting import eventually

OPTIONS = settings("log.connections=true", 'wait.allowed_origins=["https://ours.example"]', "users.max_failures=0")

EVIL = ["\r\nX-Evil: 1", "\nX-Evil: 1", "\rX-Evil: 1", "\0", "\x1b[2J", "\x7f", "\x85", "\u2028", "%0d%0aX-Evil:%201"]
HEADERS = {
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "expires",
    "vary",
    "x-content-type-options",
    "x-realplexor-cursor",
    "x-realplexor-gap",
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-expose-headers",
    "allow",
    "retry-after",
    "x-accel-buffering",
}


# Where a client's text might come out again; `~` stands for it.
ON_WAIT = [
    "GET /?identifier=a~ HTTP/1.0\r\n\r\n",
    "GET /?identifier=1~:a HTTP/1.0\r\n\r\n",
    "GET /?identifier=1:a&position HTTP/1.0\r\nOrigin: https://ours.example~\r\n\r\n",
    "GET /?identifier=1:a&position HTTP/1.0\r\nHost: h~\r\nCookie: a=~\r\nReferer: ~\r\n\r\n",
    "GET /path~ HTTP/1.0\r\n\r\n",
    "M~ / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.~\r\n\r\n",
    "OPTIONS / HTTP/1.0\r\nOrigin: ~\r\nAccess-Control-Request-Method: ~\r\n\r\n",
    "POST / HTTP/1.0\r\nContent-Length: 1~\r\n\r\n1",
    "identifier=a~\n\n",
    "identifier=u~:p~@a\n\n",
]
ON_IN = [
    "POST /?identifier=a~ HTTP/1.0\r\nContent-Length: 1\r\n\r\n1",
    "POST / HTTP/1.0\r\nX-Realplexor: identifier=u~:p~@a\r\nContent-Length: 1\r\n\r\n1",
    "POST / HTTP/1.0\r\nX-Realplexor: identifier=u:p@a~\r\nContent-Length: 1\r\n\r\n1",
    'POST /?identifier=a HTTP/1.0\r\n\r\n{"~": ~}',
    "POST / HTTP/1.0\r\n\r\nONLINE ~",
    "POST / HTTP/1.0\r\n\r\nWATCH ~",
    "GET /~ HTTP/1.0\r\n\r\n",
    "POST / HTTP/1.0\r\nTransfer-Encoding: ~\r\n\r\n",
    "ONLINE ~\n\n",
    "WATCH 1 ~\n\n",
    "identifier=u~:p@a\n\n1",
]


@pytest.mark.parametrize("evil", EVIL, ids=repr)
@pytest.mark.parametrize("form", ON_WAIT + ON_IN)
def test_nothing_comes_out_as_it_went_in(wire: Wire, form: str, evil: str) -> None:
    address = wire.wait if form in ON_WAIT else wire.in_
    before = len(wire.server.log)
    client = Conversation(address, form.replace("~", evil).encode(), end=True)
    answer = client.rest()
    client.close()
    eventually(lambda: any("connection closed" in line for line in wire.server.log[before:]), True)
    head, _, text = answer.partition(b"\r\n\r\n")
    if answer:
        first, *rest = head.decode("latin-1").split("\r\n")
        assert re.fullmatch(r"HTTP/1\.[01] \d{3} [A-Za-z ]+", first)
        for line in rest:
            assert re.fullmatch(r"[\x20-\x7e]+", line)
            assert line.partition(":")[0].lower() in HEADERS
        if b"200 OK" not in head:
            assert re.fullmatch(rb"[\x20-\x7e]*\n", text)
    for line in wire.server.log[before:]:
        assert re.match(r"(WAIT|IN): 127\.0\.0\.1:\d+: (DEBUG|ERROR): |<- sending|\[\w+\] |WAIT: pages of \S", line)
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)


def test_gaps_name_channels_that_the_client_named(wire: Wire, prefix: str) -> None:
    """A header with text of the client's: letters, digits, _, . and - alone, as the list's items are read."""
    request = http(f"GET /?identifier=1:{prefix}a,1:{prefix}b-1.2%0d%0a&position HTTP/1.1\nHost: h")
    head, _ = wire.on_wait(request).answer()
    assert f"\r\nX-Realplexor-Gap: {prefix}a,{prefix}b-1.2\r\n".encode() in head
    for item in ("b%0d%0aX:y", "1:%C3%A9", "b%0d%0aX:y%0d%0a"):
        head, text = wire.on_wait(http(f"GET /?identifier=1:{prefix}a,{item}&position HTTP/1.1\nHost: h")).answer()
        assert head.startswith(b"HTTP/1.1 400 ")
        assert re.fullmatch(rb"[\x20-\x7e]*\n", text)


def test_an_origin_that_is_not_ours_is_not_echoed(wire: Wire) -> None:
    for origin in ("https://ours.example.evil", "https://ours.example\tx", "null", "https://OURS.example"):
        head, _ = wire.on_wait(http(f"GET /?identifier=a&position HTTP/1.1\nHost: h\nOrigin: {origin}")).answer()
        assert b"Access-Control" not in head
    head, _ = wire.on_wait(http("GET /?identifier=a&position HTTP/1.1\nHost: h\nOrigin: https://ours.example")).answer()
    assert b"\r\nAccess-Control-Allow-Origin: https://ours.example\r\n" in head
