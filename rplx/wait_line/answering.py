"""The answers of the application: sent, watched and parked, each phase for all that have come together."""

from __future__ import annotations

import _socket
import time
from collections.abc import Callable

from rplx.hub.members import Member
from rplx.wait_line.connection import Answer, Connection
from rplx.wait_line.connections import Connections
from rplx.wait_line.draining import DRAIN_POLL, Draining
from rplx.wait_line.parking import Parked
from rplx.wait_line.reading import Reading
from rplx.wait_line.sending import Sending
from rplx.wait_line.states import PARKED, UNREAD, UNWATCHED

_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
_GONE = -1


class Answering:
    """Sends answers that have come together, in phases.

    `began` is called with a stream before it is parked: its connection and member, what it begins with, and how many
    bytes of that are sent.
    """

    def __init__(
        self,
        connections: Connections,
        reading: Reading,
        sending: Sending,
        parked: Parked,
        began: Callable[[Connection, Member, bytes, int], None],
        draining: Draining,
    ) -> None:
        self._connections = connections
        self._reading = reading
        self._sending = sending
        self._parked = parked
        self._began = began
        self._draining = draining

    def send(self, answers: list[Answer]) -> None:
        """Sends, watches, and parks or goes on. Called in the loop: it makes C calls that do not block, and parks."""
        short = _send(answers)
        for connection, _, _, _, _, _ in answers:
            if connection.inbound is UNWATCHED:
                self._connections.watch(connection)
        draining = self._draining.begun
        now = time.monotonic()
        park, answered = self._parked.park, self._reading.answered
        for connection, out, tail, listener, timeout, linger in answers:
            if listener is not None:
                if isinstance(listener, Member) and short.get(connection) != _GONE:
                    self._began(connection, listener, out, short.pop(connection, len(out)))
                park(connection, listener, now + (DRAIN_POLL if draining else timeout))
                if draining:
                    self._draining.came_late(connection)
                if connection.state is PARKED:
                    if connection in short:  # a fresh connection that does not take a head is gone
                        self._parked.drop(connection)
                    elif connection.inbound is UNREAD:
                        self._parked.look(connection)
            elif connection in short:
                self._send_rest(connection, (out, tail), short[connection], linger)
            else:
                answered(connection, linger)

    def _send_rest(self, connection: Connection, pieces: tuple[bytes, bytes], sent: int, linger: bool) -> None:
        if sent == _GONE:
            self._connections.close(connection)
        else:
            self._connections.run(connection, self._sending.rest(connection, pieces, sent, linger))


def _send(answers: list[Answer]) -> dict[Connection, int]:
    """Sends all `answers`. Returns who did not take theirs whole, with the bytes that they took, or _GONE."""
    short: dict[Connection, int] = {}
    for connection, out, tail, _, _, _ in answers:
        if not out:
            continue
        try:
            sent = connection.sock.sendmsg((out, tail), (), _SEND) if tail else connection.sock.send(out, _SEND)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = _GONE
        if sent != len(out) + len(tail):
            short[connection] = sent
    return short
