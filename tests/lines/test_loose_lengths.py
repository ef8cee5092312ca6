"""Old back-ends on IN: lengths that do not fit, commands that end by a blank line (protocol page, parts 3 and 7.1)."""

from __future__ import annotations

import time

import pytest

from tests.lines.wire import Wire, blocks, http

APART = 0.05  # seconds between two packets that the server sees as two
MESSAGE = '{"a": "привет, мир"}'


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", [str(len(MESSAGE)), "0", "-1", "abc", "+5", "1.5", "1,2", ""])
@pytest.mark.parametrize("portion", [37, 1 << 20])
def test_what_came_is_the_message(wire: Wire, prefix: str, length: str, version: str, portion: int) -> None:
    head = (
        f"POST / HTTP/{version}\r\nHost: h\r\nContent-Length: {length}\r\nX-Realplexor: identifier=5:{prefix}a\r\n\r\n"
    )
    data = head.encode() + MESSAGE.encode()
    sender = wire.on_in()
    for begin in range(0, len(data), portion):
        sender.send(data[begin : begin + portion])
    sender.end()
    assert sender.rest().endswith(f"\r\n\r\n{prefix}a 5\n".encode())
    assert wire.poll(f"1:{prefix}a") == blocks(({f"{prefix}a": "5"}, MESSAGE))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", [str(len(MESSAGE)), "0", "6"])
def test_wherever_it_is_cut_in_two(wire: Wire, prefix: str, length: str, version: str) -> None:
    """Each part has come before the next is sent, also where the length seems to say that all is there."""
    head = (
        f"POST / HTTP/{version}\r\nHost: h\r\nContent-Length: {length}\r\n"
        f"X-Realplexor: identifier=5:{prefix}%03d\r\n\r\n"
    )
    cuts = range(len(head % 0) - 1, len(head % 0) + len(MESSAGE.encode()))
    data = [(head % cut).encode() + MESSAGE.encode() for cut in cuts]
    senders = [wire.on_in(whole[:cut]) for whole, cut in zip(data, cuts, strict=True)]
    time.sleep(APART)
    for sender, whole, cut in zip(senders, data, cuts, strict=True):
        sender.send(whole[cut:])
        sender.end()
    for sender, cut in zip(senders, cuts, strict=True):
        assert sender.rest().endswith(f"\r\n\r\n{prefix}{cut:03d} 5\n".encode())
        assert wire.poll(f"1:{prefix}{cut:03d}") == blocks(({f"{prefix}{cut:03d}": "5"}, MESSAGE))


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("length", ["0", "3", "6", "7"])
def test_a_command_is_not_cut_wherever_its_packets_end(wire: Wire, prefix: str, length: str, version: str) -> None:
    listener = wire.listen(f"1:{prefix}a,1:x{prefix}a")
    head = f"POST / HTTP/{version}\r\nHost: h\r\nContent-Length: {length}\r\n\r\n".encode()
    text = f"ONLINE {prefix}".encode()
    for cut in range(len(text)):
        for pieces in ((head, text[:cut], text[cut:]), (head + text[:cut], text[cut:])):
            asker = wire.on_in()
            for piece in pieces:
                if piece:
                    asker.send(piece)
                    time.sleep(0.002)
            asker.end()
            assert asker.rest().endswith(f"\r\n\r\n{prefix}a 1\n".encode())
    listener.close()


def test_who_asks_to_be_kept_has_no_message_behind_its_length(wire: Wire, prefix: str) -> None:
    """Two empty sends and a right one, each behind the answer to the last; nothing that follows is their body."""
    client = wire.on_in()
    for connection in ("keep-alive", "keep-alive", "x"):
        client.send(http(f"POST /?identifier={prefix}a HTTP/1.1\nHost: h\nConnection: {connection}"))
        assert client.answer()[0].startswith(b"HTTP/1.1 400 ")
    client.send(http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", b"1"))
    assert client.answer()[1] == f"{prefix}a 5\n".encode()


def test_a_request_behind_an_empty_one_is_another(wire: Wire, prefix: str) -> None:
    empty = f"POST /?identifier={prefix}a HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n".encode()
    request = http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", b"1")
    for cut in range(len(request)):
        sender = wire.on_in(empty + request[:cut])
        time.sleep(0.002)
        sender.send(request[cut:])
        assert sender.answer()[0].startswith(b"HTTP/1.1 400 ")
        assert sender.answer()[1] == f"{prefix}a 5\n".encode()
        sender.close()


@pytest.mark.parametrize("length", ["6", "0", "-1", "abc", str(len("ONLINE "))])
@pytest.mark.parametrize("end", ["", "\n", "\r\n\r\n"])
def test_a_command_keeps_its_argument(wire: Wire, prefix: str, length: str, end: str) -> None:
    listener = wire.listen(f"1:{prefix}a,1:x{prefix}a")
    data = f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\nONLINE {prefix}{end}".encode()
    assert wire.ask(data).endswith(f"\r\n\r\n{prefix}a 1\n".encode())
    listener.close()


def test_two_lengths_are_still_refused(wire: Wire) -> None:
    for lengths in ("1\r\nContent-Length: abc", "abc\r\nContent-Length: 1", "abc\r\nTransfer-Encoding: chunked"):
        answer = wire.ask(f"POST /?identifier=5:a HTTP/1.1\r\nHost: h\r\nContent-Length: {lengths}\r\n\r\n1".encode())
        assert b" 400 Bad Request\r\n" in answer


def test_another_request_behind_is_another(wire: Wire, prefix: str) -> None:
    request = http(f"POST /?identifier=5:{prefix}a HTTP/1.1\nHost: h", b"1")
    for cut in range(len(request) + 1):
        sender = wire.on_in(request + request[:cut])
        assert sender.answer()[1] == f"{prefix}a 5\n".encode()
        sender.close()


COMMANDS = [
    "POST / HTTP/1.0\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\nHost: h\n\nonline ~\n\n",
    "GET / HTTP/1.1\r\nHost: h\r\nX-Realplexor: identifier=\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nX-Realplexor: identifier=\r\n\r\nONLINE ~\n\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {whole}\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {text}\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.0\r\nContent-Length: {text}\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\nONLINE ~\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\n\r\nX: identifier=\n\nONLINE ~\n\n",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("portion", [1, 1 << 20])
def test_a_command_ends_at_a_blank_line(wire: Wire, prefix: str, command: str, portion: int) -> None:
    """Answered and closed at once, without a half-close."""
    listener = wire.listen(f"1:{prefix}a")
    text = len(f"ONLINE {prefix}")
    data = command.replace("{whole}", str(text + 4)).replace("{text}", str(text)).replace("~", prefix).encode()
    client = wire.on_in()
    for begin in range(0, len(data), portion):
        client.send(data[begin : begin + portion])
    assert client.rest().endswith(f"\r\n\r\n{prefix}a 1\n".encode())
    listener.close()


@pytest.mark.parametrize("end", ["\r\n\r\n", "\n\n"])
def test_a_blank_line_that_comes_behind_the_command_ends_the_connection(wire: Wire, prefix: str, end: str) -> None:
    listener = wire.listen(f"1:{prefix}a")
    text = f"ONLINE {prefix}"
    client = wire.on_in(f"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
    time.sleep(0.02)  # so that it is received apart, and in time
    client.send(end.encode())
    assert client.rest().endswith(f"\r\n\r\n{prefix}a 1\n".encode())
    listener.close()


def test_who_asks_to_be_kept_is_kept(wire: Wire) -> None:
    client = wire.on_in()
    for _ in range(2):
        client.send(http("POST / HTTP/1.1\nHost: h\nConnection: keep-alive", b"ONLINE nobody_\n\n"))
        assert client.answer()[0].startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("form", ["POST / HTTP/1.0\r\nX-Realplexor: {}\r\n\r\n1", "X-Realplexor: {}\n\n1", "{}\n\n1"])
def test_a_password_is_literal_outside_a_url(tmp_path_factory: pytest.TempPathFactory, form: str) -> None:
    from passlib.hash import ldap_sha1

    from tests.live import LiveServer

    users = tmp_path_factory.mktemp("users") / "users"
    users.write_text(f"me:{ldap_sha1.hash('a%2Cb%3ac')}\n")
    with LiveServer("--set", f"users.file={users}") as server:
        live = Wire(server)
        live.ask(form.format("identifier=me:a%2Cb%3ac@5:me_a").encode())
        assert live.poll("1:me_a") == blocks(({"me_a": "5"}, "1"))
        live.ask(form.format("identifier=me:a,b:c@6:me_a").encode())
        assert live.poll("5:me_a") == b""
