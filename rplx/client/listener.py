"""Listening on the WAIT line, from the last message on: by a stream, or by polls (parts 2, 7.4, 9 and 10)."""

from __future__ import annotations

import math
import random
import secrets
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import TracebackType

from rplx.client import blocks
from rplx.client.blocks import Message
from rplx.client.connection import Answer, Connection, Deadline
from rplx.client.errors import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    RealplexorError,
    Refused,
    Timeout,
)
from rplx.client.events import StreamEvent, cursors_of_mark
from rplx.client.names import Ids, Names, cursors_by_id
from rplx.client.retrying import WAITED, Retry, Waits, is_passing, retry_after
from rplx.client.stream import AUTO, OPEN_PATIENCE, Choice, NoStreams, Stream, said
from rplx.client.wait_url import parsed_url

POLL_SECONDS = 25.0  # that polls ask for: what lies on the way cuts silent ones from 30 s on (part 9.1)
POLL_TIMEOUT = 305.0  # seconds: wait.timeout of old servers (300 s) and what the way there and back may take
SILENCE_MARGIN = 10.0  # seconds past what a poll asked for after which its connection counts as dead
QUICK = 1.0  # seconds: an empty answer that comes sooner counts as a failure, so that polls never spin
GET_MAX = 1700  # characters of a list that still goes into the request target; longer ones go as a POST body
NAME_BYTES = 16  # random ones of the name by which the server knows whose older poll to end (part 9.9)
CERTAIN = {400, 401, 403, 413}  # refusals of a stream that a poll would get, too
EVERYTHING = "*"  # a gap in every channel of the poll (part 9.3)


class Listener:
    """An iterator over messages; made by `Realplexor.listen`, whose errors it raises at the start.

    Once it is made, its place in each channel is known, and nothing that is sent from then on is missed while history
    holds it, across reconnects, restarts and a change between stream and polls. A failure that may pass is retried for
    ever, and a poll that was cut on its way after it had waited is no failure (part 9.2). The iteration raises Refused
    for refusals that will not pass (400, 403, 413), and InvalidArgument if the server has a page in place of a channel
    (part 2). One thread iterates; `close` may be called from any thread, and ends the iteration.
    """

    def __init__(
        self,
        url: str,
        channels: Ids,
        names: Names,
        identifier: str,
        on_gap: Callable[[list[str]], None] | None,
        timeout: float | None,
        poll_seconds: float,
        poll_timeout: float | None,
        tls: bool | ssl.SSLContext,
        transport: str,
    ) -> None:
        self._cursors = cursors_by_id(channels)
        if not self._cursors:
            raise InvalidArgument("No identifier given")
        if poll_seconds != 0 and not 1 <= poll_seconds < 1e9:
            raise InvalidArgument(f"Polls may ask for 1 second or more, or for 0, {poll_seconds} given")
        self._address, self._target = parsed_url(url, tls)
        self._names = names
        self._identifier = identifier
        self._on_gap = on_gap
        self._timeout = timeout
        self._poll_timeout = poll_timeout
        self._waits = Waits(poll_seconds)
        self._choice = Choice(transport)
        self._stream: Stream | None = None
        self._name = secrets.token_urlsafe(NAME_BYTES)
        self._gives_position = False  # as servers do that know how long a poll may ask to wait
        self._asked_at = math.inf  # when the last request went out; until it does, nothing has waited
        self._connection: Connection | None = None
        self._closing = threading.Event()
        self._due: deque[Message] = deque()
        self._told: dict[str, str | None] = {}  # id -> the cursor at which its gap was reported, while it is there
        self._asks = True  # whether the next poll asks for the position, and so is answered at once
        self._retry = Retry()
        try:
            self._begin()
        except BaseException:
            self.close()
            self._drop()
            raise

    @property
    def cursors(self) -> dict[str, str | None]:
        """The cursor in each channel of the last message that was yielded; to be given to `listen` to go on there."""
        return dict(self._cursors)

    def __iter__(self) -> Listener:
        return self

    def __next__(self) -> Message:
        while not self._due:
            if self._closing.wait(0.0 if self._stream is not None else self._retry.delay):
                self._drop()
                raise StopIteration
            self._try()
        message = self._due.popleft()
        self._advance(message.ids)
        return message

    def close(self) -> None:
        """Ends the listener, and an iteration that waits in another thread."""
        self._closing.set()
        if (connection := self._connection) is not None:
            connection.abort()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._drop()

    def _advance(self, ids: Mapping[str, str]) -> None:
        for id, cursor in ids.items():
            at = self._cursors.get(id)
            if at is None or Decimal(cursor) > Decimal(at):
                self._cursors[id] = cursor

    def _begin(self) -> None:
        """Finds the place in each channel, by a poll where a stream does not work here."""
        if self._choice.is_stream(time.monotonic()):
            try:
                self._open_stream()
                return
            except (NoStreams, ConnectionLost, BrokenResponse, Timeout) as error:
                if self._choice.transport != AUTO or math.isinf(self._asked_at):
                    raise
                self._stream_failed(error)
            except Refused as error:
                if self._choice.transport != AUTO or is_passing(error) or error.status in CERTAIN:
                    raise
                self._stream_failed(error)
        self._take(self._poll())

    def _try(self) -> None:
        """Goes on with the stream, or makes one, or polls."""
        if self._stream is None and not self._choice.is_stream(time.monotonic()):
            self._try_poll()
            return
        try:
            if self._stream is None:
                self._open_stream()
            else:
                self._take_event(self._next_event(self._stream))
        except RealplexorError as error:
            self._stream_failed(error)

    def _open_stream(self) -> None:
        """Asks for a stream and takes its first event."""
        self._asked_at = math.inf
        self._connect()
        assert self._connection is not None
        request = self._written(f"stream&client={self._name}", "Accept: text/event-stream\r\n")
        patience = OPEN_PATIENCE if self._choice.transport == AUTO else self._timeout
        self._asked_at = time.monotonic()
        stream = Stream(self._connection, request, patience)
        while not stream.is_open:
            self._take_event(self._next_event(stream))
        self._stream = stream

    def _next_event(self, stream: Stream) -> StreamEvent:
        event = stream.next()
        if event is None:
            raise ConnectionLost(f"{self._address}: the stream ended", unknown=True)
        return event

    def _take_event(self, event: StreamEvent) -> None:
        mark = cursors_of_mark(event.id or "", map(self._names.full, self._cursors))
        at = {self._names.short(id): cursor for id, cursor in mark.items()}
        if event.type == "open":
            self._asks = False
            self._cursors = {id: at.get(id) if cursor is None else cursor for id, cursor in self._cursors.items()}
            self._tell_gap(map(self._names.short, said(event).get("gaps", ())), at)
        elif event.type == "gap":
            self._tell_gap(map(self._names.short, said(event).get("ids", ())), {})
        elif event.type == "":
            if event.data is not None:
                message = blocks.read_one(event.data)
                self._due.append(self._named(message))
            self._advance(at)

    def _stream_failed(self, error: RealplexorError) -> None:
        """Takes the end of a stream, or that there is none. Raises the error if it will not pass."""
        stream, self._stream = self._stream, None
        self._drop()
        if self._closing.is_set():
            return
        now = time.monotonic()
        is_quick = self._waited() <= WAITED
        if stream is not None and (stream.is_bye or not is_quick):
            self._choice.lasted()
            # Without a goodbye nobody has told each listener a time of its own.
            self._retry.succeeded((stream.retry or 0.0) * (1.0 if stream.is_bye else random.random()))
        elif self._does_not_fit(error, is_open=stream is not None):
            self._choice.does_not_fit(now)
        elif not is_passing(error) or isinstance(error, NoStreams):
            raise error
        else:
            if is_quick and not isinstance(error, (ConnectionFailed, Refused)):
                self._choice.ended_at_once(now)
            self._told = {}
            self._retry.failed(error)
        self._asks = self._asks or not self._choice.is_stream(now)

    def _does_not_fit(self, error: RealplexorError, *, is_open: bool) -> bool:
        """Returns whether polls may work where a stream met this error."""
        if self._choice.transport != AUTO or is_open or math.isinf(self._asked_at):
            return False
        if isinstance(error, Refused):
            return not is_passing(error) and error.status not in CERTAIN
        return isinstance(error, (NoStreams, Timeout))

    def _try_poll(self) -> None:
        """Polls once. A failure that may pass, or an empty answer that came too soon, delays the next poll."""
        asked = self._asks
        self._asked_at = math.inf
        try:
            self._take(self._poll())
        except RealplexorError as error:
            self._failed(error, asked)
            return
        if not asked:
            self._waits.ended()
        if self._due or asked or self._waited() > QUICK:
            self._retry.succeeded()
        else:
            self._retry.failed("an empty answer")

    def _failed(self, error: RealplexorError, asked: bool) -> None:
        """Takes a poll that failed; `asked`: it asked for the position. Raises the error if it will not pass."""
        if self._closing.is_set():
            return
        if not is_passing(error):
            raise error
        if not asked and self._waits.failed(error, self._waited()):
            self._retry.succeeded(retry_after(error))
        else:
            self._told = {}
            self._retry.failed(error)

    def _waited(self) -> float:
        """Returns the seconds since the last request went out."""
        return time.monotonic() - self._asked_at

    def _poll(self) -> Answer:
        """Returns the answer to a poll. Polling twice does no harm, as the cursors say what is due."""
        asked = self._waits.seconds()
        request = self._request(self._asks, asked)
        seconds = self._timeout if self._asks else self._patience(asked)
        kept = self._connection is not None and self._connection.usable()
        if not kept:
            self._connect()
        try:
            return self._ask(request, seconds)
        except ConnectionLost:
            if not kept or self._closing.is_set() or self._waited() > WAITED:
                raise
            self._connect()
            return self._ask(request, seconds)

    def _patience(self, asked: float) -> float:
        """Returns the seconds without an answer after which a poll is given up. It has asked to wait for `asked`."""
        if self._poll_timeout is not None:
            return self._poll_timeout
        return asked + SILENCE_MARGIN if asked and self._gives_position else POLL_TIMEOUT

    def _connect(self) -> None:
        self._drop()
        self._connection = Connection(self._address, Deadline(self._timeout))
        if self._closing.is_set():
            self._connection.abort()

    def _ask(self, request: bytes, seconds: float | None) -> Answer:
        assert self._connection is not None
        self._asked_at = time.monotonic()
        try:
            answer = self._connection.ask(request, Deadline(seconds))
        except BaseException:
            self._drop()
            raise
        if answer.closes:
            self._drop()
        return answer

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, position: bool, seconds: float) -> bytes:
        """Returns a poll that asks for the position, or else to wait for `seconds`; 0 leaves that to the server."""
        timeout = f"&timeout={seconds:.9g}" if seconds else ""
        return self._written("json&position" if position else f"json{timeout}&client={self._name}")

    def _written(self, flag: str, header: str = "") -> bytes:
        """Returns a request for the channels from their cursors on."""
        marker = f"{self._identifier}={self._names.items(self._cursors)}"
        host = f"HTTP/1.1\r\nHost: {self._address.host_header}\r\n{header}"
        if len(marker) <= GET_MAX:
            return f"GET {self._target}{marker}&{flag} {host}\r\n".encode()
        head = f"POST {self._target}{flag} {host}Content-Type: text/plain\r\nContent-Length: {len(marker) + 1}\r\n\r\n"
        return f"{head}{marker}\n".encode()

    def _take(self, answer: Answer) -> None:
        """Keeps what an answer brings: messages, and the place in channels that had none (part 7.4)."""
        messages = self._messages(answer)
        position = answer.headers.get("x-realplexor-cursor")
        if position:
            self._gives_position = True
            self._cursors = {id: position if at is None else at for id, at in self._cursors.items()}
        self._due.extend(map(self._named, messages))
        self._asks = False
        gap = answer.headers.get("x-realplexor-gap", "")
        ids = [id.strip() for id in gap.split(",") if id]
        self._take_gap(list(self._cursors) if EVERYTHING in ids else [self._names.short(id) for id in ids], position)

    def _named(self, message: Message) -> Message:
        """Returns the message by the caller's ids."""
        return Message(message.data, {self._names.short(id): at for id, at in message.ids.items()})

    def _messages(self, answer: Answer) -> list[Message]:
        """Returns the messages of an answer. Raises Refused, InvalidArgument, BrokenResponse."""
        if answer.status != 200:
            raise answer.refusal()
        try:
            return blocks.read(answer.body)
        except BrokenResponse:
            if "last-modified" not in answer.headers:
                raise
        # Only pages have a date, and they are asked for by the first id (part 2, "Special first ids").
        first = self._names.full(next(iter(self._cursors)))
        raise InvalidArgument(f'"{first}" is not a channel of this server: as the first id it asks for a page')

    def _take_gap(self, ids: list[str], position: str | None) -> None:
        """Reports the gaps of a poll. A channel without a message behind the gap goes on from the present."""
        known = [id for id in ids if id in self._cursors]
        news = self._untold(known, dict.fromkeys(known, position) if position else {})
        if self._due:
            # The answer may have been cut at the server's limit, before messages of this channel: ask again at once.
            self._asks = not all(any(id in message.ids for message in self._due) for id in known)
        elif position:
            self._advance(dict.fromkeys(known, position))
        if news and self._on_gap is not None:
            self._on_gap(news)

    def _tell_gap(self, ids: Iterable[str], present: Mapping[str, str]) -> None:
        """Reports the gaps of a stream, before the messages behind them."""
        news = self._untold([id for id in ids if id in self._cursors], present)
        if news and self._on_gap is not None:
            self._on_gap(news)

    def _untold(self, ids: Iterable[str], present: Mapping[str, str]) -> list[str]:
        """Returns those of `ids` whose gap was not reported at this cursor.

        A cursor ahead of the server's `present` goes back to it: its clock was set back, and new messages have lower
        cursors.
        """
        known = {id: self._cursors[id] for id in ids}
        news = [id for id, cursor in known.items() if self._told.get(id) != cursor]
        self._told = known
        for id, cursor in known.items():
            if id in present and cursor is not None and Decimal(cursor) > Decimal(present[id]):
                self._cursors[id] = present[id]
        return news
