"""What a server has to do, written down as simply as it can be said: the model that the real one is held against.

Every message is kept for ever with a mark that tells whether history would still hold it; who is due what, who missed
what and who is online is worked out by looking at all of them (protocol page, parts 2, 3 and 7.4).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

Block = tuple[tuple[tuple[str, str], ...], str]  # ids with their cursors, sorted, and the message


@dataclass(eq=False)
class Told:
    """One message that was sent. `held` has the channels whose history still holds it."""

    text: str
    cursors: dict[str, str]
    limiters: frozenset[str]
    held: set[str] = field(default_factory=set)

    def ids_for(self, cursors: dict[str, str]) -> dict[str, str]:
        """The ids by which it is due to a listener at `cursors`, with the message's cursors there."""
        if self.limiters and self.limiters.isdisjoint(cursors):
            return {}
        common = [id for id in self.cursors if id in cursors]
        return {id: self.cursors[id] for id in common if Decimal(self.cursors[id]) > Decimal(cursors[id])}


class Model:
    """All that was ever sent. `limit` is history.max_messages, `beginning` the cursor at which the server started."""

    def __init__(self, beginning: str, limit: int) -> None:
        self.beginning = beginning
        self.limit = limit
        self.sent: list[Told] = []

    def send(self, told: Told) -> None:
        told.held = set(told.cursors)
        self.sent.append(told)
        for id in told.cursors:
            self._trim(id)

    def _trim(self, id: str) -> None:
        """The newest `limit` by cursor are held; of equal cursors those that came later."""
        held = [told for told in self.sent if id in told.held]
        held.sort(key=lambda told: Decimal(told.cursors[id]))
        for told in held[: max(0, len(held) - self.limit)]:
            told.held.discard(id)

    def expire(self, id: str) -> None:
        for told in self.sent:
            told.held.discard(id)

    def due(self, cursors: dict[str, str]) -> list[Block]:
        """What a listener that comes in at `cursors` has to get from history."""
        blocks = []
        for told in self.sent:
            ids = {id: cursor for id, cursor in told.ids_for(cursors).items() if id in told.held}
            if ids:
                blocks.append(block(ids, told.text))
        return in_order(blocks)

    def ahead(self, cursors: dict[str, str], present: Decimal) -> set[str]:
        """The channels at whose cursor nobody can be: beyond all that was drawn until the `present`, or held there."""
        reached = dict.fromkeys(cursors, Decimal(self.beginning))
        for told in self.sent:
            for id in told.cursors.keys() & reached.keys():
                reached[id] = max(reached[id], Decimal(told.cursors[id]))
        return {id for id, cursor in cursors.items() if Decimal(cursor) > max(present, reached[id])}

    def gaps(self, cursors: dict[str, str]) -> set[str]:
        """The channels in which messages ahead of the listener's cursor are gone, or may be: unknown ones."""
        gone = {id for id, cursor in cursors.items() if Decimal(cursor) < Decimal(self.beginning)}
        for told in self.sent:
            for id, cursor in told.cursors.items():
                if id in cursors and id not in told.held and Decimal(cursor) > Decimal(cursors[id]):
                    gone.add(id)
        return gone


def block(ids: dict[str, str], text: str) -> Block:
    return tuple(sorted(ids.items())), text


def in_order(blocks: Iterable[Block]) -> list[Block]:
    """By the smallest cursor, then by the message's bytes (part 2.3)."""
    return sorted(blocks, key=lambda found: (min(Decimal(cursor) for _, cursor in found[0]), found[1]))
