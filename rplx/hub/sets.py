"""Parked listeners, in sets: those of a set listen to the same ids and share an Event."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import Any

from gevent.event import Event

from rplx.engine import Engine
from rplx.hub.encoding import Encoding
from rplx.hub.named import NamedListeners
from rplx.messages import cursor_value

SET_MAX = 64
"""Listeners that one Event wakes. gevent takes each waiter from the front of a list, and searches the list when one
leaves, so that a hang-up takes long where many wait on one Event."""

NOTHING = Decimal(-1)  # less than any cursor


class Listener:
    """One parked poll. `cursors` are aligned with the names of its set; `answer` is None until there is one.

    `address` is the client's, to which its channels are charged if it was their last listener (Engine.leave).
    `connection` is whatever the server in front wants to find again when the answer is there, or None. `client` is the
    name that the client gave itself, or "".
    """

    __slots__ = ("address", "answer", "channel_set", "client", "connection", "cursors")

    def __init__(self, channel_set: ChannelSet, cursors: tuple[str, ...], connection: Any, address: str) -> None:
        self.address = address
        self.channel_set = channel_set
        self.cursors = cursors
        self.connection = connection
        self.client = ""
        self.answer: bytes | None = None


class ChannelSet:
    """Up to SET_MAX listeners of the same ids, and the Event on which their greenlets are parked.

    What they get is written in one encoding.
    """

    __slots__ = ("drawn", "encoding", "event", "listeners", "names", "newest", "retired", "room", "was_split")

    def __init__(self, names: tuple[str, ...], encoding: Encoding) -> None:
        self.names = names
        self.encoding = encoding
        self.event = Event()
        self.listeners: dict[Listener, None] = {}  # a dict keeps their order and lets one leave at once
        self.newest = NOTHING  # greatest cursor that any listener named
        self.drawn: str | None = None  # newest position given to a listener that named no cursor
        self.room = SET_MAX
        self.retired = False  # a message is on its way to all its listeners
        self.was_split = False  # it was part of another set, whose other listeners wait on the same Event

    def furthest(self) -> Decimal:
        """Returns the greatest cursor of any listener. A message beyond it is due to all of them."""
        # Drawn cursors become numbers here: once for a set, not once for a listener.
        if self.drawn is None:
            return self.newest
        return max(self.newest, cursor_value(self.drawn))


class ChannelSets:
    """All sets of a process, by the ids that their listeners wait for. It tells the engine when listeners leave."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.named = NamedListeners()
        self.listening = 0  # listeners parked now
        self.channels: dict[str, dict[ChannelSet, None]] = {}
        self._filling: dict[Encoding, dict[tuple[str, ...], ChannelSet]] = {}  # the newest set of these names

    def place(
        self,
        names: tuple[str, ...],
        at: tuple[str, ...],
        position: str,
        connection: Any,
        address: str,
        encoding: Encoding,
    ) -> Listener:
        """Makes a listener of `names` at the cursors `at`, and puts it into a set.

        Cursors that are the very object `position` were drawn for it.
        """
        filling = self._filling.get(encoding)
        if filling is None:
            filling = self._filling[encoding] = {}
        channel_set = filling.get(names)
        if channel_set is None or not channel_set.room:
            channel_set = filling[names] = ChannelSet(names, encoding)
            for id in names:
                sets = self.channels.get(id)
                if sets is None:
                    self.channels[id] = {channel_set: None}
                else:
                    sets[channel_set] = None
        channel_set.room -= 1
        for cursor in at:
            if cursor is position:
                channel_set.drawn = position
            elif cursor_value(cursor) > channel_set.newest:
                channel_set.newest = cursor_value(cursor)
        listener = Listener(channel_set, at, connection, address)
        channel_set.listeners[listener] = None
        return listener

    def leave(self, listener: Listener) -> None:
        """Takes out a listener that is gone or is answered otherwise. Does nothing if a message has answered it."""
        channel_set = listener.channel_set
        if listener not in channel_set.listeners or listener.answer is not None:
            return
        del channel_set.listeners[listener]
        if listener.client:
            self.named.forget(listener)
        if not channel_set.listeners:
            self.forget(channel_set)
        self.left(channel_set.names, 1, listener)

    def left(self, names: tuple[str, ...], count: int, last: Listener) -> None:
        """Counts `count` listeners of `names` as gone; `last` is one of them."""
        self.listening -= count
        self.engine.leave(names, count, last.address)

    def forget(self, channel_set: ChannelSet) -> None:
        """Lets go of a set in which nobody waits any more."""
        names = channel_set.names
        filling = self._filling.get(channel_set.encoding, {})
        if filling.get(names) is channel_set:
            del filling[names]
        for id in names:
            sets = self.channels.get(id)
            if sets is not None and sets.pop(channel_set, True) is None and not sets:
                del self.channels[id]

    def take_out(self, channel_set: ChannelSet) -> None:
        """Lets go of a set whose listeners have been answered."""
        self.forget(channel_set)
        listeners = channel_set.listeners
        if listeners:  # they may have left while the sets were searched
            self.left(channel_set.names, len(listeners), next(iter(listeners)))

    def move(self, staying: Collection[Listener], gone: ChannelSet) -> set[ChannelSet]:
        """Puts listeners whose set is gone into others of the same ids; returns these."""
        found = set()
        for listener in staying:
            moved = self.place(gone.names, listener.cursors, "", listener.connection, listener.address, gone.encoding)
            listener.channel_set = moved.channel_set
            del moved.channel_set.listeners[moved]
            listener.channel_set.listeners[listener] = None
            found.add(listener.channel_set)
        return found
