"""One event stream on a connection (protocol page, part 10), and when a listener takes polls instead."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

from rplx.client.connection import RETRY_AFTER_MAX, Connection, Deadline
from rplx.client.errors import BrokenResponse, InvalidArgument, Refused
from rplx.client.events import EventParser, StreamEvent

AUTO, STREAM, POLL = TRANSPORTS = ("auto", "stream", "poll")
OPEN_PATIENCE = 3.0  # seconds within which the first event has to come, else something on the way holds it back
SILENCE = 60.0  # seconds without a byte after which a stream counts as dead: more than two of the server's heartbeats
ENDS_MAX = 3  # streams in a row that may end at once
AGAIN_AFTER = 600.0  # seconds after which streams that did not fit are tried again


class NoStreams(BrokenResponse):
    """The server answers a stream as something else, or what lies on the way holds it back."""


class Stream:
    """A stream from its request on. `asked_at` is when that went out, `retry` the seconds to wait behind its end."""

    def __init__(self, connection: Connection, request: bytes, patience: float | None) -> None:
        """Asks, and reads the head within `patience` seconds. Raises Refused, NoStreams, ConnectionLost, Timeout."""
        self._connection = connection
        self._open_deadline = Deadline(patience)
        self._parser = EventParser()
        self._events: deque[StreamEvent] = deque()
        self._comment = ""
        self.asked_at = time.monotonic()
        self.retry: float | None = None
        self.is_open = self.is_bye = False
        head = connection.begin(request, self._open_deadline)
        if head.status != 200:
            raise head.refusal()
        if not head.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise NoStreams(f"{connection.address}: the server has no event streams")

    def next(self) -> StreamEvent | None:
        """Returns the next event, None at the end. Raises Refused, ConnectionLost, Timeout, BrokenResponse.

        A server that refuses for now says so by a stream that ends before it was open (part 10.9).
        """
        while not self._events:
            data = self._connection.read_some(Deadline(SILENCE) if self.is_open else self._open_deadline)
            if not data:
                if not self.is_open and self.retry is not None:
                    raise Refused(503, "Service Unavailable", self._comment, self.retry)
                return None
            self._events.extend(self._parser.feed(data))
        event = self._events.popleft()
        if event.retry is not None:
            self.retry = min(event.retry, RETRY_AFTER_MAX)
        self._comment = event.comment or self._comment
        self.is_open = self.is_open or event.type == "open"
        self.is_bye = self.is_bye or event.type == "bye"
        return event


def said(event: StreamEvent) -> dict[str, Any]:
    """Returns what an event of the server's own says. Raises BrokenResponse."""
    try:
        value = json.loads(event.data or b"")
    except ValueError as error:
        raise BrokenResponse(f"not an event of a stream: {error}") from error
    if not isinstance(value, dict):
        raise BrokenResponse(f"not an event of a stream: {value!r:.200}")
    return value


class Choice:
    """Which transport the next request is for. `now` is the time of a monotonic clock, in seconds."""

    def __init__(self, transport: str) -> None:
        """`transport`: one of TRANSPORTS. Raises InvalidArgument."""
        if transport not in TRANSPORTS:
            raise InvalidArgument(f"Transport must be one of {', '.join(TRANSPORTS)}, {transport!r} given")
        self.transport = transport
        self._ends = 0
        self._polls_until = 0.0

    def is_stream(self, now: float) -> bool:
        if self.transport != AUTO:
            return self.transport == STREAM
        return now >= self._polls_until

    def does_not_fit(self, now: float) -> None:
        """Takes note that streams do not work here."""
        self._ends = 0
        self._polls_until = now + AGAIN_AFTER

    def ended_at_once(self, now: float) -> None:
        """Takes note of a stream that ended before it had lasted."""
        self._ends += 1
        if self._ends >= ENDS_MAX:
            self.does_not_fit(now)

    def lasted(self) -> None:
        """Takes note of a stream that did what it should."""
        self._ends = 0
