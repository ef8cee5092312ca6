"""What clients say over their WebSockets (part 11): read while they are PARKED, carried out in their own greenlets.

A WebSocket is a stream: `streams` writes its messages. A ping alone is answered at once, in the loop. For anything else
the member steps out of its set, so that its greenlet wakes, carries it out, reads on from history and comes back.
"""

from __future__ import annotations

import _socket
import time
from collections.abc import Callable

from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.log import Log
from rplx.options.table import WaitOptions
from rplx.protocol.websocket import Close, FrameReader, Ping, pong_frame
from rplx.protocol.websocket_stream import takes_deflate
from rplx.wait_line.connection import NOTHING_CAME, Connection, Inbox
from rplx.wait_line.connections import Connections
from rplx.wait_line.sending import Sending
from rplx.wait_line.socket_commands import SocketCommands
from rplx.wait_line.states import ENDED, QUIET, UNREAD

_DONT_WAIT = _socket.MSG_DONTWAIT
_PEEK = _socket.MSG_DONTWAIT | _socket.MSG_PEEK


class WebSockets:
    """Reads what comes, and carries it out.

    `answered` is called with a connection whose close frame is sent, and whether its client may still send.
    """

    def __init__(
        self,
        options: WaitOptions,
        log: Log,
        hub: Hub,
        connections: Connections,
        sending: Sending,
        answered: Callable[[Connection, bool], None],
    ) -> None:
        self._commands = SocketCommands(options, log, hub)
        self._streams = hub.streams
        self._connections = connections
        self._sending = sending
        self._answered = answered
        self._spare: Inbox | None = None  # it holds nothing
        self._timeout = options.head_timeout

    def configure(self, options: WaitOptions) -> None:
        """Takes new options."""
        self._commands.configure(options)
        self._timeout = options.head_timeout

    # -- in the loop

    def look(self, connection: Connection, member: Member) -> bool:
        """Reads what a parked client has sent. Returns False if the client has gone."""
        if member.answer is not None:  # its greenlet is about to run: it is looked at when that is parked again
            connection.inbound = UNREAD
            return True
        inbox = self._inbox_of(connection, member)
        try:
            _receive(connection, inbox)
        except OSError:
            return False
        received = inbox.received
        if connection.inbound is ENDED and not any(isinstance(one, Close) for one in received):
            return False
        if received and connection.inbound is QUIET and all(isinstance(one, Ping) for one in received):
            last = received[-1]
            if isinstance(last, Ping) and self._streams.say(member, pong_frame(last.data)):  # it answers all (5.5.3)
                received.clear()
        self._keep(connection, inbox)
        connection.deadline = connection.due(member.alarm)
        if received or inbox.reader.closed or connection.inbound is UNREAD:
            self._streams.step_out(member)
        return True

    def _inbox_of(self, connection: Connection, member: Member) -> Inbox:
        inbox = connection.inbox
        if inbox is not None and inbox is not NOTHING_CAME:
            return inbox
        if takes_deflate(member.encoding):
            return Inbox(FrameReader(deflate=True))
        spare, self._spare = self._spare, None
        return spare or Inbox(FrameReader())

    def _keep(self, connection: Connection, inbox: Inbox) -> None:
        """Leaves its inbox with a connection that has something in it."""
        inbox.watch(time.monotonic(), self._timeout)
        if inbox.received or not inbox.reader.is_idle:
            connection.inbox = inbox
            return
        connection.inbox = NOTHING_CAME
        if not inbox.reader.deflate:
            self._spare = inbox

    def parked_again(self, connection: Connection) -> None:
        """Has a message that has come in part go on with its time, after what was written has had its own."""
        if isinstance(connection.listener, Member):
            connection.deadline = connection.due(connection.listener.alarm)

    def time_is_up(self, member: Member) -> None:
        """Ends a WebSocket whose client has not sent the rest of a message: its own greenlet tells it."""
        self._streams.step_out(member)

    # -- in a connection's own greenlet

    def carry_out(self, connection: Connection, member: Member) -> bool:
        """Carries out what was read. Returns whether the stream goes on. Raises OSError, GreenletExit, Unavailable."""
        inbox = connection.inbox
        assert inbox is not None
        if inbox is NOTHING_CAME:
            return True
        frames, goes_on = self._commands.carry_out(member, inbox, self._connections.ends_at)
        if goes_on:
            self._keep(connection, inbox)
        else:
            self._streams.leave(member)
        self._sending.write(connection, tuple(frames), 0)
        if not goes_on:
            connection.greenlet = None
            self._answered(connection, connection.inbound is not ENDED)
        return goes_on


def _receive(connection: Connection, inbox: Inbox) -> None:
    """Reads once. Afterwards the connection is QUIET, UNREAD if there may be more, or ENDED. Raises OSError."""
    connection.inbound = UNREAD
    try:
        size = inbox.read_size
        data = connection.sock.recv(size, _DONT_WAIT)
        inbox.received += inbox.reader.feed(data)
        if not data or (len(data) < size and not connection.sock.recv(1, _PEEK)):
            connection.inbound = ENDED
    except BlockingIOError:
        connection.inbound = QUIET
