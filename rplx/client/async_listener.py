"""Listening in asyncio and trio: a wire over httpx, and an asynchronous iterator over it."""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Callable
from types import TracebackType

import anyio
import httpx

from rplx.client.async_exchange import Exchange, new_transport
from rplx.client.blocks import Message
from rplx.client.connection import Address, Answer, Deadline
from rplx.client.errors import ConnectionLost
from rplx.client.granting import Source
from rplx.client.listening import Listening
from rplx.client.names import Ids, Names
from rplx.client.requests import Request
from rplx.client.retrying import WAITED
from rplx.client.wait_url import parsed_url


class AsyncListener:
    """An asynchronous iterator over messages; made by `AsyncRealplexor.listen`.

    It finds its place in each channel when it is entered, or else at the first message that is asked for, and raises
    then what `Realplexor.listen` does; from then on all is as with `Listener`. Leave it by `async with`, or by
    `contextlib.aclosing`: then no connection stays behind. One task iterates, and may be cancelled meanwhile: the next
    message is asked for anew, and nothing is lost. `aclose` may be called from any task of the loop, and ends the
    iteration.
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
        """Raises InvalidArgument."""
        address, target = parsed_url(url, tls)
        self._wire = _AsyncWire(address, timeout)
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
        self._has_begun = False
        self._running: anyio.CancelScope | None = None  # the wait for the next message, which `aclose` ends
        self._ended: anyio.Event | None = None  # tells `aclose` that it has ended

    @property
    def cursors(self) -> dict[str, str | None]:
        """The cursor in each channel of the last message that was yielded; to be given to `listen` to go on there."""
        return self._listening.cursors

    def __aiter__(self) -> AsyncListener:
        return self

    async def __anext__(self) -> Message:
        if self._running is not None:
            raise RuntimeError("another task waits for the next message of this listener")
        try:
            with anyio.CancelScope() as self._running:
                message = await self._next()
                if message is not None:
                    return message
        finally:
            self._running = None
            if self._ended is not None:
                self._ended.set()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Ends the listener, and an iteration that waits in another task."""
        self._listening.is_closing = True
        if self._running is not None:
            self._ended = anyio.Event()
            self._running.cancel()
            await self._ended.wait()
        await self._wire.drop()

    async def __aenter__(self) -> AsyncListener:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _begin(self) -> None:
        if self._has_begun:
            return
        try:
            await self._listening.begin()
        except BaseException:
            await self._wire.drop()
            raise
        self._has_begun = True

    async def _next(self) -> Message | None:
        """Returns the next message, None if the listener is closed."""
        if self._listening.is_closing:
            return None
        await self._begin()
        try:
            while (message := self._listening.message()) is None and not self._listening.is_closing:
                if delay := self._listening.delay:
                    await anyio.sleep(delay)
                await self._listening.step()
        except anyio.get_cancelled_exc_class():
            await self._listening.interrupted()
            raise
        return message


class _AsyncWire:
    """A Wire over httpx."""

    def __init__(self, address: Address, timeout: float | None) -> None:
        """`timeout`: seconds for connecting."""
        self.address = address
        self._timeout = timeout
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._exchange: Exchange | None = None

    @property
    def asked_at(self) -> float:
        return math.inf if self._exchange is None else self._exchange.asked_at

    async def ask(self, request: Request, seconds: float | None) -> Answer:
        self._exchange = exchange = self._new_exchange(request, seconds)
        try:
            return await exchange.answer()
        except ConnectionLost:
            if not exchange.is_kept or time.monotonic() - exchange.asked_at > WAITED:
                raise
            self._exchange = self._new_exchange(request, seconds)
            return await self._exchange.answer()

    async def begin(self, request: Request, seconds: float | None) -> Answer:
        await self.drop()
        self._exchange = self._new_exchange(request, seconds)
        return await self._exchange.begin()

    async def read_some(self, deadline: Deadline) -> bytes:
        assert self._exchange is not None
        return await self._exchange.read_some(deadline)

    async def drop(self) -> None:
        transport, self._transport = self._transport, None
        with anyio.CancelScope(shield=True):
            if self._exchange is not None:
                await self._exchange.aclose()
            if transport is not None:
                await transport.aclose()

    def _new_exchange(self, request: Request, seconds: float | None) -> Exchange:
        if self._transport is None:
            self._transport = new_transport(self.address)
        return Exchange(self._transport, self.address, request, connecting=self._timeout, answering=seconds)
