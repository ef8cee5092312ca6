"""The engine in Redis: sends, the clock, and what joins history and presence."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

import gevent

from rplx.engine.observing import Listeners, Observed, Observer
from rplx.engine.redis import address, wire
from rplx.engine.redis.address import Node
from rplx.engine.redis.background import spawn_forever
from rplx.engine.redis.call import CALL_TIMEOUT, Call
from rplx.engine.redis.clock import RedisClock
from rplx.engine.redis.codec import Announced, Part, pack_body, unpack_member
from rplx.engine.redis.follower import Follower
from rplx.engine.redis.health import AWAY, FULL, ODD, Health, HealthLog
from rplx.engine.redis.link import Link
from rplx.engine.redis.names import Names
from rplx.engine.redis.opening import open_slots
from rplx.engine.redis.presence_reporter import PresenceReporter
from rplx.engine.redis.scripts import load
from rplx.engine.redis.servers import ClusterServers, servers
from rplx.engine.redis.wire import LOST, RedisError
from rplx.errors import Refusal, Unavailable
from rplx.messages import Due, Event, Message, Send, Stored
from rplx.options.table import Config, HistoryOptions, PresenceOptions

CLOCK_EVERY = 0.25  # seconds between two readings of Redis' clock
START_TIMEOUT = 1.0  # seconds that `start` waits for Redis
HISTORY_CHUNK = 200  # channels read together for STATS
STEPS = 500  # channels of one send between two rests
_Reading = tuple[int, int, bytes, str, bytes]  # as lua/clock.lua answers


class RedisEngine:
    """Implements Engine for one of the processes that use the same Redis. Troubles are logged to `log`.

    The constructor raises ConfigError. It does not connect; `start` does.
    """

    def __init__(self, config: Config, *, log: HealthLog) -> None:
        self._address = address.parse(config.engine.url)
        wire.check(self._address)
        self.history_options = config.history
        self._names = Names(self._address.prefix, self._address.options.get("db") or 0)
        self._servers = servers(self._address)
        self._cluster = self._address.kind == "cluster"
        self._scripts = load()
        self._links: dict[Node, Link] = {}
        self._clock = RedisClock(cluster=self._cluster)
        self._numbers = itertools.count(1)
        self._begin = b""
        self._log = log
        self._evicted: dict[Node, bytes] = {}
        self._health = Health(self._address.shown, log)
        self._observer = Observed()
        self._follower = Follower(
            self._servers,
            self._names,
            self._clock,
            self._submit,
            self._answers,
            config.history,
            self._health,
            log,
            self._observer,
        )
        self._presence = PresenceReporter(self._names, self._submit, config.presence, self._observer)
        self._clock_greenlet: gevent.Greenlet[..., None] | None = None

    def attach(self, observer: Observer) -> None:
        self._observer.attach(observer)

    def open(self) -> None:
        """Does nothing: it was connected when it was made, as users that serve may not read what TLS needs."""

    def load(self) -> None:
        """Does nothing: all is in Redis."""

    def start(self) -> None:
        """Connects, and waits a moment for Redis, which may be away. Does nothing if it was called before."""
        if self._clock_greenlet is not None:
            return
        try:
            self._servers.refresh()
            if isinstance(self._servers, ClusterServers):
                open_slots(self._servers, self._names)
        except (*LOST, RedisError) as error:  # the first call that needs it raises it
            self._health.note(error)
        self._clock_greenlet = spawn_forever(self._read_clock_forever)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._clock and not self._health.away and time.monotonic() < deadline:
            gevent.sleep(0.002)

    def close(self) -> None:
        """Takes this process's listeners out and disconnects."""
        if self._clock_greenlet is not None:
            self._clock_greenlet.kill()
        self._presence.close()
        self._follower.close()
        for link in self._links.values():
            link.close()

    def reconfigure(self, history: HistoryOptions, presence: PresenceOptions) -> None:
        """Takes new limits and times; smaller ones apply to a channel with its next message."""
        self.history_options = history
        self._follower.reconfigure(history)
        self._presence.reconfigure(presence)

    def problem(self) -> str:
        return "Redis does not answer" if self._health.away else ""

    # -- calls to Redis

    def _link(self, node: Node) -> Link:
        link = self._links.get(node)
        if link is None:
            link = self._links[node] = Link(
                self._servers, node, self._scripts, self._resubmit, self._health, self._observer
            )
        return link

    def _answers(self, tag: str) -> bool:
        """Returns whether the server that has `tag` answers, as far as is known."""
        link = self._links.get(self._servers.node(tag))
        return link is None or link.up

    def _submit(self, tag: str, script: str, arguments: tuple[Any, ...]) -> Call:
        """Calls the server that has `tag`; `script` is "" for a plain command. Raises Unavailable."""
        call = Call(self._health, tag, self._scripts.get(script), arguments)
        self._link(self._servers.node(tag)).submit(call)
        return call

    def _ask_node(self, node: Node, *command: Any) -> Call:
        """Calls a node, for what belongs to it and not to a tag. Raises Unavailable."""
        call = Call(self._health, "", None, command)
        self._link(node).submit(call)
        return call

    def _resubmit(self, call: Call) -> None:
        try:
            self._link(self._servers.node(call.tag)).submit(call)
        except Unavailable as error:
            call.result.set_exception(error)

    # -- the clock

    def draw(self) -> str:
        if not self._clock:
            self.start()
            self._clock.guess(int(time.time() * 1_000_000))
        return self._clock.draw(time.monotonic())

    def latest(self) -> Decimal | None:
        """Returns None: own sends are reported as soon as Redis has them, others when they are announced."""
        return None

    def _read_clock_forever(self) -> None:
        while True:
            try:
                if self._read_clocks() and ODD in self._health.settle():  # what was read from it may be false
                    self._follower.reread_all()
                    self._presence.report_anew()
            except Refusal as refusal:
                if refusal.trouble != AWAY:
                    self._health.met(AWAY, refusal.text)
            gevent.sleep(CLOCK_EVERY)

    def _read_clocks(self) -> bool:
        """Reads the clocks of all nodes; returns whether all answer. Raises Unavailable."""
        calls = [
            (node, self._submit(tag, "clock", (1, self._names.order(tag), self._clock.seen)))
            for node, tag in self._servers.clocks()
        ]
        for node, call in calls:
            self._take_reading(node, call, call.get(_clock_read))
        if not calls:
            self._health.met(AWAY)
        return bool(calls)

    def _take_reading(self, node: Node, call: Call, reading: _Reading) -> None:
        now, last, begin, full, evicted = reading
        self._clock.read(node if self._cluster else None, now, call.asked, call.answered)
        if full:
            self._health.met(FULL, full)
        if evicted != self._evicted.setdefault(node, evicted):
            self._evicted[node] = evicted
            self._log.counted("redis evicts", "ERROR: Redis throws away history or presence; see maxmemory-policy")
        if self._cluster:
            return
        self._clock.saw(last)
        if self._begin and begin != self._begin:
            self._log.message("Redis has lost its data; listeners are told of the gap")
            self._follower.reread_all()
        self._begin = begin

    # -- history

    def append(self, send: Send) -> Stored:
        if send.stored is not None:
            send.stored()  # other processes may announce it before this one knows that it is stored
        given = send.identifiers.cursors
        by_tag: dict[str, list[str]] = {}
        for id in given:
            by_tag.setdefault(self._servers.tag(id), []).append(id)
        message_id = f"{self._presence.process}-{next(self._numbers)}".encode()
        body = pack_body(message_id, send)
        receipt: dict[str, str] = {}
        deadline = time.monotonic() + CALL_TIMEOUT
        for tag, ids in by_tag.items():  # one, but for a cluster
            announced = self._append(tag, {id: given[id] for id in ids}, message_id, body, deadline)
            receipt.update({part.channel: part.cursor for part in announced.parts})
            self._observer.rest()
            if self._follower.is_next(announced.parts):
                self._follower.take(announced)  # else what comes before it is on its way here, and so is this message
        return Stored({id: receipt[id] for id in given})

    def _append(
        self, tag: str, given: dict[str, str | None], message_id: bytes, body: bytes, deadline: float
    ) -> Announced:
        names = self._names
        options = self.history_options
        keys: list[str] = [names.order(tag), names.mark(tag, message_id)]
        ids: list[Any] = []
        for number, (id, cursor) in enumerate(given.items()):
            if number % STEPS == 0:
                self._observer.rest()
            keys += (names.history(id), names.facts(id))
            ids += (id, cursor or "", names.topic(id))
        arguments = (
            len(keys),
            *keys,
            self._clock.floor(time.monotonic()),
            options.max_messages,
            max(int(options.expire_after * 1000), 1),
            self._follower.facts_ttl(),
            "SPUBLISH" if self._cluster and self._servers.sharded else "PUBLISH",
            "0",
            message_id,
            body,
            b"" if self._cluster else names.topic_of_all,
            *ids,
        )
        left = deadline - time.monotonic()
        self._observer.rest()
        call = Call(self._health, tag, self._scripts["append"], arguments, left, len(keys) + 6)
        self._observer.rest()
        self._link(self._servers.node(tag)).submit(call)
        drawn, parts = call.get(lambda answer: _receipt(given, answer, self._observer.rest))
        if not all(part.cursor for part in parts):
            raise Unavailable("it is not known whether the message was stored", closes=False)
        self._clock.saw(drawn)
        return Announced(drawn, parts, body)

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None = None) -> list[Due]:
        return self._follower.due(names, cursors, limit)

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        return self._follower.gaps(names, cursors)

    def history(self) -> dict[str, list[Message]]:
        found: dict[str, list[Message]] = {}
        nodes = self._servers.nodes()
        for node in nodes:
            ids = list(self._all_channels(node))
            for at in range(0, len(ids), HISTORY_CHUNK):
                chunk = ids[at : at + HISTORY_CHUNK]
                calls = [self._submit(*self._reading(id)) for id in chunk]
                for id, call in zip(chunk, calls, strict=True):
                    if messages := call.get(lambda answer, id=id: _messages(id, answer)):  # type: ignore[misc]
                        found[id] = messages
                    self._observer.rest()
        return found

    def _reading(self, id: str) -> tuple[str, str, tuple[Any, ...]]:
        return self._servers.tag(id), "", ("ZREVRANGE", self._names.history(id), 0, -1)

    def _all_channels(self, node: Node) -> Iterable[str]:
        cursor = b"0"
        while True:
            call = self._ask_node(node, "SCAN", cursor, "MATCH", self._names.all_histories, "COUNT", 1000)
            cursor, ids = call.get(self._scanned)
            yield from ids
            if cursor == b"0":
                return

    def _scanned(self, answer: Any) -> tuple[bytes, list[str]]:
        cursor, keys = answer
        return b"%d" % int(cursor), [self._names.id_of_history(key) for key in keys]

    # -- presence

    def join(self, names: Sequence[str]) -> None:
        for id in self._presence.join(names):
            self._follower.joined(id)

    def leave(self, names: Sequence[str], count: int = 1, address: str = "") -> None:
        for id in self._presence.leave(names, count, address):
            self._follower.left(id)

    def online(self, prefixes: Sequence[str] = ()) -> dict[str, int]:
        return self._presence.online(prefixes)

    def events(self, after: int, prefixes: Sequence[str] = ()) -> list[Event]:
        return self._presence.events(after, prefixes)

    def position(self) -> int:
        return self._presence.position()

    def elsewhere(self) -> list[Listeners]:
        return self._presence.elsewhere()

    # -- what time brings

    def sweep(self) -> tuple[list[str], list[str]]:
        cleaned = self._follower.sweep(time.monotonic())
        try:
            return self._presence.sweep(), cleaned
        except Refusal:
            return [], cleaned

    def counters(self) -> dict[str, int]:
        """Counts channels that are followed here, and presence of all processes as of the last sweep."""
        return {
            "data_to_send": self._follower.holding,
            "online_timers": self._presence.known_online,
            "cleanup_timers": self._follower.holding,
            "events": self._presence.known_events,
        }


# -- reading answers; any error raised here means that an answer is none


def _clock_read(answer: Any) -> _Reading:
    now, last, begin, full, evicted = answer
    return int(now), int(last), begin + b"", full.decode(), evicted + b""


def _receipt(given: Iterable[str], answer: Any, rest: Callable[[], None]) -> tuple[int, list[Part]]:
    drawn, *facts = answer
    parts = []
    for id, cursor, number, incarnation in zip(given, facts[::3], facts[1::3], facts[2::3], strict=True):
        parts.append(Part(id, cursor.decode(), int(number), incarnation))
        if len(parts) % STEPS == 0:
            rest()
    return int(drawn), parts


def _messages(id: str, answer: Any) -> list[Message]:
    return [unpack_member(id, member)[1] for member in answer]
