"""Channel sets, their events, and who is woken by what.

Listeners of the same ids share a ChannelSet and its Event. A message retires the sets that it is due to: their
listeners are answered and gone, and whoever comes later waits in a fresh set.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from gevent import get_hub
from gevent.event import Event

from rplx.engine import Engine, Listeners
from rplx.errors import BadRequest
from rplx.log import Log
from rplx.messages import Due, Message, Send, cursor_value
from rplx.protocol.replies import PREFIX, block_size, encode_blocks

SET_MAX = 64
"""Listeners that one Event wakes. gevent takes each waiter from the front of a list and searches it when one leaves:
a hang-up with 10,000 on one Event took 118 µs, with 64 it takes 49 µs."""

SLICE = 0.008
"""Seconds for which one message is sent before other connections have their turn."""

CROWD = 500  # listeners of one message that take about so long

DIGITS_MAX = 40
"""Digits before the point of a cursor that a back-end gives. Those drawn behind it (part 7.12) have to stay within
what a poll may name (identifiers.CURSOR_MAX), however many are."""

NOTHING = Decimal(-1)  # less than any cursor
NO_MESSAGE = Message(b"", {})


class PollTimeout(Exception):
    """Thrown into a parked listener when its time is up: it is answered with an empty body."""


class Listener:
    """One parked poll. `cursors` are aligned with the names of its set; `answer` is None until there is one.

    `connection` is whatever the server in front wants to find again when the answer is there, None if it wants nothing.
    """

    __slots__ = ("answer", "channel_set", "connection", "cursors")

    def __init__(self, channel_set: ChannelSet, cursors: tuple[str, ...], connection: Any) -> None:
        self.channel_set = channel_set
        self.cursors = cursors
        self.connection = connection
        self.answer: bytes | None = None


class ChannelSet:
    """Up to SET_MAX listeners of the same ids, and the Event on which their greenlets are parked."""

    __slots__ = ("drawn", "event", "listeners", "names", "newest", "retired", "room", "was_split")

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self.event = Event()
        self.listeners: dict[Listener, None] = {}  # a dict keeps their order and lets one leave at once
        self.newest = NOTHING  # the greatest cursor that any listener named
        self.drawn: str | None = None  # the latest that was drawn for one that named none
        self.room = SET_MAX
        self.retired = False  # a message is on its way to all its listeners
        self.was_split = False  # it was part of another, whose other listeners wait on its event, too

    def furthest(self) -> Decimal:
        """The greatest cursor of any listener: a message beyond it is due to all of them."""
        # Drawn cursors become numbers here, once a set, not once a listener.
        if self.drawn is None:
            return self.newest
        return max(self.newest, cursor_value(self.drawn))


@dataclass(slots=True)
class Entered:
    """How a poll began: its listener if it has to wait, else the body that is due. `position`: part 7.4."""

    position: str
    gaps: list[str]
    listener: Listener | None
    body: bytes = b""


class Sender(Protocol):
    """Sends an answer to connections at once, without waking their greenlets first; True if they need not be woken.

    `crowd`: to so many that they would keep all others waiting when they come back.
    """

    def __call__(self, listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool: ...


Visibility = Callable[[str, Sequence[str], str, bytes], bool]


class Hub:
    """Joins the engine and the two lines. One to a process."""

    def __init__(self, engine: Engine, log: Log) -> None:
        self.engine = engine
        self.log = log
        self.answer_max = 1 << 20
        self.sender: Sender | None = None
        self.visibility: Visibility | None = None
        self.listening = 0  # listeners parked now
        self._loop = get_hub().loop
        self._position: str | None = None  # of those who enter in this turn of the loop
        self._position_turn = 0.0
        self._channels: dict[str, dict[ChannelSet, None]] = {}
        self._filling: dict[tuple[str, ...], ChannelSet] = {}
        engine.announce = self.wake
        engine.recall = self.recall
        engine.listeners = self.listeners
        self._deliveries: deque[Delivery] = deque()
        self._sending = 0  # deliveries that have sockets left to send to
        self.quiet = Event()  # set while there are none
        self.quiet.set()
        self._turn = self._loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns

    def configure(self, answer_max: int, visibility: Visibility | None) -> None:
        """`answer_max`: bytes of one answer from history, or one message; `visibility`: the operator's hook."""
        self.answer_max = answer_max
        self.visibility = visibility

    # -- listening

    def enter(self, cursors: dict[str, str | None], connection: Any = None, *, wait: bool = True) -> Entered:
        """A poll of `cursors` (id -> cursor, or None for now). Without `wait` it is answered even if nothing is due.

        Errors: Unavailable.
        """
        engine = self.engine
        position = self._draw_position()
        names = tuple(cursors) if len(cursors) == 1 else tuple(sorted(cursors))
        at = tuple([cursors[id] or position for id in names])
        # Where no cursor was named nothing can be missing.
        gaps = engine.gaps(names, at) if any(cursors.values()) else []
        # Joined first, looked for history afterwards: nothing slips between the two.
        listener = self._place(names, at, position, connection)
        engine.join(names)
        self.listening += 1
        try:
            dues = engine.due(names, at)
            body = self._encode(dues, names) if dues else b""
        except BaseException:
            self.leave(listener)
            raise
        if listener.answer is not None:  # came while the engine was asked
            return Entered(position, gaps, None, listener.answer)
        if body or not wait:
            self.leave(listener)
            return Entered(position, gaps, None, body)
        return Entered(position, gaps, listener)

    def _draw_position(self) -> str:
        """One for all who enter in a turn of the loop, until something is sent: then their answers' heads are alike."""
        turn = self._loop.now()
        if self._position is None or turn != self._position_turn:
            self._position = self.engine.draw()
            self._position_turn = turn
        return self._position

    def _encode(self, dues: list[Due], names: tuple[str, ...]) -> bytes:
        if self.visibility is not None:
            dues = [due for due in dues if self._shown(due, names)]
            if not dues:
                return b""
        limit = self.answer_max - len(PREFIX)
        body = b""
        if sum([len(due.message.data) for due in dues]) <= limit:
            body = encode_blocks(dues)
        if not body or len(body) > limit:
            dues = _first(dues, limit)
            body = encode_blocks(dues)
        if self.log.connections:
            self.log_sending(len(dues), len(body), {id for due in dues for id in due.ids})
        return body

    def log_sending(self, count: int, size: int, ids: Iterable[str]) -> None:
        self.log.message(
            f"<- sending {count} responses ({size} bytes) from [{', '.join(sorted(ids))}] (print=1, shutdown=1)"
        )

    def _shown(self, due: Due, names: Sequence[str]) -> bool:
        assert self.visibility is not None
        ids = {}
        for id, cursor in due.ids.items():
            try:
                if self.visibility(id, names, cursor, due.message.data):
                    ids[id] = cursor
            except Exception as error:  # the operator's code must not keep a message from the other listeners
                self.log.error(f"hooks.check_visibility: {type(error).__name__}: {error}; the message stays hidden")
        if not ids:
            return False
        due.ids, due.value = ids, min(map(cursor_value, ids.values()))
        return True

    def _place(self, names: tuple[str, ...], at: tuple[str, ...], position: str, connection: Any) -> Listener:
        channel_set = self._filling.get(names)
        if channel_set is None or not channel_set.room:
            channel_set = self._filling[names] = ChannelSet(names)
            for id in names:
                sets = self._channels.get(id)
                if sets is None:
                    self._channels[id] = {channel_set: None}
                else:
                    sets[channel_set] = None
        channel_set.room -= 1
        for cursor in at:
            if cursor is position:
                channel_set.drawn = position
            elif cursor_value(cursor) > channel_set.newest:
                channel_set.newest = cursor_value(cursor)
        listener = Listener(channel_set, at, connection)
        channel_set.listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        """The listener is gone, or has been answered otherwise. Does nothing if a message has answered it already."""
        channel_set = listener.channel_set
        if listener not in channel_set.listeners or listener.answer is not None:
            return
        del channel_set.listeners[listener]
        if not channel_set.listeners:
            self._forget(channel_set)
        self.listening -= 1
        self.engine.leave(channel_set.names)

    def _forget(self, channel_set: ChannelSet) -> None:
        names = channel_set.names
        if self._filling.get(names) is channel_set:
            del self._filling[names]
        for id in names:
            sets = self._channels.get(id)
            if sets is not None and sets.pop(channel_set, True) is None and not sets:
                del self._channels[id]

    # -- waking

    def publish(self, send: Send) -> dict[str, str]:
        """Stores a message and wakes its listeners; gives the receipt. Errors: BadRequest, and as Engine.append."""
        for cursor in send.identifiers.cursors.values():
            if cursor is not None and len(cursor) > DIGITS_MAX:
                _check_digits(cursor)
        self._position = None
        return self.engine.append(send)

    def wake(self, message: Message) -> None:
        """Answers every listener to whom `message` is due: the first few sets now, the rest in turns."""
        self._position = None
        sets: dict[ChannelSet, None] = {}
        for id in message.cursors:
            if id in self._channels:
                sets.update(self._channels[id])
        if not sets:
            return
        delivery = Delivery(self, message)
        values = {id: cursor_value(cursor) for id, cursor in message.cursors.items()}
        for channel_set in sets:
            if not channel_set.retired and message.visible_to(channel_set.names):
                self._retire(channel_set, values, delivery)
        if delivery.sets:
            self._start(delivery)

    def _retire(self, channel_set: ChannelSet, values: dict[str, Decimal], delivery: Delivery) -> None:
        """Puts the listeners to whom the message is due into `delivery`."""
        message = delivery.message
        matched = tuple(values) if len(values) == 1 else tuple([id for id in values if id in channel_set.names])
        if self.visibility is not None:
            due = Due.of(message, {id: message.cursors[id] for id in matched})
            if not self._shown(due, channel_set.names):
                return
            matched = tuple(due.ids)
        if min([values[id] for id in matched]) <= channel_set.furthest():
            self._split(channel_set, matched, values, delivery)
            return
        delivery.add(channel_set, matched)

    def recall(self, ids: Iterable[str]) -> None:
        """Answers all listeners of `ids` with an empty body: they ask again, and are told what they may have missed."""
        delivery = Delivery(self, NO_MESSAGE)
        for channel_set in {found: None for id in ids for found in self._channels.get(id, ())}:
            if not channel_set.retired:
                delivery.add_empty(channel_set)
        if delivery.sets:
            self._start(delivery)

    def take_out(self, channel_set: ChannelSet) -> None:
        """Its listeners have been answered, and listen no more."""
        self._forget(channel_set)
        count = len(channel_set.listeners)
        self.listening -= count
        self.engine.leave(channel_set.names, count)

    def _split(
        self, channel_set: ChannelSet, matched: tuple[str, ...], values: dict[str, Decimal], delivery: Delivery
    ) -> None:
        """Some listeners are ahead of the message, which has an old cursor: they move to a set of their own."""
        names = channel_set.names
        staying: list[Listener] = []
        reached: dict[tuple[str, ...], list[Listener]] = {}
        for listener in channel_set.listeners:
            at = dict(zip(names, listener.cursors, strict=True))
            ids = tuple([id for id in matched if values[id] > cursor_value(at[id])])
            if ids:
                reached.setdefault(ids, []).append(listener)
            else:
                staying.append(listener)
        if not reached:
            return
        self._forget(channel_set)
        for listener in staying:
            moved = self._place(names, listener.cursors, "", listener.connection)
            listener.channel_set = moved.channel_set
            del moved.channel_set.listeners[moved]
            listener.channel_set.listeners[listener] = None
        channel_set.listeners.clear()  # else both would keep each other
        for ids, listeners in reached.items():
            part = ChannelSet(names)
            part.event = channel_set.event  # wakes the staying ones too: they see no answer and park in their new set
            part.was_split = True
            part.listeners = dict.fromkeys(listeners)
            self.listening -= len(listeners)
            self.engine.leave(names, len(listeners))
            delivery.add(part, ids)

    # -- what is known, for STATS and the log

    def listeners(self) -> Listeners:
        """All that are parked here."""
        sets = {channel_set: None for found in self._channels.values() for channel_set in found}
        return [
            (id(listener), channel_set.names, listener.cursors)
            for channel_set in sets
            for listener in channel_set.listeners
        ]

    def stats(self) -> dict[str, dict[str, str]]:
        """The sections of STATS (part 3), name -> key -> text."""
        engine = self.engine
        history = engine.history()
        handles: dict[str, list[str]] = {}
        pairs: dict[str, str] = {}
        for process, listeners in enumerate([self.listeners(), *engine.elsewhere()]):
            for number, names, cursors in listeners:
                handle = f"({process << 48 | number:#x})"  # addresses have 48 bits
                pairs[handle] = ", ".join([f"{cursor}:{name}" for cursor, name in zip(cursors, names, strict=True)])
                for name in names:
                    handles.setdefault(name, []).append(handle)
        return {
            "data_to_send": {id: ", ".join([_kept(id, message) for message in kept]) for id, kept in history.items()},
            "connected_fhs": {id: ", ".join(found) for id, found in handles.items()},
            "online_timers": dict.fromkeys(engine.online(), "assigned"),
            "cleanup_timers": dict.fromkeys(history, "assigned"),
            "pairs_by_fhs": pairs,
        }

    def counters(self) -> str:
        """The second line of the log's third form (part 4)."""
        known = self.engine.counters()
        counts = {"pairs_by_fhs": self.listening, "connected_fhs": len(self._channels), **known}
        names = ("pairs_by_fhs", "data_to_send", "connected_fhs", "online_timers", "cleanup_timers", "events")
        return f"[{' '.join([f'{name}={counts[name]}' for name in names])}]"

    # -- delivery in turns

    def _start(self, delivery: Delivery) -> None:
        if delivery.send() and delivery.wake():
            return
        if delivery.sets:
            self._sending += 1
            self.quiet.clear()
        self._deliveries.append(delivery)
        if len(self._deliveries) == 1:
            self._turn.start(self._next)

    def _next(self) -> None:
        """One turn of the delivery that has waited longest."""
        delivery = self._deliveries.popleft()
        if delivery.sets:
            done = False
            if delivery.send():
                self._sending -= 1
                if not self._sending:
                    self.quiet.set()
        else:
            done = delivery.wake()
        if not done:
            self._deliveries.append(delivery)
        if self._deliveries:
            self._turn.start(self._next)


def _check_digits(cursor: str) -> None:
    """Errors: BadRequest."""
    if len(cursor.partition(".")[0].lstrip("0")) > DIGITS_MAX:
        raise BadRequest(f"a message's cursor has more than {DIGITS_MAX} digits before its point", closes=False)


def _kept(id: str, message: Message) -> str:
    limits = f", limited by ({', '.join(sorted(message.limiters))})" if message.limiters else ""
    return f"[{message.cursors[id]}: {len(message.data)}b{limits}]"


def _first(dues: list[Due], limit: int) -> list[Due]:
    """As many messages as a body of `limit` bytes holds, one at least; the listener's next poll has the rest.

    Cut behind a greatest cursor: what stays behind is still ahead of the listener in the channel where it is greatest.
    """
    ordered = sorted([(max(map(cursor_value, due.ids.values())), number) for number, due in enumerate(dues)])
    taken: list[Due] = []
    size = 2  # the brackets, with what parts them from the blocks
    for _, group in groupby(ordered, key=itemgetter(0)):
        together = [dues[number] for _, number in group]
        size += sum(map(block_size, together))
        if taken and size > limit:
            break
        taken += together
    return taken


class Delivery:
    """One message on its way to the sets that it retired: first to every socket, then their greenlets are woken."""

    __slots__ = ("_bodies", "_hub", "_served", "listeners", "message", "sets")

    def __init__(self, hub: Hub, message: Message) -> None:
        self._hub = hub
        self.message = message
        self.sets: deque[tuple[ChannelSet, bytes, tuple[str, ...]]] = deque()
        self.listeners = 0  # that it has, or had
        self._served: deque[ChannelSet] = deque()
        self._bodies: dict[tuple[str, ...], bytes] = {}

    def add(self, channel_set: ChannelSet, matched: tuple[str, ...]) -> None:
        """Takes a set that has been retired; `matched` are the ids by which the message is due to it."""
        body = self._bodies.get(matched)
        if body is None:  # encoded once for each combination of ids
            cursors = self.message.cursors
            body = self._bodies[matched] = encode_blocks([Due.of(self.message, {id: cursors[id] for id in matched})])
        self._put(channel_set, body, matched)

    def add_empty(self, channel_set: ChannelSet) -> None:
        """Takes a set whose listeners are answered with nothing."""
        self._put(channel_set, b"", ())

    def _put(self, channel_set: ChannelSet, body: bytes, ids: tuple[str, ...]) -> None:
        self.listeners += len(channel_set.listeners)
        channel_set.retired = True
        channel_set.room = 0  # who comes from now on waits in another
        for listener in channel_set.listeners:
            listener.answer = body
        self.sets.append((channel_set, body, ids))

    def send(self) -> bool:
        """Sends to sets for a while; True when all have it."""
        end = time.monotonic() + SLICE
        sets, serve = self.sets, self._serve
        while sets and time.monotonic() < end:
            serve(*sets.popleft())
        return not sets

    def wake(self) -> bool:
        """Wakes the greenlets that have something left to do, for a while; True when all are awake.

        It is to clean up, for most of them: that can wait until every socket has the message.
        """
        end = time.monotonic() + SLICE
        while self._served and time.monotonic() < end:
            channel_set = self._served.popleft()
            channel_set.event.set()
            channel_set.listeners.clear()
        return not self._served

    def _serve(self, channel_set: ChannelSet, body: bytes, ids: tuple[str, ...]) -> None:
        hub = self._hub
        if not channel_set.was_split:
            hub.take_out(channel_set)  # not sooner: with a crowd of 10,000 sets nobody would have the message for 20 ms
        done = hub.sender is not None and hub.sender(channel_set.listeners, body, crowd=self.listeners > CROWD)
        if hub.log.connections and body:
            for _ in channel_set.listeners:
                hub.log_sending(1, len(body), ids)
        if done and not channel_set.was_split:
            channel_set.listeners.clear()  # they know their set: only the collector, which is off, would free them
        else:
            self._served.append(channel_set)
