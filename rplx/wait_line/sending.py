"""How answers reach their sockets: a message's to all its listeners at once, and what a socket did not take later."""

from __future__ import annotations

import _socket
import contextlib
import time
from collections.abc import Callable, Collection
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import GreenletExit

from rplx.hub.sets import Listener
from rplx.log import Log
from rplx.net.listening import has_unread, unsent
from rplx.options.table import WaitOptions
from rplx.protocol.long_poll import PREFIX
from rplx.wait_line.connection import ClientGone, Connection
from rplx.wait_line.connections import Connections, Life
from rplx.wait_line.states import LATER, PARKED, WRITING
from rplx.wait_line.unsent import Unsent, left_of

_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
_SEND_LAST = _SEND | _socket.MSG_MORE  # the close() that follows sends data and FIN in one segment


class Sending:
    """Writes answers without holding up anybody, and gives up clients that do not read theirs.

    `answered` is called with a connection whose answer has been sent whole, and whether its client may still send.
    """

    def __init__(
        self, options: WaitOptions, log: Log, connections: Connections, answered: Callable[[Connection, bool], None]
    ) -> None:
        self._log = log
        self._connections = connections
        self._answered = answered
        self._gevent_hub = get_hub()
        self._loop: Any = self._gevent_hub.loop
        self._body = self._framed = b""  # the last message's body, and what follows the head of a kept poll's answer
        self._held = Unsent()
        self._untaken: dict[Connection, int] = {}  # by those who are WRITING: bytes that the client had not taken
        self.configure(options)

    def configure(self, options: WaitOptions) -> None:
        """Takes new options."""
        self._options = options

    # -- to all listeners of a message

    def send(self, listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool:
        """Sends one answer to all `listeners` in a pass. Returns whether nothing is left to do for their greenlets.

        What a socket does not take whole is left to its greenlet, and that of a connection which ends with its answer
        has to end. `crowd`: these listeners are so many that their next polls are read behind others.
        """
        if body is not self._body:  # one of many sets that get the same
            self._body, self._framed = body, _framing(body) + body
        length, framed = len(body), self._framed
        close, linger, answered = self._connections.close, self._connections.linger, self._answered
        finish = not self._log.connections  # else each greenlet ends its own, behind the lines that the log has first
        done = 0
        for listener in listeners:
            connection = listener.connection
            if connection is None or connection.listener is not listener or connection.state is not PARKED:
                continue  # its time was up meanwhile: it has taken the message along, and may be back already
            head = connection.head
            try:
                if head:
                    sent = connection.sock.send(head + framed, _SEND)
                    if crowd:
                        connection.turn = LATER
                    if sent == len(head) + len(framed) and finish:
                        answered(connection, False)
                        done += 1
                        continue
                else:
                    sent = connection.sock.send(body, _SEND_LAST)
                    if sent == length and finish:
                        connection.greenlet = None
                        # Unread bytes would turn close() into a reset, and the answer would be lost whole. In a crowd
                        # that would cost too much; who loses an answer there finds it in the history.
                        if not crowd and has_unread(connection.fd):
                            linger(connection)
                        else:
                            close(connection)
                        continue
                connection.sent = sent
            except OSError:  # full, or gone: its greenlet finds out which
                pass
        return done == len(listeners)

    # -- in a connection's own greenlet

    def finish(self, connection: Connection) -> None:
        """Sends what is left of a parked poll's answer."""
        assert connection.listener is not None
        answer = connection.listener.answer or b""
        head = connection.head
        if head:
            self._write_all(connection, (head + _framing(answer), answer), connection.sent, False, _SEND)
        else:
            self._write_all(connection, (answer,), connection.sent, False, _SEND_LAST)

    def rest(self, connection: Connection, pieces: tuple[bytes, ...], sent: int, linger: bool) -> Life:
        """What a greenlet runs that sends the rest of an answer of which the socket took the first `sent` bytes."""
        self._write_all(connection, pieces, sent, linger, _SEND)
        yield

    def _write_all(
        self, connection: Connection, pieces: tuple[bytes, ...], sent: int, linger: bool, flags: int
    ) -> None:
        """Sends what is left of an answer, and goes on behind it. The last piece may be shared, and is never copied."""
        try:
            self.write(connection, pieces, sent, flags)
            connection.greenlet = None
            self._answered(connection, linger)
        except (GreenletExit, OSError):
            self._connections.close(connection)

    def write(self, connection: Connection, pieces: tuple[bytes, ...], sent: int, flags: int = _SEND) -> None:
        """Sends what is left of `pieces` behind the first `sent` bytes. Raises OSError, ClientGone."""
        left = left_of(pieces, sent)
        if left:
            with contextlib.suppress(BlockingIOError):
                sent += connection.sock.sendmsg(left, (), flags)
                left = left_of(pieces, sent)
        if left:
            self._write_slowly(connection, pieces, sent, flags)

    def await_room(self, connection: Connection) -> None:
        """Waits until the socket takes something, if it does within `write_timeout`. Raises ClientGone.

        It may return early, woken in vain.
        """
        self._await_progress(connection)
        writable = self._loop.io(connection.fd, 2)
        try:
            writable.start(getcurrent().switch)
            self._gevent_hub.switch()
        finally:
            writable.stop()
            writable.close()
            self._stop_clock(connection)

    def _write_slowly(self, connection: Connection, pieces: tuple[bytes, ...], sent: int, flags: int) -> None:
        """Writes as long as the client takes some every `write_timeout` seconds. Raises OSError, ClientGone."""
        connection.state = WRITING
        self._await_progress(connection)
        self._hold(connection, pieces[-1])
        writable = self._loop.io(connection.fd, 2)
        current = getcurrent()
        try:
            while left := left_of(pieces, sent):
                writable.start(current.switch)
                try:
                    self._gevent_hub.switch()
                finally:
                    writable.stop()
                with contextlib.suppress(BlockingIOError):  # woken in vain, by an Event that it has waited for before
                    sent += connection.sock.sendmsg(left, (), flags)
                    self._await_progress(connection)
        finally:
            writable.close()
            self._stop_clock(connection)
            self._held.remove(connection)

    def _hold(self, connection: Connection, answer: bytes) -> None:
        """Keeps an answer for its client. Past `unsent_max` bytes in all, who has waited longest is given up."""
        held = self._held
        held.add(connection, answer)
        while held.size > self._options.unsent_max:
            slowest = held.longest()
            held.remove(slowest)
            self._log.counted(
                "wait.unsent_max", "WAIT: a slow reader was dropped: more than wait.unsent_max bytes of answers wait"
            )
            self._loop.run_callback(self._give_up, slowest)

    def _give_up(self, connection: Connection) -> None:
        if connection.state is WRITING:
            connection.greenlet.throw(ClientGone)

    def _await_progress(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self._options.write_timeout
        self._untaken[connection] = unsent(connection.fd)

    def _stop_clock(self, connection: Connection) -> None:
        connection.deadline = 0.0
        self._untaken.pop(connection, None)

    def time_is_up(self, connection: Connection) -> None:
        """Drops a client that has read nothing; a slow one may read for longer before its socket takes more."""
        if unsent(connection.fd) < self._untaken[connection]:
            self._await_progress(connection)
            return
        text = "dropped, as it read nothing of its answer for wait.write_timeout"
        self._log.counted("wait.write_timeout", f"WAIT: {connection.host}: {text} ({self._options.write_timeout:g} s)")
        connection.greenlet.throw(ClientGone)


def _framing(answer: bytes) -> bytes:
    """Returns what stands between the head of a kept poll's answer and its blocks."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(PREFIX) + len(answer), PREFIX)
