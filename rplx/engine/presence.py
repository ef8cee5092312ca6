"""Presence: which ids have listeners, and the log of ids that came online and went offline. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from rplx.engine.grace import UNKNOWN, Grace
from rplx.engine.journal import Journal
from rplx.engine.prefixes import EVERYTHING, Prefixes
from rplx.messages import Event

Rest = Callable[[], None]

STEPS = 500  # ids between two rests

FIRST_POSITION = 11  # of the first event (part 3, WATCH)
FAKE = "FAKE"
BLOCKS = 3  # the newest blocks of events are kept


def missed_before(oldest: int) -> Event:
    """Returns the event that tells a watcher of forgotten ones, before position `oldest` (part 3, WATCH)."""
    return Event(oldest - 1, FAKE, FAKE)


class EventLog:
    """The newest changes of presence, in blocks of `block_size` events, of which BLOCKS are kept (part 3, WATCH)."""

    def __init__(self, block_size: int, journal: Journal | None = None) -> None:
        """`journal`: who is told of each event; None: nobody."""
        self.block_size = block_size
        self._journal = journal
        self.position = FIRST_POSITION - 1
        self._blocks: deque[list[Event]] = deque([[]], maxlen=BLOCKS)

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def oldest(self) -> int:
        """The position of the oldest event that is kept, of the next one if there is none."""
        return self._blocks[0][0].position if self._blocks[0] else self.position + 1

    def restore(self, events: Iterable[Event]) -> None:
        """Takes the events that a log before this one had, oldest first. Nobody is told of them."""
        for event in events:
            self._put(event)

    def resize(self, block_size: int) -> None:
        """Takes another size for the blocks that are begun from now on."""
        self.block_size = block_size

    def add(self, kind: str, id: str) -> None:
        """Adds an event: `kind` is "online" or "offline"."""
        event = Event(self.position + 1, kind, id)
        self._put(event)
        if self._journal is not None:
            self._journal.changed(event)

    def _put(self, event: Event) -> None:
        if len(self._blocks[-1]) >= self.block_size:
            self._blocks.append([])
        self.position = event.position
        self._blocks[-1].append(event)

    def after(self, position: int, prefixes: Prefixes = EVERYTHING, until: int | None = None) -> list[Event]:
        """Returns each id's latest change after `position`, oldest first, behind missed_before() if some are lost.

        What came after `until` is left out, if that is given.
        """
        latest: dict[str, Event] = {}
        for block in reversed(self._blocks):
            for event in reversed(block):
                if event.position <= position:
                    return list(latest.values())[::-1]
                if event.id not in latest and prefixes.match(event.id) and (until is None or event.position <= until):
                    latest[event.id] = event
        found = list(latest.values())[::-1]
        oldest = self.oldest
        return found if position >= oldest - 1 or oldest == FIRST_POSITION else [missed_before(oldest), *found]


class Presence:
    """Counts the connections that listen to each id, and keeps the ids in their grace time after the last one left."""

    def __init__(self, log: EventLog, share: int = 0) -> None:
        """`share`: ids of one address that may be in their grace time, 0 for no limit."""
        self.log = log
        self.grace = Grace(share)
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def join(self, ids: Iterable[str]) -> None:
        """Counts one more connection that listens to `ids`, each named once."""
        counts = self._counts
        for id in ids:
            count = counts.get(id)
            if count:
                counts[id] = count + 1
                continue
            counts[id] = 1
            if count is None:
                self.log.add("online", id)
            else:
                self.grace.remove(id)

    def restore(self, ids: Sequence[str], now: float) -> None:
        """Takes ids that were online before this process; nobody listens to them yet, as if all had left at `now`."""
        self._counts.update(dict.fromkeys(ids, 0))
        self.grace.add(ids, now, UNKNOWN)

    def leave(self, ids: Iterable[str], count: int, now: float, address: str = UNKNOWN) -> None:
        """Counts `count` connections less on `ids`, the last of them from `address`, at `now` in monotonic seconds."""
        counts = self._counts
        last = []
        for id in ids:
            counts[id] = left = counts[id] - count
            if not left:
                last.append(id)
        if last:
            self.grace.add(last, now, address)

    def sweep(self, now: float, offline_timeout: float, max_in_grace: int, rest: Rest) -> list[str]:
        """Takes the ids offline whose grace time of `offline_timeout` seconds has passed, and returns them.

        No more than `max_in_grace` ids stay in their grace time, and no more of one address than its share: clients
        that poll ever new ids must not fill the memory, nor push others' ids out. `rest` is called now and then.
        """
        gone: list[str] = []
        grace = self.grace
        while excess := grace.take_excess(STEPS):
            for id in excess:
                self._take_offline(id, gone)
            rest()
        while grace:
            id, left = grace.oldest()
            if left + offline_timeout > now and len(grace) <= max_in_grace:
                break
            grace.remove(id)
            self._take_offline(id, gone)
            if len(gone) % STEPS == 0:
                rest()
        return gone

    def _take_offline(self, id: str, gone: list[str]) -> None:
        del self._counts[id]
        self.log.add("offline", id)
        gone.append(id)

    def online(self, prefixes: Sequence[str], rest: Rest) -> dict[str, int]:
        """Returns online ids that begin with one of `prefixes` (all, if none) and the connections that listen to each.

        `rest` is called now and then; ids that come or go meanwhile may be among them or not.
        """
        begins = Prefixes(prefixes, rest)
        found: dict[str, int] = {}
        ids = list(self._counts)
        for at in range(0, len(ids), STEPS):
            for id in ids[at : at + STEPS]:
                count = self._counts.get(id)
                if count is not None and begins.match(id):
                    found[id] = count
            rest()
        return found
