"""Streams in sets whose members stay: a message is written to every socket of a set, and the set lives on.

Members of a set listen to the same ids, are written to in the same encoding, and have been told the same, so the set
alone has a Progress. Nothing is woken or looked up when a message comes. A member leaves its set with a progress of its
own when its socket does not take what is written, and when it is not certain what of a message is due to it: then it is
behind, reads on from history (`streams`), and comes back into a set when it has been told all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Protocol

from rplx.engine import Engine
from rplx.hub import log_lines
from rplx.hub.encoding import StreamEncoding
from rplx.hub.members import MEMBERS_MAX, NOTHING, NOWHERE, Member, Note, Outgoing, StayingSet, Take, Told
from rplx.hub.progress import Progress
from rplx.hub.visibility import Visibility, visible_part
from rplx.log import Log
from rplx.messages import Due, Message, cursor_value

PENDING_MAX = 16  # messages that wait until a set has its turn; beyond them it is served at once
STEPS = 64  # sets looked at between two looks at the time
LOOK = 16  # steps that a set takes which is not served the short way: it may be written to meanwhile
CHECK_EVERY = 4  # sets served between two looks at the time


class Transport(Protocol):
    """Who reads on for members that are behind."""

    def fell_behind(self, member: Member, taken: int) -> None:
        """Has a member go on by itself, which has left its set. `taken`: bytes of its `answer` that are sent.

        Does not switch greenlets.
        """


class StayingSets:
    """All such sets of a process. `changes` counts what may have made something due to somebody.

    Without a `transport`, as in servers that are not ours, the greenlets of members are woken by the set's Event.
    """

    def __init__(self, engine: Engine, log: Log) -> None:
        self._engine = engine
        self._log = log
        self.transport: Transport | None = None
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
        else:
            _join(found, progress, cursors)
        found.add(member, member.take)
        member.names = found.names  # one object for all
        member.cursors = cursors
        member.channel_set = found
        member.progress = None
        member.answer = None

    def _may_join(self, found: StayingSet, cursors: tuple[str, ...], *, quiet: bool) -> bool:
        """Returns whether a set's members and one who is at `cursors` have been told the same."""
        if len(found.members) >= MEMBERS_MAX or found.pending is not None:
            return False
        return quiet or (found.since == self.changes and cursors == tuple(found.progress.at.values()))

    def ready(self, member: Member, take: Take) -> None:
        """Has a member's socket written to from now on."""
        member.take = take
        if member.channel_set is not NOWHERE:
            member.channel_set.add(member, take)

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
        if channel_set.discard(member):
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
        channel_set.sole = None
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
        is_for_all = visibility is None and passed is None and not outgoing.message.limiters
        note = (outgoing, tuple(outgoing.values), False)  # for all sets of a channel, if it is in one alone
        value = outgoing.highest
        for id in outgoing.ids:
            sets = list(self.channels.get(id, ()))
            for at in range(0, len(sets), STEPS):
                steps = STEPS
                for channel_set in sets[at : at + STEPS]:
                    if is_for_all and value > channel_set.furthest and channel_set.pending is None:
                        channel_set.pending = note  # nearly every one; the rest is the general way
                        channel_set.furthest = value
                        queue.append(channel_set)
                    elif passed is None:
                        self._look(channel_set, outgoing, queue, visibility)
                        steps += LOOK
                    elif channel_set not in passed:
                        passed.add(channel_set)
                        self._look(channel_set, outgoing, queue, visibility)
                        steps += LOOK
                yield steps
            yield 1

    def _look(
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
        late = outgoing.lowest <= channel_set.furthest
        if late:
            matched = self._exactly(channel_set, matched, values)
            if not matched:
                return
        channel_set.furthest = max(channel_set.furthest, *[values[id] for id in matched])
        note = (outgoing, matched, late)
        if channel_set.pending is None:
            channel_set.pending = note
            queue.append(channel_set)
        elif channel_set.more is None:
            channel_set.more = [note]
        else:
            channel_set.more.append(note)
            if len(channel_set.more) >= PENDING_MAX:
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

    def serve_some(self, queue: deque[StayingSet], end: float) -> None:
        """Serves sets until `end` (monotonic seconds), or until none is left."""
        now = time.monotonic
        note: Note | None = None
        encoding: StreamEncoding | None = None
        piece, told = self._plainly(note, encoding)
        served = length = 0
        while queue:
            channel_set = queue.popleft()
            if channel_set.pending is not note or channel_set.encoding is not encoding:
                note, encoding = channel_set.pending, channel_set.encoding
                piece, told = self._plainly(note, encoding)
                length = len(piece)
                served = CHECK_EVERY - 1  # this one may have taken long to write, compressed above all
            last = channel_set.told
            if not length or channel_set.more is not None or (last is None and channel_set.progress.named):
                self.serve(channel_set)
                served = CHECK_EVERY - 1
            else:
                channel_set.pending = None
                take = channel_set.sole
                short: Sequence[tuple[Member, int]] = ()
                if take is None:
                    short = _short(channel_set, piece)
                else:
                    try:
                        taken = take(piece)
                    except OSError:  # full, or gone: its greenlet finds out which
                        taken = 0
                    if taken != length:
                        short = ((next(iter(channel_set.members)), taken),)
                before = channel_set.progress.copy() if short else None
                if last is not None and last[2] != told[2]:
                    channel_set.count_in()
                channel_set.told = told
                if before is not None:
                    self._drop(channel_set, short, piece, before)
            served += 1
            if not served % CHECK_EVERY and now() >= end:
                return

    def _plainly(self, note: Note | None, encoding: StreamEncoding | None) -> tuple[bytes, Told]:
        """Returns a plain message as it is written to sets in order, and how it is noted there.

        b"" if it is none, or is logged.
        """
        if note is None or encoding is None or self._log.connections:
            return b"", ("", NOTHING, ())
        outgoing, matched, late = note
        piece = outgoing.frame(encoding, matched) if outgoing.plain and not late else b""
        return piece, (outgoing.cursor, outgoing.highest, matched)

    def serve(self, channel_set: StayingSet) -> None:
        """Writes what is pending to all members."""
        if channel_set.pending is None:
            return
        pending = [channel_set.pending, *(channel_set.more or ())]
        channel_set.pending = channel_set.more = None
        before = channel_set.progress
        progress = channel_set.progress = before.copy()
        piece = b"".join([_advance(channel_set, progress, *note) for note in pending])
        self._write(channel_set, piece, before)
        if self._log.connections:
            for outgoing, matched, _ in pending:
                size = len(outgoing.written(channel_set.encoding, matched))
                line = log_lines.sending(1, size, outgoing.message.cursors)
                for _ in channel_set.members:
                    self._log.message(line)

    def _write(self, channel_set: StayingSet, piece: bytes, before: Progress) -> None:
        """Writes a piece to all members. `before`: what they had been told before it."""
        short = _short(channel_set, piece)
        if short:
            self._drop(channel_set, short, piece, before)

    def _drop(
        self, channel_set: StayingSet, short: Sequence[tuple[Member, int]], piece: bytes, before: Progress
    ) -> None:
        """Lets members go whose sockets did not take a piece whole. `before`: what had been told before it."""
        for member, taken in short:
            channel_set.discard(member)
            told = channel_set.progress if taken else before
            _leave(member, told.behind(member.cursors), piece if taken else b"")
            self.fell_behind(member, taken)
        if not channel_set.members:
            self._forget(channel_set)
            channel_set.event.set()

    def fell_behind(self, member: Member, taken: int) -> None:
        """Has a member go on that has left its set, as Transport.fell_behind."""
        if self.transport is not None:
            self.transport.fell_behind(member, taken)

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
        if self.transport is None:
            return
        for channel_set in list(sets):
            self.serve(channel_set)
            progress = channel_set.progress
            if position is not None:
                progress.up_to(position)
                channel_set.furthest = max(channel_set.furthest, progress.common_value)
            piece = channel_set.encoding.heartbeat(progress.common, progress.named)
            self._write(channel_set, piece, progress)
            yield


def _advance(
    channel_set: StayingSet, progress: Progress, outgoing: Outgoing, matched: tuple[str, ...], _late: bool
) -> bytes:
    """Returns a message for a set, with the mark behind it."""
    cursors = outgoing.message.cursors
    progress.told({id: cursors[id] for id in matched}, outgoing.present)
    written = outgoing.written(channel_set.encoding, matched)
    return channel_set.encoding.event(written, progress.common, progress.named)


def _short(channel_set: StayingSet, piece: bytes) -> list[tuple[Member, int]]:
    """Writes a piece to all members; returns those who did not take it whole, and how many bytes they took."""
    short = []
    length = len(piece)
    for member, take in channel_set.members.items():
        try:
            taken = take(piece)
        except OSError:
            taken = 0
        if taken != length:
            short.append((member, taken))
    return short


def _join(found: StayingSet, progress: Progress, cursors: tuple[str, ...]) -> None:
    """Takes into account where one comes in who has been told the same as the members of a set."""
    told = found.progress
    at = told.at
    if cursors != tuple(at.values()):
        for id, cursor in progress.at.items():
            if cursor != at[id]:
                found.entered = max(found.entered, cursor_value(cursor))
        found.furthest = max(found.furthest, found.entered)
    named = told.named
    for id, cursor in progress.named.items():
        named[id] = min(named.get(id, cursor), cursor, key=cursor_value)


def _leave(member: Member, progress: Progress, answer: bytes) -> None:
    member.progress = progress
    member.channel_set = NOWHERE
    member.answer = answer
