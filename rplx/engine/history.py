"""The messages of one channel in the order of cursors, bounded, with the cursor from which on they are whole. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from decimal import Decimal

from rplx.messages import Message

# Bytes of memory; tests/engine/test_history_memory.py measures them.
OVERHEAD = 800  # of a kept message beside its text
CHANNEL_OVERHEAD = 400  # of a channel beside its messages
LIMITER_OVERHEAD = 110  # of a limiter of a message beside its name


def weight(message: Message) -> int:
    """Returns the bytes that a kept message takes in each of its channels."""
    if not message.weight:  # counted once: both its channels and its limiters may be thousands
        limiters = message.limiters
        around = LIMITER_OVERHEAD * len(limiters) + sum(map(len, limiters)) if limiters else 0
        message.weight = len(message.data) + OVERHEAD + around
    return message.weight


class ChannelHistory:
    """The newest messages of one channel, oldest first.

    Above the cursor `floor` nothing is missing; what was sent at or below it may have been dropped. `newest` is the
    greatest cursor here, or `floor` if there is none.
    """

    __slots__ = ("_messages", "_values", "changed", "floor", "newest", "size")

    def __init__(self, floor: Decimal) -> None:
        self._values: list[Decimal] = []
        self._messages: list[Message] = []
        self.floor = self.newest = floor
        self.size = CHANNEL_OVERHEAD  # bytes
        self.changed = 0.0  # when a message was last kept, in seconds of the caller's clock

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def reached(self) -> Decimal:
        """The greatest cursor that was ever here, that of a dropped message included."""
        return self.newest if self.newest > self.floor else self.floor

    def add(self, value: Decimal, message: Message, limit: int, now: float) -> Sequence[Message]:
        """Keeps `message` at cursor `value`, behind others of the same cursor, and drops the oldest beyond `limit`.

        Returns those that were dropped.
        """
        if value >= self.newest:
            self._values.append(value)
            self._messages.append(message)
            self.newest = value
        else:
            index = bisect_right(self._values, value)
            self._values.insert(index, value)
            self._messages.insert(index, message)
            self.newest = self._values[-1]
        self.size += weight(message)
        self.changed = now
        return self.trim(limit) if len(self._values) > limit else ()

    def trim(self, limit: int) -> Sequence[Message]:
        """Drops the oldest messages beyond `limit`, and returns them."""
        excess = len(self._values) - limit
        if excess <= 0:
            return ()
        last = self._values[excess - 1]
        if last > self.floor:
            self.floor = last
        dropped = self._messages[:excess]
        for message in dropped:
            self.size -= weight(message)
        del self._values[:excess], self._messages[:excess]
        if not self._values:
            self.newest = self.floor
        return dropped

    def since(self, value: Decimal) -> tuple[list[Decimal], list[Message]]:
        """Returns the cursors greater than `value`, in order, and their messages."""
        index = bisect_right(self._values, value)
        return self._values[index:], self._messages[index:]

    def newest_first(self) -> list[Message]:
        """Returns all messages, newest first."""
        return self._messages[::-1]
