"""Requests on the WAIT line that one turn of the loop could not carry out: which goes next.

Short ones have most of the time, long ones a third of that, and long ones whose client seems to have gone a third of
that again. So a flood of lists with hundreds of ids does not hold up those who ask for little, and one of clients that
ask and go does not hold up those who stay.
"""

from __future__ import annotations

import _socket
from collections import deque
from collections.abc import Callable

from rplx.wait_line.connection import Connection, Request, Waiting
from rplx.wait_line.states import ENDED

SHORT = 1024  # bytes of a target and a body, or of plain text, up to which a request takes little time
HUNG_UP_MAX = 32  # long requests that wait whose clients have ended their sending halves; further ones are refused

_SHORT, _LONG, _HUNG_UP = range(3)
_SHARES = (1, 3, 9)  # a second of work counts as so many


class Backlog:
    """Queues by what is asked for. The queue whose work has taken the least time, by its share, goes next.

    `refuse` is called with a connection and its request when too many wait whose clients seem to have gone, `lost`
    with a connection that has been reset.
    """

    def __init__(self, refuse: Callable[[Connection, Request], None], lost: Callable[[Connection], None]) -> None:
        self._refuse = refuse
        self._lost = lost
        self._queues: tuple[deque[Waiting], ...] = (deque(), deque(), deque())
        self._used = [0.0, 0.0, 0.0]  # seconds by share
        self._now = 0.0  # what the queue that went last had used: a queue that was empty saves up nothing
        self._last = _SHORT
        self.waiting = 0  # requests

    def has_short(self) -> bool:
        """Returns whether a short request waits."""
        return bool(self._queues[_SHORT])

    def put_off(self, requests: deque[Waiting]) -> None:
        """Moves all `requests` into the queues."""
        while requests:
            self._add(*requests.popleft())

    def next(self) -> Waiting | None:
        """Returns the request to be carried out next, or None if there is none."""
        while self.waiting:
            rank = min((rank for rank in (_SHORT, _LONG, _HUNG_UP) if self._queues[rank]), key=self._used.__getitem__)
            connection, request = self._queues[rank].popleft()
            self.waiting -= 1
            if rank == _LONG and _has_hung_up(connection):  # while it waited
                self._add(connection, request)
                continue
            self._now = self._used[rank]
            self._last = rank
            return connection, request
        return None

    def charge(self, seconds: float) -> None:
        """Adds the time that the request which `next` returned last has taken."""
        self._used[self._last] += seconds * _SHARES[self._last]

    def _add(self, connection: Connection, request: Request) -> None:
        hung_up = _has_hung_up(connection)
        if hung_up is None:
            self._lost(connection)
            return
        if hung_up:
            connection.inbound = ENDED
        rank = _SHORT if _size(request) <= SHORT else _HUNG_UP if hung_up else _LONG
        queue = self._queues[rank]
        if rank == _HUNG_UP and len(queue) >= HUNG_UP_MAX:
            self._refuse(connection, request)
            return
        if not queue:
            self._used[rank] = max(self._used[rank], self._now)
        queue.append((connection, request))
        self.waiting += 1


def _size(request: Request) -> int:
    return len(request) if isinstance(request, bytes) else len(request.target) + len(request.body)


def _has_hung_up(connection: Connection) -> bool | None:
    """Returns whether the client's sending half has ended, or None if the connection was reset.

    Whether the client still reads is not known before something is sent to it.
    """
    if connection.inbound is ENDED:
        return True
    try:
        return not connection.sock.recv(1, _socket.MSG_DONTWAIT | _socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return None
