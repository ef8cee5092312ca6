"""One browser's connection."""

from __future__ import annotations

import _socket
from typing import Any

from gevent.event import Event
from greenlet import GreenletExit

from rplx.addresses import one_text
from rplx.hub.members import Member
from rplx.hub.sets import Listener
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.request_reader import RequestReader
from rplx.protocol.websocket import FrameReader, Received
from rplx.wait_line.states import NEXT, READING, UNWATCHED, Inbound, State, Turn

READ_SIZE = 16384  # bytes of a WebSocket that are read at once
DEFLATED_READ_SIZE = 2048  # where they may be compressed: each hundred may be a message of 64 KiB


class ClientGone(GreenletExit):
    """Thrown into a connection's greenlet when its client has hung up or does not read."""


class Inbox:
    """What the client of a WebSocket has sent that is not carried out yet: whole messages, and one in part.

    `deadline`: when that one has to be whole, in monotonic seconds; 0 if there is none. `read_size`: how many bytes are
    read at once, so that what they say holds up nobody for long.
    """

    __slots__ = ("_whole", "deadline", "read_size", "reader", "received")

    def __init__(self, reader: FrameReader) -> None:
        self.deadline = 0.0
        self.reader = reader
        self.received: list[Received] = []
        self.read_size = DEFLATED_READ_SIZE if reader.deflate else READ_SIZE
        self._whole = 0  # what had come whole when the deadline was set

    def watch(self, now: float, seconds: float) -> None:
        """Has a message that has come in part be whole in so many seconds from when it was first seen to have begun."""
        if self.reader.is_idle or self.reader.closed:
            self.deadline = 0.0
        elif not self.deadline or self.reader.whole != self._whole:
            self.deadline = now + seconds
            self._whole = self.reader.whole


NOTHING_CAME = Inbox(FrameReader())
"""The inbox of all WebSockets from which nothing has come that is not carried out. It stays empty."""


class Connection:
    """What the parts of the server know of one browser's connection. There are many, so each slot counts."""

    __slots__ = (
        "deadline",
        "event",
        "extra",
        "fd",
        "greenlet",
        "head",
        "host",
        "inbound",
        "inbox",
        "keep_alive",
        "listener",
        "name",
        "port",
        "reader",
        "sent",
        "sock",
        "state",
        "turn",
    )
    line = "WAIT"

    def __init__(self, sock: _socket.socket, fd: int, address: Any) -> None:
        self.sock = sock
        self.fd = fd
        self.host: str = one_text(address[0])
        self.port: int = address[1]
        self.state: State = READING
        self.inbound: Inbound = UNWATCHED
        self.turn: Turn = NEXT
        self.deadline = 0.0  # monotonic seconds; 0: none
        self.reader: RequestReader | None = None  # while a request has come in part
        self.greenlet: Any = None  # waits for a message or writes an answer; between two polls it may wait for nothing
        self.listener: Listener | Member | None = None  # while it is PARKED
        self.event: Event | None = None  # what wakes the greenlet then
        self.inbox: Inbox | None = None  # of a WebSocket
        self.keep_alive = False  # whether it is read on behind this answer
        self.head = b""  # of a kept poll's answer up to its Content-Length; empty if the head has been sent already
        self.sent = 0  # bytes of the listener's answer that have been sent, if not all of it was
        self.extra = 0  # bytes that came while it was PARKED and were thrown away
        self.name = ""  # what the log calls its listener

    def due(self, alarm: float) -> float:
        """Returns when something is to be done about a parked stream: at `alarm`, or when a message has to be whole."""
        deadline = 0.0 if self.inbox is None else self.inbox.deadline
        return min(deadline, alarm) if deadline and alarm else deadline or alarm

    @property
    def peer(self) -> str:
        """HOST:PORT, for the log."""
        return f"{self.host}:{self.port}"


Request = HttpRequest | bytes  # bytes: a plain text one
Waiting = tuple[Connection, Request]
# What goes out now, in two pieces, of which the second is not copied and may be empty; the listener if the poll has to
# wait, and the seconds that it waits at most; whether to linger if it has not.
Answer = tuple[Connection, bytes, bytes, Listener | Member | None, float, bool]
