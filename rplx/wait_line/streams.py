"""The streams of our own server: written to in passes over a set, each read on by itself where it is behind.

A stream is PARKED like a poll, and its greenlet waits on the Event of its set. It is woken when the stream is to read
on from history, or to end.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from gevent import get_hub
from greenlet import GreenletExit

from rplx.errors import Refusal, Unavailable
from rplx.hub.hub import Hub
from rplx.hub.members import Member, has_expired, why_ended
from rplx.net.retry_after import retry_milliseconds
from rplx.wait_line.connection import Connection
from rplx.wait_line.connections import Connections
from rplx.wait_line.sending import Sending
from rplx.wait_line.states import ENDED, PARKED, WRITING


class Streams:
    """A Transport. `renew` gives a connection a fresh greenlet, which has run nothing but its wait.

    `answered` is called with a connection whose stream has ended, and whether its client may still send; `carry_out`
    does what the client of a WebSocket has asked for, and returns whether that goes on.
    """

    def __init__(
        self,
        hub: Hub,
        connections: Connections,
        sending: Sending,
        answered: Callable[[Connection, bool], None],
        renew: Callable[[Connection], None],
        carry_out: Callable[[Connection, Member], bool],
    ) -> None:
        self._streams = hub.streams
        self._named = hub.named
        self._turns = hub.turns
        self._connections = connections
        self._sending = sending
        self._answered = answered
        self._renew = renew
        self._carry_out = carry_out
        self._loop: Any = get_hub().loop

    # -- to members of sets

    def began(self, connection: Connection, member: Member, first: bytes, sent: int) -> None:
        """Has a stream's socket written to, which has taken the first `sent` bytes of its head and first frames."""
        os.set_blocking(connection.fd, False)
        self._streams.ready(member, connection.sock.send)
        if sent < len(first):
            self._streams.fall_behind(member, first)
            connection.sent = sent

    def fell_behind(self, member: Member, taken: int) -> None:
        """Wakes the greenlet of a stream that has left its set. `taken`: bytes of its `answer` that are sent."""
        connection: Connection = member.connection
        connection.sent = taken
        if connection.state is PARKED and connection.listener is member:
            if connection.event is not None:
                connection.event.unlink(connection.greenlet.switch)
                connection.event = None
            self._loop.run_callback(self._wake, connection, member)

    def _wake(self, connection: Connection, member: Member) -> None:
        if connection.state is PARKED and connection.listener is member:
            connection.greenlet.switch()

    # -- in a connection's own greenlet

    def go_on(self, connection: Connection, member: Member) -> bool:
        """Writes what a stream is behind with, or its end. Returns whether it is PARKED again, in this greenlet."""
        try:
            if member.listens:
                return self._catch_up(connection, member)
            self._end(connection, member, why_ended(member))
        except (GreenletExit, OSError):
            self._streams.leave(member)
            self._connections.close(connection)
        return False

    def _catch_up(self, connection: Connection, member: Member) -> bool:
        """Returns whether the stream is PARKED again. Raises OSError, GreenletExit."""
        connection.state = WRITING
        connection.deadline = 0.0  # that was for what its client says; from now on `sending` sets it
        try:
            self._finish_piece(connection, member)
            self._turns.rest()  # many may have been woken together
            if connection.inbox is not None and not self._carry_out(connection, member):
                return False
            while not (member.client and self._named.has_newer(member)) and not has_expired(member):
                if piece := self._streams.read_on(member):
                    self._sending.write(connection, (piece,), 0)
                    self._turns.rest()
                elif self._streams.settle(member):
                    connection.state = PARKED
                    connection.event = None
                    self._loop.run_callback(self._renew, connection)
                    return True
                else:
                    self._turns.pause()
            error: Refusal = why_ended(member)
        except Unavailable as found:  # its client comes back, and reads on then
            error = found
        self._streams.leave(member)
        self._end(connection, member, error)
        return False

    def _finish_piece(self, connection: Connection, member: Member) -> None:
        piece, sent = member.answer, connection.sent
        connection.sent = 0
        member.answer = b""
        if piece:
            self._sending.write(connection, (piece,), sent)
        else:
            self._sending.await_room(connection)

    def _end(self, connection: Connection, member: Member, error: Refusal) -> None:
        """Says goodbye. Raises OSError, GreenletExit."""
        retry = retry_milliseconds(error, self._connections.ends_at)
        pieces = (member.answer or b"", member.encoding.bye(error, retry))
        self._sending.write(connection, pieces, connection.sent)
        connection.keep_alive = False
        connection.greenlet = None
        self._answered(connection, connection.inbound is not ENDED)
