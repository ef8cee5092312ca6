"""The asynchronous Python client, called from outside of its loop as the one that blocks: what it does is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any

from anyio.from_thread import BlockingPortal

from rplx.client import AsyncListener, AsyncRealplexor, Event, Message
from rplx.client.listening import Listening


class AwaitedListener:
    def __init__(self, portal: BlockingPortal, listener: AsyncListener) -> None:
        self._portal = portal
        self._listener = listener
        portal.call(listener.__aenter__)

    @property
    def cursors(self) -> dict[str, str | None]:
        return self._listener.cursors

    @property
    def _listening(self) -> Listening:
        return self._listener._listening

    def __iter__(self) -> Iterator[Message]:
        return self

    def __next__(self) -> Message:
        message = self._portal.call(anext, self._listener, None)
        if message is None:
            raise StopIteration
        return message

    def close(self) -> None:
        self._portal.call(self._listener.aclose)

    def __enter__(self) -> AwaitedListener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Awaited:
    """A client in the loop of `portal`, with the names of Realplexor."""

    def __init__(self, portal: BlockingPortal, *arguments: Any, **options: Any) -> None:
        self._portal = portal
        self._client = AsyncRealplexor(*arguments, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)
        return lambda *arguments, **options: self._portal.call(partial(method, *arguments, **options))

    def listen(self, *arguments: Any, **options: Any) -> AwaitedListener:
        return AwaitedListener(self._portal, self._client.listen(*arguments, **options))

    def follow(self, *arguments: Any, **options: Any) -> Iterator[Event]:
        following = self._client.follow(*arguments, **options)
        while True:
            yield self._portal.call(anext, following)

    def close(self) -> None:
        self._portal.call(self._client.aclose)

    def __enter__(self) -> Awaited:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
