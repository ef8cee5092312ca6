"""Streams that listen, the sets that they are in, and a message on its way to them."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from gevent.event import Event

from rplx.errors import Ending, GrantEnded, Refusal
from rplx.hub.encoding import StreamEncoding, Written
from rplx.hub.progress import Progress, looks_drawn
from rplx.messages import Message, cursor_value

MEMBERS_MAX = 64
"""Members of a set, which share an Event: gevent searches the list of those who wait there when one leaves."""

NOTHING = Decimal(-1)  # less than any cursor
WARN_BEFORE = 25.0  # seconds before the end of its grant at which a stream is told (part 12)
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
        self._frames: dict[StreamEncoding, dict[tuple[str, ...], bytes]] = {}

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
            frames = self._frames[encoding] = {}
        frame = frames.get(matched)
        if frame is None:
            frame = encoding.event(self.written(encoding, matched), self.cursor, {})
            if len(frames) < BODIES_MAX:
                frames[matched] = frame
        return frame


Take = Callable[[bytes], int]
"""Writes to a member's socket; returns how many bytes it took. Raises OSError if it took none. It never waits."""

Told = tuple[str, Decimal, tuple[str, ...]]
"""The cursor of a plain message, its value, and the ids by which it was due."""

Note = tuple[Outgoing, tuple[str, ...], bool]
"""A message that is pending for a set, the ids by which it is due, and whether it comes behind others."""


def takes_nothing(piece: bytes) -> int:
    """The Take of those whose sockets cannot be written to: not yet, or only by the server in front."""
    return 0


def taken_by(take: Take, piece: bytes) -> int:
    """Returns how many bytes of `piece` a socket took that `take` writes to."""
    try:
        return take(piece)
    except OSError:  # full, or gone: its greenlet finds out which
        return 0


class Member:
    """One stream. `names` are its ids, sorted.

    In a set, `cursors` say where it came in, one for each of `names`, and `answer` is None. Behind, its set is NOWHERE,
    `progress` says what it has been told, and `answer` is what its socket has taken in part, b"" if nothing.
    `address`, `connection` and `client` are as for a Listener. `access` says what it may listen to, None if nobody has
    asked. `ends` is when that ends and `warns` when its client is told so, in monotonic seconds; 0: never, or no more.
    """

    __slots__ = (
        "access", "address", "answer", "channel_set", "client", "connection", "cursors", "encoding", "ends", "listens",
        "names", "progress", "seen", "take", "warns",
    )  # fmt: skip

    def __init__(
        self, names: tuple[str, ...], progress: Progress, connection: Any, address: str, encoding: StreamEncoding
    ) -> None:
        self.names = names
        self.progress: Progress | None = progress
        self.connection = connection
        self.address = address
        self.encoding = encoding
        self.take: Take = takes_nothing
        self.channel_set = NOWHERE
        self.cursors: tuple[str, ...] = ()
        self.answer: bytes | None = b""
        self.client = ""
        self.listens = True  # until it ends
        self.seen = -1  # how many messages there had been when nothing was due to it
        self.access: Any = None
        self.ends = 0.0
        self.warns = 0.0

    @property
    def alarm(self) -> float:
        """When something has to be done about its grant, in monotonic seconds; 0: never."""
        return self.warns or self.ends

    def ends_in(self, seconds: float | None, now: float) -> None:
        """Has it end in `seconds`, None for never, and its client told WARN_BEFORE that."""
        self.ends = 0.0 if seconds is None else now + seconds
        self.warns = 0.0 if seconds is None else now + max(0.0, seconds - WARN_BEFORE)


def has_expired(member: Member) -> bool:
    """Returns whether the grant of a stream has ended."""
    return bool(member.ends) and member.ends <= time.monotonic()


def warning(member: Member) -> bytes:
    """Returns what tells a stream that its grant ends, once it is time for that; else b""."""
    now = time.monotonic()
    if not member.warns or member.warns > now:
        return b""
    member.warns = 0.0
    return member.encoding.expires(round(member.ends - now))


def until_alarm(member: Member, most: float) -> float:
    """Returns the seconds until something has to be done about the grant of a stream, and no more than `most`."""
    return min(most, max(0.0, member.alarm - time.monotonic())) if member.alarm else most


def why_ended(member: Member) -> Refusal:
    """Returns what a stream is told that ends: its grant has, or else the server does, or a newer one has come."""
    return GrantEnded() if has_expired(member) else Ending()


class StayingSet:
    """Up to MEMBERS_MAX members, the Event on which their greenlets are parked, and what they have been told.

    Where nearly every set has one member, most of a delivery's time goes into memory that is touched once a message. So
    `sole` is the Take of a member who is alone, else None, and a plain message is noted in `told` alone: who asks for
    the `progress` has it counted in.
    """

    __slots__ = (
        "_progress", "encoding", "entered", "event", "furthest", "members", "more", "names", "pending", "place",
        "since", "sole", "told",
    )  # fmt: skip

    def __init__(self, names: tuple[str, ...], encoding: StreamEncoding, progress: Progress) -> None:
        self.names = names
        self.encoding = encoding
        self._progress = progress
        self.told: Told | None = None  # while no channel is named
        self.event = Event()
        self.members: dict[Member, Take] = {}
        self.sole: Take | None = None
        self.entered = NOTHING  # greatest cursor at which a member came that is not in the progress
        self.furthest = progress.furthest()  # greatest of all, pending ones too: a message beyond it is due to all
        self.pending: Note | None = None
        self.more: list[Note] | None = None  # pending behind that
        self.place = 0  # where it has its heartbeat
        self.since = 0  # how many messages there had been when it was made

    @property
    def progress(self) -> Progress:
        """What the members have been told."""
        self.count_in()
        return self._progress

    @progress.setter
    def progress(self, progress: Progress) -> None:
        self._progress = progress
        self.told = None

    def count_in(self) -> None:
        """Adds what is noted in `told` to the progress."""
        if self.told is not None:
            self._progress.told_plainly(*self.told)
            self.told = None

    def add(self, member: Member, take: Take) -> None:
        """Takes a member in, or has one that is in it written to by `take`."""
        self.members[member] = take
        self.sole = take if len(self.members) == 1 else None

    def discard(self, member: Member) -> bool:
        """Lets go of a member. Returns whether it was in."""
        if self.members.pop(member, None) is None:
            return False
        self.sole = next(iter(self.members.values())) if len(self.members) == 1 else None
        return True


NOWHERE: StayingSet = StayingSet((), None, Progress({}, "0", {}))  # type: ignore[arg-type]
"""The set of those who are in none."""
