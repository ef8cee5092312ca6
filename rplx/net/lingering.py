"""Connections whose last answer is out, while their clients may still send.

Unread bytes would turn the end into a reset that eats the answer, so what still comes is read and thrown away.
"""

from __future__ import annotations

import _socket
import select
import time
from collections.abc import Callable

import gevent
from gevent import get_hub, monkey

LINGER = 2.0  # seconds that a client may take to read its answer while it still sends
LINGERING_MAX = 1024  # connections that may do so; beyond it the oldest is closed
READ_SIZE = 65536  # bytes thrown away at once
LOOK = 256  # connections looked at, at once
SWEEP_EVERY = 0.5  # seconds between two looks at who has had its time
WAIT_STEP = 0.02  # seconds between two looks at what is left when the server ends


class Lingering:
    """All such connections of a server, under one epoll with one watcher: no greenlet and no timer for each."""

    def __init__(self) -> None:
        loop = get_hub().loop
        self._epoll = monkey.get_original("select", "epoll")()  # gevent takes it away where it patches
        self._sockets: dict[int, tuple[_socket.socket, float]] = {}  # by descriptor, with their deadlines; oldest first
        self._watcher = loop.io(self._epoll.fileno(), 1, ref=False)  # of itself it keeps no program running
        self._watcher.start(self._look)
        self._sweeper = loop.timer(SWEEP_EVERY, SWEEP_EVERY, ref=False)  # runs while there are any

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, sock: _socket.socket) -> None:
        """Ends our half of `sock`, and closes it when the client's has ended."""
        try:
            sock.shutdown(_socket.SHUT_WR)
            fd = sock.fileno()
            self._epoll.register(fd, select.EPOLLIN)
        except OSError:
            sock.close()
            return
        if not self._sockets:
            self._sweeper.again(self._sweep)
        elif len(self._sockets) >= LINGERING_MAX:
            self._close(next(iter(self._sockets)))
        self._sockets[fd] = (sock, time.monotonic() + LINGER)

    def wait(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Returns when all that linger now have ended, `seconds` later at most; calls `meanwhile` again and again."""
        left = list(self._sockets.values())
        deadline = time.monotonic() + seconds
        while left and time.monotonic() < deadline:
            gevent.sleep(WAIT_STEP)
            meanwhile()
            left = [one for one in left if one[0].fileno() >= 0]

    def _look(self) -> None:
        for fd, _ in self._epoll.poll(0, LOOK):
            try:
                ended = not self._sockets[fd][0].recv(READ_SIZE, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            except OSError:
                ended = True
            if ended:
                self._close(fd)

    def _sweep(self) -> None:
        now = time.monotonic()
        while self._sockets:
            fd, (_, deadline) = next(iter(self._sockets.items()))
            if deadline > now:
                return
            self._close(fd)

    def _close(self, fd: int) -> None:
        self._sockets.pop(fd)[0].close()
        if not self._sockets:
            self._sweeper.stop()
