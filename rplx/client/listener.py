"""Listening in the thread that iterates: a wire that blocks, and an iterator over it."""

from __future__ import annotations

import math
import ssl
import threading
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from rplx.client.blocks import Message
from rplx.client.connection import Address, Answer, Connection, Deadline
from rplx.client.errors import ConnectionLost
from rplx.client.granting import Source
from rplx.client.listening import Listening
from rplx.client.names import Ids, Names
from rplx.client.requests import Request
from rplx.client.retrying import WAITED
from rplx.client.wait_url import parsed_url

_Result = TypeVar("_Result")


class Listener:
    """An iterator over messages; made by `Realplexor.listen`, whose errors it raises at the start.

    Once it is made, its place in each channel is known, and nothing that is sent from then on is missed while history
    holds it, across reconnects, restarts and a change between stream and polls. A failure that may pass is retried for
    ever, and a poll that was cut on its way after it had waited is no failure (part 9.2). The iteration raises Refused
    for refusals that will not pass (400, 401, 403, 413), and InvalidArgument if the server has a page in place of a
    channel (part 2). One thread iterates; `close` may be called from any thread, and ends the iteration.
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
        grant: Source | None,
        on_refused: Callable[[list[str]], None] | None,
    ) -> None:
        address, target = parsed_url(url, tls)
        self._wire = _BlockingWire(address, timeout)
        self._listening = Listening(
            self._wire,
            target,
            channels,
            names,
            identifier,
            on_gap,
            timeout,
            poll_seconds,
            poll_timeout,
            transport,
            grant,
            on_refused,
        )
        self._closing = threading.Event()
        try:
            _done(self._listening.begin())
        except BaseException:
            self._wire.close()
            raise

    @property
    def cursors(self) -> dict[str, str | None]:
        """The cursor in each channel of the last message that was yielded; to be given to `listen` to go on there."""
        return self._listening.cursors

    def __iter__(self) -> Listener:
        return self

    def __next__(self) -> Message:
        while (message := self._listening.message()) is None:
            if self._closing.wait(self._listening.delay):
                self._wire.close()
                raise StopIteration
            _done(self._listening.step())
        return message

    def close(self) -> None:
        """Ends the listener, and an iteration that waits in another thread."""
        self._listening.is_closing = True
        self._closing.set()
        self._wire.abort()

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._wire.close()


def _done(coroutine: Coroutine[Any, Any, _Result]) -> _Result:
    """Runs a coroutine that waits for a blocking wire alone, and so ends at its first step."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: _Result = end.value
        return result
    raise AssertionError("it waits for something that does not block")


class _BlockingWire:
    """A Wire whose methods block, and return without waiting. `abort` may be called from any thread."""

    def __init__(self, address: Address, timeout: float | None) -> None:
        """`timeout`: seconds for connecting."""
        self.address = address
        self.asked_at = math.inf
        self._timeout = timeout
        self._connection: Connection | None = None
        self._is_aborted = False

    async def ask(self, request: Request, seconds: float | None) -> Answer:
        self.asked_at = math.inf
        kept = self._connection if self._connection is not None and self._connection.usable() else None
        try:
            return self._asked(kept or self._connected(), request, seconds)
        except ConnectionLost:
            if kept is None or self._is_aborted or time.monotonic() - self.asked_at > WAITED:
                raise
            self.asked_at = math.inf
            return self._asked(self._connected(), request, seconds)

    async def begin(self, request: Request, seconds: float | None) -> Answer:
        self.asked_at = math.inf
        connection = self._connected()
        self.asked_at = time.monotonic()
        return connection.begin(request.written(), Deadline(seconds))

    async def read_some(self, deadline: Deadline) -> bytes:
        assert self._connection is not None
        return self._connection.read_some(deadline)

    async def drop(self) -> None:
        self.close()

    def abort(self) -> None:
        """Has what blocks fail, now and from now on."""
        self._is_aborted = True
        if (connection := self._connection) is not None:
            connection.abort()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> Connection:
        self.close()
        self._connection = Connection(self.address, Deadline(self._timeout))
        if self._is_aborted:
            self._connection.abort()
        return self._connection

    def _asked(self, connection: Connection, request: Request, seconds: float | None) -> Answer:
        self.asked_at = time.monotonic()
        try:
            answer = connection.ask(request.written(), Deadline(seconds))
        except BaseException:
            self.close()
            raise
        if answer.closes:
            self.close()
        return answer
