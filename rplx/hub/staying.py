"""Streams in sets whose members stay: a message is written to every socket of a set, and the set lives on.

Members of a set listen to the same ids, are written to in the same encoding, and have been told the same, so the set
alone has a Progress. Nothing is woken or looked up when a message comes. A member leaves its set with a progress of its
own when its socket does not take what is written, and when it is not certain what of a message is due to it: then it is
behind, reads on from history (`streams`), and comes back into a set when it has been told all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from decimal import Decimal
from typing import Any, Protocol

from gevent.event import Event

from rplx.engine import Engine
from rplx.hub import log_lines
from rplx.hub.encoding import StreamEncoding
from rplx.hub.outgoing import Outgoing
from rplx.hub.progress import Progress
from rplx.hub.visibility import Visibility, visible_part
from rplx.log import Log
from rplx.messages import Due, Message, cursor_value

MEMBERS_MAX = 64
"""Members of a set, which share an Event: gevent searches the list of those who wait there when one leaves."""

PENDING_MAX = 16  # messages that wait until a set has its turn; beyond them it is served at once
STEPS = 64  # sets looked at between two looks at the time

_NOTHING = Decimal(-1)  # less than any cursor


class Member:
    """One stream. `names` are its ids, sorted.

    In a set, `cursors` say where it came in, one for each of `names`, and `answer` is None. Behind, its set is NOWHERE,
    `progress` says what it has been told, and `answer` is what its socket has taken in part, b"" if nothing.
    `address`, `connection` and `client` are as for a Listener.
    """

    __slots__ = (
        "address", "answer", "channel_set", "client", "connection", "cursors", "encoding", "listens", "names",
        "progress", "seen",
    )  # fmt: skip

    def __init__(
        self, names: tuple[str, ...], progress: Progress, connection: Any, address: str, encoding: StreamEncoding
    ) -> None:
        self.names = names
        self.progress: Progress | None = progress
        self.connection = connection
        self.address = address
        self.encoding = encoding
        self.channel_set = NOWHERE
        self.cursors: tuple[str, ...] = ()
        self.answer: bytes | None = b""
        self.client = ""
        self.listens = True  # until it ends
        self.seen = -1  # how many messages there had been when nothing was due to it


class StayingSet:
    """Up to MEMBERS_MAX members, the Event on which their greenlets are parked, and what they have been told."""

    __slots__ = (
        "encoding", "entered", "event", "furthest", "members", "names", "pending", "place", "progress", "since",
    )  # fmt: skip

    def __init__(self, names: tuple[str, ...], encoding: StreamEncoding, progress: Progress) -> None:
        self.names = names
        self.encoding = encoding
        self.progress = progress
        self.event = Event()
        self.members: dict[Member, None] = {}
        self.entered = _NOTHING  # greatest cursor at which a member came that is not in the progress
        self.furthest = progress.furthest()  # greatest of all, pending ones too: a message beyond it is due to all
        self.pending: list[tuple[Outgoing, tuple[str, ...], bool]] = []  # whether it came behind others
        self.place = 0  # where it has its heartbeat
        self.since = 0  # how many messages there had been when it was made


class Transport(Protocol):
    """Writes to the sockets of members. Neither method switches greenlets."""

    def write(self, members: Collection[Member], piece: bytes) -> Sequence[tuple[Member, int]]:
        """Writes `piece` to all; returns those whose sockets did not take it whole, and how many bytes they took."""

    def fell_behind(self, member: Member, taken: int) -> None:
        """Has a member go on by itself, which has left its set. `taken`: bytes of its `answer` that are sent."""


class Woken:
    """The transport of servers that are not ours: each member's greenlet is woken, and reads on from history."""

    def write(self, members: Collection[Member], piece: bytes) -> Sequence[tuple[Member, int]]:
        return [(member, 0) for member in members]

    def fell_behind(self, member: Member, taken: int) -> None:
        pass


class StayingSets:
    """All such sets of a process. `changes` counts what may have made something due to somebody."""

    def __init__(self, engine: Engine, log: Log) -> None:
        self._engine = engine
        self._log = log
        self.transport: Transport = Woken()
        self.channels: dict[str, dict[StayingSet, None]] = {}
        self.changes = 0
        self._filling: dict[StreamEncoding, dict[tuple[str, ...], StayingSet]] = {}
        self._heartbeats: list[dict[StayingSet, None]] = [{}]  # by the second in which they have it
        self._hand = 0

    def configure(self, heartbeat: int) -> None:
        """Takes new options: seconds between two heartbeats."""
        sets = self.all()
        self._heartbeats = [{} for _ in range(heartbeat)]
        self._hand = 0
        for number, channel_set in enumerate(sets):
            channel_set.place = number % len(self._heartbeats)
            self._heartbeats[channel_set.place][channel_set] = None

    # -- members

    def place(self, member: Member, *, quiet: bool) -> None:
        """Puts a member into a set. Nothing is due to it now. `quiet`: all sets have all messages."""
        progress = member.progress
        assert progress is not None
        filling = self._filling.setdefault(member.encoding, {})
        found = filling.get(member.names)
        cursors = tuple(progress.at.values())
        if found is None or not self._may_join(found, cursors, quiet=quiet):
            found = filling[member.names] = self._make(member, progress)
        elif progress is not found.progress:
            _join(found, progress, cursors)
        found.members[member] = None
        member.names = found.names  # one object for all
        member.cursors = cursors
        member.channel_set = found
        member.progress = None
        member.answer = None

    def _may_join(self, found: StayingSet, cursors: tuple[str, ...], *, quiet: bool) -> bool:
        """Returns whether a set's members and one who is at `cursors` have been told the same."""
        if len(found.members) >= MEMBERS_MAX or found.pending:
            return False
        return quiet or (found.since == self.changes and cursors == tuple(found.progress.at.values()))

    def _make(self, member: Member, progress: Progress) -> StayingSet:
        made = StayingSet(member.names, member.encoding, progress)
        made.since = self.changes
        made.place = (self._hand - 1) % len(self._heartbeats)
        self._heartbeats[made.place][made] = None
        for id in made.names:
            self.channels.setdefault(id, {})[made] = None
        return made

    def remove(self, member: Member) -> None:
        """Takes a member that is gone out of its set."""
        channel_set = member.channel_set
        if channel_set.members.pop(member, True) is None:
            member.channel_set = NOWHERE
            if not channel_set.members:
                self._forget(channel_set)

    def let_go(self, member: Member, answer: bytes) -> None:
        """Has a member read on by itself behind `answer`. Does nothing to its progress if it does already."""
        channel_set = member.channel_set
        if member in channel_set.members:
            self.serve(channel_set)
        if member in channel_set.members:
            progress = channel_set.progress.behind(member.cursors)
            self.remove(member)
            member.progress = progress
        member.answer = answer

    def _forget(self, channel_set: StayingSet) -> None:
        """Lets go of a set that nobody is in any more."""
        self._heartbeats[channel_set.place].pop(channel_set, None)
        filling = self._filling[channel_set.encoding]
        if filling.get(channel_set.names) is channel_set:
            del filling[channel_set.names]
        for id in channel_set.names:
            sets = self.channels.get(id)
            if sets is not None and sets.pop(channel_set, True) is None and not sets:
                del self.channels[id]

    def disband(self, channel_set: StayingSet) -> None:
        """Has all members read on by themselves, each from where it is."""
        self.serve(channel_set)
        for member in channel_set.members:
            _leave(member, channel_set.progress.behind(member.cursors), b"")
        channel_set.members.clear()
        self._forget(channel_set)
        channel_set.event.set()

    # -- messages

    def outgoing(self, message: Message) -> Outgoing | None:
        """Returns a message that was stored just now, to be delivered; None if nobody here listens to its channels."""
        channels = self.channels
        ids = [id for id in message.cursors if id in channels]
        if not ids:
            return None
        return Outgoing(message, ids, self._engine.latest())

    def find(self, outgoing: Outgoing, queue: deque[StayingSet], visibility: Visibility | None) -> Iterator[int]:
        """Notes the message in each set to which it is due, and adds to `queue` those that are to be served.

        Yields now and then, with the steps that it took.
        """
        passed: set[StayingSet] | None = set() if len(outgoing.values) > 1 else None
        for id in outgoing.ids:
            sets = list(self.channels.get(id, ()))
            for at in range(0, len(sets), STEPS):
                for channel_set in sets[at : at + STEPS]:
                    if passed is not None:
                        if channel_set in passed:
                            continue
                        passed.add(channel_set)
                    self._note(channel_set, outgoing, queue, visibility)
                yield STEPS
            yield 1

    def _note(
        self, channel_set: StayingSet, outgoing: Outgoing, queue: deque[StayingSet], visibility: Visibility | None
    ) -> None:
        """Notes a message that is pending for a set, if it is due there."""
        message = outgoing.message
        names = channel_set.names
        if message.limiters and not message.visible_to(names):
            return
        values = outgoing.values
        matched = tuple(values) if len(values) == 1 else tuple([id for id in names if id in values])
        if visibility is not None:
            due = Due.of(message, {id: message.cursors[id] for id in matched})
            visible = visible_part(visibility, self._log, due, names)
            if visible is None:
                return
            matched = tuple(visible.ids)
        pending = channel_set.pending
        late = outgoing.lowest <= channel_set.furthest
        if late:
            matched = self._exactly(channel_set, matched, values)
            if not matched:
                return
            pending = channel_set.pending
        if not pending:
            queue.append(channel_set)
        pending.append((outgoing, matched, late))
        if not late:
            channel_set.furthest = outgoing.highest
        else:
            channel_set.furthest = max(channel_set.furthest, *[values[id] for id in matched])
        if len(pending) >= PENDING_MAX:
            self.serve(channel_set)

    def _exactly(
        self, channel_set: StayingSet, matched: tuple[str, ...], values: dict[str, Decimal]
    ) -> tuple[str, ...]:
        """Returns the ids by which a message with an old cursor is due to all members; disbands if it is not clear."""
        self.serve(channel_set)
        at = channel_set.progress.at
        ids = []
        for id in matched:
            if values[id] <= cursor_value(at[id]):
                continue
            if values[id] <= channel_set.entered:
                self.disband(channel_set)
                return ()
            ids.append(id)
        return tuple(ids)

    def serve(self, channel_set: StayingSet) -> None:
        """Writes what is pending to all members."""
        pending = channel_set.pending
        if not pending:
            return
        channel_set.pending = []
        before = progress = channel_set.progress
        outgoing, matched, late = pending[0]
        is_plain = outgoing.plain or (outgoing.cursor and len(channel_set.names) == 1)
        if is_plain and not late and not progress.named and len(pending) == 1:
            piece = outgoing.frame(channel_set.encoding, matched)
            short = self.transport.write(channel_set.members, piece)
            if short:
                before = progress.copy()
            progress.common, progress.common_value = outgoing.cursor, outgoing.highest
            for id in matched:
                progress.at[id] = outgoing.cursor
        else:
            progress = channel_set.progress = before.copy()
            piece = b"".join([_advance(channel_set, progress, *one) for one in pending])
            short = self.transport.write(channel_set.members, piece)
        if self._log.connections:
            for outgoing, matched, _ in pending:
                line = log_lines.sending(
                    1, len(outgoing.written(channel_set.encoding, matched)), outgoing.message.cursors
                )
                for _ in channel_set.members:
                    self._log.message(line)
        if short:
            self._drop(channel_set, short, piece, before)

    def _drop(
        self, channel_set: StayingSet, short: Sequence[tuple[Member, int]], piece: bytes, before: Progress
    ) -> None:
        """Lets members go whose sockets did not take a piece whole. `before`: what had been told before it."""
        for member, taken in short:
            del channel_set.members[member]
            told = channel_set.progress if taken else before
            _leave(member, told.behind(member.cursors), piece if taken else b"")
            self.transport.fell_behind(member, taken)
        if not channel_set.members:
            self._forget(channel_set)
            channel_set.event.set()

    # -- what is known, and what time brings

    def all(self) -> list[StayingSet]:
        """Returns all sets."""
        return [one for sets in self._heartbeats for one in sets]

    def beat(self, position: str | None) -> Iterator[None]:
        """Writes the heartbeats of one second. Yields behind each set.

        `position` is one that was drawn now, None if messages may be on their way that have smaller cursors.
        """
        sets = self._heartbeats[self._hand % len(self._heartbeats)]
        self._hand += 1
        if isinstance(self.transport, Woken):
            return
        for channel_set in list(sets):
            self.serve(channel_set)
            progress = channel_set.progress
            if position is not None:
                progress.up_to(position)
                channel_set.furthest = max(channel_set.furthest, progress.common_value)
            piece = channel_set.encoding.heartbeat(progress.common, progress.named)
            short = self.transport.write(channel_set.members, piece)
            if short:
                self._drop(channel_set, short, piece, progress)
            yield


def _advance(
    channel_set: StayingSet, progress: Progress, outgoing: Outgoing, matched: tuple[str, ...], _late: bool
) -> bytes:
    """Returns a message for a set, with the mark behind it."""
    cursors = outgoing.message.cursors
    progress.told({id: cursors[id] for id in matched}, outgoing.present)
    written = outgoing.written(channel_set.encoding, matched)
    return channel_set.encoding.event(written, progress.common, progress.named)


def _join(found: StayingSet, progress: Progress, cursors: tuple[str, ...]) -> None:
    """Takes into account where one comes in who has been told the same as the members of a set."""
    at = found.progress.at
    if cursors != tuple(at.values()):
        for id, cursor in progress.at.items():
            if cursor != at[id]:
                found.entered = max(found.entered, cursor_value(cursor))
        found.furthest = max(found.furthest, found.entered)
    named = found.progress.named
    for id, cursor in progress.named.items():
        named[id] = min(named.get(id, cursor), cursor, key=cursor_value)


def _leave(member: Member, progress: Progress, answer: bytes) -> None:
    member.progress = progress
    member.channel_set = NOWHERE
    member.answer = answer


NOWHERE: StayingSet = StayingSet((), None, Progress({}, "0", {}))  # type: ignore[arg-type]
"""The set of those who are in none."""
