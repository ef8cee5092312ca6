"""Requests that attackers and broken clients send, and what each must get (RFC 9110, RFC 9112, protocol page, part 7).

`~` stands for a prefix of channel ids, PREFIX_SIZE characters long. Each request names the channel ~a; where a lenient
reader would see a second one in it, that one names ~s, and must never be carried out.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

Statuses = tuple[int, ...]
"""The answers to a request and to a good one right behind it, up to the end of the connection."""

SERVED: Statuses = (200, 200)  # and in sync: the one behind it is served too
LAST: Statuses = (200,)  # served, but it ends the connection
REFUSED: Statuses = (400,)  # and the one behind it is not looked at
TOO_LARGE: Statuses = (413,)
HEAD_TOO_LARGE: Statuses = (431,)

TARGET = b"/?identifier=1:~a"
SMUGGLED = b"POST /?identifier=1:~s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
NEXT = SMUGGLED.replace(b"~s", b"~n")
"""The good one: on IN it sends, on WAIT it polls."""


PREFIX_SIZE = 6
INNER = len(SMUGGLED) + PREFIX_SIZE - 1  # bytes of the smuggled request, once its prefix is in it
_numbers = itertools.count(1)


def new_prefix() -> str:
    """A prefix of channel ids that no other test uses."""
    return f"h{next(_numbers):05d}"


def filled(data: bytes, prefix: str) -> bytes:
    assert len(prefix) == PREFIX_SIZE
    return data.replace(b"~", prefix.encode())


class Case(NamedTuple):
    """`in_` is None where the IN line must do as the WAIT line does."""

    name: str
    request: bytes
    wait: Statuses
    in_: Statuses | None = None


def head(name: str, *headers: bytes, wait: Statuses, in_: Statuses | None = None) -> Case:
    """A POST of one byte with these header lines beside Host and Content-Length."""
    lines = [b"POST " + TARGET + b" HTTP/1.1", b"Host: h", b"Content-Length: 1", *headers]
    return Case(name, b"\r\n".join(lines) + b"\r\n\r\n1", wait, in_)


def host(text: str, *, wait: Statuses) -> Case:
    """A POST of one byte to this host."""
    lines = [b"POST " + TARGET + b" HTTP/1.1", f"Host: {text}".encode(), b"Content-Length: 1"]
    return Case(f"Host: {text}", b"\r\n".join(lines) + b"\r\n\r\n1", wait, SERVED)


def line(name: str, first: bytes, *, wait: Statuses, in_: Statuses | None = None) -> Case:
    """A POST of one byte with this request line."""
    return Case(name, first + b"\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", wait, in_)


def length(name: str, *headers: bytes, wait: Statuses, in_: Statuses | None = None) -> Case:
    """A POST whose body's length is said by these lines. The body is one byte, then a smuggled request."""
    lines = [b"POST " + TARGET + b" HTTP/1.1", b"Host: h", *headers]
    return Case(name, b"\r\n".join(lines) + b"\r\n\r\n1" + SMUGGLED, wait, in_)


def coded(name: str, *headers: bytes, wait: Statuses, in_: Statuses | None = None) -> Case:
    """A POST with these lines and a chunked body, which to who does not see that it is ends before a smuggled one."""
    lines = [b"POST " + TARGET + b" HTTP/1.1", b"Host: h", *headers]
    return Case(name, b"\r\n".join(lines) + b"\r\n\r\n1\r\n1\r\n0\r\n\r\n", wait, in_)


def chunks(name: str, body: bytes, *, wait: Statuses, in_: Statuses | None = None) -> Case:
    """A POST with this chunked body."""
    first = b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    return Case(name, first + body, wait, in_)


END = b"0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"

CASES: list[Case] = [
    # How long is the body? (RFC 9112, 6.3)
    coded("length and chunked", b"Content-Length: 6", CHUNKED, wait=REFUSED),
    coded("chunked and length", CHUNKED, b"Content-Length: 6", wait=REFUSED),
    length("two lengths", b"Content-Length: 1", b"Content-Length: 2", wait=REFUSED),
    length("one length twice", b"Content-Length: 1", b"Content-Length: 1", wait=REFUSED),
    length("a list of lengths", b"Content-Length: 1, 1", wait=REFUSED),
    length("a length with +", b"Content-Length: +1", wait=REFUSED),
    length("a length with -", b"Content-Length: -1", wait=REFUSED),
    length("a length with _", b"Content-Length: 1_0", wait=REFUSED),
    length("a hexadecimal length", b"Content-Length: 0x1", wait=REFUSED),
    length("a length with a point", b"Content-Length: 1.0", wait=REFUSED),
    length("a length and more", b"Content-Length: 1 1", wait=REFUSED),
    length("a length and letters", b"Content-Length: 1a", wait=REFUSED),
    length("a length of other digits", b"Content-Length: \xd9\xa1", wait=REFUSED),
    length("a length past 64 bits", b"Content-Length: 18446744073709551617", wait=REFUSED),
    length("a length past the limit", b"Content-Length: 9999999999", wait=TOO_LARGE),
    length("no number at all", b"Content-Length: one", wait=REFUSED),
    length("an empty length", b"Content-Length:", wait=REFUSED),  # on IN it is the old form: none
    length("an empty length and chunked", b"Content-Length:", CHUNKED, wait=REFUSED),
    length("a length behind NUL", b"Content-Length: \x001", wait=REFUSED),
    length("space before its colon", b"Content-Length : 1", wait=REFUSED),
    length("tab before its colon", b"Content-Length\t: 1", wait=REFUSED),
    length("a folded length", b"Content-Length:\r\n 1", wait=REFUSED),
    head("a length with zeros before it", wait=SERVED)._replace(
        request=b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 0001\r\n\r\n1"
    ),
    head("a length with space around it", wait=SERVED)._replace(
        request=b"POST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nContent-Length: \t1 \t\r\n\r\n1"
    ),
    coded("xchunked", b"Transfer-Encoding: xchunked", wait=REFUSED),
    coded("xchunked and length", b"Content-Length: 6", b"Transfer-Encoding: xchunked", wait=REFUSED),
    coded("identity", b"Transfer-Encoding: identity", wait=REFUSED),
    coded("gzip, chunked", b"Transfer-Encoding: gzip, chunked", wait=REFUSED),
    coded("chunked, gzip", b"Transfer-Encoding: chunked, gzip", wait=REFUSED),
    coded("chunked, chunked", b"Transfer-Encoding: chunked, chunked", wait=REFUSED),
    coded("chunked twice", CHUNKED, CHUNKED, wait=REFUSED),
    coded("chunked, then identity", CHUNKED, b"Transfer-Encoding: identity", wait=REFUSED),
    coded("chunked with a parameter", b"Transfer-Encoding: chunked;q=1", wait=REFUSED),
    coded("chunked in quotes", b'Transfer-Encoding: "chunked"', wait=REFUSED),
    coded("chunked behind a control", b"Transfer-Encoding: \x0bchunked", wait=REFUSED),
    coded("chunked before a control", b"Transfer-Encoding: chunked\x00", wait=REFUSED),
    coded("chunked, space before its colon", b"Transfer-Encoding : chunked", wait=REFUSED),
    coded("chunked, folded", b"Transfer-Encoding:\r\n chunked", wait=REFUSED),
    coded("chunked, folded behind another", b"X: y\r\n Transfer-Encoding: chunked", b"Content-Length: 6", wait=REFUSED),
    coded("chunked behind a bare CR", b"X: y\rTransfer-Encoding: chunked", b"Content-Length: 6", wait=REFUSED),
    coded(
        "chunked behind a bare LF, and length", b"X: y\nTransfer-Encoding: chunked", b"Content-Length: 6", wait=REFUSED
    ),
    coded("an empty coding", b"Transfer-Encoding:", b"Content-Length: 6", wait=REFUSED),
    head("chunked in HTTP/1.0", wait=REFUSED)._replace(
        request=b"POST " + TARGET + b" HTTP/1.0\r\n" + CHUNKED + b"\r\n\r\n1\r\n1\r\n" + END
    ),
    head("another header that looks like it", b"Transfer_Encoding: chunked", wait=SERVED),
    coded("Chunked", b"TRANSFER-ENCODING: Chunked", wait=SERVED),
    Case("GET with a length", b"GET " + TARGET + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", SERVED, (405,)),
    coded("GET, chunked", CHUNKED, wait=SERVED, in_=(405,))._replace(
        request=b"GET " + TARGET + b" HTTP/1.1\r\nHost: h\r\n" + CHUNKED + b"\r\n\r\n1\r\n1\r\n" + END
    ),
    Case(
        "a whole request as a body",
        b"POST "
        + TARGET
        + b" HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (len(SMUGGLED) + PREFIX_SIZE - 1)
        + SMUGGLED,
        SERVED,
        (400, 200),  # it is not JSON, and that is all
    ),
    # Chunks (RFC 9112, 7.1)
    chunks("a size with +", b"+1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size with -", b"-1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size with 0x", b"0x1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size with _", b"0_1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("space before a size", b" 1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("no size", b"\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("no size but an extension", b";a\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size of letters", b"g\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size past 64 bits", b"10000000000000001\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size behind NUL", b"\x001\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size, then a bare LF", b"1\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a size, then a bare CR", b"1\r1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a chunk longer than its size", b"1\r\n12\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a chunk, then a bare LF", b"1\r\n1\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a chunk, then nothing", b"1\r\n1" + END + SMUGGLED, wait=REFUSED),
    chunks("an extension with a bare LF", b"1;a\n1\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("an extension with a bare CR", b"1;a\rb\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("an extension with NUL", b"1;a\x00\r\n1\r\n" + END + SMUGGLED, wait=REFUSED),
    chunks("a last chunk, then bare LFs", b"1\r\n1\r\n0\n\n" + SMUGGLED, wait=REFUSED),
    chunks("a last chunk, then another request", b"1\r\n1\r\n0\r\n" + SMUGGLED, wait=REFUSED),
    chunks("a trailer without colon", b"1\r\n1\r\n0\r\nnonsense\r\n\r\n" + SMUGGLED, wait=REFUSED),
    chunks("a trailer, space before its colon", b"1\r\n1\r\n0\r\nX : y\r\n\r\n" + SMUGGLED, wait=REFUSED),
    chunks("a trailer with NUL", b"1\r\n1\r\n0\r\nX: \x00\r\n\r\n" + SMUGGLED, wait=REFUSED),
    chunks("an extension", b"1;a=b\r\n1\r\n" + END, wait=SERVED),
    chunks("an extension in quotes", b'1;a="b;c"\r\n1\r\n' + END, wait=SERVED),
    chunks("zeros before a size", b"0001\r\n1\r\n000\r\n\r\n", wait=SERVED),
    chunks("trailers", b"1\r\n1\r\n0\r\nX: y\r\nZ: w\r\n\r\n", wait=SERVED),
    chunks("a length in the trailers", b"1\r\n1\r\n0\r\nContent-Length: 5\r\n\r\n" + SMUGGLED, wait=REFUSED),
    chunks("long extensions", (b"1;" + b"x" * 4000 + b"\r\n1\r\n") * 60 + END + SMUGGLED, wait=HEAD_TOO_LARGE),
    chunks("long trailers", b"1\r\n1\r\n0\r\n" + (b"X: " + b"y" * 4000 + b"\r\n") * 60 + b"\r\n", wait=HEAD_TOO_LARGE),
    chunks("a size past the limit", b"fffffff\r\n" + b"1" * 300_000, wait=TOO_LARGE),
    # Header lines (RFC 9112, 5)
    head("NUL in a value", b"X: a\x00b", wait=REFUSED),
    head("NUL in a name", b"X\x00: a", wait=REFUSED),
    head("a control in a value", b"X: a\x01b", wait=REFUSED),
    head("DEL in a value", b"X: a\x7fb", wait=REFUSED),
    head("a control in a name", b"X\x01: a", wait=REFUSED),
    head("a space in a name", b"X Y: a", wait=REFUSED),
    head("a bracket in a name", b"X(Y): a", wait=REFUSED),
    head("obs-text in a name", b"X\xff: a", wait=REFUSED),
    head("no name", b": a", wait=REFUSED),
    head("no colon", b"nonsense", wait=REFUSED),
    head("a folded value", b"X: a\r\n b", wait=REFUSED),
    head("a folded value, by a tab", b"X: a\r\n\tb", wait=REFUSED),
    head("a bare CR in a value", b"X: a\rb", wait=REFUSED),
    head("a bare CR at the end", b"X: a\r", wait=REFUSED),
    Case("a folded first line", b"POST " + TARGET + b" HTTP/1.1\r\n Host: h\r\nContent-Length: 1\r\n\r\n1", REFUSED),
    head("obs-text in a value", b"X: \xff\xe9", wait=SERVED),
    head("a tab in a value", b"X: a\tb", wait=SERVED),
    head("an empty value", b"X:", wait=SERVED),
    Case("bare LFs all through", b"POST " + TARGET + b" HTTP/1.1\nHost: h\nContent-Length: 1\n\n1", SERVED),
    head("a long value", b"X: " + b"y" * 210_000, wait=HEAD_TOO_LARGE),
    head("many headers", *[b"X%d: y" % number for number in range(20_000)], wait=HEAD_TOO_LARGE),
    head("closing", b"Connection: close", wait=LAST),
    head(
        "an upgrade to HTTP/2",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AA",
        wait=SERVED,
    ),
    head("an expectation that the body has overtaken", b"Expect: 100-continue", wait=SERVED),
    # Host (RFC 9112, 3.2): clients of the IN line write what they like there
    Case("no Host", b"POST " + TARGET + b" HTTP/1.1\r\nContent-Length: 1\r\n\r\n1", LAST, SERVED),
    head("two Hosts", b"Host: other", wait=REFUSED),
    Case("an empty Host", b"POST " + TARGET + b" HTTP/1.1\r\nHost:\r\nContent-Length: 1\r\n\r\n1", SERVED),
    *[host(text, wait=REFUSED) for text in ("a b", "a/b", "a@b", "a?b", "[::1", "a:b", "a\\b", "ä")],
    *[host(text, wait=SERVED) for text in ("a.example:8088", "[::1]:80", "127.0.0.1", "a_b")],
    # The request line (RFC 9112, 3)
    line("absolute form", b"POST http://h" + TARGET + b" HTTP/1.1", wait=SERVED),
    line("absolute form, another host", b"POST http://other:1" + TARGET + b" HTTP/1.1", wait=SERVED),
    line("asterisk", b"POST * HTTP/1.1", wait=(400, 200), in_=REFUSED),  # a target like others, without a channel
    line("authority", b"POST h:80 HTTP/1.1", wait=REFUSED),
    line("CONNECT", b"CONNECT h:80 HTTP/1.1", wait=REFUSED),
    line("no slash", b"POST ?identifier=1:~a HTTP/1.1", wait=REFUSED),
    line("no target", b"POST  HTTP/1.1", wait=REFUSED),
    line("two spaces", b"POST  " + TARGET + b" HTTP/1.1", wait=SERVED),  # which it may be
    line("tabs", b"POST\t" + TARGET + b"\tHTTP/1.1", wait=REFUSED),
    line("a space in the target", b"POST " + TARGET + b" x HTTP/1.1", wait=REFUSED),
    line("NUL in the target", b"POST " + TARGET + b"\x00 HTTP/1.1", wait=REFUSED),
    line("a control in the target", b"POST " + TARGET + b"\x01 HTTP/1.1", wait=REFUSED),
    line("a bare CR in the target", b"POST " + TARGET + b"\r HTTP/1.1", wait=REFUSED),
    line("something behind the version", b"POST " + TARGET + b" HTTP/1.1 x", wait=REFUSED),
    line("a space behind the version", b"POST " + TARGET + b" HTTP/1.1 ", wait=REFUSED),
    line("a lower-case method", b"post " + TARGET + b" HTTP/1.1", wait=REFUSED),
    line("HTTP/1.2", b"POST " + TARGET + b" HTTP/1.2", wait=REFUSED),
    line("HTTP/1.10", b"POST " + TARGET + b" HTTP/1.10", wait=REFUSED),
    line("HTTP/2.0", b"POST " + TARGET + b" HTTP/2.0", wait=REFUSED),
    line("HTTP/1", b"POST " + TARGET + b" HTTP/1", wait=REFUSED),
    Case("HTTP/2's preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", REFUSED),
    Case("HTTP/1.0", b"POST " + TARGET + b" HTTP/1.0\r\nContent-Length: 1\r\n\r\n1", LAST),
    Case(
        "a blank line before it", b"\r\nPOST " + TARGET + b" HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", SERVED
    ),
    line("a long target", b"POST " + TARGET + b"&" + b"x" * 210_000 + b" HTTP/1.1", wait=HEAD_TOO_LARGE),
    *[
        line(f"percent: {text}", b"POST " + TARGET + f"&x={text} HTTP/1.1".encode(), wait=SERVED)
        for text in ("%00", "%zz", "%", "%2", "%0d%0aX:y", "%25%32%43", "..%2f", "%c0%ae")
    ],
    line("obs-text in the target", b"POST " + TARGET + b"&x=\xc3\xa9 HTTP/1.1", wait=REFUSED),
]
