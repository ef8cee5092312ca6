"""What the epoll reports of all connections, and who is read in which turn of the loop."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable, Iterable

from gevent.event import Event

from rplx.hub.turns import Turns
from rplx.net.accepting import BATCH
from rplx.wait_line.connection import Connection
from rplx.wait_line.connections import Connections
from rplx.wait_line.parking import Parked
from rplx.wait_line.reading import Reading
from rplx.wait_line.states import LATER, NEXT, PARKED, QUEUED, QUIET, READING, UNREAD

BUSY_BATCH = 16  # connections to a phase while a message is on its way to a crowd
LOOK = 4096  # events looked at, at once, for those who do not belong to the crowd

_HANG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR


class Readiness:
    """Hands those who are to be read to `work`, in batches. `quiet` is set while no message is on its way.

    `soon` has the loop call `look` in its next turn.
    """

    def __init__(
        self,
        connections: Connections,
        reading: Reading,
        parked: Parked,
        turns: Turns,
        quiet: Event,
        work: Callable[[Iterable[Connection]], None],
        soon: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._later = reading.later
        self._requests = reading.requests
        self._parked = parked
        self._turns = turns
        self._quiet = quiet
        self._work = work
        self._soon = soon
        self._seen: deque[tuple[Connection | None, int]] = deque()  # events that are to be looked at

    def look(self) -> None:
        """Looks at what has come, and has as many connections read as this turn has place for."""
        quiet = self._quiet.is_set()
        batch: list[Connection] = []
        self._see(quiet)
        seen, later = self._seen, self._later
        while seen:
            connection, events = seen.popleft()
            if connection is None:
                continue
            state = connection.state
            if state is READING:
                # Edge-triggered: a hang-up that came with a request is not told again once that is parked.
                hang_up = events & _HANG_UP
                if connection.turn is QUEUED:
                    if hang_up:
                        connection.inbound = UNREAD
                    continue
                connection.inbound = UNREAD if hang_up else QUIET
                if connection.turn is LATER and (later or not quiet):
                    connection.turn = QUEUED
                    later.append(connection)
                else:
                    connection.turn = NEXT
                    batch.append(connection)
            elif state is PARKED:
                self._parked.came(connection, events)
                if self._turns.is_over():
                    break
            elif connection.inbound is QUIET:
                connection.inbound = UNREAD
        self._fill(batch, BATCH if quiet else BUSY_BATCH)
        if batch or self._requests:
            self._work(batch)
        if later or seen:
            self._soon()

    def _see(self, quiet: bool) -> None:
        """Asks the epoll, unless the last turn was over before it had looked at all that was seen."""
        seen = self._seen
        if not seen:
            by_descriptor = self._connections.by_descriptor
            events = self._connections.epoll.poll(0, BATCH if quiet else LOOK)
            seen.extend([(by_descriptor[fd], event) for fd, event in events])

    def _fill(self, batch: list[Connection], size: int) -> None:
        """While a message is on its way, those who come back for the next one do not hold it up for long."""
        later = self._later
        while later and len(batch) < size:
            connection = later.popleft()
            connection.turn = NEXT
            batch.append(connection)
