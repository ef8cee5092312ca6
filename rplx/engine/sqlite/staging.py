"""The memory of the engine on disk: messages are admitted first, and kept once they are stored. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal

from rplx.engine.history import weight
from rplx.engine.journal import Journal
from rplx.engine.memory import MemoryEngine
from rplx.engine.prefixes import Prefixes
from rplx.engine.presence import BLOCKS
from rplx.engine.sqlite.records import Kept
from rplx.messages import Event, Message, cursor_value
from rplx.options.table import HistoryOptions, PresenceOptions

NOTHING = Decimal(-1)  # below every cursor


class StagedMemory(MemoryEngine):
    """A MemoryEngine whose `append` is taken apart: `admit`, then `keep` or `abandon`, in the order of `admit`."""

    def __init__(
        self,
        history: HistoryOptions,
        presence: PresenceOptions,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        journal: Journal,
    ) -> None:
        super().__init__(history, presence, wall=wall, monotonic=monotonic, journal=journal)
        self._staged: dict[str, Decimal] = {}  # the greatest cursor that is admitted and not kept yet, by channel

    def admit(self, message: Message, given: dict[str, str | None]) -> None:
        super().admit(message, given)
        self._size += weight(message) * len(given)  # its room is taken
        staged = self._staged
        for id, cursor in message.cursors.items():
            value = cursor_value(cursor)
            if value > staged.get(id, NOTHING):
                staged[id] = value

    def keep(self, message: Message) -> None:
        self.abandon(message)
        super().keep(message)

    def abandon(self, message: Message) -> None:
        """Gives up a message that was admitted."""
        self._size -= weight(message) * len(message.cursors)
        staged = self._staged
        for id, cursor in message.cursors.items():
            if staged.get(id) == cursor_value(cursor):
                del staged[id]

    def _reached(self, id: str) -> Decimal:
        reached = super()._reached(id)
        return max(reached, self._staged.get(id, reached)) if self._staged else reached

    # -- positions

    @property
    def drawn(self) -> int:
        """The greatest cursor that was drawn, in microseconds since the epoch."""
        return self._clock.last

    @property
    def drawn_text(self) -> str:
        """The text of that cursor."""
        return self._clock.last_text

    @property
    def beginning(self) -> Decimal:
        """The floor of channels of which nothing is known."""
        return self._beginning

    @property
    def oldest_event(self) -> int:
        """The position of the oldest event that is kept."""
        return self._presence.log.oldest

    @property
    def events_max(self) -> int:
        """The most events that are kept."""
        return BLOCKS * (self.presence_options.event_chain_len + 1)

    def events_until(self, after: int, until: int, prefixes: Sequence[str]) -> list[Event]:
        """Returns what `events` does, without what came after position `until`."""
        return self._presence.log.after(after, Prefixes(prefixes, self._observer.rest), until)

    # -- what was kept before this process

    def restore_beginning(self, beginning: Decimal) -> None:
        """Takes the floor of channels of which nothing is known."""
        self._beginning = beginning

    def restore_floors(self, floors: Iterable[tuple[str, Decimal]]) -> None:
        """Takes the floors of channels, those emptied longest ago first, before any message is restored."""
        self._floors.update(floors)

    def restore(self, message: Kept, cursors: Mapping[str, str], age: float) -> None:
        """Takes a message that has these cursors in the channels that still have it, and was sent `age` seconds ago.

        They come in the order in which they were sent.
        """
        message.left = len(cursors)
        self._put(message, cursors, self._monotonic() - (age if age > 0 else 0.0), Decimal)

    def restore_presence(self, ids: Sequence[str], events: Iterable[Event]) -> None:
        """Takes who was online, whose grace time begins, and the newest events, oldest first."""
        self._presence.restore(ids, self._monotonic())
        self._presence.log.restore(events)

    def restore_clock(self, drawn: int) -> None:
        """Draws cursors behind `drawn`, in microseconds since the epoch."""
        self._clock.restore(drawn)
