"""What the clients of the last fifteen years lean on: each line of the protocol page's part 8."""

from __future__ import annotations

import re
import time
from decimal import Decimal

import pytest

from tests.lines.wire import CLOSED, Wire, blocks, http, own
from tests.live import LiveServer
from tests.waiting import eventually


class TestPhpByHand:
    """PHP sites that write the IN request by hand."""

    @pytest.mark.parametrize(
        "head",
        [
            "POST / HTTP/1.1\r\nHOST: h\r\nContent-length: 12\r\nX-Realplexor: identifier=5:~a\r\n\r\n",
            "POST / HTTP/1.1\r\nHOST: h\r\nContent-Length: \r\nX-Realplexor: identifier=5:~a\r\n\r\n",
            "POST / HTTP/1.1\nHOST: h\nContent-Length: \nX-Realplexor: identifier=5:~a\n\n",
            "POST / HTTP/1.1\r\nX-Realplexor: identifier=5:~a\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: h\r\nContent-length: 12\r\nX-Realplexor: identifier=5:~a\r\n\r\n",
            "X-Realplexor: identifier=5:~a\r\nContent-Length: \r\n\r\n",
        ],
    )
    def test_send(self, wire: Wire, prefix: str, head: str) -> None:
        listener = wire.listen(f"1:{prefix}a")
        sender = wire.on_in(head.replace("~", prefix).encode() + b'{"k":"value"}'[:12], end=True)
        answer = sender.rest()
        assert listener.waits()  # twelve bytes of it are no JSON
        assert b"200" not in answer
        answer = wire.on_in(head.replace("~", prefix).encode() + b'{"k":"valu"}', end=True).rest()
        assert listener.rest() == blocks(({f"{prefix}a": "5"}, '{"k":"valu"}'))
        if head.startswith("POST"):
            assert answer.startswith((b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200 OK\r\n"))
            assert answer.endswith(f"\r\n\r\n{prefix}a 5\n".encode())
        else:
            assert answer == b""


@pytest.mark.parametrize("command", ["online ", "online", "ONLINE", "online ~", "Online ~ "])
def test_commands_without_a_newline(wire: Wire, prefix: str, command: str) -> None:
    listener = wire.listen(f"{prefix}a")
    assert f"{prefix}a 1\n" in wire.command(command.replace("~", prefix))
    assert wire.command("watch ").startswith("FAKE ")
    assert wire.command("stats").startswith("[data_to_send]\n")
    listener.close()


@pytest.mark.parametrize("tail", ["\r\n", "\n", "\r\n\r\n"])
def test_a_line_end_behind_the_body(wire: Wire, prefix: str, tail: str) -> None:
    listener = wire.listen(f"1:{prefix}a")
    wire.send(f"5:{prefix}a", '{"a":1}' + tail)
    assert listener.rest() == blocks(({f"{prefix}a": "5"}, '{"a":1}' + tail))


def test_a_line_end_behind_a_body_with_a_length(wire: Wire, prefix: str) -> None:
    data = (
        f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 7\r\nX-Realplexor: identifier=5:{prefix}a\r\n\r\n"
        + '{"a":1}\r\n'
    )
    assert wire.on_in(data.encode(), end=True).rest().endswith(f"\r\n\r\n{prefix}a 5\n".encode())
    assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, '{"a":1}'))


def test_integer_cursors_against_ours(wire: Wire, prefix: str) -> None:
    """`time() - 3` finds what was sent in the last seconds, `time() + 3` does not."""
    before = int(time.time())
    wire.send(f"{prefix}a", "1")
    body = wire.poll(f"{before - 3}:{prefix}a")
    match = re.search(rb'": "(\d{5,}\.\d{2,})" }', body)
    assert match
    assert before - 1 < Decimal(match[1].decode()) < time.time() + 1
    assert wire.poll(f"{int(time.time()) + 3}:{prefix}a") == b""


def test_native_apps(wire: Wire, prefix: str) -> None:
    """`POST /?=identifier=CURSOR:ID`, with a Cookie and a Referer, echoing the cursor's text."""
    cursor = "0"
    for number in range(3):
        wire.send(f"{prefix}a", str(number))
        app = wire.on_wait(
            http(
                f"""POST /?=identifier={cursor}:{prefix}a HTTP/1.1
                Host: h
                Cookie: identifier=x; a=b
                Referer: http://h/?identifier=IFRAME&HOST=h
                Accept-Encoding: gzip"""
            )
        )
        body = app.answer()[1].decode()
        assert re.findall(r'"data": (\d)', body) == [str(number)]
        match = re.search(r'"ids": { "\w+": "(\d{5,}\.\d{2,})" }', body)
        assert match
        cursor = match[1]


def test_a_referer_with_the_iframe_page(wire: Wire, prefix: str) -> None:
    listener = wire.on_wait(
        f"GET /?identifier={prefix}a HTTP/1.0\r\nReferer: http://h/?identifier=IFRAME&HOST=h\r\n\r\n".encode()
    )
    assert b"text/javascript" in listener.until(b"\r\n\r\n \r\n")
    assert listener.waits()


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/?identifier=SCRIPT&1234", b"text/javascript"),
        ("/rpl/?identifier=SCRIPT&1234", b"text/javascript"),
        ("/rpl/?0?identifier=IFRAME&HOST=example.com", b"text/html"),
        ("/?identifier=IFRAME&HOST=example.com&version=1.32", b"text/html"),
    ],
)
def test_pages_load_the_script_and_the_iframe(wire: Wire, target: str, kind: bytes) -> None:
    page = wire.on_wait(f"GET {target} HTTP/1.0\r\nHost: h\r\n\r\n".encode()).rest()
    assert page.startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + kind + b"; charset=utf-8\r\n")
    assert len(page) > 500


def test_the_old_javascript_polls(wire: Wire, prefix: str) -> None:
    """`?identifier=LIST&ncrnd=TIME`, as a POST with the body `identifier=LIST\\n` from 1700 characters on."""
    wire.send(f"5:{prefix}a", "1")
    get = wire.on_wait(f"GET /?identifier=1:{prefix}a&ncrnd=1795346940571 HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert get.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))
    names = ",".join(f"1:{prefix}{number:03}" for number in range(300))
    body = f"identifier={names},1:{prefix}a\n".encode()
    assert len(body) > 1700
    get.send(b"POST /?ncrnd=1795346940571 HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    assert get.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))


def test_watchers_keep_their_position_across_restarts() -> None:
    """One with a position of before gets FAKE and goes on from there, without missing or crashing anything."""
    with LiveServer() as server:
        wire = Wire(server)
        listener = wire.listen("a,b,c,d")
        position = re.findall(r"(\d+):", wire.command("WATCH 10"))[-1]
        assert position == "14"
        listener.close()
    with LiveServer() as server:
        wire = Wire(server)
        assert wire.command(f"WATCH {position}\n\n") == "FAKE 10:FAKE\n"
        wire.listen("e").close()
        assert wire.command("WATCH 10\n\n") == "online 11:e\n"


class TestAnswerToASend:
    """Some treat it as `ID CURSOR` lines, others take an empty answer for success."""

    def test_lines(self, wire: Wire, prefix: str) -> None:
        request = http(f"POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier={prefix}a,7:{prefix}b", b"1")
        body = wire.ask(request).partition(b"\r\n\r\n")[2].decode()
        found = dict(line.split(" ") for line in body.splitlines())
        assert found[f"{prefix}b"] == "7"
        assert Decimal(found[f"{prefix}a"]) > 1_000_000_000

    def test_empty(self, wire: Wire, prefix: str) -> None:
        assert wire.ask(f"X-Realplexor: identifier={prefix}a\r\n\r\n1".encode()) == b""


def test_many_polls_of_one_old_page_in_a_row(wire: Wire, prefix: str) -> None:
    """HTTP/1.0 behind a proxy: a connection for each poll, from the cursor that the last one brought."""
    cursor = "1"
    for number in range(10):
        listener = wire.on_wait(own(b"GET /?identifier=%b:~a HTTP/1.0\r\n\r\n" % cursor.encode(), prefix))
        listener.until(CLOSED[-3:])
        wire.send(f"{prefix}a", str(number))
        body = listener.rest().decode()
        assert f'"data": {number}\n' in body
        cursor = body.split('"')[5]
    eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")
