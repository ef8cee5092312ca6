"""How the WAIT line ends: waiting polls have their answer, and who still comes is answered too."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import gevent
from gevent import get_hub

from rplx.hub.hub import PollTimeout
from rplx.log import Log
from rplx.net.accepting import Acceptor
from rplx.options.table import Config
from rplx.wait_line.connection import CLOSED, PARKED, READING, Connection
from rplx.wait_line.reading import Requests

DRAIN_STEP = 0.02  # seconds between two looks at what is left
DRAIN_POLL = 0.5  # seconds that a poll waits which comes meanwhile


class Draining(Requests):
    """`draining` says that the end has begun; `late` are those that have polled since."""

    def __init__(self, config: Config, log: Log) -> None:
        super().__init__(config, log)
        self.loop: Any = get_hub().loop
        self.draining = False
        self.acceptors: list[Acceptor] = []
        self.late: deque[Connection] = deque()

    def drain(self, seconds: float) -> None:
        """Answers the waiting polls with an empty body, spread over `seconds`, and ends the connections of now.

        It accepts on until `stop`, as those who come meanwhile would hang in the kernel's queue. Their polls wait, but
        for DRAIN_POLL seconds: old clients come back at once, again and again.
        """
        self.draining = True
        begin = time.monotonic()
        connections = self.open_connections()
        for number, connection in enumerate(connections):
            due = begin + seconds * number / len(connections)
            while due > time.monotonic() + DRAIN_STEP:
                gevent.sleep(DRAIN_STEP)
                self._end_late()
            self._send_away(connection)
        deadline = time.monotonic() + self.options.write_timeout
        while connections and time.monotonic() < deadline:
            gevent.sleep(DRAIN_STEP)
            self._end_late()
            connections = [connection for connection in connections if connection.state != CLOSED]
            for connection in connections:
                self._send_away(connection)
        self.lingering.wait(self._end_late)

    def stop_accepting(self) -> None:
        for acceptor in self.acceptors:
            acceptor.stop()

    def stop(self, seconds: float = DRAIN_POLL) -> None:
        """Accepts no more and ends what `drain` has left, for `seconds` at most."""
        self.draining = True
        self.stop_accepting()
        deadline = time.monotonic() + seconds
        while self.accepted and time.monotonic() < deadline:
            for connection in self.open_connections():
                self._send_away(connection)
            gevent.sleep(DRAIN_STEP)

    def _end_late(self) -> None:
        """Answers the polls that came while the server drains and have had their time."""
        now = time.monotonic()
        while self.late and (self.late[0].state != PARKED or self.late[0].deadline <= now):
            self.loop.run_callback(self._end_poll, self.late.popleft())

    def _send_away(self, connection: Connection) -> None:
        """Ends a connection's poll, or the connection if it has none."""
        if connection.state == PARKED:
            if connection.head is not None and connection.keep_alive:
                connection.keep_alive = False
                status, _, rest = connection.head.partition(b"\r\n")
                connection.head = status + b"\r\nConnection: close\r\n" + rest
            # Thrown from the event loop: a greenlet that ends goes on there, not here.
            self.loop.run_callback(self._end_poll, connection)
        elif connection.state == READING and connection.reader is None:
            self.close(connection)

    def _end_poll(self, connection: Connection) -> None:
        if connection.state == PARKED:
            connection.greenlet.throw(PollTimeout)
