"""Follows the channels that have listeners in this process, and answers polls from their replicas.

A channel is subscribed first and read afterwards, and what is announced meanwhile waits, so that nothing slips between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from decimal import Decimal

from rplx.engine.observing import Observer
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.codec import Announced, Part, StoredMessage
from rplx.engine.redis.health import Health, HealthLog
from rplx.engine.redis.names import Names
from rplx.engine.redis.reader import Reader, Submit
from rplx.engine.redis.replica import Replica
from rplx.engine.redis.servers import Servers
from rplx.engine.redis.subscriptions import Subscriptions, in_turns
from rplx.engine.redis.updates import Updates
from rplx.engine.selection import Stream, collect
from rplx.messages import Due, Message, cursor_value
from rplx.options.table import HistoryOptions

UNFOLLOW_AFTER = 30.0  # seconds that a channel without listeners is still followed
LOOK_TIMEOUT = 1.5  # seconds that a poll may wait for Redis; after that it waits as one for which nothing is due
SWEEP_AT_LEAST = 1000  # channels looked at by one sweep
FACTS_KEPT = 86400.0  # seconds, at least, that Redis remembers how far back a channel without messages reaches


class Follower:
    """All followed channels. What it learns it reports to `observer`.

    `answers` tells whether the server that has a tag answers calls, as far as is known. Troubles are noted in `health`,
    and announcements that are no messages in `log`.
    """

    def __init__(
        self,
        servers: Servers,
        names: Names,
        clock: RedisClock,
        submit: Submit,
        answers: Callable[[str], bool],
        options: HistoryOptions,
        health: Health,
        log: HealthLog,
        observer: Observer,
    ) -> None:
        self.holding = 0  # followed channels with messages, as of the last sweep
        self._holding = 0
        self._unswept: list[str] = []
        self._options = options
        self._servers = servers
        self._clock = clock
        self._answers = answers
        self._observer = observer
        self._replicas: dict[str, Replica] = {}
        self._updates = Updates(self._replicas, clock, self._reread, options, observer, log)
        took = self._updates.take_answers
        self._reader = Reader(servers, names, clock, submit, self._replicas, self.facts_ttl, took, observer)
        announced, lost = self._updates.announced, self._reader.wake
        self._subscriptions = Subscriptions(
            servers, names, self._replicas, self._reread, announced, lost, health, observer
        )

    def reconfigure(self, options: HistoryOptions) -> None:
        """Takes new limits and times; smaller limits apply to a channel with its next message."""
        self._options = options
        self._updates.reconfigure(options)

    def close(self) -> None:
        """Stops reading and ends all subscriptions."""
        self._reader.close()
        self._subscriptions.close()

    def _reread(self, id: str) -> None:
        self._reader.reread(id)

    # -- polls

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None) -> list[Due]:
        """Returns what is due, as Engine.due."""
        streams: list[Stream] = []
        for id, cursor in zip(names, cursors, strict=True):
            value = cursor_value(cursor)
            replica = self._replicas.get(id)
            if replica is None or not replica.live or value < replica.base:
                self._look(names, cursors)
                replica = self._replicas[id]
            history = replica.history
            if history.newest > value:
                streams.append((id, *history.since(value)))
        return collect(streams, names, _key, limit, self._observer.rest) if streams else []

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        """Returns the names in which messages are missing, as Engine.gaps."""
        missing = []
        for id, cursor in zip(names, cursors, strict=True):
            value = cursor_value(cursor)
            replica = self._replicas.get(id)
            if replica is None or not replica.live or value < replica.base:
                self._look(names, cursors)
                replica = self._replicas[id]
            if value < replica.history.floor or self._is_ahead(replica, value):
                missing.append(id)
        return missing

    def _is_ahead(self, replica: Replica, value: Decimal) -> bool:
        """Returns whether nobody can have been given this cursor: it was drawn by another clock, or is forgotten."""
        if value <= replica.newest or not replica.live:
            return False
        return self._clock.is_ahead(value, time.monotonic())

    def _look(self, names: Sequence[str], cursors: Sequence[str]) -> None:
        """Sees to it that the replicas cover the cursors. Waits for Redis if it has to and can."""
        at = {id: cursor_value(cursor) for id, cursor in zip(names, cursors, strict=True)}
        deadline = time.monotonic() + LOOK_TIMEOUT
        while missing := [id for id, value in at.items() if not self._ask(id, value)]:
            left = deadline - time.monotonic()
            if left <= 0 or not all(self._is_reachable(id) for id in missing):
                for id in missing:
                    self._replicas[id].wait_unchecked(at[id])
                return
            self._reader.read.wait(left)
            self._observer.rest()  # all who wait are woken at once

    def _ask(self, id: str, value: Decimal) -> bool:
        """Returns whether the replica of `id` covers cursor `value`; if it does not, sees to it that it will."""
        replica = self._replicas.get(id) or self._follow(id)
        replica.use(time.monotonic())
        if replica.covers(value):
            return True
        replica.want(value)
        if replica.live:  # it does not reach back so far
            replica.invalidate()
            self._reread(id)
        return False

    def _is_reachable(self, id: str) -> bool:
        """Returns whether an answer for channel `id` may be expected soon: not while its connection is lost."""
        return self._subscriptions.is_up(id) and self._answers(self._servers.tag(id))

    # -- what is followed

    def joined(self, id: str) -> None:
        """Follows `id`, for which polls wait now."""
        replica = self._replicas.get(id)
        if replica is None:
            replica = self._follow(id)
        replica.listen()

    def left(self, id: str) -> None:
        """Notes that no poll waits for `id` any more."""
        replica = self._replicas.get(id)
        if replica is not None:
            replica.leave(time.monotonic())

    def _follow(self, id: str) -> Replica:
        replica = self._replicas[id] = Replica(time.monotonic())
        self._subscriptions.follow(id)
        return replica

    def reread_all(self) -> None:
        """Reads every channel anew: Redis has lost what it held, though no connection was lost."""
        for id, replica in in_turns(self._replicas.items(), self._observer):
            if replica.live and id in self._replicas:
                replica.invalidate()
                self._reread(id)

    # -- own sends

    def take(self, announced: Announced) -> None:
        """Takes a message that this process has stored, and reports it unless it is known already."""
        self._updates.take(announced)

    def is_next(self, parts: Sequence[Part]) -> bool:
        """Returns whether each of the parts that are followed here is the next in its channel."""
        return self._updates.is_next(parts)

    def facts_ttl(self) -> int:
        """Returns the milliseconds that Redis remembers a channel's facts."""
        return int(max(FACTS_KEPT, 2 * self._options.expire_after) * 1000)

    # -- what time brings

    def sweep(self, now: float) -> list[str]:
        """Lets go of channels that nobody listens to; returns those whose messages have expired.

        Looks at SWEEP_AT_LEAST channels, or at a tenth of all. Others may go on meanwhile.
        """
        expired = []
        for id in in_turns(self._next_to_sweep(), self._observer):
            replica = self._replicas.get(id)
            if replica is None:
                continue
            if replica.expire(self._options.expire_after, now):
                expired.append(id)
            if not replica.listened and replica.used + UNFOLLOW_AFTER < now:
                self._subscriptions.unfollow(id)
                del self._replicas[id]
            elif len(replica.history):
                self._holding += 1
        if not self._unswept:
            self.holding, self._holding = self._holding, 0
        return expired

    def _next_to_sweep(self) -> list[str]:
        if not self._unswept:
            self._unswept = list(self._replicas)
        at = max(len(self._unswept) - max(SWEEP_AT_LEAST, len(self._replicas) // 10), 0)
        swept, self._unswept = self._unswept[at:], self._unswept[:at]
        return swept


def _key(message: Message) -> bytes:
    """Returns what is the same for a message in each of its channels, of which each may have a copy."""
    assert isinstance(message, StoredMessage)
    return message.id
