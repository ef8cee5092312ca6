"""The replica of one channel in this process: what Redis holds of it, kept up by announcements. Pure.

The replica holds everything behind `base`. Each message has a number in its channel, so a gap in what was announced
shows. The incarnation shows when Redis has lost the channel, or has forgotten it because nothing was sent for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from rplx.engine.history import ChannelHistory
from rplx.engine.redis.codec import Part, StoredMessage, unpack_member
from rplx.messages import cursor_value

NOTHING = Decimal(0)
NOT_SUBSCRIBED = -1
EXPIRED = -2  # what PTTL answers for a history that is gone


class News(Enum):
    """What an announced message is to a replica."""

    OLD = 0  # it is known already
    NEXT = 1  # it is the one that is expected
    GAP = 2  # something before it was missed
    CONFLICT = 3  # another of the same number is known: one of the two is false, or was lost with a server


class ReadRequest(NamedTuple):
    """What Redis is asked of a channel (lua/read.lua)."""

    after: str
    """The cursor behind which messages are wanted, "" for none of them."""
    incarnation: bytes
    number: int
    """Of the last message that is known."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What Redis says that it holds of a channel (lua/read.lua). `left`: ms until it expires, negative if unknown."""

    incarnation: bytes
    number: int
    floor: Decimal
    newest: str
    begin: bytes
    left: int
    messages: list[tuple[int, StoredMessage]]
    evicted: bytes = b"0"
    changed: bool = False  # the last message that was known is not among those that were ever stored there

    @classmethod
    def of(cls, channel: str, answer: Sequence[object]) -> Snapshot:
        """Reads an answer of lua/read.lua. Raises ValueError, AssertionError or ArithmeticError if it is none."""
        incarnation, number, floor, newest, begin, left, members, evicted, changed = answer
        assert isinstance(incarnation, bytes)
        assert isinstance(number, bytes)
        assert isinstance(floor, bytes)
        assert isinstance(newest, bytes)
        assert isinstance(begin, bytes)
        assert isinstance(left, int)
        assert isinstance(members, list)
        assert isinstance(evicted, bytes)
        Decimal(newest.decode() or 0)
        messages = [unpack_member(channel, member) for member in members]
        return cls(
            incarnation,
            int(number),
            cursor_value(floor.decode()),
            newest.decode(),
            begin,
            left,
            messages,
            evicted,
            changed == b"1",
        )


Answer = tuple[str, ReadRequest, Snapshot]
"""A channel, what was asked of it, and what Redis holds."""


Pending = tuple[Part, bytes, int, int]
"""An announced part, the body, the microseconds drawn, and how often Redis had been asked by then."""


@dataclass(slots=True)
class Replayed:
    """What waiting polls have missed, in the order of cursors, as a snapshot showed; `lost`: more than that is lost."""

    missed: list[StoredMessage]
    lost: bool


class Replica:
    """One channel. `listened`: polls wait for it. `used`: when it was last asked for or left, monotonic seconds."""

    __slots__ = (
        "base",
        "begin",
        "evicted",
        "history",
        "in_conflict",
        "incarnation",
        "last",
        "listened",
        "live",
        "loaded",
        "losses",
        "losses_at_read",
        "newest",
        "number",
        "pending",
        "reads",
        "subscribed",
        "unchecked",
        "used",
        "wanted",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.history = ChannelHistory(NOTHING)
        self.base = NOTHING
        self.wanted: Decimal | None = None  # lowest cursor behind which messages shall be read
        self.unchecked: Decimal | None = None  # lowest cursor of polls that wait though Redis could not be asked
        self.newest = NOTHING  # greatest cursor that was ever here, as far as Redis remembers
        self.number = 0
        self.last = ""  # cursor of the message of this number, if it is known
        self.in_conflict = False  # two messages of one number are known: Redis is asked for both
        self.evicted = b"0"  # up to where Redis may have thrown channels away, as of the last snapshot
        self.incarnation = b""
        self.begin = b""
        self.loaded = False  # a snapshot was applied
        self.live = False  # announcements come, and nothing is missing
        self.subscribed = False  # its announcements come
        self.losses = 0  # how often they have ceased
        self.losses_at_read = NOT_SUBSCRIBED  # `losses` when Redis was asked last
        self.reads = 0  # how often Redis was asked
        self.pending: list[Pending] = []  # what was announced while Redis was asked
        self.listened = False
        self.used = now

    def subscribe(self) -> None:
        """Notes that its announcements come from now on."""
        self.subscribed = True

    def unsubscribe(self) -> None:
        """Notes that its announcements have ceased."""
        self.subscribed = self.live = False
        self.losses += 1

    def invalidate(self) -> None:
        """Notes that something may be missing: the replica answers no poll until the next snapshot."""
        self.live = False

    def use(self, now: float) -> None:
        """Notes that a poll asks for it at `now`, monotonic seconds."""
        self.used = now

    def listen(self) -> None:
        """Notes that polls wait for it."""
        self.listened = True

    def leave(self, now: float) -> None:
        """Notes that no poll waits for it any more, from `now` on."""
        self.listened = False
        self.used = now

    # -- for polls

    def covers(self, value: Decimal) -> bool:
        """Returns whether a poll at cursor `value` can be answered from here alone."""
        return self.live and value >= self.base

    def want(self, value: Decimal) -> None:
        """Has the next read reach back to cursor `value`."""
        if self.wanted is None or value < self.wanted:
            self.wanted = value

    def wait_unchecked(self, value: Decimal) -> None:
        """Notes that a poll at `value` waits while Redis cannot be asked. It is told of what it missed afterwards."""
        if self.unchecked is None or value < self.unchecked:
            self.unchecked = value
        if value < self.base or not self.loaded:
            self.want(value)

    # -- from snapshots

    def read_request(self) -> ReadRequest:
        """Returns what to ask Redis. The next snapshot is its answer."""
        # Cursors are written with `f`, as str() writes 0.0000001 as 1E-7, which is no cursor.
        self.reads += 1
        self.losses_at_read = self.losses if self.subscribed else NOT_SUBSCRIBED
        if not self.loaded:
            return ReadRequest("" if self.wanted is None else f"{self.wanted:f}", b"", 0)
        if self.wanted is not None and self.wanted < self.base:
            return ReadRequest("0", b"", 0)
        return ReadRequest(f"{self.base:f}", self.incarnation, self.number)

    def may_have_missed(self, snapshot: Snapshot) -> bool:
        """Returns whether waiting polls may have missed messages that Redis still holds."""
        return self.unchecked is not None or (self.loaded and bool(snapshot.messages))

    def is_ahead_of(self, snapshot: Snapshot, asked: ReadRequest) -> bool:
        """Returns whether announcements that came while Redis was asked are newer than its answer."""
        return self._is_of_same_life(snapshot) and snapshot.number < self.number > asked.number

    def apply(self, snapshot: Snapshot, asked: ReadRequest, limit: int, expire_after: float, now: float) -> Replayed:
        """Takes the answer to `asked`, keeping `limit` messages for `expire_after` seconds. Returns what was missed."""
        same = self._is_of_same_life(snapshot) and snapshot.number >= self.number and not snapshot.changed
        reaches = self.unchecked is not None and asked.after != "" and Decimal(asked.after) <= self.unchecked
        replayed = self._compare(snapshot, same, reaches)
        if not same or snapshot.number != self.number:
            self.last = ""
        known_ids = self._known_ids() if self.in_conflict and same else ()
        self._start_history(snapshot, asked, same)
        for number, message in snapshot.messages:
            (cursor,) = message.cursors.values()
            if number == snapshot.number:
                self.last = cursor
            if message.id not in known_ids:
                self.history.add(cursor_value(cursor), message, limit, now)
        if snapshot.left >= 0:
            self.history.changed = now - (expire_after - snapshot.left / 1000)
        elif not len(self.history):
            self.history.changed = now
        self._take_facts(snapshot)
        if reaches or (self.unchecked is not None and self.unchecked >= self.base):
            self.unchecked = None
        return replayed

    def _is_of_same_life(self, snapshot: Snapshot) -> bool:
        """Returns whether Redis has neither lost nor forgotten the channel since the last snapshot."""
        return (snapshot.begin, snapshot.incarnation) == (self.begin, self.incarnation)

    def _start_history(self, snapshot: Snapshot, asked: ReadRequest, same: bool) -> None:
        """Keeps the messages that are here, or begins anew, as the answer to `asked` requires."""
        afresh = asked.incarnation == b""
        if afresh or not same:
            newest = cursor_value(snapshot.newest) if snapshot.newest else snapshot.floor
            base = Decimal(asked.after) if asked.after else newest
            self.base = base if afresh or not self.loaded else min(base, self.base)
            self.history = ChannelHistory(snapshot.floor)
        elif snapshot.left == EXPIRED:
            self.history = ChannelHistory(snapshot.floor)
        else:
            self.history.floor = max(self.history.floor, snapshot.floor)

    def _take_facts(self, snapshot: Snapshot) -> None:
        self.incarnation, self.number, self.begin = snapshot.incarnation, snapshot.number, snapshot.begin
        self.newest = max(cursor_value(snapshot.newest) if snapshot.newest else NOTHING, snapshot.floor)
        self.evicted = snapshot.evicted
        self.in_conflict = False
        self.loaded = True
        # A snapshot from before the topic was subscribed (again) may be old by the time that announcements come.
        self.live = self.losses_at_read == self.losses
        self.wanted = None

    def _known_ids(self) -> set[bytes]:
        return {message.id for message in self.history.newest_first() if isinstance(message, StoredMessage)}

    def _compare(self, snapshot: Snapshot, same: bool, reaches: bool) -> Replayed:
        """Returns what waiting polls have missed. `reaches`: Redis was asked from the cursor of unchecked ones on."""
        if not self.loaded:
            if self.unchecked is None or not reaches:
                return Replayed([], False)
            return Replayed([message for _, message in snapshot.messages], self.unchecked < snapshot.floor)
        if same:
            missed = [message for number, message in snapshot.messages if number > self.number]
            lost = snapshot.number - self.number > len(missed)
            if self.in_conflict:
                known = self._known_ids()
                missed = [message for message in missed if message.id not in known]
        else:
            missed = [message for _, message in snapshot.messages]
            lost = (
                not self._was_forgotten(snapshot) or snapshot.number > len(missed) or snapshot.evicted != self.evicted
            )
        if self.unchecked is not None and reaches:
            lost = lost or self.unchecked < snapshot.floor
            known = {message.id for message in missed}
            missed += [message for _, message in snapshot.messages if message.id not in known]
        return Replayed(missed, lost)

    def _was_forgotten(self, snapshot: Snapshot) -> bool:
        """Returns whether Redis has let go of the channel only because nothing was sent for long."""
        if self.begin != snapshot.begin:
            return False
        return not snapshot.incarnation or _began(snapshot.incarnation) == snapshot.begin

    # -- from announcements

    def classify(self, part: Part) -> News:
        """Returns what an announced message is to this replica."""
        if part.incarnation == self.incarnation:
            if part.number < self.number:
                return News.OLD
            if part.number == self.number:
                return News.OLD if not self.last or part.cursor == self.last else News.CONFLICT
            return News.NEXT if part.number == self.number + 1 else News.GAP
        # Redis forgets a channel's facts when nothing was sent for long; it then begins anew in the same order.
        if part.number == 1 and self.begin == _began(part.incarnation):
            return News.NEXT
        return News.GAP

    def enter_conflict(self) -> None:
        """Has Redis asked which of two messages of the same number is true, and what the other is."""
        self.number -= 1
        self.last = ""
        self.in_conflict = True
        self.live = False

    def take_pending(self) -> list[Pending]:
        """Takes out what was announced while Redis was asked."""
        pending, self.pending = self.pending, []
        return pending

    def add(self, part: Part, message: StoredMessage, limit: int, now: float) -> None:
        """Keeps the next message, and no more than `limit`."""
        self.number = part.number
        self.last = part.cursor
        self.incarnation = part.incarnation
        self.history.add(cursor_value(part.cursor), message, limit, now)
        self.newest = max(self.newest, self.history.reached)

    # -- what time brings

    def expire(self, expire_after: float, now: float) -> bool:
        """Empties the replica when Redis has emptied the channel; returns whether there was anything."""
        if not len(self.history) or self.history.changed + expire_after > now:
            return False
        empty = ChannelHistory(self.history.newest)
        empty.changed = self.history.changed
        self.history = empty
        return True


def _began(incarnation: bytes) -> bytes:
    """Returns when the order of cursors began in which a channel's facts were made."""
    return incarnation.partition(b"/")[0]


def in_order(replayed: Iterable[Replayed]) -> list[StoredMessage]:
    """Returns what was missed, in the order of cursors; a message of several channels is there once."""
    missed: dict[bytes, StoredMessage] = {}
    for one in replayed:
        for message in one.missed:
            known = missed.setdefault(message.id, message)
            if known is not message:
                known.cursors = {**known.cursors, **message.cursors}
    return sorted(missed.values(), key=lambda message: min(map(cursor_value, message.cursors.values())))
