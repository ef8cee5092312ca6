"""The channels that have listeners in this process: followed, read, and kept up with Redis.

Subscribed first, read afterwards, and what is announced meanwhile waits: nothing slips between. The observer is told
of every message once, in the order of its channel, whether it came by pub/sub, by this process's own receipt, or by a
look at Redis after a loss.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from decimal import Decimal
from typing import TypeVar

import gevent

from rplx.engine.observing import Observer
from rplx.engine.redis.address import Node
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.codec import Announced, Part, StoredMessage, unpack_announced, unpack_body
from rplx.engine.redis.followed import Caught, Followed, Held, News, in_order
from rplx.engine.redis.health import Health, HealthLog
from rplx.engine.redis.names import Names
from rplx.engine.redis.reader import Answer, Question, Reader, Submit
from rplx.engine.redis.servers import Servers
from rplx.engine.redis.subscriber import Subscriber
from rplx.engine.selection import Stream, collect
from rplx.messages import Due, Message, cursor_value
from rplx.options.table import HistoryOptions

UNFOLLOW_AFTER = 30.0  # seconds that a channel without listeners is still followed
LOOK_TIMEOUT = 1.5  # seconds that a poll may wait for Redis; later it waits as one for which nothing is due yet
PENDING_MAX = 1000  # announcements of a channel that wait for a look at Redis; past it, it is looked at once more
SWEEP_AT_LEAST = 1000  # channels looked at by one sweep
STEPS = 200  # channels looked at between two rests
FACTS_KEPT = 86400.0  # seconds, at least, that Redis remembers how far back a channel without messages reaches

T = TypeVar("T")


class Follower:
    """Answers polls from the followed channels' copies. What it learns it reports to `observer`.

    `answers` tells whether the server that has a tag answers calls, as far as is known. What is wrong is told to
    `health`, and to `log` what was announced and is no message.
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
        self._observer = observer
        self.options = options
        self._servers = servers
        self._names = names
        self._clock = clock
        self._answers = answers
        self._health = health
        self._log = log
        self._channels: dict[str, Followed] = {}
        self._at: dict[str, Node] = {}  # which node's subscriber follows a channel
        self._subscribers: dict[Node, Subscriber] = {}
        self.holding = 0  # followed channels with messages, as of the last sweep
        self._holding = 0
        self._unswept: list[str] = []
        self._reader = Reader(servers, names, clock, submit, self._channels, self.facts_ttl, self._took, observer)
        self._reread = self._reader.reread

    def __len__(self) -> int:
        return len(self._channels)

    def close(self) -> None:
        self._reader.close()
        for subscriber in self._subscribers.values():
            subscriber.close()

    # -- asked by polls

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None) -> list[Due]:
        streams: list[Stream] = []
        for id, cursor in zip(names, cursors, strict=True):
            value = cursor_value(cursor)
            channel = self._channels.get(id)
            if channel is None or not channel.live or value < channel.base:
                self._look(names, cursors)
                channel = self._channels[id]
            history = channel.history
            if history.newest > value:
                streams.append((id, *history.since(value)))
        return collect(streams, names, _key, limit, self._observer.rest) if streams else []

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        missing = []
        for id, cursor in zip(names, cursors, strict=True):
            value = cursor_value(cursor)
            channel = self._channels.get(id)
            if channel is None or not channel.live or value < channel.base:
                self._look(names, cursors)
                channel = self._channels[id]
            if value < channel.history.floor or self._is_ahead(channel, value):
                missing.append(id)
        return missing

    def _is_ahead(self, channel: Followed, value: Decimal) -> bool:
        """Whether nobody can have been given this cursor: it was drawn by another clock, or forgotten since."""
        if value <= channel.newest or not channel.live:
            return False
        return self._clock.is_ahead(value, time.monotonic())

    def _look(self, names: Sequence[str], cursors: Sequence[str]) -> None:
        """Sees to it that the copies cover the cursors; waits for Redis if it has to, and can."""
        at = {id: cursor_value(cursor) for id, cursor in zip(names, cursors, strict=True)}
        deadline = time.monotonic() + LOOK_TIMEOUT
        while missing := [id for id, value in at.items() if not self._ask(id, value)]:
            left = deadline - time.monotonic()
            if left <= 0 or not all(self._reachable(id) for id in missing):
                for id in missing:
                    self._channels[id].leave_open(at[id])
                return
            self._reader.read.wait(left)
            self._observer.rest()  # all who wait are woken at once

    def _ask(self, id: str, value: Decimal) -> bool:
        """Whether channel `id`'s copy covers `value`; if not, it is on its way."""
        channel = self._channels.get(id) or self.follow(id)
        channel.used = time.monotonic()
        if channel.covers(value):
            return True
        channel.want(value)
        if channel.live:  # it does not reach back so far
            channel.live = False
            self._reread(id)
        return False

    def _reachable(self, id: str) -> bool:
        """Whether an answer for a channel may be expected soon: not while its connection is lost."""
        subscriber = self._subscribers.get(self._at[id])
        heard = subscriber is None or subscriber.up or not subscriber.lost_before
        return heard and self._answers(self._servers.tag(id))

    def joined(self, id: str) -> None:
        """Polls wait for `id`."""
        channel = self._channels.get(id)
        if channel is None:
            channel = self.follow(id)
        channel.listened = True

    def left(self, id: str) -> None:
        """No poll waits for `id` any more."""
        channel = self._channels.get(id)
        if channel is not None:
            channel.listened = False
            channel.used = time.monotonic()

    # -- following

    def follow(self, id: str) -> Followed:
        channel = self._channels[id] = Followed(time.monotonic())
        self._subscribe(id)
        return channel

    def _subscribe(self, id: str) -> None:
        node = self._at[id] = self._servers.node(self._servers.tag(id))
        subscriber = self._subscribers.get(node)
        if subscriber is None:
            reports = (self._subscribed, self._announced, self._lost, self._refreshed, self._moved)
            subscriber = Subscriber(self._servers, node, *reports, self._health, self._observer)
            self._subscribers[node] = subscriber
            if not self._servers.sharded:
                subscriber.follow(self._names.topic_of_all)  # first: then nothing is heard of a channel without it
        subscriber.follow(self._names.topic(id))

    def sweep(self, now: float) -> list[str]:
        """Lets go of channels that nobody listens to; gives the ids of those whose messages have expired.

        Looks at SWEEP_AT_LEAST of them, or at a tenth of them all. Others may go on meanwhile.
        """
        expired = []
        for id in self._in_turns(self._next_to_sweep()):
            channel = self._channels.get(id)
            if channel is None:
                continue
            if channel.expire(self.options.expire_after, now):
                expired.append(id)
            if not channel.listened and channel.used + UNFOLLOW_AFTER < now:
                self._subscribers[self._at.pop(id)].unfollow(self._names.topic(id))
                del self._channels[id]
            elif len(channel.history):
                self._holding += 1
        if not self._unswept:
            self.holding, self._holding = self._holding, 0
        return expired

    def _in_turns(self, items: Collection[T]) -> Iterator[T]:
        """A copy of `items`. Others may go on meanwhile, so some may be gone when their turn comes."""
        for number, item in enumerate(list(items)):
            if number % STEPS == 0:
                self._observer.rest()
            yield item

    def _next_to_sweep(self) -> list[str]:
        if not self._unswept:
            self._unswept = list(self._channels)
        at = max(len(self._unswept) - max(SWEEP_AT_LEAST, len(self._channels) // 10), 0)
        swept, self._unswept = self._unswept[at:], self._unswept[:at]
        return swept

    def look_again(self) -> None:
        """Redis has lost what it held, though no connection was: every channel is read anew."""
        for id, channel in self._in_turns(self._channels.items()):
            if channel.live and id in self._channels:
                channel.live = False
                self._reread(id)

    # -- what the subscribers report

    def _subscribed(self, topics: list[bytes]) -> None:
        for topic in topics:
            id = self._names.id_of(topic)
            channel = self._channels.get(id)
            if channel is not None:
                channel.heard = True
                self._reread(id)

    def _lost(self, node: Node) -> None:
        for id, at in self._in_turns(self._at.items()):
            channel = self._channels.get(id)
            if at == node and channel is not None:
                channel.deafen()
        self._reader.wake()  # polls that wait for an answer which does not come

    def _refreshed(self, node: Node) -> None:
        """A node could not be reached, and it was looked where its channels are."""
        if len(self._servers.nodes()) > 1:
            for id, at in self._in_turns(self._at.items()):
                if at == node and id in self._channels:
                    self._follow_move(id)

    def _moved(self, topic: bytes) -> None:
        id = self._names.id_of(topic)
        channel = self._channels.get(id)
        if channel is not None:
            channel.deafen()
            gevent.spawn(self._find_again, id)

    def _find_again(self, id: str) -> None:
        try:
            self._servers.refresh()
        except Exception as error:  # the next loss or move tries again
            self._health.problem = str(error)
        if id in self._channels:
            self._follow_move(id)
            self._subscribe(id)

    def _follow_move(self, id: str) -> None:
        """In a cluster a channel may live elsewhere by now."""
        node = self._servers.node(self._servers.tag(id))
        if node != self._at[id]:
            self._subscribers[self._at[id]].unfollow(self._names.topic(id))
            self._subscribe(id)

    def _announced(self, text: bytes) -> None:
        try:
            announced = unpack_announced(text, self._observer.rest)
        except ValueError:
            self._tell_false("what was announced is no message of rplx")
            return
        self._observer.rest()
        self.take(announced)

    def _tell_false(self, what: str) -> None:
        self._log.counted("redis announcements", f"ERROR: Redis: {what}; somebody else publishes under our prefix")

    def take(self, announced: Announced) -> None:
        """A message was stored: told to those who wait, unless they know it already."""
        self._clock.saw(announced.drawn)
        news: list[tuple[Followed, Part]] = []
        unread: set[str] = set()  # channels in which something before it may have been missed
        for part in announced.parts:
            channel = self._channels.get(part.channel)
            if channel is None:
                continue
            if not channel.live:
                self._keep_for_later(channel, part, announced)
                unread.add(part.channel)
                continue
            judged = channel.judge(part)
            if judged is News.NEXT:
                news.append((channel, part))
            elif judged is not News.OLD:
                channel.live = False
                if judged is News.DOUBT:
                    channel.doubt()
                self._keep_for_later(channel, part, announced)
                unread.add(part.channel)
                self._reread(part.channel)
        if not news:
            return
        try:
            cursors = {part.channel: part.cursor for part in announced.parts if part.channel not in unread}
            message = unpack_body(announced.body, cursors)
        except ValueError:
            self._tell_false("what was announced is no message of rplx")
            return
        now = time.monotonic()
        for channel, part in news:
            channel.take(part, message, self.options.max_messages, now)
        self._observer.wake(message)

    def _keep_for_later(self, channel: Followed, part: Part, announced: Announced) -> None:
        if len(channel.pending) >= PENDING_MAX:
            channel.pending.clear()
            self._reread(part.channel)
            return
        channel.pending.append((part, announced.body, announced.drawn, channel.questions))

    def is_next(self, parts: Sequence[Part]) -> bool:
        """Whether each of the parts that are followed here is the next in its channel."""
        for part in parts:
            channel = self._channels.get(part.channel)
            if channel is not None and not (channel.live and channel.judge(part) is News.NEXT):
                return False
        return True

    # -- what was read

    def facts_ttl(self) -> int:
        """Milliseconds that Redis remembers a channel's facts."""
        return int(max(FACTS_KEPT, 2 * self.options.expire_after) * 1000)

    def _took(self, answers: list[Answer]) -> None:
        """Tells what was missed. Others may go on while copies are filled that no poll can have missed anything of."""
        later: list[Answer] = []
        for answer in answers:
            channel = self._channels.get(answer[0])
            if channel is not None and channel.may_have_missed(answer[2]):
                later.append(answer)
            else:
                self._take_together([answer])
                self._observer.rest()
        self._take_together(later)  # a message that came to several of them is told once

    def _take_together(self, answers: list[Answer]) -> None:
        """Nobody else goes on meanwhile: a newer message would answer who has missed an older one."""
        caught: dict[str, Caught] = {}
        for id, question, held in answers:
            channel = self._channels.get(id)
            if channel is not None:
                caught[id] = self._absorb(id, channel, question, held)
        for message in in_order(caught.values()):
            self._observer.wake(message)
        if recalled := [id for id, one in caught.items() if one.lost]:
            self._observer.recall(recalled)
        for id in caught:
            self._take_pending(id)

    def _absorb(self, id: str, channel: Followed, question: Question, held: Held) -> Caught:
        if channel.outran(held, question):
            channel.live = False
            self._reread(id)
            return Caught([], False)
        wanted = channel.wanted
        options = self.options
        caught = channel.absorb(held, question, options.max_messages, options.expire_after, time.monotonic())
        if wanted is not None and wanted < channel.base:  # asked for while the answer was under way
            channel.want(wanted)
            channel.live = False
            self._reread(id)
        return caught

    def _take_pending(self, id: str) -> None:
        channel = self._channels.get(id)
        if channel is None or not channel.live:
            return
        pending, channel.pending = channel.pending, []
        for part, body, drawn, asked in pending:
            if asked < channel.questions and channel.live and channel.judge(part) in (News.HOLE, News.DOUBT):
                # Redis was asked after it came, and does not have it: to look once more would bring no more.
                self._tell_false(f"a message announced in {part.channel} is not there")
            else:
                self.take(Announced(drawn, [part], body))


def _key(message: Message) -> bytes:
    """Tells a message of several channels; each may have a copy of it."""
    assert isinstance(message, StoredMessage)
    return message.id
