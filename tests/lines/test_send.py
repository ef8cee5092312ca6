"""Sends on the IN line: the silent old form (protocol page, part 3) and the one with a receipt (part 7.1)."""

from __future__ import annotations

import re

import pytest

from tests.lines.wire import Wire, blocks, http, own

# Plain text, half-closed: what is stored, as a listener of ~a from cursor 1 sees it; "" if nothing is.
SILENT: list[tuple[str, bytes, bytes]] = [
    ("newlines", b"identifier=5:~a\n\n[1]", blocks(({"~a": "5"}, "[1]"))),
    ("carriage returns", b"identifier=5:~a\r\n\r\n[1]", blocks(({"~a": "5"}, "[1]"))),
    ("mixed", b"identifier=5:~a\r\n\n[1]", blocks(({"~a": "5"}, "[1]"))),
    ("header by custom", b"X-Realplexor: identifier=5:~a\r\n\r\n[1]", blocks(({"~a": "5"}, "[1]"))),
    ("in any line of the head", b"Host: h\r\nX: y identifier=5:~a z\r\n\r\n[1]", blocks(({"~a": "5"}, "[1]"))),
    ("behind the first blank line", b"identifier=5:~a\n\n[1,\n\n2]", blocks(({"~a": "5"}, "[1,\n\n2]"))),
    ("a final newline is kept", b"identifier=5:~a\n\n[1]\r\n", blocks(({"~a": "5"}, "[1]\r\n"))),
    (
        "the body's marker does not count",
        b'identifier=5:~a\n\n"identifier=6:~b"',
        blocks(({"~a": "5"}, '"identifier=6:~b"')),
    ),
    (
        "a command's name in the body is a message",
        b'identifier=5:~a\n\n"ONLINE"\n\n',
        blocks(({"~a": "5"}, '"ONLINE"\n\n')),
    ),
    ("each id once", b"identifier=6:~a,5:~a\n\n1", blocks(({"~a": "5"}, "1"))),
    ("no blank line", b"identifier=5:~a\n1", b""),
    ("nothing behind it", b"identifier=5:~a\n\n", b""),
    ("Referer", b"Referer: identifier=5:~a\n\n1", b""),
    ("no JSON", b"identifier=5:~a\n\nhello", b""),
    ("no JSON: NaN", b"identifier=5:~a\n\n[NaN]", b""),
    ("no JSON: a raw newline in a string", b'identifier=5:~a\n\n"1\n2"', b""),
    ("no JSON: a bare command", b"identifier=5:~a\n\nONLINE\n\n", b""),
    ("no UTF-8", b'identifier=5:~a\n\n"\xff"', b""),
]


@pytest.mark.parametrize(("data", "stored"), [row[1:] for row in SILENT], ids=[row[0] for row in SILENT])
def test_plain_text_is_silent(wire: Wire, prefix: str, data: bytes, stored: bytes) -> None:
    assert wire.ask(own(data, prefix)) == b""
    assert wire.poll(f"1:{prefix}a") == own(stored, prefix)


@pytest.mark.parametrize(("data", "stored"), [row[1:] for row in SILENT[:6]], ids=[row[0] for row in SILENT[:6]])
def test_plain_text_byte_by_byte(wire: Wire, prefix: str, data: bytes, stored: bytes) -> None:
    sender = wire.on_in()
    for byte in own(data, prefix):
        sender.send(bytes([byte]))
    assert sender.waits(0.02)  # nothing happens before the half-close
    assert wire.poll(f"1:{prefix}a") == b""
    sender.end()
    assert sender.rest() == b""
    assert wire.poll(f"1:{prefix}a") == own(stored, prefix)


EMPTY = "HTTP/1.%d 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("message", ["{}", "hello"])
@pytest.mark.parametrize("list_", ["", "*~a", "-5:~a", "1e3:~a", ".~a", ",,"])
class TestAnEmptyList:
    """What an old back-end sends that has nobody to send to: it stores nothing and is no error (part 7.9)."""

    def test_plain_text(self, wire: Wire, prefix: str, list_: str, message: str) -> None:
        self.is_silent(wire, prefix, own(f"identifier={list_}\n\n{message}".encode(), prefix), b"")

    def test_the_old_php_class(self, wire: Wire, prefix: str, list_: str, message: str) -> None:
        """With a length and a half-close, and takes an answer of 200 or none for success."""
        head = f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={list_}"
        self.is_silent(wire, prefix, own(http(head, message.encode()), prefix), (EMPTY % 1).encode())

    def test_without_a_length(self, wire: Wire, prefix: str, list_: str, message: str) -> None:
        head = f"POST / HTTP/1.0\nX-Realplexor: identifier={list_}"
        request = own(http(head, message.encode(), length=False), prefix)
        self.is_silent(wire, prefix, request, (EMPTY % 0).encode())

    def is_silent(self, wire: Wire, prefix: str, request: bytes, answer: bytes) -> None:
        stored = wire.command("STATS").partition("[connected_fhs]")[0]
        assert wire.ask(request) == answer
        assert wire.poll(f"1:{prefix}a") == b""
        assert wire.command("STATS").partition("[connected_fhs]")[0] == stored


def test_a_send_to_nobody_is_told_in_the_log(wire: Wire) -> None:
    for _ in range(3):
        assert wire.ask(b"identifier=a.b,-5:a\n\n1") == b""
    wire.server.wait_for(r"^IN: 127\.0\.0\.1: a send names no channel, so it is stored nowhere")


RECEIPT = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b"
CLOSING_RECEIPT = RECEIPT.replace(b"1.1", b"1.0")

# A request that is complete by itself, and the receipt's lines.
WITH_RECEIPT: list[tuple[str, bytes, bytes]] = [
    ("custom header", http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=5:~a", b"[1]"), b"~a 5\n"),
    ("no Host", http("POST / HTTP/1.1\nX-Realplexor: identifier=5:~a", b"[1]"), b"~a 5\n"),
    ("target", http("POST /?identifier=5:~a HTTP/1.1\nHost: h", b"[1]"), b"~a 5\n"),
    ("escaped", http("POST /?identifier=5%3A~a%2C%2A~l HTTP/1.1\nHost: h", b"[1]"), b"~a 5\n"),
    ("several", http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=6:~b,5:~a", b"[1]"), b"~b 6\n~a 5\n"),
    ("body with a head of its own", http("POST / HTTP/1.1\nHost: h", b"identifier=5:~a\n\n[1]"), b"~a 5\n"),
    (
        "chunked",
        http("POST /?identifier=5:~a HTTP/1.1\nHost: h\nTransfer-Encoding: chunked", length=False)
        + b"2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n",
        b"~a 5\n",
    ),
    ("PUT", http("PUT /?identifier=5:~a HTTP/1.1\nHost: h", b"[1]"), b"~a 5\n"),
]


@pytest.mark.parametrize(("request_", "lines"), [row[1:] for row in WITH_RECEIPT], ids=[row[0] for row in WITH_RECEIPT])
def test_a_complete_request_needs_no_half_close(wire: Wire, prefix: str, request_: bytes, lines: bytes) -> None:
    listener = wire.listen(f"1:{prefix}a,{prefix}l")
    sender = wire.on_in(own(request_, prefix))
    receipt = own(lines, prefix)
    assert sender.exactly(len(RECEIPT % (len(receipt), receipt))) == RECEIPT % (len(receipt), receipt)
    assert sender.waits(0.05)  # HTTP/1.1: the connection is kept
    assert listener.rest() == blocks(({f"{prefix}a": "5"}, "[1]"))


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.0\nX-Realplexor: identifier=5:~a",
        "POST / HTTP/1.1\nHost: h\nConnection: close\nX-Realplexor: identifier=5:~a",
    ],
)
def test_and_is_closed_where_http_says_so(wire: Wire, prefix: str, head: str) -> None:
    receipt = own(b"~a 5\n", prefix)
    assert wire.on_in(own(http(head, b"[1]"), prefix)).rest() == CLOSING_RECEIPT % (len(receipt), receipt)


def test_byte_by_byte(wire: Wire, prefix: str) -> None:
    sender = wire.on_in()
    for byte in own(WITH_RECEIPT[0][1], prefix) + own(WITH_RECEIPT[6][1], prefix):
        sender.send(bytes([byte]))
    assert [sender.answer()[1] for _ in range(2)] == [f"{prefix}a 5\n".encode()] * 2


def test_a_cursor_of_ours(wire: Wire, prefix: str) -> None:
    """Seconds since the epoch with decimals, drawn once a list, growing."""
    sender = wire.on_in()
    drawn = []
    for _ in range(3):
        sender.send(http(f"POST /?identifier={prefix}a,{prefix}b HTTP/1.1\nHost: h", b"1"))
        match = re.fullmatch(rf"{prefix}a (\d{{10}}\.\d{{6}})\n{prefix}b \1\n", sender.answer()[1].decode())
        assert match
        drawn.append(match[1])
    assert drawn == sorted(set(drawn))


def test_limiters_have_no_line(wire: Wire, prefix: str) -> None:
    sender = wire.on_in(http(f"POST /?identifier=5:{prefix}a,*{prefix}l HTTP/1.1\nHost: h", b"1"))
    assert sender.answer()[1] == f"{prefix}a 5\n".encode()


def test_no_bad_message_is_stored(wire: Wire, prefix: str) -> None:
    """Part 7.5: refused with 400, and the connection goes on."""
    sender = wire.on_in()
    for body in (b"hello", b"", b"{", b"[NaN]", b'"\n"', b"\xff", b"1 2"):
        sender.send(http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", body))
        head, text = sender.answer()
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert re.fullmatch(rb"the message is not [^\n]*\n", text)
    assert wire.poll(f"1:{prefix}a") == b""
    sender.send(http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", b"1"))
    assert sender.answer()[1] == f"{prefix}a 5\n".encode()


class TestBodyUntilTheEnd:
    """Without a length the body ends where the client's sending half ends."""

    @pytest.mark.parametrize("length", ["", "Content-Length:\n", "Content-Length: \n", "content-length:\t\n"])
    def test_without_a_length(self, wire: Wire, prefix: str, length: str) -> None:
        head = "POST / HTTP/1.1\r\nHost: h\r\n" + length.replace("\n", "\r\n")
        data = f"{head}X-Realplexor: identifier=5:{prefix}a\r\n\r\n[1]".encode()
        receipt = f"{prefix}a 5\n".encode()
        assert wire.ask(data) == CLOSING_RECEIPT % (len(receipt), receipt)
        assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "[1]"))

    def test_not_before(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in(f"POST /?identifier=5:{prefix}a HTTP/1.1\r\nHost: h\r\n\r\n[1".encode())
        sender.send(b"]")
        assert sender.waits()
        assert wire.poll(f"1:{prefix}a") == b""
        sender.end()
        assert sender.rest().endswith(f"\r\n\r\n{prefix}a 5\n".encode())


@pytest.mark.parametrize("rest", [b"", b"[", b"[1"], ids=["no byte of it", "one byte", "one byte too few"])
def test_a_body_cut_short_is_refused_whole(wire: Wire, prefix: str, rest: bytes) -> None:
    answer = wire.ask(f"POST /?identifier=5:{prefix}a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n".encode() + rest)
    assert answer.startswith(b"HTTP/1.0 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\nthe request was cut short\n")
    assert wire.poll(f"1:{prefix}a") == b""


def test_a_sender_that_goes_away_in_the_middle_stores_nothing(wire: Wire, prefix: str) -> None:
    for data in (
        f"identifier=5:{prefix}a\n\n[1]",
        f"POST /?identifier=5:{prefix}a HTTP/1.1\r\nContent-Length: 9\r\n\r\n[1]",
    ):
        wire.on_in(data.encode()).reset()
    wire.send(f"{prefix}b")
    assert wire.poll(f"1:{prefix}a") == b""


@pytest.mark.parametrize("form", ["POST /?identifier=5:{}a HTTP/1.1\r\nHost: h\r\n\r\n", "identifier=5:{}a\n\n"])
def test_a_byte_order_mark_is_no_part_of_the_message(wire: Wire, prefix: str, form: str) -> None:
    wire.ask(form.format(prefix).encode() + b"\xef\xbb\xbf[1]")
    assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, "[1]"))
