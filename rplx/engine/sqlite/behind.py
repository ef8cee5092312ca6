"""What is written behind: what memory has dropped, who came and went, how far the clock has come. Pure.

It is taken in the order in which it happened, a piece at a time, so that whatever is on disk is a state that was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal

from rplx.engine.sqlite.records import Changes, Kept
from rplx.messages import Event, Message

_Drop = tuple[str, Sequence[Message], Decimal, int | None]


class Behind:
    """Implements Journal: what has happened and is not written yet. `touched` is called with each event.

    `wall` returns seconds since the epoch. `events_max` returns how many events are worth to be kept.
    """

    def __init__(self, wall: Callable[[], float], events_max: Callable[[], int], touched: Callable[[], None]) -> None:
        self._wall = wall
        self._events_max = events_max
        self._touched = touched
        self._drops: deque[_Drop] = deque()
        self._events: deque[Event] = deque()
        self._passed_over: dict[str, bool] = {}  # what events said that were too many to be kept
        self._facts: dict[str, object] = {}

    def __bool__(self) -> bool:
        return bool(self._drops or self._events or self._passed_over or self._facts)

    @property
    def drops(self) -> int:
        """The number of sends and expiries whose dropped messages are not written yet."""
        return len(self._drops)

    def note(self, name: str, value: object) -> None:
        """Has a fact written."""
        self._facts[name] = value

    # -- the journal

    def dropped(self, id: str, messages: Sequence[Message], floor: Decimal) -> None:
        self._drops.append((id, messages, floor, None))

    def emptied(self, id: str, messages: Sequence[Message], floor: Decimal) -> None:
        self._drops.append((id, messages, floor, int(self._wall())))

    def forgotten(self, id: str, beginning: Decimal) -> None:
        self._drops.append((id, (), beginning, None))

    def changed(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) > self._events_max():
            self._pass_over(self._events.popleft())
        self._touched()

    def _pass_over(self, event: Event) -> None:
        is_online = event.kind == "online"
        if not is_online and self._passed_over.get(event.id):
            del self._passed_over[event.id]  # it came and went, and the disk knows neither
        else:
            self._passed_over[event.id] = is_online

    # -- taking pieces

    def take(self, most: int, oldest_event: int, *, drops: bool) -> Changes:
        """Takes about `most` changes of each kind, the oldest; `drops`: whether also what was dropped.

        Events before `oldest_event` are forgotten.
        """
        changes = Changes(oldest_event=oldest_event)
        changes.facts, self._facts = self._facts, {}
        if drops:
            for _ in range(min(most, len(self._drops))):
                self._take_drop(changes, *self._drops.popleft())
        changes.online, self._passed_over = self._passed_over, {}
        for _ in range(min(most, len(self._events))):
            event = self._events.popleft()
            changes.events.append(event)
            changes.online[event.id] = event.kind == "online"
        return changes

    def _take_drop(
        self, changes: Changes, id: str, messages: Sequence[Message], floor: Decimal, emptied: int | None
    ) -> None:
        if not messages:
            changes.floors[id] = (id, None, None)
            changes.facts["beginning"] = f"{floor:f}"
            return
        changes.floors[id] = (id, f"{floor:f}", emptied)
        for message in messages:
            assert isinstance(message, Kept)
            message.left -= 1
            if message.left:
                message.is_partial = True
                changes.partial.append((message.seq, id))
                continue
            changes.deleted.append(message.seq)
            if message.is_partial:
                changes.healed.append(message.seq)
