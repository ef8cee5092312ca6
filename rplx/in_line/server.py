"""The IN line's server: accepts back-ends, a greenlet of a pool for each, drains and stops (protocol page, part 3)."""

from __future__ import annotations

import _socket
import time
from collections.abc import Iterable
from typing import Any

import gevent

from rplx.hub.hub import Hub
from rplx.in_line.acceptor import Acceptor
from rplx.in_line.connection import Connection
from rplx.in_line.conversation import Conversation
from rplx.in_line.line import Carrier, Line
from rplx.in_line.pool import ReusingPool
from rplx.log import Log
from rplx.net.lingering import Lingering
from rplx.net.listening import show_address
from rplx.options.table import Config

DRAIN_STEP = 0.02  # seconds between two looks at what is left when the server ends
IDLE_FROM = 1.0  # seconds without a byte after which a connection's place may be given to another, if all are taken


class InServer:
    """Serves back-ends on bound and listening sockets. Call `start` after construction, then `stop`."""

    def __init__(
        self,
        hub: Hub,
        carrier: Carrier,
        config: Config,
        log: Log,
        *,
        wait_line: str = "where the application is served",
    ) -> None:
        """`wait_line` says where listeners go who are lost here."""
        self._line = Line(carrier, config, hub.turns, log, wait_line)
        self._log = log
        self._quiet = hub.quiet
        self._pool = ReusingPool(config.in_.max_connections)
        self._acceptors: list[Acceptor] = []
        self._conversations: set[Conversation] = set()
        self._lingering = Lingering()

    def configure(self, config: Config) -> None:
        """Takes new options, which count from the next request on."""
        self._line.configure(config)

    def start(self, sockets: Iterable[Any]) -> None:
        """Accepts on `sockets` from now on."""
        sockets = list(sockets)
        self._line.listens_at(map(show_address, sockets))
        for listening in sockets:
            acceptor = Acceptor(listening, self._serve, self._pool, self._log, make_room=self._make_room)
            acceptor.start()
            self._acceptors.append(acceptor)

    def stop_accepting(self) -> None:
        """Accepts no more; those who have been accepted are served."""
        for acceptor in self._acceptors:
            acceptor.end()

    def begin_to_drain(self) -> None:
        """Has each connection end with its next answer from now on; goes on to accept."""
        self._line.end_with_answers()

    def drain(self, timeout: float) -> None:
        """Ends today's connections when their requests are answered, within `timeout` seconds; goes on to accept."""
        self.begin_to_drain()
        left = set(self._conversations)
        for conversation in left:
            conversation.end_if_idle()
        deadline = time.monotonic() + timeout
        while left & self._conversations and time.monotonic() < deadline:
            gevent.sleep(DRAIN_STEP)
        self._lingering.wait(deadline - time.monotonic())

    def stop(self, timeout: float) -> None:
        """Lets the requests under way end, for `timeout` seconds at most; connections without one end at once."""
        self.stop_accepting()
        self._line.end_between_requests()
        for conversation in self._conversations:
            conversation.end_if_idle()
        self._pool.dismiss()
        self._pool.join(timeout)
        self._pool.kill(block=False)

    def _make_room(self) -> bool:
        """Ends the connection that is easiest to spare, for one who comes; False if none is idle for long enough."""
        if any(conversation.connection.given_up for conversation in self._conversations):
            return True  # it is about to end: one place for one who comes
        ripe = time.monotonic() - IDLE_FROM
        idle = [one for one in self._conversations if 0 < one.connection.idle_since < ripe]
        for conversation in sorted(idle, key=Conversation.claim):
            if conversation.connection.give_up():
                text = "IN: all in.max_connections are taken: an idle one is closed for one who comes"
                self._log.counted("IN: given up", text)
                return True
        return False

    def _serve(self, sock: _socket.socket, address: Any) -> None:
        """Serves one connection to its end, in a greenlet of the pool."""
        log = self._log
        connection = Connection(sock, address, self._line.options.timeout)
        conversation = Conversation(self._line, connection)
        if log.connections:
            log.connection(connection, "connection opened")
        self._conversations.add(conversation)
        try:
            conversation.run()
        finally:
            self._conversations.discard(conversation)
            if connection.lingers:
                self._lingering.add(sock)
            else:
                sock.close()
            if log.connections:
                self._quiet.wait()  # the lines of a delivery stand before the end of the connection that caused it
                log.connection(connection, "connection closed")
