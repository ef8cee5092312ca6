"""Polls that wait for a message: how they are parked, what wakes them, and what their clients may do meanwhile."""

from __future__ import annotations

import _socket
import select
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import GreenletExit

from rplx.hub.hub import Hub, PollTimeout
from rplx.hub.members import Member
from rplx.hub.sets import Listener
from rplx.log import Log
from rplx.options.table import WaitOptions
from rplx.wait_line.connection import ClientGone, Connection
from rplx.wait_line.connections import Connections, Life
from rplx.wait_line.states import PARKED, UNREAD

THROWN_AWAY = 65536  # bytes read at once of what nobody asked for

_DONT_WAIT = _socket.MSG_DONTWAIT
SAY_AGAIN = 1.0  # seconds until a stream is told again that was busy
_RESET = select.EPOLLHUP | select.EPOLLERR


class Parked:
    """The polls that wait, each in its connection's greenlet.

    `finish` is called there to send what is left of an answer, and returns when the client has it or is given up: True
    if the connection is PARKED again.
    """

    def __init__(
        self,
        options: WaitOptions,
        log: Log,
        hub: Hub,
        connections: Connections,
        finish: Callable[[Connection], bool],
        look_at_socket: Callable[[Connection, Member], bool],
        socket_time_is_up: Callable[[Member], None],
    ) -> None:
        self._log = log
        self._hub = hub
        self._connections = connections
        self._finish = finish
        self._look_at_socket = look_at_socket
        self._socket_time_is_up = socket_time_is_up
        self._gevent_hub = get_hub()
        self._loop: Any = self._gevent_hub.loop
        self._unread: deque[Connection] = deque()  # streams that are looked at in the next turns
        self._look_on = self._loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new options. Polls that wait keep their deadline."""
        self._options = options

    def park(self, connection: Connection, listener: Listener | Member, deadline: float) -> None:
        """Has the connection wait for its listener's answer, until `deadline` (monotonic seconds)."""
        connection.state = PARKED
        connection.deadline = deadline
        connection.listener = listener
        if listener.client and self._hub.named.has_newer(listener):
            self.supersede(listener)
        running = connection.greenlet
        if running is None:
            self._connections.run(connection, self._wait(connection))
        elif listener.answer is None:  # its greenlet of the last poll waits already: making one takes longer
            connection.event = listener.channel_set.event
            connection.event.rawlink(running.switch)
        else:
            running.switch()

    def _wait(self, connection: Connection) -> Life:
        """What a connection's greenlet runs: it waits for what `Sending.send` could not do.

        While it waits it makes C calls only: a greenlet maps 16 KB for its life with its first Python call, and
        Event.wait() runs Python code. So it ends with the first poll that it has to answer itself. An Event may wake it
        in vain, for others that have waited there.
        """
        me = getcurrent()
        parked = True
        while parked:
            try:
                while connection.greenlet is me:
                    # No variable for the listener: it would live on in here when it has been answered.
                    if connection.listener is not None:
                        if connection.listener.answer is not None:
                            break
                        if connection.event is not connection.listener.channel_set.event:  # it comes, or was moved
                            connection.event = connection.listener.channel_set.event
                            connection.event.rawlink(me.switch)
                    self._gevent_hub.switch()
                else:
                    return
            except (PollTimeout, GreenletExit) as error:
                if connection.greenlet is not me:
                    return
                if connection.event is not None:
                    connection.event.unlink(me.switch)
                if connection.listener is not None:
                    self._hub.leave(connection.listener)
                if isinstance(error, GreenletExit):
                    self._connections.close(connection)
                    return
            parked = self._finish(connection)
        return
        yield  # makes this a generator

    def renew(self, connection: Connection) -> None:
        """Gives a stream that has read on from history a fresh greenlet to wait in, as the other one takes memory."""
        running = connection.greenlet
        if connection.state is not PARKED or running is None:
            return
        if connection.event is not None:
            connection.event.unlink(running.switch)
            connection.event = None
        self._connections.run(connection, self._wait(connection))
        if connection.inbound is UNREAD and connection.state is PARKED:
            self._unread.append(connection)
            if len(self._unread) == 1:
                self._look_on.start(self._look_at_unread)

    def _look_at_unread(self) -> None:
        """Looks at streams whose clients have sent something meanwhile, for a turn."""
        for _ in range(len(self._unread)):
            connection = self._unread.popleft()
            if connection.state is PARKED and connection.inbound is UNREAD:
                self.look(connection)
            if self._hub.turns.is_over():
                break
        if self._unread:
            self._look_on.start(self._look_at_unread)

    # -- what happens to a poll that waits

    def came(self, connection: Connection, events: int) -> None:
        """Takes what the epoll reports of a parked client."""
        if events & _RESET:
            self.drop(connection)
        elif events & select.EPOLLRDHUP and connection.inbox is None:
            self._end_half_closed(connection)
        else:
            self.look(connection)

    def look(self, connection: Connection) -> None:
        """Looks at what a parked client has sent. On a kept connection that is the next request, and stays there."""
        if isinstance(connection.listener, Member) and connection.inbox is not None:
            if not self._look_at_socket(connection, connection.listener):
                self.drop(connection)
            return
        connection.inbound = UNREAD
        try:
            if connection.keep_alive:
                size = len(connection.sock.recv(self._options.extra_max + 1, _DONT_WAIT | _socket.MSG_PEEK))
                extra = size
            else:
                # Unread bytes would turn close() into a reset, and the answer would be lost whole.
                size = len(connection.sock.recv(THROWN_AWAY, _DONT_WAIT))
                extra = connection.extra = connection.extra + size
        except BlockingIOError:
            return
        except OSError:
            self.drop(connection)
            return
        if not size:
            self._end_half_closed(connection)
        elif extra > self._options.extra_max:
            self.drop(connection)

    def drop(self, connection: Connection) -> None:
        """Ends the connection of a client that has gone, or sends what nobody asked for."""
        connection.greenlet.throw(ClientGone)

    def _end_half_closed(self, connection: Connection) -> None:
        """Ends a poll whose client's sending half has ended. It may still read, so it gets the end of its answer."""
        connection.keep_alive = False
        connection.greenlet.throw(PollTimeout)

    def time_is_up(self, connection: Connection) -> None:
        """Answers a poll with an empty body, as it has waited for as long as it may."""
        connection.deadline = 0.0
        if isinstance(connection.listener, Member) and self._is_told_of_grant(connection, connection.listener):
            return
        if isinstance(connection.listener, Member) and connection.inbox is not None:
            self._socket_time_is_up(connection.listener)
            return
        if self._log.connections:
            self._log.connection(connection, f"{connection.name} timeout")
        connection.greenlet.throw(PollTimeout)

    def _is_told_of_grant(self, connection: Connection, member: Member) -> bool:
        """Tells a stream that its grant ends, or ends it (part 12). Returns False if it is not yet time for that."""
        now = time.monotonic()
        if not member.alarm or member.alarm > now:
            return False
        if member.ends <= now:
            connection.greenlet.throw(PollTimeout)
        elif self._hub.streams.say(member, member.encoding.expires(round(member.ends - now))):
            member.warns = 0.0
            connection.deadline = connection.due(member.ends)
        else:
            connection.deadline = now + SAY_AGAIN
        return True

    def supersede(self, listener: Listener | Member) -> None:
        """Answers a poll with an empty body in the loop's next turn, as its client polls anew (part 9.9)."""
        self._loop.run_callback(self._end_superseded, listener)

    def _end_superseded(self, listener: Listener | Member) -> None:
        connection = listener.connection
        if connection.listener is listener and connection.state is PARKED:
            if self._log.connections:
                self._log.connection(connection, f"{connection.name} superseded")
            connection.greenlet.throw(PollTimeout)

    # -- the server ends

    def send_away(self, connection: Connection) -> None:
        """Answers a poll with an empty body in the loop's next turn, and ends its connection."""
        if connection.head and connection.keep_alive:
            connection.keep_alive = False
            status, _, rest = connection.head.partition(b"\r\n")
            connection.head = status + b"\r\nConnection: close\r\n" + rest
        self.end_soon(connection)

    def end_soon(self, connection: Connection) -> None:
        """Answers a poll with an empty body in the loop's next turn, if it still waits then."""
        # Thrown from the event loop: a greenlet that ends goes on there, not here.
        self._loop.run_callback(self._end, connection)

    def _end(self, connection: Connection) -> None:
        if connection.state is PARKED:
            connection.greenlet.throw(PollTimeout)
