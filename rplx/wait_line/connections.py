"""All open connections of the WAIT line: how they begin, are counted, watched and run, and how they end."""

from __future__ import annotations

import _socket
import select
import time
from collections.abc import Generator
from typing import Any

from gevent import get_hub, getcurrent, monkey
from greenlet import greenlet

from rplx.errors import Refusal, Unavailable
from rplx.log import Log
from rplx.net.lingering import Lingering
from rplx.net.retry_after import retry_after, retry_milliseconds
from rplx.options.table import WaitOptions
from rplx.protocol.event_stream import asks_for_stream, refused
from rplx.protocol.http_request import HttpRequest
from rplx.wait_line.clients import Clients
from rplx.wait_line.connection import Connection
from rplx.wait_line.states import CLOSED, ENDED, QUIET, UNWATCHED, WORKING

COUNTED = (408, 431)  # refusals that the log counts where it does not tell each: slow and long heads may be attacks
EARLY = 0.1  # seconds for which a connection that is one too many may have its request on the way
EARLY_MAX = 256  # such connections; further ones are refused at once
PEEKED_MAX = 4096  # bytes of a request that are looked at before it is refused
GROWTH = 1024  # places that the table grows by

_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
_WATCH = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET

Life = Generator[None, None, None]  # what a connection's greenlet runs


class Connections:
    """The table of connections by descriptor, and one epoll that watches them all: a libev watcher each is larger.

    `accepted` is how many are open. `ahead` holds the requests that clients have sent ahead of their turn. `clients`
    knows whose they are. `ends_at` is when a server that is ending will have ended, in monotonic seconds, and 0 while
    it goes on.
    """

    def __init__(self, options: WaitOptions, log: Log) -> None:
        self._log = log
        self._gevent_hub = get_hub()
        self.accepted = 0
        self.ends_at = 0.0
        self.by_descriptor: list[Connection | None] = []
        self.ahead: dict[Connection, list[HttpRequest]] = {}
        self.lingering = Lingering()
        self.epoll = monkey.get_original("select", "epoll")()  # gevent takes it away where it patches
        self.clients = Clients(log)
        self._early: list[tuple[Connection, Refusal]] = []  # one too many, of whose requests nothing has come
        self._early_over: Any = self._gevent_hub.loop.timer(EARLY)
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new limits. Connections that are open stay, and count."""
        self._options = options
        self.clients.configure(options, self.open())

    def will_end(self, seconds: float) -> None:
        """Notes that the server ends in so many seconds: who is refused from now on is told to come back later."""
        self.ends_at = time.monotonic() + seconds

    def open(self) -> list[Connection]:
        """Returns all connections that are open now."""
        return [connection for connection in self.by_descriptor if connection is not None]

    def add(self, fd: int, address: Any, family: int) -> Connection:
        """Returns the connection of a newly accepted descriptor: CLOSED, as it was refused, if there are too many."""
        sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0, fd)
        connection = Connection(sock, fd, address)
        if fd >= len(self.by_descriptor):
            self.by_descriptor.extend([None] * (fd + GROWTH - len(self.by_descriptor)))
        self.by_descriptor[fd] = connection
        self.accepted += 1
        if self._log.connections:
            self._log.connection(connection, "connection opened")
        self._admit(connection)
        return connection

    def _admit(self, connection: Connection) -> None:
        """Refuses a connection, which is counted already, if it is one too many."""
        limit = self._options.max_connections
        if limit and self.accepted > limit:
            self._turn_away(connection, "wait.max_connections", f"more than {limit} connections")
        elif not self.clients.active:
            return
        elif not self.clients.may_connect(connection):
            text = f"WAIT: {connection.host}: closed, it is not among wait.trusted_proxies (wait.proxy_protocol)"
            self._log.counted("WAIT: no proxy", text)
            self.close(connection)
        elif not self.clients.opened(connection):
            self.refuse_one_more(connection)

    def refuse_one_more(self, connection: Connection, request: HttpRequest | bytes | None = None) -> None:
        """Refuses a connection of an address that has as many as it may. `request`: what was read of it, if any."""
        text = f"more than {self._options.max_connections_per_address} connections from one address"
        self._turn_away(connection, "wait.max_connections_per_address", text, request)

    def _turn_away(
        self, connection: Connection, option: str, text: str, request: HttpRequest | bytes | None = None
    ) -> None:
        self._log.counted(option, f"WAIT: {connection.host}: refused, {text} ({option})")
        error = Unavailable(text)
        head = _peeked(connection) if request is None else _head_of(request)
        if head or request is not None or len(self._early) >= EARLY_MAX:
            self._refuse_as_asked(connection, error, head)
            return
        connection.state = WORKING  # its request is on its way, and says how it is to be refused
        self._early.append((connection, error))
        if len(self._early) == 1:
            self._early_over.start(self._refuse_early)

    def _refuse_early(self) -> None:
        early, self._early = self._early, []
        for connection, error in early:
            if connection.state is not CLOSED:
                self._refuse_as_asked(connection, error, _peeked(connection))

    def _refuse_as_asked(self, connection: Connection, error: Refusal, head: bytes) -> None:
        if asks_for_stream(head):
            self._refuse_stream(connection, error)
        else:
            self.refuse(connection, error)

    def _refuse_stream(self, connection: Connection, error: Refusal) -> None:
        """Refuses a stream as part 10.9 has it, and ends the connection.

        A page of any site may read that, as it says nothing: EventSource ends for good where it may read nothing.
        """
        self._log.connection_error(connection, error.text)
        head = (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
            "Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\nAccess-Control-Allow-Origin: *\r\n\r\n"
        )
        self._send_last(connection, head.encode() + refused(error.text, retry_milliseconds(error, self.ends_at)))

    def watch(self, connection: Connection) -> None:
        """Registers the socket once, edge-triggered: data that is already there is reported too."""
        if connection.inbound is UNWATCHED:
            connection.inbound = QUIET
            self.epoll.register(connection.fd, _WATCH)

    def run(self, connection: Connection, life: Life) -> None:
        """Starts a greenlet for the connection that runs `life`; the greenlet that it had before ends."""
        # The frames live in the generator: a greenlet that starts in a Python function maps 16 KB for its life. It ends
        # by itself, where dropping it half done would cost an exception; the default of next() lets no StopIteration
        # reach the hub.
        before, connection.greenlet = connection.greenlet, greenlet(next, self._gevent_hub)
        connection.greenlet.switch(life, None)
        if before is not None:
            before.switch()  # it finds that it is no longer the connection's, and ends

    def refuse(self, connection: Connection, error: Refusal) -> None:
        """Answers with an HTTP refusal (part 7.3), and ends the connection."""
        self._log.connection_error(connection, error.text)
        if error.status in COUNTED and not self._log.connections:
            self._log.counted(f"WAIT: {error.status}", f"WAIT: {connection.host}: refused, {error.text}")
        text = f"{error.text}\n"
        retry = "".join([f"{name}: {value}\r\n" for name, value in retry_after(error, self.ends_at)])
        head = (
            f"HTTP/1.1 {error.status} {error.reason}\r\nConnection: close\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(text)}\r\nX-Content-Type-Options: nosniff\r\n"
            f"Cache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n{retry}\r\n"
        )
        self._send_last(connection, (head + text).encode("latin-1", "replace"))

    def _send_last(self, connection: Connection, answer: bytes) -> None:
        try:
            connection.sock.send(answer, _SEND)
        except OSError:
            self.close(connection)
            return
        if connection.inbound is ENDED:
            self.close(connection)
        else:
            self.linger(connection)

    def linger(self, connection: Connection) -> None:
        """Ends a connection whose client may still send, so that the client can read its answer."""
        self._remove(connection)
        self.lingering.add(connection.sock)

    def close(self, connection: Connection) -> None:
        """Ends a connection at once. Does nothing if it has ended."""
        if connection.state is not CLOSED:
            self._remove(connection)
            connection.sock.close()

    def _remove(self, connection: Connection) -> None:
        self.by_descriptor[connection.fd] = None
        connection.state = CLOSED
        connection.listener = connection.event = None
        running, connection.greenlet = connection.greenlet, None
        if running is not None and running is not getcurrent():
            # It finds that it is no longer the connection's, and ends.
            self._gevent_hub.loop.run_callback(running.switch)
        self.accepted -= 1
        if self.clients.active:
            self.clients.closed(connection)
        if self.ahead:
            self.ahead.pop(connection, None)
        if self._log.connections:
            self._log.connection(connection, f"{connection.name} connection closed".strip())


def _peeked(connection: Connection) -> bytes:
    """Returns what has come of a connection's first request by now. It stays there."""
    try:
        return connection.sock.recv(PEEKED_MAX, _socket.MSG_DONTWAIT | _socket.MSG_PEEK)
    except OSError:
        return b""


def _head_of(request: HttpRequest | bytes) -> bytes:
    """Returns what of a request's head says what it asks for."""
    if isinstance(request, bytes):
        return b""
    accepted = [b"\naccept: " + value for name, value in request.headers if name == b"accept"]
    return b"GET %b \r%b" % (request.target, b"".join(accepted))
