"""One event stream on a wire (protocol page, part 10), and when a listener takes polls instead."""

from __future__ import annotations

import json
import math
from collections import deque
from typing import Any, Protocol

from rplx.client.connection import RETRY_AFTER_MAX, Address, Answer, Deadline
from rplx.client.errors import BrokenResponse, InvalidArgument, Refused, Timeout
from rplx.client.events import EventParser, StreamEvent
from rplx.client.requests import Request

AUTO, STREAM, POLL = TRANSPORTS = ("auto", "stream", "poll")
OPEN_PATIENCE = 3.0  # seconds within which the first event has to come, else something on the way holds it back
SILENCE = 60.0  # seconds without a byte after which a stream counts as dead: more than two of the server's heartbeats
ENDS_MAX = 3  # streams in a row that may end at once
AGAIN_AFTER = 600.0  # seconds after which streams that did not fit are tried again


class NoStreams(BrokenResponse):
    """The server answers a stream as something else, or what lies on the way holds it back."""


class Wire(Protocol):
    """What a listener asks over: one connection at a time, kept for the next request.

    `asked_at`: when the last request went out, by the monotonic clock; infinite until there is a connection for it.
    All of it raises ConnectionFailed, ConnectionLost, Timeout and BrokenResponse.
    """

    @property
    def address(self) -> Address: ...

    @property
    def asked_at(self) -> float: ...

    async def ask(self, request: Request, seconds: float | None) -> Answer:
        """Returns the answer, which has to come within so many seconds of the request.

        The request is written again if a kept connection turns out to be closed at once.
        """

    async def begin(self, request: Request, seconds: float | None) -> Answer:
        """Returns the answer on a new connection; one with status 200 without the body, which `read_some` gives."""

    async def read_some(self, deadline: Deadline) -> bytes:
        """Returns what comes next of the body of `begin`, b"" at its end, also where it was cut."""

    async def drop(self) -> None:
        """Closes the connection."""


class Stream:
    """A stream from its request on. `headers` are its head's, `retry` is the seconds to wait behind its end."""

    def __init__(self, wire: Wire, patience: float | None, headers: dict[str, str]) -> None:
        self._wire = wire
        self.headers = headers
        self._patience = patience
        self._parser = EventParser()
        self._events: deque[StreamEvent] = deque()
        self._comment = ""
        self.retry: float | None = None
        self.is_open = self.is_bye = False

    @classmethod
    async def opened(cls, wire: Wire, request: Request, patience: float | None) -> Stream:
        """Asks for a stream; its head and the first event have to come within `patience` seconds.

        Raises Refused, NoStreams, and what the wire raises.
        """
        try:
            head = await wire.begin(request, patience)
        except Timeout as error:
            raise cls._held_back(wire, patience, error) from error
        if head.status != 200:
            raise head.refusal()
        if not head.headers.get("content-type", "").lower().startswith("text/event-stream"):
            raise NoStreams(f"{wire.address}: the server has no event streams")
        return cls(wire, patience, head.headers)

    async def next(self, patience: float = math.inf) -> StreamEvent | None:
        """Returns the next event, None at the end. Raises Refused, ConnectionLost, Timeout, BrokenResponse.

        Once it is open, something has to come within `patience` seconds, SILENCE at most; after Timeout it may be asked
        again, where that has not cost the connection. A server that refuses for now says so by a stream that ends
        before it was open (part 10.9).
        """
        while not self._events:
            data = await self._some(patience)
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

    async def _some(self, patience: float) -> bytes:
        """Returns what comes next, b"" at the end. Raises Timeout."""
        if self.is_open:
            return await self._wire.read_some(Deadline(min(patience, SILENCE)))
        try:
            return await self._wire.read_some(Deadline(self._patience, self._wire.asked_at))
        except Timeout as error:
            raise self._held_back(self._wire, self._patience, error) from error

    @staticmethod
    def _held_back(wire: Wire, patience: float | None, error: Timeout) -> Timeout:
        """Returns the error that says what it may be, if the request went out at all."""
        if math.isinf(wire.asked_at):
            return error
        late = f"nothing of the stream within {Deadline(patience)}: something on the way may hold it back"
        return Timeout(f"{wire.address}: {late}", unknown=error.unknown)


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
