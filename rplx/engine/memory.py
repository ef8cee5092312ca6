"""The engine in memory: everything is kept in this process, and ends with it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from rplx.engine.cursors import CursorClock, behind
from rplx.engine.grace import UNKNOWN
from rplx.engine.history import CHANNEL_OVERHEAD, ChannelHistory, weight
from rplx.engine.journal import Journal
from rplx.engine.observing import Listeners, Observed, Observer
from rplx.engine.prefixes import Prefixes
from rplx.engine.presence import EventLog, Presence
from rplx.engine.selection import Stream, collect
from rplx.errors import InsufficientStorage
from rplx.messages import Appended, Due, Event, Message, Send, Stored, cursor_value
from rplx.options.table import HistoryOptions, PresenceOptions

identity = id  # the built-in; below, `id` is a channel's
STEPS = 200  # channels between two rests


class MemoryEngine:
    """Implements Engine. `wall` returns seconds since the epoch, `monotonic` seconds that are never set back.

    `journal` is told what is dropped and who comes and goes, for an engine that keeps it elsewhere.
    """

    def __init__(
        self,
        history: HistoryOptions,
        presence: PresenceOptions,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        journal: Journal | None = None,
    ) -> None:
        self.history_options = history
        self.presence_options = presence
        self._observer = Observed()
        self._wall = wall
        self._monotonic = monotonic
        self._clock = CursorClock()
        self._last, self._latest = -1, Decimal(0)  # the clock when `latest` was asked for, as number and as cursor
        self._channels: OrderedDict[str, ChannelHistory] = OrderedDict()  # in the order of their last sends
        self._floors: OrderedDict[str, Decimal] = OrderedDict()  # of channels that were emptied
        self._beginning = cursor_value(self.draw())  # the floor of channels of which nothing is known
        self._size = 0
        self._journal = journal
        events = EventLog(presence.event_chain_len + 1, journal)
        self._presence = Presence(events, presence.max_in_grace_per_address)

    def attach(self, observer: Observer) -> None:
        self._observer.attach(observer)

    def problem(self) -> str:
        return ""

    def reconfigure(self, history: HistoryOptions, presence: PresenceOptions) -> None:
        """Takes new limits and times; smaller ones apply to a channel with its next message."""
        self.history_options = history
        self.presence_options = presence
        self._presence.log.resize(presence.event_chain_len + 1)
        self._presence.grace.limit(presence.max_in_grace_per_address)

    def open(self) -> None:
        """Does nothing: nothing was kept."""

    def load(self) -> None:
        """Does nothing: nothing was kept."""

    def close(self) -> None:
        """Does nothing: no other process sees this engine."""

    def draw(self) -> str:
        return self._clock.draw(self._wall())

    def latest(self) -> Decimal | None:
        last = self._clock.last
        if last != self._last:  # many ask between two sends
            self._last, self._latest = last, Decimal(last).scaleb(-6)
        return self._latest

    def append(self, send: Send) -> Appended:
        message = Message(send.data, {}, frozenset(send.identifiers.limiters))
        self.admit(message, send.identifiers.cursors)
        self._put(message, message.cursors, self._monotonic())
        if send.stored is not None:
            send.stored()
        self._observer.wake(message)
        return Stored(message.cursors)

    def admit(self, message: Message, given: dict[str, str | None]) -> None:
        """Gives `message` its cursors, those that are `given` or drawn ones. Raises InsufficientStorage."""
        self._check_room(given, weight(message))
        message.cursors = self._cursors(given)

    def keep(self, message: Message) -> None:
        """Adds a message that has its cursors to its channels."""
        self._put(message, message.cursors, self._monotonic())

    def _put(
        self,
        message: Message,
        cursors: Mapping[str, str],
        now: float,
        value_of: Callable[[str], Decimal] = cursor_value,
    ) -> None:
        """Adds a message that was sent at `now`, monotonic seconds, to its channels or some of them."""
        channels = self._channels
        limit = self.history_options.max_messages
        for id, cursor in cursors.items():
            channel = channels.get(id)
            if channel is None:
                channel = channels[id] = ChannelHistory(self._floors.pop(id, self._beginning))
                before = 0
            else:
                channels.move_to_end(id)
                before = channel.size
            dropped = channel.add(value_of(cursor), message, limit, now)
            self._size += channel.size - before
            if dropped and self._journal is not None:
                self._journal.dropped(id, dropped, channel.floor)

    def _check_room(self, ids: dict[str, str | None], size: int) -> None:
        """Raises InsufficientStorage unless a message of `size` bytes fits into each of `ids`."""
        options = self.history_options
        channels = self._channels
        room = options.max_bytes - self._size
        if len(channels) + len(ids) <= options.max_channels and (size + CHANNEL_OVERHEAD) * len(ids) <= room:
            return
        new = sum([id not in channels for id in ids])
        if new and len(channels) + new > options.max_channels:
            raise InsufficientStorage(f"more than {options.max_channels} channels", closes=False)
        if size * len(ids) + CHANNEL_OVERHEAD * new > room:
            raise InsufficientStorage(f"more than {options.max_bytes} bytes of history", closes=False)

    def _cursors(self, given: dict[str, str | None]) -> dict[str, str]:
        """Returns each id's cursor: the one given, else one drawn for all others, ahead of what those channels hold."""
        newest = None
        for id, cursor in given.items():
            if cursor is None:
                reached = self._reached(id)
                if newest is None or reached > newest:
                    newest = reached
        drawn = ""
        if newest is not None:
            drawn = self.draw()
            if newest >= cursor_value(drawn):
                drawn = behind(newest)
        return {id: cursor or drawn for id, cursor in given.items()}

    def _reached(self, id: str) -> Decimal:
        """Returns the greatest cursor that listeners of the channel may have; it may be ahead of the clock."""
        channel = self._channels.get(id)
        return self._floors.get(id, self._beginning) if channel is None else channel.reached

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None = None) -> list[Due]:
        if len(names) == 1:  # nearly every poll finds nothing here
            channel = self._channels.get(names[0])
            if channel is None or channel.newest <= cursor_value(cursors[0]):
                return []
        # It is copied before the first rest: what is sent meanwhile is left to the next poll.
        streams: list[Stream] = []
        for id, cursor in zip(names, cursors, strict=True):
            channel = self._channels.get(id)
            if channel is not None and channel.newest > cursor_value(cursor):
                streams.append((id, *channel.since(cursor_value(cursor))))
        return collect(streams, names, _key, limit, self._observer.rest) if streams else []

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        if len(names) == 1:
            return [names[0]] if self._misses(names[0], cursors[0]) else []
        return [id for id, cursor in zip(names, cursors, strict=True) if self._misses(id, cursor)]

    def _misses(self, id: str, cursor: str) -> bool:
        """Returns whether messages behind `cursor` may be missing, or nobody can have been given that cursor.

        Such a cursor was drawn before a restart by a clock that was ahead, or was given by a back-end and is forgotten.
        """
        channel = self._channels.get(id)
        if channel is None:
            floor = reached = self._floors.get(id, self._beginning)
        else:
            floor, reached = channel.floor, channel.reached
        value = cursor_value(cursor)
        return value < floor or (value > reached and value > self._clock.present(self._wall()))

    def join(self, names: Sequence[str]) -> None:
        self._presence.join(names)

    def leave(self, names: Sequence[str], count: int = 1, address: str = UNKNOWN) -> None:
        self._presence.leave(names, count, self._monotonic(), address)

    def online(self, prefixes: Sequence[str] = ()) -> dict[str, int]:
        return self._presence.online(prefixes, self._observer.rest)

    def events(self, after: int, prefixes: Sequence[str] = ()) -> list[Event]:
        return self._presence.log.after(after, Prefixes(prefixes, self._observer.rest))

    def position(self) -> int:
        return self._presence.log.position

    def sweep(self) -> tuple[list[str], list[str]]:
        now = self._monotonic()
        presence = self.presence_options
        offline = self._presence.sweep(now, presence.offline_timeout, presence.max_in_grace, self._observer.rest)
        return offline, self._clean(now)

    def _clean(self, now: float) -> list[str]:
        """Empties the channels into which nothing was sent for history.expire_after; returns their ids."""
        cleaned: list[str] = []
        while self._channels:
            id, channel = next(iter(self._channels.items()))
            if channel.changed + self.history_options.expire_after > now:
                break
            del self._channels[id]
            self._size -= channel.size
            if self._journal is not None:
                self._journal.emptied(id, channel.newest_first(), channel.reached)
            self._remember_floor(id, channel.reached)
            cleaned.append(id)
            if len(cleaned) % STEPS == 0:
                self._observer.rest()
        return cleaned

    def _remember_floor(self, id: str, floor: Decimal) -> None:
        """Remembers how far an emptied channel had come."""
        self._floors[id] = floor
        if len(self._floors) > self.history_options.max_channels:
            # A floor that is not remembered is taken for higher: a gap is told too often rather than not at all.
            forgotten, oldest = self._floors.popitem(last=False)
            self._beginning = max(self._beginning, oldest)
            if self._journal is not None:
                self._journal.forgotten(forgotten, self._beginning)

    def history(self) -> dict[str, list[Message]]:
        found: dict[str, list[Message]] = {}
        ids = list(self._channels)
        for at in range(0, len(ids), STEPS):
            for id in ids[at : at + STEPS]:
                channel = self._channels.get(id)
                if channel is not None:
                    found[id] = channel.newest_first()
            self._observer.rest()
        return found

    def elsewhere(self) -> list[Listeners]:
        return []

    def counters(self) -> dict[str, int]:
        return {
            "data_to_send": len(self._channels),
            "online_timers": len(self._presence),
            "cleanup_timers": len(self._channels),
            "events": len(self._presence.log),
        }


def _key(message: Message) -> int | None:
    """Returns what is the same for a message in each of its channels, which share one object."""
    return identity(message) if len(message.cursors) > 1 else None
