"""A back-end's connection on the IN line."""

from __future__ import annotations

import _socket
import contextlib
import time
from collections.abc import Callable
from errno import ECONNABORTED
from typing import Any

from gevent.socket import wait_read, wait_write

from rplx.messages import Identifiers
from rplx.protocol.request_reader import RequestReader, State

READ_SIZE = 65536  # bytes read at once

_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Connection:
    """A back-end's connection: its socket, read and written by its greenlet, which waits only where it must.

    The bare socket and a watcher when it would block: gevent's own socket object took 60 µs of the 200 of a send.
    """

    __slots__ = (
        "_sock",
        "_timeout",
        "asked",
        "given_up",
        "host",
        "identifiers",
        "idle_since",
        "lingers",
        "parsed",
        "port",
        "reader",
        "served",
        "unread",
    )
    line = "IN"

    def __init__(self, sock: _socket.socket, address: Any, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self.host: str = address[0]
        self.port: int = address[1]
        self.reader: RequestReader | None = None
        self.identifiers: Identifiers | None = None  # those of the head of a request whose body is coming in
        self.parsed = False  # whether the log has the list of the request that is coming in
        self.idle_since = 0.0  # since when its client lets it wait, in monotonic seconds; 0: it does not
        self.asked = False  # whether the last that was carried out was a command
        self.served = False  # whether a request of it was carried out
        self.given_up = False
        self.unread = b""  # received already, but not looked at
        self.lingers = False  # whether its client may still send when it ends

    @property
    def peer(self) -> str:
        """HOST:PORT, for the log."""
        return f"{self.host}:{self.port}"

    def receive(self) -> bytes:
        """What has come, empty at the end of the client's sending half. Errors: OSError, TimeoutError."""
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        while True:
            try:
                return self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(wait_read)

    def receive_within(self, seconds: float) -> bytes | None:
        """The same, None if nothing comes for `seconds`. Errors: OSError."""
        before, self._timeout = self._timeout, seconds
        try:
            return self.receive()
        except TimeoutError:
            return None
        finally:
            self._timeout = before

    def send(self, data: bytes, flags: int = _SEND) -> None:
        """Sends all of `data`. Errors: OSError, TimeoutError."""
        left = memoryview(data)  # what is left of a long answer is not copied at each step
        while left:
            try:
                left = left[self._sock.send(left, flags) :]
            except BlockingIOError:
                self._wait(wait_write)

    def _wait(self, until_ready: Callable[..., Any]) -> None:
        if until_ready is wait_read:  # who reads its answer is not idle
            self.idle_since = time.monotonic()
        try:
            until_ready(self._sock.fileno(), self._timeout, TimeoutError())
        finally:
            self.idle_since = 0.0
        if self.given_up:
            raise ConnectionAbortedError(ECONNABORTED, "its place was given to another")

    def claim(self) -> tuple[int, float]:
        """Of idle ones, that with the least gives up its place first: who never asked, then who is idle longest."""
        if self.reader is None or self.reader.state is State.START:
            return int(self.served), self.idle_since
        return 2, self.idle_since

    def give_up(self) -> bool:
        """Ends it where it is idle; False if its client has just sent something."""
        try:
            self._sock.recv(1, _socket.MSG_DONTWAIT | _socket.MSG_PEEK)
            return False
        except BlockingIOError:
            pass
        except OSError:  # it has ended by itself
            return False
        self.given_up = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(_socket.SHUT_RDWR)
        return True

    def is_between_requests(self) -> bool:
        """Whether it has had an answer over HTTP, and nothing of another request has come."""
        return self.reader is not None and self.reader.state is State.START and self.reader.head_size > 0

    def end_if_idle(self) -> None:
        """Between two requests, makes the next thing received the end; one that has come is answered before it."""
        if self.reader is None or self.reader.state is State.START:
            with contextlib.suppress(OSError):
                self._sock.shutdown(_socket.SHUT_RD)

    def send_last(self, data: bytes) -> None:
        """Sends all of `data`, so that it goes out together with the end: a fifth of a send's time saved.

        `lingers` tells how to end: by closing where the client has ended its half, as Realplexor's clients do behind a
        send; else unread bytes would turn the end into a reset. Errors: OSError, TimeoutError.
        """
        try:
            self.lingers = bool(self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT))
        except BlockingIOError:
            self.lingers = True
        self.send(data, _SEND | _socket.MSG_MORE)
