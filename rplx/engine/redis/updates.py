"""Keeps replicas up to date: applies announcements and snapshots, and reports what is new to the observer.

Each message is reported once, in the order of its channel, whether it came by pub/sub, by this process's own receipt,
or by a snapshot after a loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rplx.engine.observing import Observer
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.codec import Announced, Part, unpack_announced, unpack_body
from rplx.engine.redis.health import HealthLog
from rplx.engine.redis.replica import Answer, News, ReadRequest, Replayed, Replica, Snapshot, in_order
from rplx.options.table import HistoryOptions

PENDING_MAX = 1000  # announcements of a channel that wait for a snapshot; beyond them it is read once more


class Updates:
    """`reread` is called with a channel that has to be read; `log` is told of announcements that are no messages."""

    def __init__(
        self,
        replicas: Mapping[str, Replica],
        clock: RedisClock,
        reread: Callable[[str], None],
        options: HistoryOptions,
        observer: Observer,
        log: HealthLog,
    ) -> None:
        self._replicas = replicas
        self._clock = clock
        self._reread = reread
        self._options = options
        self._observer = observer
        self._log = log

    def reconfigure(self, options: HistoryOptions) -> None:
        """Takes new limits; smaller ones apply to a channel with its next message."""
        self._options = options

    # -- announcements

    def announced(self, text: bytes) -> None:
        """Takes what came by pub/sub."""
        try:
            announced = unpack_announced(text, self._observer.rest)
        except ValueError:
            self._log_foreign("what was announced is no message of rplx")
            return
        self._observer.rest()
        self.take(announced)

    def take(self, announced: Announced) -> None:
        """Takes a message that was stored, and reports it unless it is known already."""
        self._clock.saw(announced.drawn)
        news: list[tuple[Replica, Part]] = []
        unread: set[str] = set()  # channels in which something before it may have been missed
        for part in announced.parts:
            replica = self._replicas.get(part.channel)
            if replica is None:
                continue
            found = replica.classify(part) if replica.live else News.GAP
            if found is News.NEXT:
                news.append((replica, part))
            elif found is not News.OLD:
                unread.add(part.channel)
                self._postpone(replica, part, announced, found)
        if not news:
            return
        try:
            cursors = {part.channel: part.cursor for part in announced.parts if part.channel not in unread}
            message = unpack_body(announced.body, cursors)
        except ValueError:
            self._log_foreign("what was announced is no message of rplx")
            return
        now = time.monotonic()
        for replica, part in news:
            replica.add(part, message, self._options.max_messages, now)
        self._observer.wake(message)

    def _postpone(self, replica: Replica, part: Part, announced: Announced, found: News) -> None:
        """Keeps a part until the channel is read, which it is already if the replica is not live."""
        was_live = replica.live
        replica.invalidate()
        if found is News.CONFLICT:
            replica.enter_conflict()
        full = len(replica.pending) >= PENDING_MAX
        if full:
            replica.pending.clear()
        else:
            replica.pending.append((part, announced.body, announced.drawn, replica.reads))
        if was_live or full:
            self._reread(part.channel)

    def is_next(self, parts: Sequence[Part]) -> bool:
        """Returns whether each of the parts that are followed here is the next in its channel."""
        for part in parts:
            replica = self._replicas.get(part.channel)
            if replica is not None and not (replica.live and replica.classify(part) is News.NEXT):
                return False
        return True

    def _log_foreign(self, what: str) -> None:
        self._log.counted("redis announcements", f"ERROR: Redis: {what}; somebody else publishes under our prefix")

    # -- snapshots

    def take_answers(self, answers: list[Answer]) -> None:
        """Takes what was read, and reports what was missed.

        Others may go on while replicas are filled in which no poll can have missed anything.
        """
        later: list[Answer] = []
        for answer in answers:
            replica = self._replicas.get(answer[0])
            if replica is not None and replica.may_have_missed(answer[2]):
                later.append(answer)
            else:
                self._take_together([answer])
                self._observer.rest()
        self._take_together(later)  # a message of several of these channels is reported once

    def _take_together(self, answers: list[Answer]) -> None:
        """Nobody else goes on meanwhile, as a newer message would answer a listener that has missed an older one."""
        replayed: dict[str, Replayed] = {}
        for id, asked, snapshot in answers:
            replica = self._replicas.get(id)
            if replica is not None:
                replayed[id] = self._apply(id, replica, asked, snapshot)
        for message in in_order(replayed.values()):
            self._observer.wake(message)
        if recalled := [id for id, one in replayed.items() if one.lost]:
            self._observer.recall(recalled)
        for id in replayed:
            self._take_pending(id)

    def _apply(self, id: str, replica: Replica, asked: ReadRequest, snapshot: Snapshot) -> Replayed:
        if replica.is_ahead_of(snapshot, asked):
            replica.invalidate()
            self._reread(id)
            return Replayed([], False)
        wanted = replica.wanted
        options = self._options
        replayed = replica.apply(snapshot, asked, options.max_messages, options.expire_after, time.monotonic())
        if wanted is not None and wanted < replica.base:  # it was wanted while the answer was under way
            replica.want(wanted)
            replica.invalidate()
            self._reread(id)
        return replayed

    def _take_pending(self, id: str) -> None:
        replica = self._replicas.get(id)
        if replica is None or not replica.live:
            return
        for part, body, drawn, reads in replica.take_pending():
            if reads < replica.reads and replica.live and replica.classify(part) in (News.GAP, News.CONFLICT):
                # Redis was asked after it came, and does not have it, so reading once more would bring no more.
                self._log_foreign(f"a message announced in {part.channel} is not there")
            else:
                self.take(Announced(drawn, [part], body))
