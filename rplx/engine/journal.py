"""What an engine in memory reports of what it forgets and learns, so that somebody can keep it elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from rplx.messages import Event, Message


class Journal(Protocol):
    """Takes reports in the order in which things happen. It raises nothing, and lets nobody else go on."""

    def dropped(self, id: str, messages: Sequence[Message], floor: Decimal) -> None:
        """Channel `id` no longer has `messages`, and has come to `floor`."""

    def emptied(self, id: str, messages: Sequence[Message], floor: Decimal) -> None:
        """The same for the last messages of a channel, of which nothing but its floor is known now."""

    def forgotten(self, id: str, beginning: Decimal) -> None:
        """The floor of `id` is known no more; that of all channels of which nothing is known is `beginning`."""

    def changed(self, event: Event) -> None:
        """An id came online or went offline."""
