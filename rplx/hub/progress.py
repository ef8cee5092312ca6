"""How far a stream has been told, channel by channel, and the mark that says so in few words. Pure.

`at` has each channel's cursor, which decides what is due. The mark is what the client comes back with: `common`, at or
below which everything has been sent in all channels that are not `named`. One cursor is nearly always enough, as
cursors that the server draws grow over all channels. A channel is named where that does not hold: where a back-end
chose its cursor, where a message came behind others, and, with an engine that does not report messages in the order of
their cursors, in each channel that has had a message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from rplx.messages import cursor_value

DRAWN_DECIMALS = (
    6  # at least, of a cursor that the server draws; back-ends choose whole seconds, or numbers of their own
)


def looks_drawn(cursor: str) -> bool:
    """Returns whether the server may have drawn this cursor, by its form."""
    return len(cursor) - cursor.find(".") > DRAWN_DECIMALS and "." in cursor


class Progress:
    """The progress of one listener, or of all in a set."""

    __slots__ = ("at", "common", "common_value", "named")

    def __init__(self, at: dict[str, str], common: str, named: dict[str, str]) -> None:
        self.at = at
        self.common = common
        self.common_value = cursor_value(common)
        self.named = named

    @classmethod
    def begin(cls, names: Sequence[str], cursors: Sequence[str], common: str) -> Progress:
        """Returns the progress of one who begins at `cursors`, one for each of `names`."""
        at = dict(zip(names, cursors, strict=True))
        return cls(at, common, {id: cursor for id, cursor in at.items() if cursor != common})

    def copy(self) -> Progress:
        return Progress(self.at.copy(), self.common, self.named.copy())

    def behind(self, cursors: Sequence[str]) -> Progress:
        """Returns the progress of one who joined at `cursors`, in the order of `at`, and was told all since."""
        at = {
            id: mine if mine == theirs or cursor_value(mine) >= cursor_value(theirs) else theirs
            for (id, theirs), mine in zip(self.at.items(), cursors, strict=True)
        }
        return Progress(at, self.common, self.named.copy())

    def reached(self, id: str) -> str | None:
        """Returns the cursor up to which a channel has been told, None for another channel."""
        at = self.at.get(id)
        if at is None:
            return None
        return max(at, self.named.get(id, self.common), key=cursor_value)

    def told(self, ids: Mapping[str, str], present: Decimal | None) -> None:
        """Takes note of a message that has been sent, by `ids`.

        `present`: no message will come in this stream whose drawn cursor is below it, unless it is stored already and
        comes in order; None if the engine promises no order.
        """
        at, named = self.at, self.named
        alone = len(at) == 1
        for id, cursor in ids.items():
            value = cursor_value(cursor)
            if value > cursor_value(at[id]):
                at[id] = cursor
            if value >= self.common_value and (
                alone or (present is not None and value <= present and looks_drawn(cursor))
            ):
                self.common, self.common_value = cursor, value
                named.pop(id, None)
            elif id not in named or value > cursor_value(named[id]):
                named[id] = cursor

    def told_plainly(self, cursor: str, value: Decimal, ids: Sequence[str]) -> None:
        """Takes note of a message that has been sent, by `ids`, with a cursor that the server drew in order.

        No channel is named.
        """
        self.common, self.common_value = cursor, value
        for id in ids:
            self.at[id] = cursor

    def up_to(self, position: str) -> None:
        """Takes note that everything at or below `position`, which the server drew, has been told in all channels."""
        value = cursor_value(position)
        if value < self.common_value:
            return
        self.common, self.common_value = position, value
        for id, cursor in list(self.named.items()):
            if looks_drawn(cursor) and cursor_value(cursor) <= value:
                del self.named[id]

    def furthest(self) -> Decimal:
        """Returns the greatest cursor of all. A message beyond it is due whatever its channels."""
        return max([self.common_value, *map(cursor_value, self.at.values())])
