"""Joins the engine with the lines: listeners enter, messages are published, and both meet here.

Listeners of the same ids share a ChannelSet and its Event. A message retires the sets to which it is due: their
listeners are answered and gone, and a listener that comes later waits in a fresh set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gevent import get_hub

from rplx.engine import Engine
from rplx.engine.observing import Listeners
from rplx.engine.selection import first
from rplx.errors import BadRequest
from rplx.hub import log_lines, stats
from rplx.hub.delivery import Deliveries
from rplx.hub.encoding import Encoding
from rplx.hub.members import Member
from rplx.hub.sets import ChannelSet, Listener
from rplx.hub.shared_bodies import SharedBodies
from rplx.hub.streams import Streams
from rplx.hub.visibility import Visibility, visible_part
from rplx.log import Log
from rplx.messages import Appended, Due, Message, Send, cursor_value

DIGITS_MAX = 40
"""Digits before the point of a cursor that a back-end gives. However many cursors are drawn behind it (part 7.12), they
have to stay within what a poll may name (identifiers.CURSOR_MAX)."""

ANSWER_MAX = 1 << 20  # bytes of one answer from history, where nothing else is said
HEARTBEAT = 25  # seconds, where nothing else is said

identity = id  # the built-in; below, `id` is a channel's


class PollTimeout(Exception):
    """Thrown into the greenlet of a parked listener whose time is up, so that it is answered with an empty body."""


@dataclass(slots=True)
class Entered:
    """How a poll began. `listener` is set if it has to wait, else `body` is its answer.

    `position` is the cursor from which it waits or asks again, `gaps` the ids in which messages are missing (part 7.4).
    """

    position: str
    gaps: list[str]
    listener: Listener | None
    body: bytes = b""


class Hub(Deliveries):
    """The hub of one process. `turns` are those of its loop."""

    def __init__(
        self,
        engine: Engine,
        log: Log,
        answer_max: int = ANSWER_MAX,
        visibility: Visibility | None = None,
        heartbeat: int = HEARTBEAT,
    ) -> None:
        super().__init__(engine, log)
        self.streams = Streams(engine, log, self.turns, self.staying, self.named, self.draw_position, self._is_quiet)
        self.configure(answer_max, visibility, heartbeat)
        self._shared = SharedBodies()
        self._loop = get_hub().loop
        self._position: str | None = None  # of those who enter in this turn of the loop
        self._position_turn = 0.0
        engine.attach(self)

    def configure(self, answer_max: int, visibility: Visibility | None, heartbeat: int = HEARTBEAT) -> None:
        """Takes new options: how many bytes an answer from history has, or one message, the operator's hook, and the
        seconds between two heartbeats of a stream.
        """
        self.staying.configure(heartbeat)
        self.answer_max = answer_max
        self.visibility = visibility
        self.streams.configure(answer_max, visibility)

    @property
    def problem(self) -> str:
        """Why nobody can be served at present, "" if nothing is known of that."""
        return self.engine.problem()

    # -- listening

    def enter(
        self,
        cursors: dict[str, str | None],
        connection: Any = None,
        *,
        wait: bool = True,
        address: str = "",
        encoding: Encoding,
        joined: Callable[[str], None] | None = None,
        client: str = "",
    ) -> Entered:
        """Begins a poll of `cursors`: id -> cursor, or None for now. Without `wait` it is answered in any case.

        `address` is the client's, or "". What is due is written in `encoding`. `joined` is called with the position
        before it is known what is due. If it waits, an older poll of the same `client` ends. Raises Unavailable.
        """
        engine, position = self.engine, self.draw_position()
        names = tuple(cursors) if len(cursors) == 1 else tuple(sorted(cursors))
        at = tuple([cursors[id] or position for id in names])
        named = any(cursors.values())  # else nothing can be missing
        gaps = engine.gaps(names, at) if named else []
        if gaps:
            at = _from_the_present(names, at, gaps, position)
        # It joins before it looks into history, so that nothing slips between the two.
        listener = self.place(names, at, position, connection, address, encoding)
        engine.join(names)
        self.listening += 1
        if joined is not None:
            joined(position)
        try:
            body = self._due(names, at, encoding)
        except BaseException:
            self.leave(listener)
            raise
        answer = listener.answer
        if answer == b"" and named:  # it was recalled meanwhile, as its channels may have lost something
            gaps = engine.gaps(names, at)
        if body or answer is not None or not wait:
            self.leave(listener)
            # What history holds comes first. A message that came meanwhile is due to the next poll as well.
            return Entered(position, gaps, None, body or answer or b"")
        if client:
            self.named.enter(listener, client)
        return Entered(position, gaps, listener)

    @property
    def waiting(self) -> int:
        """How many polls and streams wait now."""
        return self.listening + self.streams.listening

    def _is_quiet(self) -> bool:
        """Returns whether every message that was stored is noted in all sets to which it is due."""
        return not self._finding

    def draw_position(self) -> str:
        """Returns one position for all who enter in a turn of the loop, until something is sent.

        So the heads of their answers are alike.
        """
        turn = self._loop.now()
        if self._position is None or turn != self._position_turn:
            self._position = self.engine.draw()
            self._position_turn = turn
        return self._position

    def _due(self, names: tuple[str, ...], at: tuple[str, ...], encoding: Encoding) -> bytes:
        """Returns what is due, written, or b"" if nothing is. Others may go on meanwhile. Raises Unavailable."""
        limit = self.answer_max - encoding.reserved
        if self.visibility is None:
            dues = self.engine.due(names, at, limit)
        else:
            dues = first(self._visible(self.visibility, self.engine.due(names, at), names), limit)
        if not dues:
            return b""
        key = self._shared.key(dues, encoding)
        self.turns.rest()
        body = self._shared.find(key) if key is not None else b""
        if not body:
            self.turns.rest()
            converted = encoding.convert(dues, self.turns.rest)
            if converted is not dues:  # they may have become longer
                converted = first(converted, limit)
            body = encoding.encode(converted, self.turns.rest)
            if key is not None:
                self._shared.keep(key, dues, body)
        if self.log.connections:
            self.log.message(log_lines.sending(len(dues), len(body), {id for due in dues for id in due.ids}))
        return body

    def _visible(self, hook: Visibility, dues: list[Due], names: tuple[str, ...]) -> list[Due]:
        """Returns what of `dues` the operator's hook shows a listener of `names`. Others may go on meanwhile."""
        found = []
        for due in dues:
            visible = visible_part(hook, self.log, due, names)
            if visible is not None:
                found.append(visible)
            self.turns.rest()
        return found

    def leave(self, listener: Listener | Member) -> None:
        """Takes out a poll that is gone or is answered otherwise, or a stream that has ended."""
        if isinstance(listener, Member):
            self.streams.leave(listener)
        else:
            super().leave(listener)

    # -- sending

    def publish(self, send: Send) -> dict[str, str]:
        """Stores a message and delivers it; returns the receipt, id -> cursor. Raises as `begin` does."""
        return self.begin(send).receipt()

    def begin(self, send: Send) -> Appended:
        """Begins to store and to deliver a message.

        Raises BadRequest for a cursor that is too long, and what Engine.append raises.
        """
        for cursor in send.identifiers.cursors.values():
            if cursor is not None and len(cursor) > DIGITS_MAX:
                _check_digits(cursor)
        self._position = None
        return self.engine.append(send)

    def wake(self, message: Message) -> None:
        """Delivers `message` to every listener to whom it is due: to the first few sets now, to the rest in turns."""
        self._position = None
        super().wake(message)

    # -- what time brings

    def sweep(self, expire_after: float) -> None:
        """Does what time has brought: in the engine, which is logged, and for streams, a second's heartbeats.

        `expire_after` is history's option, in seconds.
        """
        offline, cleaned = self.engine.sweep()
        if self.log.connections:
            for id in offline:
                self.log.message(log_lines.offline(id))
            for id in cleaned:
                self.log.message(log_lines.cleaned(id, expire_after))
        position = None if self.engine.latest() is None or not self._is_quiet() else self.engine.draw()
        for _ in self.staying.beat(position):
            self.turns.rest()

    # -- what is known, for STATS and the log

    def listeners(self) -> Listeners:
        """Returns all listeners that are parked here. Others may go on meanwhile."""
        found: Listeners = []
        seen: set[ChannelSet] = set()
        for id in list(self.channels):
            for channel_set in list(self.channels.get(id, ())):
                if channel_set in seen:
                    continue
                seen.add(channel_set)
                found += [
                    (identity(listener), channel_set.names, listener.cursors) for listener in channel_set.listeners
                ]
                self.turns.rest()
        for staying in self.staying.all():
            if not staying.names:
                continue  # WebSockets that listen to nothing yet
            at = [tuple(staying.progress.behind(member.cursors).at.values()) for member in staying.members]
            numbers = map(identity, staying.members)
            found += [(number, staying.names, cursors) for number, cursors in zip(numbers, at, strict=True)]
            self.turns.rest()
        return found

    def stats(self) -> list[bytes]:
        """Returns the answer to STATS (part 3), in parts. Others may go on meanwhile. Raises Unavailable."""
        return stats.stats(self.engine, self.listeners, self.turns.rest)

    def counters(self) -> str:
        """Returns the second line of the log's third form (part 4)."""
        return log_lines.counters(
            self.waiting,
            len(self.channels.keys() | self.staying.channels.keys()),
            self.engine.counters(),
        )


def _from_the_present(names: tuple[str, ...], at: tuple[str, ...], gaps: list[str], position: str) -> tuple[str, ...]:
    """Returns `at` with `position` in place of cursors that are ahead of it where there is a gap (part 7.4).

    At such a cursor nothing would be due for long.
    """
    present = cursor_value(position)
    missing = set(gaps)
    ahead = {id for id, cursor in zip(names, at, strict=True) if id in missing and cursor_value(cursor) > present}
    return tuple([position if id in ahead else cursor for id, cursor in zip(names, at, strict=True)])


def _check_digits(cursor: str) -> None:
    """Raises BadRequest if a cursor has more than DIGITS_MAX digits before its point."""
    if len(cursor.partition(".")[0].lstrip("0")) > DIGITS_MAX:
        raise BadRequest(f"a message's cursor has more than {DIGITS_MAX} digits before its point", closes=False)
