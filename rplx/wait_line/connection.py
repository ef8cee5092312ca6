"""One browser's connection, and the states that it goes through."""

from __future__ import annotations

import _socket
import sys
from typing import Any

from gevent.event import Event
from greenlet import GreenletExit

from rplx.hub.sets import Listener
from rplx.protocol.request_reader import RequestReader

READING = 0  # a request is awaited or coming in
WORKING = 1  # the application has its request, or its answer is on its way
PARKED = 2  # its greenlet waits for a message
FINISHING = 3  # its greenlet writes what the socket did not take at once
CLOSED = 4

COMES_BACK = 1  # its poll was answered together with a crowd's, which polls again all at once
QUEUED = 2  # so, or as it has had its turn, others are looked at before it


class ClientGone(GreenletExit):
    """Thrown into a connection's greenlet when its client has hung up or does not read."""


class Connection:
    """One browser's connection. The server keeps it by its descriptor."""

    __slots__ = (
        "deadline",
        "event",
        "extra",
        "fd",
        "greenlet",
        "half_closed",
        "head",
        "host",
        "keep_alive",
        "listener",
        "name",
        "port",
        "readable",
        "reader",
        "sent",
        "sock",
        "state",
        "turn",
        "watched",
    )
    line = "WAIT"

    def __init__(self, sock: _socket.socket, fd: int, address: Any) -> None:
        self.sock = sock
        self.fd = fd
        self.host: str = sys.intern(address[0])  # behind a proxy all have the same
        self.port: int = address[1]
        self.state = READING
        self.deadline = 0.0  # monotonic seconds; 0: none
        self.reader: RequestReader | None = None  # while a request is half there
        self.greenlet: Any = None  # waits for a message, or writes an answer; between two polls it may wait for nothing
        self.listener: Listener | None = None  # while it is PARKED
        self.event: Event | None = None  # what wakes the greenlet then
        self.keep_alive = False
        self.head: bytes | None = None  # of a kept connection's answer, up to its Content-Length
        self.sent = 0  # bytes of the answer that are out, when it did not go out whole
        self.extra = 0  # bytes that came while it was parked
        self.readable = False  # something came while it was not read
        self.half_closed = False  # the client's sending half has ended, with a request
        self.watched = False  # by the server's epoll
        self.turn = 0  # COMES_BACK, QUEUED, or neither
        self.name = ""  # what the log calls its listener

    @property
    def peer(self) -> str:
        """HOST:PORT, for the log."""
        return f"{self.host}:{self.port}"
