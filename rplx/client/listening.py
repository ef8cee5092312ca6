"""How a listener goes on from the last message: by a stream, or by polls (protocol page, parts 2, 7.4, 9 and 10).

It is written once, as coroutines over a wire, which is all that they wait for. One that never waits, but blocks, has
them done at once (listener.py); asyncio and trio run them over the other one (async_listener.py).
"""

from __future__ import annotations

import logging
import math
import random
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from typing import TypeVar

from rplx.client import blocks
from rplx.client.blocks import Message
from rplx.client.connection import Answer
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
from rplx.client.granting import UNAUTHORIZED, Grants, Source
from rplx.client.names import Ids, Names, cursors_by_id
from rplx.client.requests import Request
from rplx.client.retrying import WAITED, Retry, Waits, is_passing, retry_after
from rplx.client.stream import (
    AGAIN_AFTER,
    AUTO,
    OPEN_PATIENCE,
    Choice,
    NoStreams,
    Stream,
    Wire,
    said,
)

POLL_SECONDS = 25.0  # that polls ask for: what lies on the way cuts silent ones from 30 s on (part 9.1)
POLL_TIMEOUT = 305.0  # seconds: wait.timeout of old servers (300 s) and what the way there and back may take
SILENCE_MARGIN = 10.0  # seconds past what a poll asked for after which its connection counts as dead
QUICK = 1.0  # seconds: an empty answer that comes sooner counts as a failure, so that polls never spin
GET_MAX = 1700  # characters of a list that still goes into the request target; longer ones go as a POST body
NAME_BYTES = 16  # random ones of the name by which the server knows whose older poll to end (part 9.9)
CERTAIN = {400, 401, 403, 413}  # refusals of a stream that a poll would get, too
EVERYTHING = "*"  # in place of a long list of channels (part 9.3)

_Result = TypeVar("_Result")
_log = logging.getLogger("rplx.client")


class Listening:
    """Where one listener is, and what it does next; `address` and `target` are the WAIT line's.

    `begin` finds its place in each channel. Then `message` gives one message after another; while there is none, the
    caller waits for `delay` seconds and does a `step`. Once `is_closing` is set, errors are not told.
    """

    def __init__(
        self,
        wire: Wire,
        target: str,
        channels: Ids,
        names: Names,
        identifier: str,
        on_gap: Callable[[list[str]], None] | None,
        timeout: float | None,
        poll_seconds: float,
        poll_timeout: float | None,
        transport: str,
        grant: Source | None = None,
        on_refused: Callable[[list[str]], None] | None = None,
    ) -> None:
        """Raises InvalidArgument."""
        self._grants = None if grant is None else Grants(grant)
        self._on_refused = on_refused
        self._refused: set[str] = set()  # ids that the server has refused, while it does
        self._cursors = cursors_by_id(channels)
        if not self._cursors:
            raise InvalidArgument("No identifier given")
        if poll_seconds != 0 and not 1 <= poll_seconds < 1e9:
            raise InvalidArgument(f"Polls may ask for 1 second or more, or for 0, {poll_seconds} given")
        self._wire = wire
        self._target = target
        self._names = names
        self._identifier = identifier
        self._on_gap = on_gap
        self._timeout = timeout
        self._poll_timeout = poll_timeout
        self._waits = Waits(poll_seconds)
        self.choice = Choice(transport)
        self._stream: Stream | None = None
        self._name = secrets.token_urlsafe(NAME_BYTES)
        self._gives_position = False  # as servers do that know how long a poll may ask to wait
        self.is_closing = False
        self._due: deque[Message] = deque()
        self._told: dict[str, str | None] = {}  # id -> the cursor at which its gap was reported, while it is there
        self._asks = True  # whether the next poll asks for the position, and so is answered at once
        self._retry = Retry()

    @property
    def cursors(self) -> dict[str, str | None]:
        """The cursor in each channel of the last message that was yielded; to be given to `listen` to go on there."""
        return dict(self._cursors)

    @property
    def delay(self) -> float:
        """Seconds to wait before the next step."""
        return 0.0 if self._stream is not None else self._retry.delay

    def message(self) -> Message | None:
        """Returns the next message that has come, and goes on to its cursors; None if there is none."""
        if not self._due:
            return None
        message = self._due.popleft()
        self._advance(message.ids)
        return message

    def _advance(self, ids: Mapping[str, str]) -> None:
        for id, cursor in ids.items():
            at = self._cursors.get(id)
            if at is None or Decimal(cursor) > Decimal(at):
                self._cursors[id] = cursor

    async def begin(self) -> None:
        """Finds the place in each channel, by a poll where a stream does not work here."""
        if self.choice.is_stream(time.monotonic()):
            try:
                await self._granted(self._open_stream)
                return
            except (NoStreams, ConnectionLost, BrokenResponse, Timeout) as error:
                if self.choice.transport != AUTO or math.isinf(self._wire.asked_at):
                    raise
                await self._stream_failed(error)
            except Refused as error:
                if self.choice.transport != AUTO or is_passing(error) or error.status in CERTAIN:
                    raise
                await self._stream_failed(error)
        self._take(await self._granted(self._poll))

    async def step(self) -> None:
        """Goes on with the stream, or makes one, or polls."""
        if self._stream is None and not self.choice.is_stream(time.monotonic()):
            await self._try_poll()
            return
        try:
            if self._stream is None:
                await self._granted(self._open_stream)
            elif self._grants is None:
                self._take_event(await self._next_event(self._stream))
            else:
                await self._go_on(self._stream, self._grants)
        except RealplexorError as error:
            await self._stream_failed(error)

    async def _granted(self, ask: Callable[[], Awaitable[_Result]]) -> _Result:
        """Asks with a grant that counts, and once more with a new one if the server does not take it (part 12)."""
        if self._grants is None:
            return await ask()
        await self._grants.ready()
        try:
            return await ask()
        except Refused as error:
            if not await self._grants.renewed_after(error):
                raise
        return await ask()

    async def _go_on(self, stream: Stream, grants: Grants) -> None:
        """Takes the next event, or goes over to a stream with the next grant when it is time for one."""
        if not grants.until_due():
            if await grants.renewed():
                self._stream = None
                await self._wire.drop()
                await self._open_stream()
            return
        try:
            self._take_event(await self._next_event(stream, grants.until_due()))
        except Timeout:
            if grants.until_due():
                raise

    async def interrupted(self) -> None:
        """Takes note that a step was cancelled, which costs its connection."""
        self._stream = None
        await self._wire.drop()

    async def _open_stream(self) -> None:
        """Asks for a stream and takes its first event."""
        request = self._request(f"stream&client={self._name}", ("Accept", "text/event-stream"))
        patience = OPEN_PATIENCE if self.choice.transport == AUTO else self._timeout
        stream = await Stream.opened(self._wire, request, patience)
        self._take_grant(stream.headers)
        while not stream.is_open:
            self._take_event(await self._next_event(stream))
        self._stream = stream

    async def _next_event(self, stream: Stream, patience: float = math.inf) -> StreamEvent:
        event = await stream.next(patience)
        if event is None:
            raise ConnectionLost(f"{self._wire.address}: the stream ended", unknown=True)
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
        elif event.type == "refused":
            self._tell_refused(said(event).get("ids", ()))
        elif event.type == "expires" and self._grants is not None:
            self._grants.ends_in(float(said(event).get("in", 0)))
        elif event.type == "":
            if event.data is not None:
                message = blocks.read_one(event.data)
                self._due.append(self._named(message))
            self._advance(at)

    async def _stream_failed(self, error: RealplexorError) -> None:
        """Takes the end of a stream, or that there is none. Raises the error if it will not pass."""
        stream, self._stream = self._stream, None
        await self._wire.drop()
        if self.is_closing:
            return
        now = time.monotonic()
        is_quick = self._waited() <= WAITED
        if stream is not None and (stream.is_bye or not is_quick):
            self.choice.lasted()
            # Without a goodbye nobody has told each listener a time of its own.
            self._retry.succeeded((stream.retry or 0.0) * (1.0 if stream.is_bye else random.random()))
        elif self._does_not_fit(error, is_open=stream is not None):
            self.choice.does_not_fit(now)
            _log.info("%s; polling for %d s", error, AGAIN_AFTER)
        elif not is_passing(error) or isinstance(error, NoStreams):
            raise error
        else:
            if is_quick and not isinstance(error, (ConnectionFailed, Refused)):
                self.choice.ended_at_once(now)
            self._told = {}
            self._retry.failed(error)
        self._asks = self._asks or not self.choice.is_stream(now)

    def _does_not_fit(self, error: RealplexorError, *, is_open: bool) -> bool:
        """Returns whether polls may work where a stream met this error."""
        if self.choice.transport != AUTO or is_open or math.isinf(self._wire.asked_at):
            return False
        if isinstance(error, Refused):
            return not is_passing(error) and error.status not in CERTAIN
        return isinstance(error, (NoStreams, Timeout))

    async def _try_poll(self) -> None:
        """Polls once. A failure that may pass, or an empty answer that came too soon, delays the next poll."""
        asked = self._asks
        try:
            self._take(await self._granted(self._poll))
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
        if self.is_closing:
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
        return time.monotonic() - self._wire.asked_at

    async def _poll(self) -> Answer:
        """Returns the answer to a poll. Polling twice does no harm, as the cursors say what is due."""
        asked = self._waits.seconds()
        if self._asks:
            answer = await self._wire.ask(self._request("json&position"), self._timeout)
        else:
            timeout = f"&timeout={asked:.9g}" if asked else ""
            request = self._request(f"json{timeout}&client={self._name}")
            answer = await self._wire.ask(request, self._patience(asked))
        if answer.status == UNAUTHORIZED:
            raise answer.refusal()
        self._take_grant(answer.headers)
        return answer

    def _patience(self, asked: float) -> float:
        """Returns the seconds without an answer after which a poll is given up. It has asked to wait for `asked`."""
        if self._poll_timeout is not None:
            return self._poll_timeout
        return asked + SILENCE_MARGIN if asked and self._gives_position else POLL_TIMEOUT

    def _request(self, flag: str, *headers: tuple[str, str]) -> Request:
        """Returns a request for the channels from their cursors on."""
        marker = f"{self._identifier}={self._names.items(self._cursors)}"
        grant = () if self._grants is None else self._grants.headers
        headers = (("Host", self._wire.address.host_header), *grant, *headers)
        if len(marker) <= GET_MAX:
            return Request("GET", f"{self._target}{marker}&{flag}", headers)
        body = f"{marker}\n".encode()
        headers += (("Content-Type", "text/plain"), ("Content-Length", str(len(body))))
        return Request("POST", self._target + flag, headers, body)

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

    def _take_grant(self, headers: Mapping[str, str]) -> None:
        """Takes what an answer says about the grant: how long it counts, and which channels it does not open."""
        seconds = headers.get("x-realplexor-grant-ttl", "")
        if self._grants is not None and seconds.isascii() and seconds.isdigit():
            self._grants.ends_in(float(seconds[:9]))
        self._tell_refused([id.strip() for id in headers.get("x-realplexor-refused", "").split(",") if id.strip()])

    def _tell_refused(self, ids: Iterable[str]) -> None:
        """Reports the channels that are refused, each once while it is."""
        refused = {self._names.short(id) for id in ids}
        if EVERYTHING in refused:  # as it stands for a long list
            refused = set(self._cursors)
        news, self._refused = refused - self._refused, refused
        if news and self._on_refused is not None:
            self._on_refused(sorted(news))

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
