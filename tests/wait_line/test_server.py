"""The greenlets of the standalone WAIT line, from inside: kept from poll to poll, woken in vain, let go of."""

from __future__ import annotations

import gc
import os
import re
import socket
import time
from collections.abc import Iterator

import gevent
import pytest
from gevent.socket import socket as gevent_socket
from greenlet import greenlet

from rplx.engine.memory import MemoryEngine
from rplx.hub.delivery import Delivery
from rplx.hub.hub import Hub
from rplx.hub.sets import ChannelSet, Listener
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.table import Config
from rplx.wait_line.application import Application
from rplx.wait_line.connection import Connection
from rplx.wait_line.server import WaitServer
from tests.waiting import eventually

PATIENCE = 8.0  # seconds until something that has to come is missed
LONG = b'"%b"' % (b"x" * 100_000)  # more than a socket takes at once


class Server:
    """A hub and its WAIT line on a port of its own, in this process and its loop."""

    def __init__(self, log: Log) -> None:
        config = Config()
        engine = MemoryEngine(config.history, config.presence, wall=time.time, monotonic=time.monotonic)
        self.hub = Hub(engine, log)
        self.lines = WaitServer(Application(self.hub, config, log), self.hub, config, log)
        self._listening = gevent_socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen()
        self.lines.start([self._listening])
        self.address = self._listening.getsockname()

    def publish(self, cursor: int, data: bytes, id: str = "a") -> None:
        self.hub.publish(Send(Identifiers({id: str(cursor)}), data))

    def stop(self) -> None:
        self.lines.drain(0)
        self.lines.stop()
        self._listening.close()

    def connections(self) -> list[Connection]:
        return self.lines.open_connections()


class Client:
    """A kept connection that polls."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(server.address)
        self.sock.setblocking(False)
        self._server = server
        self._came = b""

    def poll(self, cursor: int, lines: str = "") -> None:
        """Sends a poll and waits until it is parked."""
        parked = self._server.hub.listening
        self.ask(cursor, lines)
        eventually(lambda: self._server.hub.listening == parked + 1)

    def ask(self, cursor: int, lines: str = "") -> None:
        self.sock.send(f"GET /?identifier={cursor}:a HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode())

    def body(self) -> bytes:
        """The next answer's body."""
        eventually(self._has_answer)
        head, _, rest = self._came.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2])
        self._came = rest[length:]
        return rest[:length]

    def _has_answer(self) -> bool:
        try:
            self._came += self.sock.recv(1 << 20)
        except BlockingIOError:
            pass
        match = re.match(rb"HTTP/1.1 200 OK\r\n(?s:.)*?Content-Length: (\d+)\r\n\r\n", self._came)
        return match is not None and len(self._came) >= match.end() + int(match[1])

    def is_quiet(self) -> bool:
        gevent.sleep(0.05)
        try:
            return bool(self._came + self.sock.recv(1))
        except BlockingIOError:
            return True


def alive(*kinds: type) -> list[object]:
    return [found for found in gc.get_objects() if type(found) in kinds]


@pytest.fixture(params=[False, True], ids=["log of messages", "log of connections"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """With the log of connections each greenlet ends its own poll; else the sender does, and they wait on."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    log = Log(1, request.param, nowhere)
    gc.collect()
    gc.disable()
    server = Server(log)
    try:
        yield server
    finally:
        server.stop()
        log.flush()
        os.close(nowhere)
        gc.enable()


def test_one_greenlet_to_a_connection() -> None:
    server = Server(Log(0))
    client = Client(server)
    client.poll(1)
    (connection,) = server.connections()
    first = connection.greenlet
    for number in range(2, 6):
        server.publish(number, b"%d" % number)
        assert b" %d\n" % number in client.body()
        assert connection.greenlet is first
        client.poll(number)
        assert connection.greenlet is first
    client.sock.close()
    eventually(lambda: not server.connections())
    eventually(lambda: first.dead)
    server.stop()


def test_nothing_is_left(server: Server) -> None:
    before = len(alive(greenlet)), len(alive(Connection))
    for start in (1, 11, 21):
        clients = [Client(server) for _ in range(70)]
        for number in range(start, start + 3):
            for client in clients:
                client.poll(number)
            server.publish(number + 1, b"1")
            for client in clients:
                client.body()
        clients[0].poll(start + 3)
        for client in clients:
            client.sock.close()
        del client, clients
        eventually(lambda: not server.connections())
        assert server.hub.listening == 0
        # Greenlets that were told to end do so in the loop's next turns, which come when the machine has time.
        eventually(lambda: not alive(Listener, ChannelSet))
        eventually(lambda: len(alive(greenlet)) <= before[0] + 1)  # the one that calls the application
        eventually(lambda: len(alive(Connection)) <= before[1] + 1)  # whose request that has called it for last


def test_a_poll_that_times_out_between_two_that_are_answered(server: Server) -> None:
    client = Client(server)
    for number in range(1, 6, 3):
        client.poll(number)
        server.publish(number + 1, b"1")
        assert b'"a": "%d"' % (number + 1) in client.body()
        client.poll(number + 1)
        (connection,) = server.connections()
        connection.deadline = 1.0
        assert client.body() == b" \r\n"
        client.poll(number + 1)
        server.publish(number + 2, b"1")
        assert b'"a": "%d"' % (number + 2) in client.body()


def test_an_answer_that_the_socket_does_not_take_whole(server: Server) -> None:
    client = Client(server)
    for number in range(1, 6, 2):
        client.poll(number)
        server.publish(number + 1, LONG)
        assert LONG in client.body()
        client.poll(number + 1)
        server.publish(number + 2, b"2")
        assert client.body().endswith(b'"data": 2\n  }\n]')


def test_an_answer_from_history_that_the_socket_does_not_take_whole(server: Server) -> None:
    """It is written by a greenlet of its own; the one that waits for messages ends."""
    client = Client(server)
    for number in range(1, 8, 3):
        client.poll(number)
        server.publish(number + 1, b"1")
        client.body()
        (connection,) = server.connections()
        waiting = connection.greenlet
        server.publish(number + 2, LONG)
        client.ask(number + 1)
        assert LONG in client.body()
        assert waiting is None or waiting.dead
        client.poll(number + 2)
        server.publish(number + 3, b"2")
        assert client.body().endswith(b'"data": 2\n  }\n]')


def test_woken_in_vain(server: Server) -> None:
    """One of a set is not done, so their event is set; it may come when the other waits for its next message."""
    slow, fast = Client(server), Client(server)
    for number in range(1, 6, 2):
        slow.poll(number)
        fast.poll(number)
        server.connections()[-1].sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        server.publish(number + 1, LONG)
        assert LONG in fast.body()
        fast.poll(number + 1)
        wake = gevent.get_hub().loop.run_callback
        for connection in server.connections():  # the one writes, the other waits
            wake(connection.greenlet.switch)
        assert fast.is_quiet()
        assert LONG in slow.body()
        slow.poll(number + 1)
        server.publish(number + 2, b"2")
        for client in (slow, fast):
            assert client.body().endswith(b'"data": 2\n  }\n]')


def test_a_set_that_a_message_parts(server: Server) -> None:
    """Who is ahead of it waits on, and is woken by the next message though its event has been set."""
    behind, ahead = Client(server), Client(server)
    for start in (10, 20):
        behind.poll(start + 1)
        ahead.poll(start + 5)
        server.publish(start + 3, b"3")
        assert b" 3\n" in behind.body()
        assert ahead.is_quiet()
        server.publish(start + 6, LONG)
        assert LONG in ahead.body()


def test_who_has_had_the_message_before_its_turn(server: Server) -> None:
    """A poll whose time is up while the crowd before it is served takes the message along; it does not come again."""
    client = Client(server)
    client.poll(1)
    held: list[Delivery] = []
    start, server.hub._start = server.hub._start, held.append  # type: ignore[method-assign]
    server.publish(2, b"2")
    server.hub._start = start  # type: ignore[method-assign]
    (connection,) = server.connections()
    connection.deadline = 1.0
    assert b'"a": "2"' in client.body()
    client.poll(2)
    start(held[0])
    assert client.is_quiet()
    server.publish(3, b"3")
    assert client.body().endswith(b'"data": 3\n  }\n]')
    assert client.is_quiet()


def test_hanging_up_between_two_polls(server: Server) -> None:
    client = Client(server)
    client.poll(1)
    server.publish(2, b"2")
    client.body()
    (connection,) = server.connections()
    client.sock.close()
    eventually(lambda: not server.connections())
    assert connection.greenlet is None


def test_the_last_poll_asks_to_close(server: Server) -> None:
    client = Client(server)
    client.poll(1)
    server.publish(2, b"2")
    client.body()
    client.poll(2, "Connection: close\r\n")
    server.publish(3, b"3")
    eventually(lambda: not server.connections())
    assert client.sock.recv(65536).endswith(b'"data": 3\n  }\n]')
