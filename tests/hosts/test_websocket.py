"""WebSockets are the same in every server (protocol page, part 11), but for what the server in front writes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from socket import IPPROTO_TCP, TCP_USER_TIMEOUT

import gevent
import pytest

from rplx.net.listening import USER_TIMEOUT
from rplx.protocol.websocket import Opcode
from tests.hosts.http import Client, ask, eventually, online, send
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi
from tests.lines.socket_floods import FLOODS, Flood
from tests.lines.sockets import Socket, request
from tests.lines.wire import Conversation
from tests.protocol.frames import close, frame, text
from tests.soak.vitals import connections


def opened(server: Server, target: str = "/", *lines: str) -> Socket:
    """A WebSocket behind its handshake."""
    socket = Socket.__new__(Socket)
    socket.conversation = Conversation(server.wait, request(target, *lines))
    socket.head = socket.conversation.until(b"\r\n\r\n")
    assert socket.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in socket.head
    assert b"chunked" not in socket.head
    return socket


def is_online(server: Server, id: str, count: int) -> None:
    eventually(lambda: online(server.in_).get(id, 0) == count)


def test_messages_and_channels(server: Server, prefix: str) -> None:
    a, b = f"{prefix}a", f"{prefix}b"
    socket = opened(server, f"/?identifier={a}", "Sec-WebSocket-Protocol: rplx.1")
    assert b"\r\nSec-WebSocket-Protocol: rplx.1\r\n" in socket.head
    socket.open()
    for number in range(3):
        send(server.in_, a, b"%d" % number)
    assert [socket.message() for _ in range(3)] == [0, 1, 2]
    socket.say({"listen": {b: None}})
    socket.open()
    send(server.in_, f"{a},{b}", json.dumps("x" * 100_000).encode())
    heard = socket.heard()
    assert sorted(heard["ids"]) == [a, b]
    assert heard["data"] == "x" * 100_000
    socket.say({"stop": [a]})
    is_online(server, a, 0)
    is_online(server, b, 1)
    send(server.in_, a, b"4")
    send(server.in_, b, b"5")
    assert socket.message() == 5
    socket.conversation.close()
    is_online(server, b, 0)


def test_the_channels_come_later(server: Server, prefix: str) -> None:
    a = f"{prefix}a"
    socket = opened(server)
    for byte in text(json.dumps({"listen": {a: None}})):
        socket.send(bytes([byte]))
    socket.open()
    send(server.in_, a, b"1")
    assert socket.message() == 1


def test_history(server: Server, prefix: str) -> None:
    a = f"{prefix}a"
    for number in range(5, 9):
        send(server.in_, f"{number}:{a}", b"%d" % number)
    socket = opened(server, f"/?identifier=6:{a}")
    assert socket.heard()["gaps"] == [a]
    assert [socket.message(), socket.message()] == [7, 8]


def test_pings_and_closes(server: Server, prefix: str) -> None:
    socket = opened(server, f"/?identifier={prefix}a")
    socket.open()
    socket.send(frame(Opcode.PING, b"x") + frame(Opcode.PING, b"y"))
    while (found := socket.frame()) == (0x8A, b"x"):
        pass
    assert found == (0x8A, b"y")
    socket.send(close(4321, b"bye"))
    assert socket.frame() == (0x88, (4321).to_bytes(2, "big"))
    assert socket.conversation.rest() == b""
    is_online(server, f"{prefix}a", 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(Opcode.TEXT, b"{}", mask=None), 1002),
        (frame(Opcode.BINARY), 1003),
        (text(b"\xff"), 1007),
        (text(b"x" * 65537), 1009),
        (text('{"listen":{"a b":null}}'), 4000),
    ],
)
def test_what_is_wrong(server: Server, prefix: str, data: bytes, code: int) -> None:
    socket = opened(server, f"/?identifier={prefix}a")
    socket.send(data)
    assert socket.closed()[0] == code
    is_online(server, f"{prefix}a", 0)


def test_a_hang_up_is_noticed(server: Server, prefix: str) -> None:
    for how in ("close", "reset", "end"):
        socket = opened(server, f"/?identifier={prefix}{how}")
        socket.open()
        getattr(socket.conversation, how)()
        is_online(server, f"{prefix}{how}", 0)


@pytest.mark.parametrize("start", [lambda given: gunicorn(*HOOKS, options=given), pywsgi], ids=["gunicorn", "pywsgi"])
def test_who_reads_nothing_is_dropped(start: Callable[[dict[str, str]], Server]) -> None:
    with start({"RPLX_WAIT_WRITE_TIMEOUT": "1", "RPLX_PRESENCE_OFFLINE_TIMEOUT": "0.5"}) as server:
        slow = Conversation(server.wait, request("/?identifier=a"), receive_buffer=4096)
        slow.until(b'"open"')
        for _ in range(30):
            send(server.in_, "a", json.dumps("x" * 190_000).encode())
        is_online(server, "a", 0)


def test_a_peer_that_vanishes_is_found() -> None:
    with pywsgi() as server:
        socket = opened(server, "/?identifier=a")
        socket.open()
        (found,) = connections(server, server.wait[1])
        with found:
            assert found.getsockopt(IPPROTO_TCP, TCP_USER_TIMEOUT) == USER_TIMEOUT


@pytest.mark.parametrize("kind", ["pings", "nothing new", "many channels"])
def test_a_client_that_never_pauses(server: Server, prefix: str, kind: str) -> None:
    """Others are answered while it goes on, not when it has ended."""
    flood = Flood(server.wait, 1, FLOODS[kind])
    for number in range(3):
        assert send(server.in_, f"{number + 5}:{prefix}a", b"1")
        assert ask(server.wait, request_of(f"/?identifier={number}.5:{prefix}a")).status == "200 OK"
    assert flood.goes_on
    flood.end()
    is_online(server, "f", 0)


@pytest.mark.parametrize("body", [b"Content-Length: 2\r\n\r\nab", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
def test_a_handshake_has_no_body(server: Server, prefix: str, body: bytes) -> None:
    assert ask(server.wait, request(f"/?identifier={prefix}a")[:-2] + body).status == "400 Bad Request"


def test_nothing_may_come_behind_a_handshake(server: Server, prefix: str) -> None:
    """A whole request there or a part of one: it is refused, and lost nowhere."""
    for behind in (request_of(f"/?identifier=1:{prefix}a&position"), frame(Opcode.PING)):
        client = Client(server.wait, request(f"/?identifier={prefix}a") + behind)
        assert client.read().status == "400 Bad Request"
        client.close()


WRAPPED = """
from rplx.wsgi import application

def app(environ, start_response):
    return application(environ, lambda *given: start_response(*given))
"""


@pytest.mark.parametrize("kind", ["gunicorn", "gunicorn, wrapped", "pywsgi"])
def test_nothing_behind_a_websocket_is_http(tmp_path: Path, kind: str) -> None:
    """A proxy takes it for a WebSocket, so that a request in it would have passed all that it looks at."""
    (tmp_path / "wrapped.py").write_text(WRAPPED)
    with (
        pywsgi()
        if kind == "pywsgi"
        else gunicorn(*HOOKS)
        if kind == "gunicorn"
        else gunicorn(*HOOKS, application="wrapped:app", cwd=tmp_path)
    ) as server:
        socket = opened(server, "/?identifier=a")
        socket.open()
        socket.send(close(1000))
        assert socket.frame()[0] == 0x88
        with contextlib.suppress(OSError):
            for _ in range(100):  # the server ends the connection before
                socket.send(request_of("/?identifier=smuggled"))
                gevent.sleep(0.05)
        assert online(server.in_) == {"a": 0}


def request_of(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


def test_refusals(server: Server, prefix: str) -> None:
    foreign = request(f"/?identifier={prefix}a", "Origin: https://foreign.example")
    assert ask(server.wait, foreign).status == "403 Forbidden"
    assert ask(server.wait, request("/").replace(b": 13", b": 8")).status == "426 Upgrade Required"
    opened(server, f"/?identifier={prefix}a", "Origin: https://example.com")
    assert opened(server, f"/?identifier={prefix}a/b").closed()[0] == 4000


@pytest.mark.parametrize("start", [lambda: gunicorn(*HOOKS), pywsgi], ids=["gunicorn", "pywsgi"])
def test_the_end_of_the_server(start: object) -> None:
    with start() as server:  # type: ignore[operator]
        sockets = [opened(server, "/?identifier=a"), opened(server)]
        sockets[0].open()
        server.process.terminate()
        if start is not pywsgi:  # which tells nobody that it ends
            assert [socket.closed()[0] for socket in sockets] == [4200, 4200]
