"""Kept connections (protocol page, part 7.2): one request after another, on both lines."""

from __future__ import annotations

import pytest

from tests.lines.wire import Wire, blocks, http
from tests.waiting import eventually


def get(ids: str, lines: str = "") -> bytes:
    return http(f"GET /?identifier={ids} HTTP/1.1\nHost: h\n{lines}")


def post(ids: str, body: bytes, lines: str = "") -> bytes:
    return http(f"POST /?identifier={ids} HTTP/1.1\nHost: h\n{lines}", body)


class TestWait:
    def test_poll_after_poll(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait()
        for number in range(2, 7):
            listener.send(get(f"{number - 1}:{prefix}a"))
            if number % 2:
                assert listener.waits(0.05)
            wire.send(f"{number}:{prefix}a", str(number))
            head, body = listener.answer()
            assert b"\r\nConnection:" not in head
            assert body == b" \r\n" + blocks(({f"{prefix}a": f"{number}"}, str(number)))
        assert wire.online(prefix) == f"{prefix}a 0\n"

    def test_sent_ahead(self, wire: Wire, prefix: str) -> None:
        """Pipelined polls are answered one after the other, in their order."""
        wire.send(f"5:{prefix}a", "1")
        wire.send(f"5:{prefix}b", "2")
        listener = wire.on_wait(get(f"1:{prefix}a") + get(f"1:{prefix}b") + get(f"1:{prefix}a"))
        assert [listener.answer()[1][-8:-6] for _ in range(3)] == [b" 1", b" 2", b" 1"]

    def test_sent_ahead_while_the_first_waits(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(get(f"1:{prefix}a") + get(f"1:{prefix}b"))
        assert listener.waits()
        wire.send(f"5:{prefix}b", '"second"')
        assert listener.waits()
        wire.send(f"5:{prefix}a", '"first"')
        assert b'"first"' in listener.answer()[1]
        assert b'"second"' in listener.answer()[1]

    def test_sent_later_while_the_first_waits(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}b", '"second"')
        listener = wire.on_wait(get(f"1:{prefix}a"))
        assert listener.waits(0.1)
        listener.send(get(f"1:{prefix}b"))
        assert listener.waits()
        wire.send(f"5:{prefix}a", '"first"')
        assert b'"first"' in listener.answer()[1]
        assert b'"second"' in listener.answer()[1]

    def test_the_last_one_asks_to_close(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        listener = wire.on_wait(get(f"1:{prefix}a"))
        listener.answer()
        listener.send(get(f"5:{prefix}a", "Connection: close"))
        assert listener.until(b"\r\n\r\n \r\n").startswith(b"HTTP/1.1 200 OK\r\nConnection: close\r\n")
        wire.send(f"6:{prefix}a", "2")
        assert listener.rest() == blocks(({f"{prefix}a": "6"}, "2"))

    def test_a_refusal_does_not_end_it(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        listener = wire.on_wait(get(""))
        assert listener.answer()[0].startswith(b"HTTP/1.1 400 ")
        listener.send(get(f"1:{prefix}a"))
        assert listener.answer()[0].startswith(b"HTTP/1.1 200 ")

    def test_a_malformed_request_ends_it(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        listener = wire.on_wait(get(f"1:{prefix}a"))
        listener.answer()
        listener.send(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
        assert listener.rest().startswith(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n")

    def test_hanging_up_while_it_waits(self, wire: Wire, prefix: str) -> None:
        listener = wire.on_wait(get(f"{prefix}a"))
        eventually(lambda: wire.online(prefix), f"{prefix}a 1\n")
        listener.end()
        eventually(lambda: wire.online(prefix), f"{prefix}a 0\n")

    def test_pages_too(self, wire: Wire) -> None:
        listener = wire.on_wait(get("SCRIPT") + get("IFRAME"))
        assert b"Content-Type: text/javascript" in listener.answer()[0]
        assert b"Content-Type: text/html" in listener.answer()[0]


class TestIn:
    def test_one_after_another(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in()
        for number in range(1, 5):
            sender.send(post(f"{number}:{prefix}a", b"1"))
            head, text = sender.answer()
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert text == f"{prefix}a {number}\n".encode()

    def test_sent_ahead(self, wire: Wire, prefix: str) -> None:
        requests = [post(f"{number}:{prefix}a", b"%d" % number) for number in range(1, 31)]
        sender = wire.on_in(b"".join(requests))
        assert [sender.answer()[1] for _ in requests] == [f"{prefix}a {number}\n".encode() for number in range(1, 31)]
        assert wire.poll(f"0:{prefix}a").count(b'"data"') == 30

    def test_with_commands_between_and_blank_lines(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in(
            post(f"1:{prefix}a", b"1")
            + b"\r\n"
            + http("POST / HTTP/1.1\nHost: h", f"ONLINE {prefix}".encode())
            + b"\r\n\r\n"
            + post("", b"hello")
            + post(f"2:{prefix}a", b"2")
        )
        assert sender.answer()[1] == f"{prefix}a 1\n".encode()
        assert sender.answer()[1] == b""
        assert sender.answer()[0].startswith(b"HTTP/1.0 400 ")  # whoever gives no channel is not listened to further
        assert sender.rest() == b""
        assert wire.poll(f"0:{prefix}a") == blocks(({f"{prefix}a": "1"}, "1"))

    def test_a_message_that_is_not_json_does_not_end_it(self, wire: Wire, prefix: str) -> None:
        sender = wire.on_in(post(f"1:{prefix}a", b"hello") + post(f"1:{prefix}a", b"1"))
        assert sender.answer()[0].startswith(b"HTTP/1.1 400 ")
        assert sender.answer()[1] == f"{prefix}a 1\n".encode()

    @pytest.mark.parametrize("tail", [b"", b"\r\n", b"\r\n\r\n"])
    def test_the_end(self, wire: Wire, prefix: str, tail: bytes) -> None:
        sender = wire.on_in(post(f"1:{prefix}a", b"1") + tail)
        sender.answer()
        sender.end()
        assert sender.rest() == b""
