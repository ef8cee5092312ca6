"""The standalone WAIT line: a lean WSGI server on gevent, built for connections that wait.

One greenlet a connection that waits. Work is done in phases over a batch of ready connections (accept all, read all,
parse and call the application for all, send all, watch all, park all), so that each phase's code stays in the cache.
It serves applications that answer with a list, or leave a listener in the request's `Direct`.

Each part gets the others that it needs, or what it calls of them, in its constructor: connections <- reading <- sending
<- parking <- draining <- answering <- calling. What a connection does meanwhile, and which part acts on it: `states`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gevent import get_hub

from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.log import Log
from rplx.net.accepting import BATCH, Acceptor
from rplx.options.table import Config
from rplx.wait_line.answering import Answering
from rplx.wait_line.calling import Calling, WsgiApplication
from rplx.wait_line.connection import Connection
from rplx.wait_line.connections import Connections
from rplx.wait_line.deadlines import SWEEP_EVERY, Deadlines
from rplx.wait_line.draining import DRAIN_POLL, Draining
from rplx.wait_line.parking import Parked
from rplx.wait_line.readiness import Readiness
from rplx.wait_line.reading import Reading
from rplx.wait_line.sending import Sending
from rplx.wait_line.states import PARKED, READING, WRITING
from rplx.wait_line.streams import Streams
from rplx.wait_line.websockets import WebSockets


class WaitServer:
    """Serves `application` on listening sockets. One to a process; `start` after construction, then `stop`.

    It looks at the deadlines every `sweep_every` seconds.
    """

    def __init__(
        self, application: WsgiApplication, hub: Hub, config: Config, log: Log, *, sweep_every: float = SWEEP_EVERY
    ) -> None:
        options = self._options = config.wait
        self._log = log
        self._sweep_every = sweep_every
        self._loop: Any = get_hub().loop
        self._acceptors: list[Acceptor] = []
        self._turn = self._loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns
        self.connections = Connections(options, log)
        self._reading = Reading(config, log, self.connections, self._look_soon)
        self._sending = Sending(options, log, self.connections, self._reading.answered)
        answered = self._reading.answered
        self._sockets = WebSockets(options, log, hub, self.connections, self._sending, answered)
        self._streams = Streams(hub, self.connections, self._sending, answered, self._renew, self._sockets.carry_out)
        self._parked = Parked(
            options, log, hub, self.connections, self._finish, self._sockets.look, self._sockets.time_is_up
        )
        self._draining = Draining(options, self.connections, self._parked.end_soon, self._parked.send_away)
        self._answering = Answering(
            self.connections, self._reading, self._sending, self._parked, self._streams.began, self._draining
        )
        self._calling = Calling(
            application,
            log,
            hub.turns,
            self.connections,
            self._draining,
            self._reading.requests,
            self._answering.send,
        )
        self._readiness = Readiness(
            self.connections, self._reading, self._parked, hub.turns, hub.quiet, self._work, self._look_soon
        )
        by_state = {
            READING: self._reading.time_is_up,
            PARKED: self._parked.time_is_up,
            WRITING: self._sending.time_is_up,
        }
        self._deadlines = Deadlines(self.connections, hub.turns, by_state)
        hub.attach(self._sending.send)
        hub.named.attach(self._parked.supersede)
        hub.streams.attach(self._streams)

    def configure(self, config: Config) -> None:
        """Takes new options. What is under way keeps its deadline."""
        options = self._options = config.wait
        self._reading.configure(config)
        for part in (self.connections, self._sending, self._sockets, self._parked, self._draining):
            part.configure(options)

    def start(self, sockets: Iterable[Any]) -> None:
        """Begins to accept from `sockets`, which are bound and listening."""
        for listening in sockets:
            self._acceptors.append(Acceptor(listening, self.opened, self._log))
        self._epoll_watcher = self._loop.io(self.connections.epoll.fileno(), 1)
        self._epoll_watcher.start(self._readiness.look)
        self._deadlines.start(self._sweep_every)

    @property
    def accepted(self) -> int:
        """How many connections are open."""
        return self.connections.accepted

    # -- phases: accept, read and parse, call the application

    def opened(self, accepted: list[tuple[int, Any]], family: int) -> None:
        """Takes newly accepted descriptors with their addresses, and reads what they sent."""
        self._calling.expect(len(accepted) == BATCH)
        add = self.connections.add
        self._work([add(fd, address, family) for fd, address in accepted])

    def look(self) -> None:
        """Looks at all sockets now; the loop does so by itself when something has come."""
        self._readiness.look()

    def _look_soon(self) -> None:
        self._turn.start(self._readiness.look)

    def _work(self, batch: Iterable[Connection]) -> None:
        """Reads, parses, calls the application, sends and parks, each for the whole batch."""
        read = self._reading.read
        for connection in batch:
            if connection.state is READING:
                read(connection)
        self._calling.take()

    # -- in a connection's own greenlet

    def _finish(self, connection: Connection) -> bool:
        """Goes on where a parked connection was woken; returns whether it is parked again."""
        listener = connection.listener
        if isinstance(listener, Member):
            return self._streams.go_on(connection, listener)
        self._sending.finish(connection)
        return False

    def _renew(self, connection: Connection) -> None:
        self._sockets.parked_again(connection)
        self._parked.renew(connection)

    # -- the end

    def drain(self, seconds: float, last: float = DRAIN_POLL) -> None:
        """Answers the waiting polls, spread over `seconds`, and ends the connections of now. Accepts until `stop`.

        Answers that are being written then have `last` seconds more.
        """
        self._draining.drain(seconds, last)

    def stop_accepting(self) -> None:
        """Leaves to others who connects from now on."""
        for acceptor in self._acceptors:
            acceptor.stop()

    def stop(self, seconds: float = DRAIN_POLL) -> None:
        """Accepts no more and ends what `drain` has left, for `seconds` at most."""
        self.stop_accepting()
        self._draining.finish(seconds)
