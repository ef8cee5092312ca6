"""How the WAIT line ends: polls that wait have their answer, and whoever still comes is answered too."""

from __future__ import annotations

import _socket
import time
from collections import deque
from collections.abc import Callable

import gevent

from rplx.options.table import WaitOptions
from rplx.wait_line.connection import Connection
from rplx.wait_line.connections import Connections
from rplx.wait_line.states import CLOSED, PARKED, READING

DRAIN_STEP = 0.02  # seconds between two looks at what is left
DRAIN_POLL = 0.5  # seconds that a poll waits which comes meanwhile
QUIET = 0.2  # seconds behind an answer within which a client may have sent its next poll

_PEEK = _socket.MSG_DONTWAIT | _socket.MSG_PEEK


class Draining:
    """`begun` says that the end has begun.

    `end` is called with a poll that is to have its answer now, `send_away` if its connection is to end, too.
    """

    def __init__(
        self,
        options: WaitOptions,
        connections: Connections,
        end: Callable[[Connection], None],
        send_away: Callable[[Connection], None],
    ) -> None:
        self._connections = connections
        self._end_poll = end
        self._send_poll_away = send_away
        self.begun = False
        self._late: deque[Connection] = deque()  # polls that were parked since
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new options."""
        self._keepalive_timeout = options.keepalive_timeout

    def drain(self, seconds: float, last: float) -> None:
        """Answers the waiting polls with an empty body, spread over `seconds`, then ends the connections of now.

        Idle ones end last: each request since has an answer that ends its connection, so what is idle then was so for
        long, and nobody's poll meets the end. Answers that are being written have `last` seconds.

        Who comes meanwhile is served, as clients would hang in the kernel's queue, but no poll waits for longer than
        DRAIN_POLL seconds. The application refuses those of HTTP/1.1, so that is for old clients, which would come back
        at once, again and again.
        """
        self.begun = True
        self._connections.will_end(seconds + last)
        begin = time.monotonic()
        connections = self._connections.open()
        for number, connection in enumerate(connections):
            due = begin + seconds * number / len(connections)
            while due > time.monotonic() + DRAIN_STEP:
                gevent.sleep(DRAIN_STEP)
                self._end_late()
            if connection.state is PARKED:
                self._send_poll_away(connection)
        deadline = time.monotonic() + last
        while connections and time.monotonic() < deadline:
            gevent.sleep(DRAIN_STEP)
            self._end_late()
            connections = [connection for connection in connections if connection.state is not CLOSED]
            answered_before = time.monotonic() - QUIET
            for connection in connections:
                if connection.state is PARKED or connection.deadline - self._keepalive_timeout < answered_before:
                    self._send_away(connection)
        self._connections.lingering.wait(deadline - time.monotonic(), self._end_late)

    def finish(self, seconds: float) -> None:
        """Ends what `drain` has left, for `seconds` at most."""
        self.begun = True
        deadline = time.monotonic() + seconds
        while self._connections.accepted and time.monotonic() < deadline:
            for connection in self._connections.open():
                self._send_away(connection)
            gevent.sleep(DRAIN_STEP)

    def came_late(self, connection: Connection) -> None:
        """Takes a poll that was parked since the end has begun: it is answered when its deadline has come."""
        self._late.append(connection)

    def _end_late(self) -> None:
        now = time.monotonic()
        while self._late and (self._late[0].state is not PARKED or self._late[0].deadline <= now):
            self._end_poll(self._late.popleft())

    def _send_away(self, connection: Connection) -> None:
        """Ends a connection's poll, or the connection if no request is under way."""
        if connection.state is PARKED:
            self._send_poll_away(connection)
        elif connection.state is READING and connection.reader is None and not _has_sent(connection):
            self._connections.close(connection)


def _has_sent(connection: Connection) -> bool:
    """Returns whether something has come that was not read yet."""
    try:
        return bool(connection.sock.recv(1, _PEEK))
    except OSError:  # nothing, or the client is gone
        return False
