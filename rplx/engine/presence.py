"""Who is online, and the log of who came and went. Pure: the time is an argument."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from rplx.engine.grace import UNKNOWN, Grace
from rplx.engine.prefixes import EVERYTHING, Prefixes
from rplx.messages import Event

Rest = Callable[[], None]

STEPS = 500  # ids between two rests

FIRST_POSITION = 11  # of the first event (part 3, WATCH)
FAKE = "FAKE"
BLOCKS = 3  # the newest blocks of events are kept


def missed_before(oldest: int) -> Event:
    """Tells a watcher that it has missed events: those before position `oldest` are forgotten (part 3, WATCH)."""
    return Event(oldest - 1, FAKE, FAKE)


class EventLog:
    """The newest changes of presence, in blocks of `block_size` events of which three are kept (part 3, WATCH)."""

    def __init__(self, block_size: int) -> None:
        self.block_size = block_size
        self.position = FIRST_POSITION - 1
        self._blocks: deque[list[Event]] = deque([[]], maxlen=BLOCKS)

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    def add(self, kind: str, id: str) -> None:
        if len(self._blocks[-1]) >= self.block_size:
            self._blocks.append([])
        self.position += 1
        self._blocks[-1].append(Event(self.position, kind, id))

    def after(self, position: int, prefixes: Prefixes = EVERYTHING) -> list[Event]:
        """The latest change of each id after `position`, oldest first, behind missed_before() if some are forgotten."""
        latest: dict[str, Event] = {}
        for block in reversed(self._blocks):
            for event in reversed(block):
                if event.position <= position:
                    return list(latest.values())[::-1]
                if event.id not in latest and prefixes.match(event.id):
                    latest[event.id] = event
        found = list(latest.values())[::-1]
        oldest = self._blocks[0][0].position if self._blocks[0] else self.position + 1
        return found if position >= oldest - 1 or oldest == FIRST_POSITION else [missed_before(oldest), *found]


class Presence:
    """How many connections listen to each id, and which ids are in the grace time after the last one left."""

    def __init__(self, log: EventLog) -> None:
        self.log = log
        self.grace = Grace()
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def join(self, ids: Iterable[str]) -> None:
        """One more connection listens to `ids`, each named once."""
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

    def leave(self, ids: Iterable[str], count: int, now: float, address: str = UNKNOWN) -> None:
        """`count` connections that listened to `ids` have left, the last of them from `address`."""
        counts = self._counts
        last = []
        for id in ids:
            counts[id] = left = counts[id] - count
            if not left:
                last.append(id)
        if last:
            self.grace.add(last, now, address)

    def sweep(self, now: float, offline_timeout: float, max_in_grace: int, rest: Rest) -> list[str]:
        """The ids whose grace time of `offline_timeout` seconds has passed: they are offline from now on.

        No more than `max_in_grace` stay in theirs, and no more of one address than its share: clients that poll ever
        other ids must not fill the memory, nor one of them push others out. `rest` is called now and then.
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
        """Online ids that begin with one of `prefixes` (all, if none) and how many connections listen to each now.

        `rest` is called now and then; who comes or goes meanwhile may be in it or not.
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

    def in_grace(self) -> int:
        """How many ids wait for their grace time to pass."""
        return len(self.grace)
