"""Streams: how one begins, reads on from history where it is behind, comes into a set, and leaves.

A stream counts as a listener of its channels once, from its beginning to its end, whether it is in a set or behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rplx.engine import Engine
from rplx.engine.selection import first
from rplx.hub import log_lines
from rplx.hub.encoding import StreamEncoding
from rplx.hub.members import Member, Take, taken_by
from rplx.hub.named import NamedListeners
from rplx.hub.progress import Progress, looks_drawn
from rplx.hub.staying import StayingSets, Transport
from rplx.hub.turns import Turns
from rplx.hub.visibility import Visibility, visible_part
from rplx.log import Log
from rplx.messages import Due, Message, cursor_value

READ_MAX = 65536  # bytes, about, that are read from history for a stream before they are written


class Streams:
    """All streams of a process.

    `draw` returns a position, the same for all who ask in one turn of the loop; `is_quiet` whether every message that
    was stored is noted in all sets to which it is due.
    """

    def __init__(
        self,
        engine: Engine,
        log: Log,
        turns: Turns,
        sets: StayingSets,
        named: NamedListeners,
        draw: Callable[[], str],
        is_quiet: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._log = log
        self._turns = turns
        self._sets = sets
        self._named = named
        self._draw = draw
        self._is_quiet = is_quiet
        self._visibility: Visibility | None = None
        self._limit = READ_MAX
        self._told: dict[Member, dict[str, str]] = {}  # channels whose gap has been told, and where they were then
        self.listening = 0  # streams under way

    def configure(self, answer_max: int, visibility: Visibility | None) -> None:
        """Takes new options, as Hub.configure."""
        self._limit = min(answer_max, READ_MAX)
        self._visibility = visibility

    def attach(self, transport: Transport) -> None:
        """Has `transport` read on for members that are behind. Raises ValueError if there is one already."""
        if self._sets.transport is not None:
            raise ValueError("a transport is attached already")
        self._sets.transport = transport

    def ready(self, member: Member, take: Take) -> None:
        """Has what is told to a member written by `take` from now on. Until then it is behind as soon as it is told."""
        self._sets.ready(member, take)

    # -- from the beginning to the end

    def enter(
        self,
        cursors: Mapping[str, str | None],
        connection: Any = None,
        *,
        address: str = "",
        encoding: StreamEncoding,
        common: str | None = None,
        lost: bool = False,
        joined: Callable[[str], None] | None = None,
        client: str = "",
    ) -> tuple[Member, bytes]:
        """Begins a stream of `cursors`: id -> cursor, or None for `common`, and without that for now.

        Returns it and what is to be written first. It is in a set then, or behind, if more is due to it than that:
        its `answer` says which. `lost`: the client had been here before, and it is not known how far it was told.
        `address`, `connection`, `joined` and `client` are as for Hub.enter. Raises Unavailable.
        """
        engine, position = self._engine, self._draw()
        names = tuple(sorted(cursors))
        named = common is not None or any(cursors.values())
        common = common or position
        at = tuple([cursors[id] or common for id in names])
        gaps = engine.gaps(names, at) if named else list(names) if lost else []
        if named and gaps:
            at, common = _not_ahead(at, common, position)
        progress = Progress.begin(names, at, common)
        member = Member(names, progress, connection, address, encoding)
        engine.join(names)
        self.listening += 1
        if joined is not None:
            joined(position)
        try:
            pieces = [encoding.opened(common, progress.named, position, gaps)]
            size = 0
            while size < self._limit:
                piece = self._read(member, progress)
                if not piece:
                    if gaps:
                        self._missed(member, progress, gaps, position, is_all=True)
                    self.settle(member)
                    break
                pieces.append(piece)
                size += len(piece)
        except BaseException:
            self.leave(member)
            raise
        if client:
            self._named.enter(member, client)
        return member, b"".join(pieces)

    def leave(self, member: Member) -> None:
        """Ends a stream. Does nothing if it has ended."""
        if member.listens:
            member.listens = False
            self._sets.remove(member)
            self._told.pop(member, None)
            self._named.forget(member)
            self.listening -= 1
            self._engine.leave(member.names, 1, member.address)

    # -- behind

    def fall_behind(self, member: Member, answer: bytes) -> None:
        """Takes a member out of its set that has been told all until now, with `answer` as what is to be written."""
        self._sets.let_go(member, answer)

    def step_out(self, member: Member) -> None:
        """Has a member read on by itself which is in a set. Does nothing if it does already."""
        self._sets.serve(member.channel_set)
        if member.answer is None:
            self._sets.let_go(member, b"")
            self._sets.fell_behind(member, 0)

    def say(self, member: Member, frame: bytes) -> bool:
        """Writes a frame to one member of a set, between two messages. Does nothing and returns False if it is behind.

        It may fall behind by that, with the frame as the first that it is behind with.
        """
        self._sets.serve(member.channel_set)
        if member.answer is not None:
            return False
        taken = taken_by(member.take, frame)
        if taken < len(frame):
            self._sets.let_go(member, frame)
            self._sets.fell_behind(member, taken)
        return True

    def listen_to(
        self,
        member: Member,
        cursors: Mapping[str, str | None],
        joined: Callable[[str], None] | None = None,
        *,
        answered: bool,
    ) -> bytes:
        """Has a member that is behind listen to the channels of `cursors` instead of its own, as with `enter`.

        With None a channel that it listens to already goes on from where it is. Returns what is to be written: the
        frame that says so if it is `answered`, else one of gaps if there are any. `read_on` gives what is due then.
        Raises Unavailable.
        """
        engine, position, before = self._engine, self._draw(), member.progress
        assert before is not None
        names = tuple(sorted(cursors))
        at = tuple([cursors[id] or before.reached(id) or position for id in names])
        gaps = engine.gaps(names, at)
        if gaps:
            at, _ = _not_ahead(at, position, position)
        was, now = set(member.names), set(names)
        progress = Progress.begin(names, at, position)
        engine.join(tuple(sorted(now - was)))
        member.names, member.progress = names, progress  # what it is counted for, whatever happens from here on
        engine.leave(tuple(sorted(was - now)), 1, member.address)
        if gaps:
            self._told[member] = {id: progress.at[id] for id in gaps}
        else:
            self._told.pop(member, None)
        if joined is not None:
            joined(position)
        if answered:
            return member.encoding.opened(position, progress.named, position, gaps)
        return member.encoding.gap(gaps) if gaps else b""

    def read_on(self, member: Member) -> bytes:
        """Returns what is due to a member that is behind, written, and counts it as told; b"" if nothing is.

        Tells of gaps first. Others may go on meanwhile. Raises Unavailable.
        """
        progress = member.progress
        assert progress is not None
        missing = self._engine.gaps(member.names, tuple(progress.at.values()))
        told = self._told.get(member, {})
        gaps = [id for id in missing if told.get(id) != progress.at[id]]
        position = self._draw()
        piece = self._read(member, progress)
        if missing:
            self._missed(member, progress, missing, position, is_all=not piece)
        return member.encoding.gap(gaps) + piece if gaps else piece

    def _missed(self, member: Member, progress: Progress, ids: list[str], position: str, *, is_all: bool) -> None:
        """Takes note that gaps in `ids` are told. `is_all`: nothing is left there that lies ahead of the gap."""
        for id in ids:
            at = progress.at[id]
            if is_all and looks_drawn(at) and cursor_value(at) < cursor_value(position):
                progress.told({id: position}, None)
        self._told[member] = {id: progress.at[id] for id in ids}

    def settle(self, member: Member) -> bool:
        """Puts a member into a set, if nothing was sent since `read_on` found nothing. Returns whether it did."""
        progress = member.progress
        assert progress is not None
        if member.seen != self._sets.changes:
            return False
        if self._engine.latest() is not None:
            progress.up_to(self._draw())
        self._sets.place(member, quiet=self._is_quiet())
        return True

    def _read(self, member: Member, progress: Progress) -> bytes:
        engine = self._engine
        member.seen = self._sets.changes
        present = engine.latest()
        dues = self._due(member, tuple(progress.at.values()))
        if not dues:
            return b""
        pieces = []
        encoding = member.encoding
        for _, _, _, due in sorted([_place(number, due) for number, due in enumerate(dues)]):
            # In a cluster of Redis each channel has a copy of the message, which knows its own cursor alone.
            written = encoding.writer(Message(due.message.data, due.ids))(tuple(sorted(due.ids)))
            progress.told(due.ids, present)
            pieces.append(encoding.event(written, progress.common, progress.named))
            self._turns.rest()
        if self._log.connections:
            ids = {id for due in dues for id in due.ids}
            self._log.message(log_lines.sending(len(dues), sum(map(len, pieces)), ids))
        return b"".join(pieces)

    def _due(self, member: Member, at: tuple[str, ...]) -> list[Due]:
        """Returns what is due. Others may go on meanwhile."""
        hook = self._visibility
        if hook is None:
            return self._engine.due(member.names, at, self._limit)
        found = []
        for due in self._engine.due(member.names, at):
            visible = visible_part(hook, self._log, due, member.names)
            if visible is not None:
                found.append(visible)
            self._turns.rest()
        return first(found, self._limit)


def _place(number: int, due: Due) -> tuple[Any, Any, int, Due]:
    """Returns by what messages are sorted: the greatest cursor, as the mark is then right behind each of them."""
    return max(map(cursor_value, due.ids.values())), due.value, number, due


def _not_ahead(at: tuple[str, ...], common: str, position: str) -> tuple[tuple[str, ...], str]:
    """Returns cursors with `position` in place of those ahead of it, at which nothing would be due for long (7.4)."""
    present = cursor_value(position)
    at = tuple([position if cursor_value(cursor) > present else cursor for cursor in at])
    return at, position if cursor_value(common) > present else common
