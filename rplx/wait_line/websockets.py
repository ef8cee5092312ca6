"""What clients say over their WebSockets (part 11): read while they are PARKED, carried out in their own greenlets.

A WebSocket is a stream: `streams` writes its messages. A ping alone is answered at once, in the loop. For anything else
the member steps out of its set, so that its greenlet wakes, carries it out, reads on from history and comes back.
"""

from __future__ import annotations

import _socket
from collections.abc import Callable
from functools import partial

from rplx.errors import Forbidden, Refusal, TooLarge
from rplx.hub import log_lines
from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.log import Log
from rplx.net.retry_after import retry_seconds
from rplx.options.table import WaitOptions
from rplx.protocol.websocket import Close, FrameReader, Ping, Text, close_frame, pong_frame
from rplx.protocol.websocket_commands import Command, CommandParser, close_of
from rplx.protocol.websocket_stream import takes_deflate
from rplx.wait_line.connection import NOTHING_CAME, Connection, Inbox
from rplx.wait_line.connections import Connections
from rplx.wait_line.sending import Sending
from rplx.wait_line.states import ENDED, QUIET, UNREAD

READ_SIZE = 16384  # bytes read at once

_DONT_WAIT = _socket.MSG_DONTWAIT
_PEEK = _socket.MSG_DONTWAIT | _socket.MSG_PEEK

Cursors = dict[str, str | None]


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
        self._log = log
        self._streams = hub.streams
        self._connections = connections
        self._sending = sending
        self._answered = answered
        self._spare: Inbox | None = None  # it holds nothing
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new options."""
        self._max_ids = options.max_ids
        self._parser = CommandParser(options.max_ids, options.id_max)

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
        if inbox.received or not inbox.reader.is_idle:
            connection.inbox = inbox
            return
        connection.inbox = NOTHING_CAME
        if not inbox.reader.deflate:
            self._spare = inbox

    # -- in a connection's own greenlet

    def carry_out(self, connection: Connection, member: Member) -> bool:
        """Carries out what was read. Returns whether the stream goes on. Raises OSError, GreenletExit, Unavailable."""
        inbox = connection.inbox
        assert inbox is not None
        received, inbox.received = inbox.received, []
        cursors: Cursors = dict.fromkeys(member.names)
        ping: Ping | None = None
        listens = False
        try:
            for one in received:
                if isinstance(one, Text):
                    command = self._parser.parse(one.text)
                    self._change(cursors, command)
                    listens = listens or bool(command.listen)
                elif isinstance(one, Ping):
                    ping = one
                else:
                    return self._close(connection, member, close_frame(one.code))
        except Refusal as error:
            self._log.refused(connection, error.text, error.trouble)
            return self._close(connection, member, self._close_of(error))
        wrong = inbox.reader.error
        if wrong is not None:
            return self._close(connection, member, close_frame(wrong.code, wrong.text))
        if inbox is not NOTHING_CAME:
            self._keep(connection, inbox)
        if ping is not None:
            self._sending.write(connection, (pong_frame(ping.data),), 0)
        if listens or len(cursors) != len(member.names):
            joined = self._joined(connection, cursors)
            self._sending.write(connection, (self._streams.listen_to(member, cursors, joined, answered=listens),), 0)
        return True

    def _change(self, cursors: Cursors, command: Command) -> None:
        """Adds and drops channels. A channel that is there already goes on where it is, if no cursor is named."""
        if command.grant is not None:
            raise Forbidden("no grants are taken here")
        for id, cursor in command.listen.items():
            if cursor is not None or id not in cursors:
                cursors[id] = cursor
        for id in command.stop:
            cursors.pop(id, None)
        if len(cursors) > self._max_ids:
            raise TooLarge(f"more than {self._max_ids} channels on one connection (wait.max_ids)")

    def _joined(self, connection: Connection, cursors: Cursors) -> Callable[[str], None] | None:
        """Returns what logs a listener by its new name, None where connections are not logged."""
        if not self._log.connections or not cursors:
            return None
        return partial(self._registered, connection, cursors)

    def _registered(self, connection: Connection, cursors: Cursors, position: str) -> None:
        connection.name = log_lines.name_of(cursors, len(cursors), position)
        self._log.connection(connection, f"{connection.name} registered")

    def _close_of(self, error: Refusal) -> bytes:
        return close_frame(*close_of(error, retry_seconds(error, self._connections.ends_at)))

    def _close(self, connection: Connection, member: Member, frame: bytes) -> bool:
        """Ends a stream with a close frame; returns False. Raises OSError, GreenletExit."""
        self._streams.leave(member)
        self._sending.write(connection, (frame,), 0)
        connection.greenlet = None
        self._answered(connection, connection.inbound is not ENDED)
        return False


def _receive(connection: Connection, inbox: Inbox) -> None:
    """Reads once. Afterwards the connection is QUIET, UNREAD if there may be more, or ENDED. Raises OSError."""
    connection.inbound = UNREAD
    try:
        data = connection.sock.recv(READ_SIZE, _DONT_WAIT)
        inbox.received += inbox.reader.feed(data)
        if not data or (len(data) < READ_SIZE and not connection.sock.recv(1, _PEEK)):
            connection.inbound = ENDED
    except BlockingIOError:
        connection.inbound = QUIET
