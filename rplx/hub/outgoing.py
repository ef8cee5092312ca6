"""A message on its way to streams, and what is written of it: once for all sets that get the same."""

from __future__ import annotations

from decimal import Decimal

from rplx.hub.encoding import StreamEncoding, Written
from rplx.hub.progress import looks_drawn
from rplx.messages import Message, cursor_value

BODIES_MAX = 256  # combinations of ids whose encoded message is kept for the next set


class Outgoing:
    """One message on its way to sets.

    `cursor` is the one that it has in all its channels, "" if they differ, `plain` says that this is one which the
    server drew, in order.
    """

    def __init__(self, message: Message, ids: list[str], present: Decimal | None) -> None:
        """`ids` are those of its channels that have members; `present` is as for Progress.told."""
        self.message = message
        self.ids = ids
        self.present = present
        self.values = {id: cursor_value(cursor) for id, cursor in message.cursors.items()}
        self.lowest = min(self.values.values())
        self.highest = max(self.values.values())
        alike = self.lowest == self.highest
        self.cursor = next(iter(message.cursors.values())) if alike else ""
        self.plain = alike and present is not None and self.highest <= present and looks_drawn(self.cursor)
        self._written: dict[StreamEncoding, Written] = {}
        self._frames: dict[StreamEncoding, Written] = {}

    def written(self, encoding: StreamEncoding, matched: tuple[str, ...]) -> bytes:
        """Returns the message as it is due by the ids `matched`, without a mark."""
        written = self._written.get(encoding)
        if written is None:
            written = self._written[encoding] = Written(encoding.writer(self.message), BODIES_MAX)
        return written[matched]

    def frame(self, encoding: StreamEncoding, matched: tuple[str, ...]) -> bytes:
        """Returns the message with a mark that is its cursor alone."""
        frames = self._frames.get(encoding)
        if frames is None:

            def write(ids: tuple[str, ...]) -> bytes:
                return encoding.event(self.written(encoding, ids), self.cursor, {})

            frames = self._frames[encoding] = Written(write, BODIES_MAX)
        return frames[matched]
