"""The back-end's client for asyncio and trio: the same calls as those of the one that blocks, awaited."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, TypeVar

import anyio
import httpx

from rplx.client import answers
from rplx.client.answers import Event
from rplx.client.async_exchange import Exchange, new_transport
from rplx.client.async_listener import AsyncListener
from rplx.client.commands import Command, Commands, Receipt
from rplx.client.connection import Address, Answer, Deadline
from rplx.client.errors import (
    ConnectionLost,
    InvalidArgument,
    NotStored,
    RealplexorError,
    Refused,
    SendManyError,
    Timeout,
)
from rplx.client.following import Following
from rplx.client.granting import Source
from rplx.client.listening import POLL_SECONDS
from rplx.client.names import Ids, Names, Prefixes, checked_marker_word
from rplx.client.realplexor import TIMEOUT, checked_timeout
from rplx.client.wait_url import url_beside

CONNECTIONS_MAX = 20  # connections at once, all of them kept; calls beyond them wait for one, within their timeout

_Read = TypeVar("_Read")


class AsyncRealplexor:
    """A client of one server, in one event loop of asyncio or trio; any number of its tasks may use it at once.

    It has the arguments, the calls, the results and the errors of `Realplexor`. A call that is cancelled closes its
    connection; a send that is cancelled may have been carried out. Leave it by `async with`, or close it by `aclose`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 10010,
        namespace: str | None = None,
        *,
        login: str | None = None,
        password: str | None = None,
        timeout: float | None = TIMEOUT,
        tls: bool | ssl.SSLContext = False,
        identifier: str = "identifier",
    ) -> None:
        """Connects to nobody yet. The arguments are those of `Realplexor`. Raises InvalidArgument."""
        self.timeout = checked_timeout(timeout)
        self.address = Address.of(host, port, tls)
        names = Names.of(namespace, login, password)
        self._commands = Commands(self.address, names, checked_marker_word(identifier))
        # One of httpx for each connection: its own pool looks at all of them for each request.
        self._idle: list[httpx.AsyncHTTPTransport] = []
        self._free: anyio.Semaphore | None = None  # made in the loop

    async def send(self, ids: Ids, data: Any, limit_to: Ids | None = None) -> Receipt:
        """As `Realplexor.send`."""
        return await self._ask(self._commands.send(ids, data, limit_to))

    async def send_json(
        self, ids: Ids, text: str | bytes | bytearray | memoryview, limit_to: Ids | None = None
    ) -> Receipt:
        """As `Realplexor.send_json`."""
        return await self._ask(self._commands.send_json(ids, text, limit_to))

    async def send_many(self, messages: Iterable[tuple[Any, ...]] | AsyncIterable[tuple[Any, ...]]) -> list[Receipt]:
        """As `Realplexor.send_many`, but each message is sent when the one before it is stored.

        `messages` may be an asynchronous generator, too.
        """
        receipts: list[Receipt] = []
        async for message in _each(messages):
            try:
                receipts.append(await self._ask(self._commands.send_one_of_many(message)))
            except RealplexorError as error:
                number = len(receipts)
                is_refused = isinstance(error, (InvalidArgument, NotStored, Refused))
                raise SendManyError(
                    error,
                    dict(enumerate(receipts)),
                    failed={number: error} if is_refused else {},
                    unsure=[number] if error.unknown else [],
                ) from error
        return receipts

    async def online(self, prefixes: Prefixes = None) -> list[str]:
        """As `Realplexor.online`."""
        return list(await self.online_with_counters(prefixes))

    async def online_with_counters(self, prefixes: Prefixes = None) -> dict[str, int]:
        """As `Realplexor.online_with_counters`."""
        return await self._ask(self._commands.online(prefixes))

    async def watch(self, position: str | int | None = None, prefixes: Prefixes = None) -> list[Event]:
        """As `Realplexor.watch`."""
        return await self._ask(self._commands.watch(position, prefixes))

    async def follow(
        self, position: str | int | None = None, prefixes: Prefixes = None, interval: float = 1.0
    ) -> AsyncIterator[Event]:
        """As `Realplexor.follow`. No connection is in use between two questions."""
        following = Following(position, interval)
        for event in following.take(await self.watch(following.position, prefixes)):
            yield event
        while True:
            await anyio.sleep(following.delay)
            try:
                events = await self.watch(following.position, prefixes)
            except RealplexorError as error:
                following.failed(error)
                continue
            for event in following.take(events):
                yield event

    async def stats(self) -> dict[str, dict[str, str]]:
        """As `Realplexor.stats`."""
        return answers.stats(await self.stats_text())

    async def stats_text(self) -> str:
        """As `Realplexor.stats_text`."""
        return await self._ask(self._commands.stats_text())

    def listen(
        self,
        channels: Ids,
        wait: str | None = None,
        *,
        on_gap: Callable[[list[str]], None] | None = None,
        poll_seconds: float = POLL_SECONDS,
        poll_timeout: float | None = None,
        transport: str = "auto",
        grant: Source | None = None,
        on_refused: Callable[[list[str]], None] | None = None,
    ) -> AsyncListener:
        """Returns an asynchronous iterator over messages; see AsyncListener. The arguments are `Realplexor.listen`'s.

        A function that returns the `grant` may be a coroutine. The listener asks nobody yet: what is sent after it was
        entered (`async with`) is received.
        """
        return AsyncListener(
            url_beside(self.address) if wait is None else wait,
            channels,
            self._commands.names,
            self._commands.identifier,
            on_gap,
            self.timeout,
            poll_seconds,
            poll_timeout,
            self.address.tls or True,
            transport,
            grant,
            on_refused,
        )

    async def aclose(self) -> None:
        """Closes the connections. Listeners have their own."""
        while self._idle:
            await self._idle.pop().aclose()

    async def __aenter__(self) -> AsyncRealplexor:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(self, command: Command[_Read]) -> _Read:
        """Returns what the answer to a command says, on a kept connection or a new one."""
        deadline = Deadline(self.timeout)
        self._free = self._free or anyio.Semaphore(CONNECTIONS_MAX)
        with anyio.move_on_after(deadline.left()) as waiting:
            await self._free.acquire()
        if waiting.cancelled_caught:
            raise Timeout(f"{self.address}: no connection within {deadline}", unknown=False)
        transport = self._idle.pop() if self._idle else new_transport(self.address)
        try:
            return command.read(await self._answer(transport, command, deadline))
        finally:
            self._idle.append(transport)
            self._free.release()

    async def _answer(self, transport: httpx.AsyncHTTPTransport, command: Command[Any], deadline: Deadline) -> Answer:
        """Returns the answer to a command.

        If a kept connection turns out to be closed, the command is written again if it is repeatable, or certainly
        was not carried out.
        """
        while True:
            exchange = Exchange(transport, self.address, command.request, whole=deadline)
            try:
                return await exchange.answer()
            except ConnectionLost as error:
                if not exchange.is_kept or (error.unknown and not command.repeatable):
                    raise


async def _each(messages: Iterable[tuple[Any, ...]] | AsyncIterable[tuple[Any, ...]]) -> AsyncIterator[tuple[Any, ...]]:
    if isinstance(messages, AsyncIterable):
        async for message in messages:
            yield message
    else:
        for message in messages:
            yield message
