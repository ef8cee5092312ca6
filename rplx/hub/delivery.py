"""Delivers messages to the listeners to whom they are due, in turns of the loop.

First the sets to which a message is due are found and retired, for one message after the other, so that none overtakes
another on its way to a listener. Then the message is sent to every socket. Last, the greenlets that have something left
to do are woken. Deliveries take turns in the last two steps, so that a message to few does not wait for one to many.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Protocol

import gevent
from gevent import get_hub
from gevent.event import Event

from rplx.engine import Engine
from rplx.hub import log_lines
from rplx.hub.encoding import Encoding, Written
from rplx.hub.members import Outgoing, StayingSet
from rplx.hub.sets import SET_MAX, ChannelSet, ChannelSets, Listener
from rplx.hub.staying import StayingSets
from rplx.hub.turns import Turns
from rplx.hub.visibility import Visibility, visible_part
from rplx.log import Log
from rplx.messages import Due, Message, cursor_value

SLICE = 0.008
"""Seconds for which one message is sent before other connections have their turn."""

CROWD = 500  # listeners of one message that take about one SLICE
STEPS = 2000  # ids of sets looked at between two looks at the time
BODIES_MAX = 256  # combinations of ids whose encoded message is kept for the next set

NO_MESSAGE = Message(b"", {})


class Sender(Protocol):
    """Sends an answer to connections before their greenlets are woken.

    Returns whether their greenlets need not be woken at all. `crowd` says that the message goes to so many listeners
    that all others would have to wait when these come back.
    """

    def __call__(self, listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool: ...


def _wake_all(listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool:
    """Sends nothing, so that the greenlet of each listener is woken."""
    return False


class Delivery:
    """One message on its way to the sets that it retired: first to every socket, then their greenlets are woken."""

    __slots__ = ("_owner", "_served", "_written", "found", "listeners", "message", "sets", "staying")

    def __init__(self, owner: Deliveries, message: Message) -> None:
        self._owner = owner
        self.message = message
        self.sets: deque[tuple[ChannelSet, bytes, tuple[str, ...]]] = deque()
        self.staying: deque[StayingSet] = deque()  # of streams, which have the message pending
        self.listeners = 0  # all to whom the message is due, as far as they are found
        self.found = False  # whether all its sets are found
        self._served: deque[ChannelSet] = deque()
        self._written: dict[Encoding, Written] = {}

    def add(self, channel_set: ChannelSet, matched: tuple[str, ...]) -> None:
        """Retires a set. `matched` are the ids by which the message is due to it, sorted; none for an empty answer."""
        encoding = channel_set.encoding
        written = self._written.get(encoding)
        if written is None:
            written = self._written[encoding] = Written(encoding.writer(self.message), BODIES_MAX)
        body = written[matched]
        self.listeners += len(channel_set.listeners)
        channel_set.retired = True
        channel_set.room = 0  # no more room: newcomers start a fresh set
        for listener in channel_set.listeners:
            listener.answer = body
            if listener.client:
                self._owner.named.forget(listener)
        self.sets.append((channel_set, body, matched))

    @property
    def is_unsent(self) -> bool:
        """Whether some sets do not have the message yet."""
        return bool(self.sets or self.staying)

    def send(self) -> bool:
        """Sends to sets for one SLICE; returns whether all sets have the message."""
        end = time.monotonic() + SLICE
        sets, serve = self.sets, self._serve
        while sets:
            serve(*sets.popleft())
            if time.monotonic() >= end:
                return not self.is_unsent
        self._owner.staying.serve_some(self.staying, end)
        return not self.staying

    def wake(self) -> bool:
        """Wakes greenlets that have something left to do for one SLICE; returns whether all are awake.

        Most of them only clean up, which can wait until every socket has the message.
        """
        end = time.monotonic() + SLICE
        while self._served:
            channel_set = self._served.popleft()
            channel_set.event.set()
            channel_set.listeners.clear()
            if time.monotonic() >= end:
                break
        return not self._served

    def _serve(self, channel_set: ChannelSet, body: bytes, ids: tuple[str, ...]) -> None:
        owner = self._owner
        if not channel_set.was_split:
            owner.take_out(channel_set)  # not all sets at once: with many sets the first listener would wait for that
        done = owner.send(channel_set.listeners, body, crowd=self.listeners > CROWD)
        if owner.log.connections and body:
            for _ in channel_set.listeners:
                owner.log.message(log_lines.sending(1, len(body), self.message.cursors))
        if done and not channel_set.was_split:
            channel_set.listeners.clear()  # breaks the cycle of set and listeners: the collector is off
        else:
            self._served.append(channel_set)


class Deliveries(ChannelSets):
    """All deliveries of a process. It is the Observer of its engine, but for `listeners`, which the hub adds."""

    def __init__(self, engine: Engine, log: Log) -> None:
        super().__init__(engine)
        self.staying = StayingSets(engine, log)
        self.log = log
        self.turns = Turns()
        self.rest = self.turns.rest  # for the engine
        self.send: Sender = _wake_all
        self.visibility: Visibility | None = None
        self.quiet = Event()  # set while no delivery has sockets left to send to
        self.quiet.set()
        self._finding: deque[tuple[Delivery, Iterator[int]]] = deque()  # deliveries whose sets are not all found yet
        self._finder: gevent.Greenlet[..., None] | None = None
        self._deliveries: deque[Delivery] = deque()
        self._sending = 0  # deliveries that have sockets left to send to
        self._turn: Any = get_hub().loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns

    def attach(self, sender: Sender) -> None:
        """Has `sender` send answers before greenlets are woken. Raises ValueError if there is a sender already."""
        if self.send is not _wake_all:
            raise ValueError("a sender is attached already")
        self.send = sender

    def wake(self, message: Message) -> None:
        """Delivers `message` to every listener to whom it is due: to the first few sets now, to the rest in turns."""
        self.staying.changes += 1
        channels = self.channels
        ids = [id for id in message.cursors if id in channels]
        outgoing = self.staying.outgoing(message)
        if ids or outgoing is not None:
            delivery = Delivery(self, message)
            self._find(delivery, self._due_sets(delivery, ids, outgoing))

    def recall(self, ids: Iterable[str]) -> None:
        """Has all listeners of `ids` ask again for what they may have missed: polls get an empty body for that."""
        self.staying.changes += 1
        delivery = Delivery(self, NO_MESSAGE)
        self._find(delivery, self._all_sets(delivery, list(ids)))

    # -- finding

    def _find(self, delivery: Delivery, search: Iterator[int]) -> None:
        """Queues a delivery's search for its sets behind all earlier ones, and searches for the rest of this turn."""
        self._finding.append((delivery, search))
        if len(self._finding) == 1:
            try:
                self._find_some()
            finally:
                if self._finding and self._finder is None:
                    self._finder = gevent.spawn(self._find_all)
        if not delivery.found:  # the lines of this delivery are logged before the end of its IN connection
            self.quiet.clear()

    def _find_all(self) -> None:
        while self._finding:
            self.turns.pause()
            self._find_some()
        self._finder = None

    def _find_some(self) -> None:
        """Goes on with the searches in their order until this turn is over, at least for STEPS."""
        finding = self._finding
        done = 0
        while finding:
            delivery, search = finding[0]
            try:
                for steps in search:
                    done += steps
                    if done >= STEPS:
                        if self.turns.is_over():
                            return
                        done = 0
            except Exception as error:  # listeners that were not found get the message with their next poll
                self.log.error(f"{type(error).__name__} on the way to listeners: {error}")
            delivery.found = True
            finding.popleft()
            if delivery.is_unsent:
                self._start(delivery)
        self._look_whether_quiet()

    def _due_sets(self, delivery: Delivery, ids: Sequence[str], outgoing: Outgoing | None) -> Iterator[int]:
        """Finds the sets to which the message is due. Yields wherever the search may pause, with the steps it took.

        A listener that comes meanwhile has joined after the message was stored, and finds it in the history.
        """
        if outgoing is not None:
            yield from self.staying.find(outgoing, delivery.staying, self.visibility)
        if ids:
            yield from self._retire_due(delivery, ids)

    def _retire_due(self, delivery: Delivery, ids: Sequence[str]) -> Iterator[int]:
        """Retires the sets of polls to which the message is due."""
        message = delivery.message
        values = {id: cursor_value(cursor) for id, cursor in message.cursors.items()}
        lowest = min(values.values())
        passed: set[ChannelSet] = set()  # sets looked at and not retired
        for id in ids:
            for channel_set in list(self.channels.get(id, ())):
                if channel_set.retired or channel_set in passed:
                    continue
                names = channel_set.names
                if message.visible_to(names):
                    passed |= self._retire(channel_set, values, lowest, delivery)
                if channel_set.retired:
                    yield len(names)
                else:
                    passed.add(channel_set)
                    yield len(names) * SET_MAX  # the set may have been split
            yield 1

    def _all_sets(self, delivery: Delivery, ids: Sequence[str]) -> Iterator[int]:
        """Retires all sets of `ids`. Yields as `_due_sets` does."""
        for id in ids:
            for channel_set in list(self.channels.get(id, ())):
                if not channel_set.retired:
                    delivery.add(channel_set, ())
                yield SET_MAX
            for staying in list(self.staying.channels.get(id, ())):
                self.staying.disband(staying)
                yield SET_MAX
            yield 1

    def _retire(
        self, channel_set: ChannelSet, values: dict[str, Decimal], lowest: Decimal, delivery: Delivery
    ) -> set[ChannelSet]:
        """Adds the listeners to whom the message is due to `delivery`; returns the sets into which the others moved."""
        matched = _common(values, channel_set.names)
        if self.visibility is not None:
            message = delivery.message
            due = Due.of(message, {id: message.cursors[id] for id in matched})
            visible = visible_part(self.visibility, self.log, due, channel_set.names)
            if visible is None:
                return set()
            matched = tuple(visible.ids)
        furthest = channel_set.furthest()
        if lowest <= furthest and min([values[id] for id in matched]) <= furthest:
            return self._split(channel_set, matched, values, delivery)
        delivery.add(channel_set, matched)
        return set()

    def _split(
        self, channel_set: ChannelSet, matched: tuple[str, ...], values: dict[str, Decimal], delivery: Delivery
    ) -> set[ChannelSet]:
        """Moves listeners that are ahead of the message, which has an old cursor, into other sets; returns these."""
        names = channel_set.names
        place = {id: number for number, id in enumerate(names)}
        places = [(id, values[id], place[id]) for id in matched]
        staying: list[Listener] = []
        reached: dict[tuple[str, ...], list[Listener]] = {}
        for listener in channel_set.listeners:
            at = listener.cursors
            ids = tuple([id for id, value, place in places if value > cursor_value(at[place])])
            if ids:
                reached.setdefault(ids, []).append(listener)
            else:
                staying.append(listener)
        if not reached:
            return set()
        self.forget(channel_set)
        moved = self.move(staying, channel_set)
        channel_set.listeners.clear()  # breaks the cycle of set and listeners: the collector is off
        for ids, listeners in reached.items():
            part = ChannelSet(names, channel_set.encoding)
            part.event = channel_set.event  # wakes those who stay, too: they see no answer, and park again
            part.was_split = True
            part.listeners = dict.fromkeys(listeners)
            self.left(names, len(listeners), listeners[-1])
            delivery.add(part, ids)
        return moved

    # -- sending, in turns

    def _start(self, delivery: Delivery) -> None:
        if delivery.send() and delivery.wake():
            return
        if delivery.is_unsent:
            self._sending += 1
            self.quiet.clear()
        self._deliveries.append(delivery)
        if len(self._deliveries) == 1:
            self._turn.start(self._next)

    def _next(self) -> None:
        """Gives one turn to the delivery that has waited longest."""
        delivery = self._deliveries.popleft()
        if not delivery.is_unsent:
            done = delivery.wake()
        else:
            done = False
            if delivery.send():
                self._sending -= 1
                self._look_whether_quiet()
        if not done:
            self._deliveries.append(delivery)
        if self._deliveries:
            self._turn.start(self._next)

    def _look_whether_quiet(self) -> None:
        if not self._finding and not self._sending:
            self.quiet.set()


def _common(values: dict[str, Decimal], names: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the ids of the message among `names`, sorted as `names` are."""
    if len(names) == 1:
        return names
    if len(values) == 1:
        return tuple(values)
    return tuple([id for id in names if id in values])
