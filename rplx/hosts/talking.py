"""WebSockets under WSGI servers that are not ours, where the client's socket can be reached (protocol page, part 11).

Such a server calls the application in a greenlet of the connection's own, which reads and writes the socket itself
until the WebSocket ends: the server learns that the answer is done, and writes nothing.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from rplx.errors import Refusal, Unavailable
from rplx.hosts.client_sockets import Environ, client_socket, is_pywsgi, read_no_more
from rplx.hub.hub import Hub
from rplx.hub.members import Member, has_expired, until_alarm, warning, why_ended
from rplx.net.listening import notice_the_gone, unsent
from rplx.net.retry_after import retry_milliseconds
from rplx.protocol.websocket import FrameReader
from rplx.protocol.websocket_stream import takes_deflate
from rplx.wait_line.connection import READ_SIZE, Inbox
from rplx.wait_line.handshakes import SWITCHING
from rplx.wait_line.socket_commands import SocketCommands

LINGER = 2.0  # seconds that a client may take to end its half behind the close

Headers = Iterable[tuple[str, str]]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Room(Protocol):
    """Where streams wait: WaitingRoom."""

    hub: Hub
    open: bool
    heartbeat: int
    commands: SocketCommands

    def wait(self, listener: Member, seconds: float, connection: Any, drains: bool, reads: bool = False) -> bool:
        """Returns True when there is something to write, False when something came or the WebSocket is to end."""

    def is_superseded(self, listener: Member) -> bool:
        """Returns whether a newer one of the same client waits."""


def can_talk(environ: Environ) -> bool:
    """Returns whether the client's socket can be reached, and has on it what goes over the wire."""
    found = client_socket(environ)
    return (
        found is not None and not hasattr(found, "cipher") and (is_pywsgi(environ) or _done_in_gunicorn() is not None)
    )


def _done_in_gunicorn() -> Any:
    """Returns what an application gives to gunicorn's gevent workers that has answered by itself; None elsewhere."""
    return getattr(sys.modules.get("gunicorn.workers.base_async"), "ALREADY_HANDLED", None)


def talk(
    room: Room, member: Member | None, first: bytes, environ: Environ, headers: Headers, start_response: StartResponse
) -> Any:
    """Answers a handshake and talks until the WebSocket ends; returns what the application is to give the server.

    `first` goes out behind the head. Without a member it is a close frame, and the end. Raises as `read_no_more` does.
    """
    sock = client_socket(environ)
    try:
        if sock.family != socket.AF_UNIX:
            notice_the_gone(sock)
        if is_pywsgi(environ):
            start_response(SWITCHING, list(headers))(first)
        else:
            head = "".join([f"{name}: {value}\r\n" for name, value in headers])
            sock.sendall(f"HTTP/1.1 {SWITCHING}\r\n{head}\r\n".encode("latin-1") + first)
        if member is not None:
            _Talk(room, member, sock).run()
        _linger(sock)
    except OSError:
        pass
    finally:
        if member is not None:
            room.hub.leave(member)
    read_no_more(environ, start_response)
    return [] if is_pywsgi(environ) else _done_in_gunicorn()


def _linger(sock: Any) -> None:
    """Throws away what the client still sends until it ends: unread bytes would turn our close into a reset."""
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(LINGER)
    deadline = time.monotonic() + LINGER
    while time.monotonic() < deadline and sock.recv(READ_SIZE):
        pass


class _Talk:
    """One WebSocket, whose greenlet alone reads and writes its socket."""

    def __init__(self, room: Room, member: Member, sock: Any) -> None:
        self._room = room
        self._streams = room.hub.streams
        self._member = member
        self._sock = sock
        self._inbox = Inbox(FrameReader(deflate=takes_deflate(member.encoding)))
        self._write_timeout = room.commands.write_timeout
        sock.settimeout(self._write_timeout)

    def run(self) -> None:
        """Returns when it has ended. Raises OSError."""
        error: Refusal | None = None
        try:
            while self._is_to_go_on():
                if not self._take_in():
                    return
                self._give_out()
                self._room.hub.turns.rest()  # its client may have sent more than one turn takes
        except Unavailable as found:
            error = found  # its client comes back, and reads on then
        self._streams.leave(self._member)
        error = error or why_ended(self._member)
        self._write(self._member.encoding.bye(error, retry_milliseconds(error)))

    def _is_to_go_on(self) -> bool:
        return self._room.open and not self._room.is_superseded(self._member) and not has_expired(self._member)

    def _take_in(self) -> bool:
        """Reads what has come and carries it out. Returns whether the WebSocket goes on."""
        inbox = self._inbox
        try:
            data = os.read(self._sock.fileno(), inbox.read_size)
        except BlockingIOError:
            return self._carry_out()
        inbox.received += inbox.reader.feed(data)
        inbox.watch(time.monotonic(), self._room.commands.timeout)
        return self._carry_out() and bool(data)

    def _carry_out(self) -> bool:
        """Carries out what has come, or ends what has not come whole in time. Returns whether the WebSocket goes on."""
        inbox = self._inbox
        is_late = inbox.deadline and inbox.deadline <= time.monotonic()
        if inbox.received or inbox.reader.closed or is_late:
            self._streams.step_out(self._member)
            frames, goes_on = self._room.commands.carry_out(self._member, inbox, 0.0)
            self._write(b"".join(frames))
            return goes_on
        return True

    def _give_out(self) -> None:
        """Writes what is due, or waits until there is something to do."""
        member = self._member
        if member.answer is None:
            seconds = until_alarm(member, self._room.heartbeat)
            if not self._room.wait(member, seconds, self._sock, drains=False, reads=True):
                return
            if member.answer is None:
                if has_expired(member):
                    return
                progress = member.channel_set.progress
                self._write(warning(member) or member.encoding.heartbeat(progress.common, progress.named))
                return
        while piece := self._streams.read_on(member):
            self._write(piece)
        if not self._streams.settle(member):
            self._room.hub.turns.pause()

    def _write(self, data: bytes) -> None:
        """Writes as long as the client takes some every `write_timeout` seconds. Raises OSError."""
        left = memoryview(data)
        while left:
            untaken = unsent(self._sock.fileno())
            try:
                left = left[self._sock.send(left) :]
            except TimeoutError:
                if unsent(self._sock.fileno()) >= untaken:  # else it reads, but too little for its socket to take more
                    raise
