"""Clear refusals over HTTP, a closed connection in plain text (protocol page, part 7.3 and 7.7)."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, http, own

WRONG_LINE = r"this is the WAIT line of listeners: send, and ask by commands, on the IN line, port \d+ \(in\.listen\)"
EMPTY = (
    r"Empty identifier passed; listen with \?identifier=CHANNEL, and load the script of a page from \?identifier=SCRIPT"
)

# Bytes in, status line and reason out.
ON_WAIT: list[tuple[str, bytes, bytes, str]] = [
    ("no channel", http("GET / HTTP/1.1\nHost: h"), b"400 Bad Request", EMPTY),
    ("an empty list", http("GET /?identifier= HTTP/1.1\nHost: h"), b"400 Bad Request", EMPTY),
    ("no such path", http("GET /favicon.ico HTTP/1.1\nHost: h"), b"404 Not Found", "nothing is served at this path"),
    (
        "PUT",
        http("PUT /?identifier=~a HTTP/1.1\nHost: h"),
        b"405 Method Not Allowed",
        "PUT is not served here; use GET or POST",
    ),
    (
        "DELETE",
        http("DELETE /?identifier=~a HTTP/1.1\nHost: h"),
        b"405 Method Not Allowed",
        "DELETE is not served here; .*",
    ),
    ("HEAD of a poll", http("HEAD /?identifier=~a HTTP/1.1\nHost: h"), b"405 Method Not Allowed", ""),
    (
        "a POST without length",
        b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"411 Length Required",
        "a POST needs a Content-Length",
    ),
    (
        "two Hosts",
        http("GET /?identifier=~a HTTP/1.1\nHost: a\nHost: b"),
        b"400 Bad Request",
        "a request has one Host header",
    ),
    ("a send", http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=~a", b"1"), b"400 Bad Request", WRONG_LINE),
    ("another send", http("GET / HTTP/1.1\nHost: h\nX-Realplexor: identifier=~a"), b"400 Bad Request", WRONG_LINE),
    ("a command", http("POST / HTTP/1.1\nHost: h", b"ONLINE ~\n\n"), b"400 Bad Request", WRONG_LINE),
    ("another version", http("GET /?identifier=~a HTTP/3.0\nHost: h"), b"400 Bad Request", ".*"),
    (
        "two lengths",
        http("POST / HTTP/1.1\nHost: h\nContent-Length: 1\nContent-Length: 2", b"a", length=False),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "length and chunked",
        http("POST / HTTP/1.1\nHost: h\nContent-Length: 1\nTransfer-Encoding: chunked", b"a", length=False),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "a bad header",
        http("GET /?identifier=~a HTTP/1.1\nHost: h\nno header"),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    ("CONNECT", http("CONNECT h:80 HTTP/1.1\nHost: h"), b"400 Bad Request", "CONNECT is not served here"),
    (
        "a preflight of a stranger",
        http("OPTIONS / HTTP/1.1\nHost: h\nOrigin: http://x\nAccess-Control-Request-Method: GET"),
        b"403 Forbidden",
        "this origin is not among wait.allowed_origins",
    ),
    (
        "a script of a stranger",
        http("GET /?identifier=~a HTTP/1.1\nHost: h\nSec-Fetch-Mode: no-cors\nSec-Fetch-Site: cross-site"),
        b"403 Forbidden",
        "a page of another site may poll by CORS alone, and only where wait.allowed_origins has it",
    ),
]
ON_IN: list[tuple[str, bytes, bytes, str]] = [
    (
        "no channel",
        http("POST / HTTP/1.1\nHost: h", b"{}"),
        b"400 Bad Request",
        r"no channel given, and no command \(ONLINE, WATCH or STATS\)",
    ),
    ("no channel, no body", http("POST / HTTP/1.1\nHost: h", b""), b"400 Bad Request", "no channel given.*"),
    ("an empty list", http("POST /?identifier= HTTP/1.1\nHost: h", b"{}"), b"400 Bad Request", "no channel given, .*"),
    (
        "a bad cursor",
        http("POST /?identifier=x:~a HTTP/1.1\nHost: h", b"{}"),
        b"400 Bad Request",
        "no channel given, .*",
    ),
    (
        "an unknown command",
        http("POST / HTTP/1.1\nHost: h", b"ONLINES ~"),
        b"400 Bad Request",
        "no channel given, and no command .*",
    ),
    (
        "a marker in a cookie",
        http("POST / HTTP/1.1\nHost: h\nCookie: identifier=~a", b"{}"),
        b"400 Bad Request",
        "no channel given, .*",
    ),
    (
        "no JSON",
        http("POST /?identifier=~a HTTP/1.1\nHost: h", b"hello"),
        b"400 Bad Request",
        "the message is not JSON: .*",
    ),
    ("no body", http("POST /?identifier=~a HTTP/1.1\nHost: h", b""), b"400 Bad Request", "the message is not JSON: .*"),
    (
        "a browser: Origin",
        http("POST /?identifier=~a HTTP/1.1\nHost: h\nOrigin: http://x", b"{}"),
        b"403 Forbidden",
        ".*browsers",
    ),
    (
        "a browser: Referer",
        http("POST /?identifier=~a HTTP/1.1\nHost: h\nreferer: http://x", b"{}"),
        b"403 Forbidden",
        ".*browsers",
    ),
    (
        "a browser: Sec-Fetch",
        http("POST /?identifier=~a HTTP/1.1\nHost: h\nSEC-FETCH-Site: x", b"{}"),
        b"403 Forbidden",
        ".*browsers",
    ),
    (
        "a browser's command",
        http("GET / HTTP/1.1\nHost: h\nOrigin: http://x", b"ONLINE"),
        b"403 Forbidden",
        ".*browsers",
    ),
    ("GET of nothing", http("GET / HTTP/1.1\nHost: h"), b"405 Method Not Allowed", "send by POST, .*"),
    (
        "a listener",
        http("GET /?identifier=~a HTTP/1.1\nHost: h"),
        b"405 Method Not Allowed",
        r"send by POST, .*: listeners poll the WAIT line, 127\.0\.0\.1:\d+ \(wait\.listen\)",
    ),
    (
        "a listener's position",
        http("GET /?identifier=~a&position HTTP/1.1\nHost: h\nContent-Length: 0"),
        b"405 Method Not Allowed",
        r"send by POST, .*",
    ),
    ("HEAD", http("HEAD /?identifier=~a HTTP/1.0"), b"405 Method Not Allowed", "send by POST, .*"),
    *[
        (
            method,
            f"{method} {target} HTTP/1.1\r\nHost: h\r\n{length}\r\n".encode(),
            b"405 Method Not Allowed",
            f"{method} is not served here; send by POST",
        )
        for method in ("OPTIONS", "DELETE", "TRACE", "PATCH", "PROPFIND")
        for target in ("/", "/?identifier=~a", "/?identifier=me:pw@")
        for length in ("", "Content-Length: 2\r\n")
    ],
    *[
        (
            f"PUT without length to {target}",
            http(f"PUT {target} HTTP/1.1\nHost: h"),
            b"405 Method Not Allowed",
            "PUT is not served here; send by POST",
        )
        for target in ("/", "/?identifier=~a")
    ],
    (
        "GET with a message",
        http("GET /?identifier=~a HTTP/1.1\nHost: h", b"{}"),
        b"405 Method Not Allowed",
        "send by POST, .*",
    ),
    (
        "GET with a message and its own head",
        http("GET / HTTP/1.1\nHost: h", b"identifier=~a\n\n{}"),
        b"405 Method Not Allowed",
        "send by POST, .*",
    ),
    (
        "a method of a browser's own, longer than any",
        http(f"{'X' * 33} /?identifier=~a HTTP/1.1\nHost: h\nOrigin: http://x", b"{}"),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "and with a command",
        http(f"{'A' * 5000} / HTTP/1.1\nHost: h", b"STATS\n\n"),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "no token at all",
        http("=?= / HTTP/1.0", b"STATS\n\n"),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "a bad header",
        http("POST /?identifier=~a HTTP/1.1\nHost: h\nno header", b"{}"),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
    (
        "two lengths",
        http("POST /?identifier=~a HTTP/1.1\nHost: h\nContent-Length: 1\nContent-Length: 2", b"a", length=False),
        b"400 Bad Request",
        "malformed HTTP request: .*",
    ),
]


@pytest.mark.parametrize(
    ("request_", "status", "reason"), [row[1:] for row in ON_WAIT], ids=[row[0] for row in ON_WAIT]
)
def test_on_wait(wire: Wire, prefix: str, request_: bytes, status: bytes, reason: str) -> None:
    check(wire.on_wait(own(request_, prefix), end=True).rest(), status, reason, b"1.1")


@pytest.mark.parametrize(("request_", "status", "reason"), [row[1:] for row in ON_IN], ids=[row[0] for row in ON_IN])
def test_on_in(wire: Wire, prefix: str, request_: bytes, status: bytes, reason: str) -> None:
    check(wire.on_in(own(request_, prefix), end=True).rest(), status, reason, rb"1\.[01]")
    assert wire.poll(f"1:{prefix}a") == b""


@pytest.mark.parametrize(
    "request_", [row[1] for row in ON_IN if b"405" in row[2]], ids=[row[0] for row in ON_IN if b"405" in row[2]]
)
def test_what_is_not_allowed_is_told_at_once(wire: Wire, prefix: str, request_: bytes) -> None:
    """Without a half-close, and in portions."""
    request_ = own(request_, prefix)
    client = wire.on_in(request_[:20])
    client.send(request_[20:])
    assert b" 405 Method Not Allowed\r\n" in client.rest()
    assert wire.poll(f"1:{prefix}a") == b""


@pytest.mark.parametrize("sign", ["", "\nOrigin: null", "\nSec-Fetch-Site: same-origin"])
@pytest.mark.parametrize("length", [32, 33, 100, 20_000])
@pytest.mark.parametrize("portion", [7, 1 << 20])
def test_no_method_is_plain_text(wire: Wire, length: int, portion: int, sign: str) -> None:
    """A browser may send any, and what it asks is never carried out as plain text, which has no headers to judge."""
    request = http(f"{'M' * length} / HTTP/1.1\nHost: h{sign}\nContent-Type: text/plain", b"STATS\n\n")
    client = wire.on_in()
    for begin in range(0, len(request), portion):
        client.send(request[begin : begin + portion])
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.0 400 ")
    assert b"data_to_send" not in answer


def check(answer: bytes, status: bytes, reason: str, version: bytes) -> None:
    head, _, text = answer.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert re.fullmatch(b"HTTP/" + version + b" " + status, lines[0]), answer
    assert b"Content-Type: text/plain" in lines
    length = next(int(line[16:]) for line in lines if line.startswith(b"Content-Length: "))
    assert length == len(text) or not text
    assert re.fullmatch(f"{reason}\n" if reason else "", text.decode()), answer


@pytest.mark.parametrize(
    "data", [b"hello\n", b"\x00\x01\x02", b"{}\n\n", b"identifier\n", b"xidentifier=a\n", b"Referer: identifier=a\n\n"]
)
def test_plain_text_gets_a_closed_connection(wire: Wire, data: bytes) -> None:
    assert wire.on_wait(data, end=True).rest() == b""
    assert wire.on_in(data, end=True).rest() == b""


def test_the_server_goes_on(wire: Wire, prefix: str) -> None:
    listener = wire.listen(f"1:{prefix}a")
    for _, request_, _, _ in ON_WAIT:
        wire.on_wait(own(request_, prefix)).reset()
    for _, request_, _, _ in ON_IN:
        wire.on_in(own(request_, prefix)).reset()
    wire.send(f"5:{prefix}a", '"still here"')
    assert b'"still here"' in listener.rest()


def test_a_405_says_what_is_allowed(wire: Wire) -> None:
    assert b"\r\nAllow: GET, POST\r\n" in wire.on_wait(http("PUT / HTTP/1.1\nHost: h")).answer()[0]


def test_a_refusal_is_read_by_who_still_sends(wire: Wire, prefix: str) -> None:
    """Though the body is still on its way, the reason arrives: no reset eats it."""
    for conversation in (wire.on_wait(), wire.on_in()):
        conversation.send(
            f"POST /?identifier={prefix}a HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n".encode()
        )
        conversation.send(b"x" * 100_000)
        assert re.match(rb"HTTP/1.[01] 413 ", conversation.rest())


@pytest.mark.parametrize("request_", [b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 20\r\n\r\nide"])
def test_a_request_cut_short(wire: Wire, request_: bytes) -> None:
    for conversation in (wire.on_wait(request_, end=True), wire.on_in(request_, end=True)):
        check(conversation.rest(), b"400 Bad Request", "the request was cut short", rb"1\.[01]")


@pytest.mark.parametrize(
    ("marker", "mode", "site"),
    [("SCRIPT", "no-cors", "cross-site"), ("IFRAME", "navigate", "cross-site"), ("1:a", "no-cors", "same-origin")],
)
def test_what_a_page_loads_without_cors(wire: Wire, marker: str, mode: str, site: str) -> None:
    """The pages for everybody, and polls of a page of our own."""
    request = f"GET /?identifier={marker}&position HTTP/1.0\nSec-Fetch-Mode: {mode}\nSec-Fetch-Site: {site}"
    assert wire.on_wait(http(request)).rest().startswith(b"HTTP/1.1 200 OK\r\n")
