"""A back-end's connection on the IN line: its socket, read and written by the greenlet that serves it."""

from __future__ import annotations

import _socket
import contextlib
import time
from collections.abc import Callable
from errno import ECONNABORTED
from typing import Any

from gevent.socket import wait_read, wait_write

READ_SIZE = 65536  # bytes read at once

_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Connection:
    """A bare socket that waits by a watcher only where it would block, which is faster than gevent's socket object."""

    __slots__ = ("_sock", "_timeout", "_unread", "given_up", "host", "idle_since", "lingers", "port")
    line = "IN"

    def __init__(self, sock: _socket.socket, address: Any, timeout: float) -> None:
        """`timeout`: seconds for which the client may let each receive or send wait."""
        self._sock = sock
        self._timeout = timeout
        self._unread = b""  # received, and put back
        self.host: str = address[0]
        self.port: int = address[1]
        self.idle_since = 0.0  # monotonic seconds since which the next bytes are waited for; 0: they are not
        self.given_up = False  # whether its place was given to another client
        self.lingers = False  # whether its client may still send when it ends

    @property
    def peer(self) -> str:
        """HOST:PORT, for the log."""
        return f"{self.host}:{self.port}"

    def receive(self) -> bytes:
        """Returns what has come, b"" at the end of the client's sending half. Raises OSError, TimeoutError."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        while True:
            try:
                return self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._wait(wait_read)

    def receive_within(self, seconds: float) -> bytes | None:
        """Returns the same, None if nothing comes for `seconds`. Raises OSError."""
        before, self._timeout = self._timeout, seconds
        try:
            return self.receive()
        except TimeoutError:
            return None
        finally:
            self._timeout = before

    def put_back(self, data: bytes) -> None:
        """Has the next receive return `data`, the last that was received."""
        self._unread = data

    def send(self, data: bytes, flags: int = _SEND) -> None:
        """Sends all of `data`. Raises OSError, TimeoutError."""
        left = memoryview(data)  # so that the rest of a long answer is not copied at each step
        while left:
            try:
                left = left[self._sock.send(left, flags) :]
            except BlockingIOError:
                self._wait(wait_write)

    def send_last(self, data: bytes) -> None:
        """Sends all of `data` so that it goes out together with the end, and sets `lingers`.

        If the client has ended its sending half, as Realplexor's clients do behind a send, the socket may be closed at
        once. If not, bytes that were not read would turn that into a reset. Raises OSError, TimeoutError.
        """
        try:
            self.lingers = bool(self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT))
        except BlockingIOError:
            self.lingers = True
        self.send(data, _SEND | _socket.MSG_MORE)

    def end_receiving(self) -> None:
        """Has the receive behind what has come see the end."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(_socket.SHUT_RD)

    def give_up(self) -> bool:
        """Ends the connection where it is idle, for another client; False if it has ended, or something has come."""
        if self.given_up:
            return False
        try:
            self._sock.recv(1, _socket.MSG_DONTWAIT | _socket.MSG_PEEK)
            return False
        except BlockingIOError:
            pass
        except OSError:
            return False
        self.given_up = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(_socket.SHUT_RDWR)
        return True

    def _wait(self, until_ready: Callable[..., Any]) -> None:
        """Raises OSError, TimeoutError."""
        if until_ready is wait_read:  # a client that reads its answer slowly is not idle
            self.idle_since = time.monotonic()
        try:
            until_ready(self._sock.fileno(), self._timeout, TimeoutError())
        finally:
            self.idle_since = 0.0
        if self.given_up:
            raise ConnectionAbortedError(ECONNABORTED, "its place was given to another")
