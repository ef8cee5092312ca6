"""What an application sends, kept in a list in place of being sent."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from rplx.client import (
    Dklab_Realplexor,
    Dklab_Realplexor_Exception,
    InvalidArgument,
    Realplexor,
    SendManyError,
)
from rplx.client.names import Ids, addressees, checked_json, checked_old_id, cursors_by_id, encode
from rplx.client.old_names import without_odd_cursors
from rplx.hosts import publishing

_numbers = itertools.count()


@dataclass(frozen=True)
class Recorded:
    """A message that was sent. `data` is what listeners get: JSON, read again.

    `channels` and `limit_to` are the ids as the application named them, without namespace and login. `receipt`: id ->
    the cursor that the application was told.
    """

    channels: tuple[str, ...]
    data: Any
    limit_to: tuple[str, ...]
    receipt: dict[str, str]


class Sent(list[tuple[str, Any]]):
    """What was sent, in order: `(channel, data)` for each channel of each message. `messages` has more of each."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Recorded] = []

    def to(self, channel: str) -> list[Any]:
        """Returns the data that was sent to a channel, in order."""
        return [data for name, data in self if name == channel]

    def clear(self) -> None:
        """Forgets what was sent so far."""
        super().clear()
        self.messages.clear()

    def _record(self, ids: Ids, body: bytes, limit_to: Ids | None) -> dict[str, str]:
        cursors, limiters = addressees(ids, limit_to)
        drawn = f"{time.time() + next(_numbers) * 1e-6:.6f}"
        receipt = {id: drawn if cursor is None else cursor for id, cursor in cursors.items()}
        data = json.loads(body)
        self.messages.append(Recorded(tuple(cursors), data, tuple(limiters), dict(receipt)))
        self.extend((id, data) for id in cursors)
        return receipt


@contextlib.contextmanager
def capture() -> Iterator[Sent]:
    """Keeps what is sent in this process while the block runs, by any client of Python and `rplx.publish`.

    Needs no server, and no client connects for a send. What could not be sent raises what it always does; questions
    such as `online` go to a server, as ever. Yields the list; a block within a block has its own.
    """
    sent = Sent()

    def send(_: Realplexor, ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        return sent._record(ids, encode(data), limit_to)

    def send_json(_: Realplexor, ids: Ids, text: str | bytes, limit_to: Ids | None = None) -> dict[str, str]:
        return sent._record(ids, checked_json(text), limit_to)

    def send_many(client: Realplexor, messages: Iterable[tuple[Any, ...]]) -> list[dict[str, str]]:
        receipts: dict[int, dict[str, str]] = {}
        for number, message in enumerate(messages):
            try:
                receipts[number] = send(client, *message)
            except InvalidArgument as error:
                raise SendManyError(error, receipts, {number: error}, []) from error
        return list(receipts.values())

    def old_send(_: Dklab_Realplexor, ids: Any, data: Any, show_only_for_ids: Any = None) -> None:
        try:
            if given := cursors_by_id(without_odd_cursors(ids), checked_old_id):
                sent._record(given, encode(data), show_only_for_ids or None)
        except InvalidArgument as error:
            raise Dklab_Realplexor_Exception(str(error)) from error

    def publish(ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        return sent._record(ids, encode(data), limit_to)

    async def async_send(_: Any, ids: Ids, data: Any, limit_to: Ids | None = None) -> dict[str, str]:
        return sent._record(ids, encode(data), limit_to)

    async def async_send_json(_: Any, ids: Ids, text: str | bytes, limit_to: Ids | None = None) -> dict[str, str]:
        return sent._record(ids, checked_json(text), limit_to)

    async def async_send_many(client: Any, messages: Any) -> list[dict[str, str]]:
        if isinstance(messages, AsyncIterable):
            messages = [message async for message in messages]
        return send_many(client, messages)

    places: list[tuple[Any, str, Callable[..., Any]]] = [
        (Realplexor, "send", send),
        (Realplexor, "send_json", send_json),
        (Realplexor, "send_many", send_many),
        (Dklab_Realplexor, "send", old_send),
        (publishing, "publish", publish),
    ]
    with contextlib.suppress(ImportError):  # where the extra rplx[async] is not installed
        from rplx.client.async_realplexor import AsyncRealplexor

        places += [
            (AsyncRealplexor, "send", async_send),
            (AsyncRealplexor, "send_json", async_send_json),
            (AsyncRealplexor, "send_many", async_send_many),
        ]
    with contextlib.ExitStack() as stack:
        for place, name, instead in places:
            stack.enter_context(mock.patch.object(place, name, instead))
        yield sent
