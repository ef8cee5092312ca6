"""Commands to one Redis server, from many greenlets over one connection.

What has gathered while the last answers were awaited goes out together: under load a batch, without load at once. A
command whose answer was lost is sent again until its caller has no more time; `Call.again` tells it so. One that
Redis refused unread (it has lost the script, or somebody else has to be asked) is sent again as it was.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

import gevent
from gevent.event import Event
from redis import exceptions

from rplx.engine.observing import Observer
from rplx.engine.redis.address import Node
from rplx.engine.redis.background import RETRY_FIRST, RETRY_MAX, spawn_forever
from rplx.engine.redis.call import Call
from rplx.engine.redis.health import Health
from rplx.engine.redis.scripts import Script
from rplx.engine.redis.servers import Servers
from rplx.engine.redis.wire import Wire
from rplx.errors import Unavailable

QUEUE_MAX = 10_000  # calls that may wait for one server; past it they are refused at once
BATCH_MAX = 256  # calls sent together
BATCH_BYTES = 1 << 20  # of arguments sent together, beyond one call

_ELSEWHERE = (
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
)
"""Answers of a server that is not, or not yet, the one to ask."""


class Link:
    """One server's connection, made when it is needed and made again when it is lost."""

    def __init__(
        self,
        servers: Servers,
        node: Node,
        scripts: dict[str, Script],
        resubmit: Callable[[Call], None],
        health: Health,
        observer: Observer,
    ) -> None:
        self.up = True  # False from a loss until the next answer
        self._health = health
        self._observer = observer
        self._servers = servers
        self._node = node
        self._scripts = scripts
        self._resubmit = resubmit
        self._queue: deque[Call] = deque()
        self._waiting = Event()
        self._wire: Wire | None = None
        self._delay = 0.0
        self._greenlet = spawn_forever(self._run)

    def submit(self, call: Call) -> None:
        """Errors: Unavailable if too much waits already."""
        if len(self._queue) >= QUEUE_MAX:
            raise Unavailable("too many requests wait for Redis; try again", closes=False)
        self._queue.append(call)
        self._waiting.set()

    def close(self) -> None:
        self._greenlet.kill()
        self._disconnect()

    def _run(self) -> None:
        while True:
            self._waiting.wait()
            batch = self._take()
            if not batch:
                self._waiting.clear()
                continue
            try:
                if self._wire is None:
                    self._wire = self._connect()
                self._exchange(self._wire, batch)
            except Exception as error:  # whatever it is: the calls are not lost with the connection
                self._lose(error, batch)

    def _take(self) -> list[Call]:
        """The next calls to send, without those whose callers have gone."""
        batch: list[Call] = []
        size = 0
        now = time.monotonic()
        queue = self._queue
        while queue and len(batch) < BATCH_MAX and size < BATCH_BYTES:
            call = queue.popleft()
            if call.deadline > now:
                batch.append(call)
                size += call.size
        return batch

    def _connect(self) -> Wire:
        wire = self._servers.connect(self._node)
        wire.rest_while_reading(self._observer)
        try:
            self._load_scripts(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    def _load_scripts(self, wire: Wire) -> None:
        """Errors: LOST, RedisError."""
        for script in self._scripts.values():
            wire.ask("SCRIPT", "LOAD", script.source)

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _exchange(self, wire: Wire, batch: list[Call]) -> None:
        """Sends the calls, hands out the answers, takes those answered out of `batch`. Errors: LOST, RedisError."""
        asked = time.monotonic()
        moved: list[Call] = []
        unknown: list[Call] = []  # of a script that Redis does not have: not carried out
        calls = list(batch)
        wire.send([call.command() for call in calls])
        try:
            for call in calls:
                call.asked = asked
                self._hand_out(wire, call, moved, unknown)
                batch.pop(0)
                self._observer.rest()  # what has come already is read without a wait
        finally:
            self._queue.extendleft(reversed(unknown + moved))
        self.up = not moved
        if moved:
            self._move()
        else:
            self._delay = 0.0

    def _hand_out(self, wire: Wire, call: Call, moved: list[Call], unknown: list[Call]) -> None:
        """Reads one call's answer. Errors: LOST, RedisError."""
        try:
            answer = wire.read()
        except exceptions.NoScriptError as error:
            if call.script is None or call.whole:
                call.refuse(error)
            else:
                call.whole = True
                unknown.append(call)
        except _ELSEWHERE as error:
            self._health.problem = str(error)
            moved.append(call)
        except exceptions.ResponseError as error:
            call.refuse(error)
        else:
            call.answered = time.monotonic()
            call.result.set(answer)

    def _move(self) -> None:
        """Somebody else has to be asked: looks who, on a new connection if it is the same one."""
        self._disconnect()
        self._pause()
        self._look_again()
        self._pass_on()

    def _lose(self, error: Exception, batch: list[Call]) -> None:
        self._disconnect()
        self.up = False
        self._health.problem = str(error) or type(error).__name__
        self._pause()
        self._look_again()
        for call in batch:
            call.repeated()
        self._queue.extendleft(reversed(batch))
        self._pass_on()

    def _pass_on(self) -> None:
        """All that waits goes to where it belongs as far as is known now, which may be here."""
        waiting = list(self._queue)
        self._queue.clear()
        now = time.monotonic()
        for call in waiting:
            if call.deadline > now:
                self._resubmit(call)

    def _look_again(self) -> None:
        try:
            self._servers.refresh()
        except Exception as error:
            self._health.problem = str(error) or type(error).__name__

    def _pause(self) -> None:
        if self._delay:
            gevent.sleep(self._delay)
        self._delay = min(max(self._delay * 2, RETRY_FIRST), RETRY_MAX)
