"""The subscriptions of this process on one Redis server: one connection, made again when it is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore

from rplx.engine.observing import Observer
from rplx.engine.redis.address import Node
from rplx.engine.redis.background import RETRY_FIRST, RETRY_MAX, spawn_forever
from rplx.engine.redis.health import ODD, Health, kind_of, text_of
from rplx.engine.redis.wire import REPLY_TIMEOUT, NotRedis, ResponseError, Wire, parsing

PING_EVERY = 1.0  # seconds; with no answer for REPLY_TIMEOUT more, the connection is given up
CHUNK = 500  # topics subscribed by one command


class Connector(Protocol):
    """What a subscriber needs of Servers."""

    @property
    def sharded(self) -> bool:
        """As Servers.sharded."""

    def connect(self, node: Node, timeout: float) -> Wire:
        """As Servers.connect."""

    def refresh(self) -> None:
        """As Servers.refresh."""


class Subscriber:
    """Follows topics on one server.

    `subscribed` is called with topics of which nothing is missed from then on; again after each loss, as announcements
    were missed meanwhile. `announced` is called with each announcement, `lost` when the connection is gone,
    `refreshed` when the map of servers was then read anew, `moved` with a topic that the server no longer has.
    """

    def __init__(
        self,
        servers: Connector,
        node: Node,
        subscribed: Callable[[list[bytes]], None],
        announced: Callable[[bytes], None],
        lost: Callable[[Node], None],
        refreshed: Callable[[Node], None],
        moved: Callable[[bytes], None],
        health: Health,
        observer: Observer,
    ) -> None:
        self.up = False
        self.lost_before = False  # whether a loss was reported since it was up
        self._servers = servers
        self._node = node
        self._subscribed = subscribed
        self._announced = announced
        self._lost = lost
        self._refreshed = refreshed
        self._moved = moved
        self._health = health
        self._observer = observer
        self._topics: dict[bytes, None] = {}
        self._changed: dict[bytes, bool] = {}  # topic -> whether to follow it
        self._wire: Wire | None = None
        self._writing = BoundedSemaphore()
        self._work = Event()
        self._greenlets = [spawn_forever(run) for run in (self._read_forever, self._write_forever, self._ping_forever)]

    def follow(self, topic: bytes) -> None:
        """Subscribes a topic."""
        self._topics[topic] = None
        self._changed[topic] = True
        self._work.set()

    def unfollow(self, topic: bytes) -> None:
        """Ends the subscription of a topic."""
        self._topics.pop(topic, None)
        self._changed[topic] = False
        self._work.set()

    def close(self) -> None:
        """Disconnects and does not connect again."""
        gevent.killall(self._greenlets)
        self._disconnect()

    def _disconnect(self) -> None:
        self.up = False
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # -- reading

    def _read_forever(self) -> None:
        delay = 0.0
        while True:
            if not self._topics:
                self._work.wait()
            try:
                self._wire = self._servers.connect(self._node, PING_EVERY + REPLY_TIMEOUT)
                self.up = True
                self.lost_before = False
                self._changed = dict.fromkeys(self._topics, True)
                self._work.set()
                while True:
                    with parsing():
                        self._take(self._wire.read())
                    delay = 0.0
                    self._observer.rest()  # announcements that have come already are read without a wait
            except Exception as error:  # whatever it is, announcements are missed from here on
                self._tell_problem(error)
                news = self.up or not self.lost_before
                self._disconnect()
                self.lost_before = True
                if news:
                    self._lost(self._node)
            gevent.sleep(delay)
            delay = min(max(delay * 2, RETRY_FIRST), RETRY_MAX)
            self._refresh()

    def _tell_problem(self, error: Exception) -> None:
        """Notes a trouble that no call meets: the server refuses to announce, or makes no sense."""
        if isinstance(error, ResponseError):
            text = text_of(error)
            self._health.met(kind_of(text), text)
        elif isinstance(error, NotRedis):
            self._health.met(ODD, str(error))

    def _refresh(self) -> None:
        try:
            self._servers.refresh()
        except Exception as error:
            self._health.note(error)
            return
        self._refreshed(self._node)

    def _take(self, answer: Any) -> None:
        kind = answer[0]
        if kind in (b"message", b"smessage"):
            self._announced(answer[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            if answer[1] in self._topics:
                self._subscribed([answer[1]])
        elif kind == b"sunsubscribe" and answer[1] in self._topics:
            self._moved(answer[1])  # its slot has gone to another node
        elif kind not in (b"pong", b"unsubscribe", b"sunsubscribe"):
            raise ValueError("this is no announcement")

    # -- writing

    def _write_forever(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            if not self.up:
                continue
            changed, self._changed = self._changed, {}
            shard = "S" if self._servers.sharded else ""
            self._command(f"{shard}SUBSCRIBE", [topic for topic, follow in changed.items() if follow])
            self._command(f"{shard}UNSUBSCRIBE", [topic for topic, follow in changed.items() if not follow])

    def _command(self, name: str, topics: Collection[bytes]) -> None:
        # A cluster takes topics of one slot in one command, so each has a command of its own there.
        step = 1 if self._servers.sharded else CHUNK
        listed = list(topics)
        for first in range(0, len(listed), CHUNK):
            some = listed[first : first + CHUNK]
            self._send([(name, *some[at : at + step]) for at in range(0, len(some), step)])
            self._observer.rest()

    def _ping_forever(self) -> None:
        while True:
            gevent.sleep(PING_EVERY)
            if self.up:
                self._send([("PING",)])

    def _send(self, commands: Iterable[tuple[Any, ...]]) -> None:
        with self._writing:
            wire = self._wire
            if wire is None:
                return
            try:
                wire.send(commands)
            except Exception:
                wire.close()  # the reader notices
