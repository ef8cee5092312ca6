"""A WAIT line in this process and its loop, and a client that polls it."""

from __future__ import annotations

import re
import socket
import time

import gevent
from gevent.socket import socket as gevent_socket

from rplx.engine.memory import MemoryEngine
from rplx.hub.hub import Hub
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.table import Config
from rplx.wait_line.application import Application
from rplx.wait_line.connection import Connection
from rplx.wait_line.server import WaitServer
from tests.waiting import eventually

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
        return self.lines.connections.open()


class Client:
    """A kept connection that polls."""

    def __init__(self, server: Server) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.connect(server.address)
        self.sock.setblocking(False)
        self._server = server
        self.came = b""

    def poll(self, cursor: int, lines: str = "") -> None:
        """Sends a poll and waits until it is parked."""
        parked = self._server.hub.listening
        self.ask(cursor, lines)
        eventually(lambda: self._server.hub.listening == parked + 1)

    def stream(self) -> None:
        """Asks for a stream and waits until it is parked."""
        parked = self._server.hub.waiting
        self.ask(1, "Accept: text/event-stream\r\n")
        eventually(lambda: self._server.hub.waiting == parked + 1)

    def until(self, text: bytes) -> None:
        """Reads until `text` has come."""
        eventually(lambda: self.has_ended() or text in self.came)

    def ask(self, cursor: int, lines: str = "", count: int = 1) -> None:
        """Sends a poll, or `count` of them at once."""
        self.sock.send(f"GET /?identifier={cursor}:a HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode() * count)

    def body(self) -> bytes:
        """The next answer's body."""
        eventually(self._has_answer)
        head, _, rest = self.came.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2])
        self.came = rest[length:]
        return rest[:length]

    def _has_answer(self) -> bool:
        try:
            self.came += self.sock.recv(1 << 20)
        except BlockingIOError:
            pass
        match = re.match(rb"HTTP/1.1 200 OK\r\n(?s:.)*?Content-Length: (\d+)\r\n\r\n", self.came)
        return match is not None and len(self.came) >= match.end() + int(match[1])

    def has_ended(self) -> bool:
        """Whether the server has ended it; what came until then is in `came`. Raises ConnectionResetError."""
        try:
            while part := self.sock.recv(1 << 20):
                self.came += part
        except BlockingIOError:
            return False
        return True

    def is_quiet(self) -> bool:
        gevent.sleep(0.05)
        try:
            return bool(self.came + self.sock.recv(1))
        except BlockingIOError:
            return True
