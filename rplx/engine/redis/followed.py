"""One channel that is followed in this process: a copy of what Redis holds of it, kept up by announcements. Pure.

The copy holds everything behind `base`. Each message has a number in its channel, so a hole in what was announced
shows; the incarnation shows when Redis has lost the channel, or has forgotten it because nothing was sent for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum

from rplx.engine.history import ChannelHistory
from rplx.engine.redis.codec import Part, StoredMessage, unpack_member
from rplx.messages import cursor_value

NOTHING = Decimal(0)
NOT_HEARD = -1
EXPIRED = -2  # of a history that is gone (Redis, PTTL)


class News(Enum):
    """What an announced message is to the copy."""

    OLD = 0  # known already
    NEXT = 1  # the one that is expected
    HOLE = 2  # something before it was missed
    DOUBT = 3  # one of the same number is known already: one of the two is false, or was lost with a server


@dataclass(frozen=True, slots=True)
class Held:
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
    def of(cls, channel: str, answer: Sequence[object]) -> Held:
        """Errors: ValueError, AssertionError, ArithmeticError: this is no such answer."""
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


@dataclass(slots=True)
class Caught:
    """What a look at Redis brought: messages that were missed, in the order of cursors, and whether more were lost."""

    missed: list[StoredMessage]
    lost: bool


class Followed:
    """`listened`: polls wait for it. `used`: when it was last asked for or left (monotonic seconds)."""

    __slots__ = (
        "asked",
        "base",
        "begin",
        "doubted",
        "evicted",
        "heard",
        "history",
        "incarnation",
        "last",
        "listened",
        "live",
        "loaded",
        "losses",
        "newest",
        "number",
        "open",
        "pending",
        "questions",
        "used",
        "wanted",
    )  # fmt: skip

    def __init__(self, now: float) -> None:
        self.history = ChannelHistory(NOTHING)
        self.base = NOTHING
        self.wanted: Decimal | None = None  # the lowest cursor that shall be read
        self.open: Decimal | None = None  # the lowest cursor of polls that wait without having been looked for
        self.newest = NOTHING  # the greatest cursor that was ever here, as far as Redis remembers
        self.number = 0
        self.last = ""  # the cursor of the message of this number, if it is known
        self.doubted = False  # whether it is: then it is asked for again
        self.evicted = b"0"  # up to where Redis may have thrown channels away, as of the last look
        self.incarnation = b""
        self.begin = b""
        self.loaded = False  # something was read
        self.live = False  # announcements come, and nothing is missing
        self.heard = False  # its announcements come, since it was subscribed
        self.losses = 0  # how often they have ceased
        self.asked = NOT_HEARD  # the losses when Redis was asked last
        self.questions = 0  # how often Redis was asked
        # What was announced while Redis was asked: part, body, drawn, and the questions asked by then.
        self.pending: list[tuple[Part, bytes, int, int]] = []
        self.listened = False
        self.used = now

    def deafen(self) -> None:
        """Its announcements have ceased."""
        self.heard = self.live = False
        self.losses += 1

    # -- asked by polls

    def covers(self, value: Decimal) -> bool:
        """Whether a poll at cursor `value` can be answered from here alone."""
        return self.live and value >= self.base

    def want(self, value: Decimal) -> None:
        if self.wanted is None or value < self.wanted:
            self.wanted = value

    def leave_open(self, value: Decimal) -> None:
        """A poll at `value` will wait without knowing whether something is due: told once Redis can be asked."""
        if self.open is None or value < self.open:
            self.open = value
        if value < self.base or not self.loaded:
            self.want(value)

    # -- fed by Redis

    def question(self) -> tuple[str, bytes, int]:
        """What to ask Redis: behind which cursor ("" for nothing), and what is known."""
        # Written with `f`: str() writes 0.0000001 as 1E-7, which is no cursor.
        self.questions += 1
        self.asked = self.losses if self.heard else NOT_HEARD
        if not self.loaded:
            return ("" if self.wanted is None else f"{self.wanted:f}"), b"", 0
        if self.wanted is not None and self.wanted < self.base:
            return "0", b"", 0
        return f"{self.base:f}", self.incarnation, self.number

    def may_have_missed(self, held: Held) -> bool:
        """Whether polls that wait may have missed messages that Redis still holds."""
        return self.open is not None or (self.loaded and bool(held.messages))

    def outran(self, held: Held, asked: tuple[str, bytes, int]) -> bool:
        """Whether announcements came while Redis was asked, so that its answer is older than the copy."""
        return (held.begin, held.incarnation) == (self.begin, self.incarnation) and held.number < self.number > asked[2]

    def absorb(self, held: Held, asked: tuple[str, bytes, int], limit: int, expire_after: float, now: float) -> Caught:
        """Takes what Redis holds, as answer to `asked`. `expire_after` in seconds."""
        same = (held.begin, held.incarnation) == (self.begin, self.incarnation)
        same = same and held.number >= self.number and not held.changed
        forgotten = (
            not same and self.begin == held.begin and (not held.incarnation or _began(held.incarnation) == held.begin)
        )
        reaches = self.open is not None and asked[0] != "" and Decimal(asked[0]) <= self.open
        caught = self._compare(held, same, forgotten, reaches)
        if not same or held.number != self.number:
            self.last = ""
        known_ids = self._known_ids() if self.doubted and same else ()
        if asked[1] == b"" or not same:
            base = Decimal(asked[0]) if asked[0] else cursor_value(held.newest) if held.newest else held.floor
            self.base = base if not self.loaded or asked[1] == b"" else min(base, self.base)
            self.history = ChannelHistory(held.floor)
        elif held.left == EXPIRED:
            self.history = ChannelHistory(held.floor)
        else:
            self.history.floor = max(self.history.floor, held.floor)
        for number, message in held.messages:
            (cursor,) = message.cursors.values()
            if number == held.number:
                self.last = cursor
            if message.id not in known_ids:
                self.history.add(cursor_value(cursor), message, limit, now)
        if held.left >= 0:
            self.history.changed = now - (expire_after - held.left / 1000)
        elif not len(self.history):
            self.history.changed = now
        self.incarnation, self.number, self.begin = held.incarnation, held.number, held.begin
        self.newest = max(cursor_value(held.newest) if held.newest else NOTHING, held.floor)
        self.evicted = held.evicted
        self.doubted = False
        self.loaded = True
        # What Redis said before the topic was subscribed (again) may be old by the time that announcements come.
        self.live = self.asked == self.losses
        self.wanted = None
        if reaches or (self.open is not None and self.open >= self.base):
            self.open = None
        return caught

    def _known_ids(self) -> set[bytes]:
        return {message.id for message in self.history.newest_first() if isinstance(message, StoredMessage)}

    def _compare(self, held: Held, same: bool, forgotten: bool, reaches: bool) -> Caught:
        """What the polls that wait have missed. `reaches`: Redis was asked from the cursor of the open ones on."""
        if not self.loaded:
            if self.open is None or not reaches:
                return Caught([], False)
            return Caught([message for _, message in held.messages], self.open < held.floor)
        if same:
            missed = [message for number, message in held.messages if number > self.number]
            lost = held.number - self.number > len(missed)
            if self.doubted:
                known = self._known_ids()
                missed = [message for message in missed if message.id not in known]
        else:
            missed = [message for _, message in held.messages]
            lost = not forgotten or held.number > len(missed) or held.evicted != self.evicted
        if self.open is not None and reaches:
            lost = lost or self.open < held.floor
            known = {message.id for message in missed}
            missed += [message for _, message in held.messages if message.id not in known]
        return Caught(missed, lost)

    def judge(self, part: Part) -> News:
        if part.incarnation == self.incarnation:
            if part.number < self.number:
                return News.OLD
            if part.number == self.number:
                return News.OLD if not self.last or part.cursor == self.last else News.DOUBT
            return News.NEXT if part.number == self.number + 1 else News.HOLE
        # Redis forgets a channel's facts when nothing was sent for long: then it begins anew in the same order.
        if part.number == 1 and self.begin == _began(part.incarnation):
            return News.NEXT
        return News.HOLE

    def doubt(self) -> None:
        """Two messages of the same number: Redis is asked which it is, and what the other is."""
        self.number -= 1
        self.last = ""
        self.doubted = True
        self.live = False

    def take(self, part: Part, message: StoredMessage, limit: int, now: float) -> None:
        """The next message."""
        self.number = part.number
        self.last = part.cursor
        self.incarnation = part.incarnation
        self.history.add(cursor_value(part.cursor), message, limit, now)
        self.newest = max(self.newest, self.history.reached)

    def expire(self, expire_after: float, now: float) -> bool:
        """Empties the copy when Redis has; whether there was anything to empty."""
        if not len(self.history) or self.history.changed + expire_after > now:
            return False
        empty = ChannelHistory(self.history.newest)
        empty.changed = self.history.changed
        self.history = empty
        return True


def _began(incarnation: bytes) -> bytes:
    """When the order began in which a channel's facts were made."""
    return incarnation.partition(b"/")[0]


def in_order(caught: Iterable[Caught]) -> list[StoredMessage]:
    """What was missed, in the order of cursors; a message that came to several channels is there once."""
    missed: dict[bytes, StoredMessage] = {}
    for one in caught:
        for message in one.missed:
            known = missed.setdefault(message.id, message)
            if known is not message:
                known.cursors = {**known.cursors, **message.cursors}
    return sorted(missed.values(), key=lambda message: min(map(cursor_value, message.cursors.values())))
