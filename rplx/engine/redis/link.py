"""Sends commands of many greenlets to one Redis server over one connection.

Commands that gather while answers are awaited go out together: under load as a batch, without load at once. A command
whose answer was lost is sent again until its caller has no more time, with a mark that it is a repetition (Call). A
command that was not carried out, as Redis has lost the script or another server has to be asked, is sent again as it
was.
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
"""Answers of a server that is not the one to ask, or not yet."""


class Link:
    """The connection to one server, made when it is needed and made again when it is lost."""

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
        """Queues a call. Raises Unavailable if too many wait already."""
        if len(self._queue) >= QUEUE_MAX:
            raise Unavailable("too many requests wait for Redis; try again", closes=False)
        self._queue.append(call)
        self._waiting.set()

    def close(self) -> None:
        """Disconnects; calls that wait are not answered."""
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
            except Exception as error:  # whatever it is, the calls are kept
                self._lose(error, batch)

    def _take(self) -> list[Call]:
        """Takes the next calls to send, without those whose callers wait no more."""
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
        wire.rest_while_reading(lambda: self._observer.rest())  # which may be attached later
        try:
            self._load_scripts(wire)
        except BaseException:
            wire.close()
            raise
        return wire

    def _load_scripts(self, wire: Wire) -> None:
        """Raises LOST, RedisError."""
        for script in self._scripts.values():
            wire.ask("SCRIPT", "LOAD", script.source)

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _exchange(self, wire: Wire, batch: list[Call]) -> None:
        """Sends calls and hands out their answers; takes calls out of `batch` as they are answered.

        Raises LOST, RedisError.
        """
        asked = time.monotonic()
        moved: list[Call] = []
        unknown: list[Call] = []  # of a script that Redis does not have, so not carried out
        calls = list(batch)
        wire.send([call.command() for call in calls])
        try:
            for call in calls:
                call.asked = asked
                self._hand_out(wire, call, moved, unknown)
                batch.pop(0)
                self._observer.rest()  # answers that have come already are read without a wait
        finally:
            self._queue.extendleft(reversed(unknown + moved))
        self.up = not moved
        if moved:
            self._move()
        else:
            self._delay = 0.0

    def _hand_out(self, wire: Wire, call: Call, moved: list[Call], unknown: list[Call]) -> None:
        """Reads one call's answer. Raises LOST, RedisError."""
        try:
            answer = wire.read()
        except exceptions.NoScriptError as error:
            if call.script is None or call.whole:
                call.refuse(error)
            else:
                call.whole = True
                unknown.append(call)
        except _ELSEWHERE as error:
            self._health.note(error)
            moved.append(call)
        except exceptions.ResponseError as error:
            call.refuse(error)
        else:
            call.answered = time.monotonic()
            call.result.set(answer)

    def _move(self) -> None:
        """Finds the server that has to be asked instead, on a new connection if it is this one."""
        self._disconnect()
        self._pause()
        self._refresh()
        self._pass_on()

    def _lose(self, error: Exception, batch: list[Call]) -> None:
        self._disconnect()
        self.up = False
        self._health.note(error)
        self._pause()
        self._refresh()
        for call in batch:
            call.repeated()
        self._queue.extendleft(reversed(batch))
        self._pass_on()

    def _pass_on(self) -> None:
        """Submits all that waits to where it belongs now, which may be here."""
        waiting = list(self._queue)
        self._queue.clear()
        now = time.monotonic()
        for call in waiting:
            if call.deadline > now:
                self._resubmit(call)

    def _refresh(self) -> None:
        try:
            self._servers.refresh()
        except Exception as error:
            self._health.note(error)

    def _pause(self) -> None:
        if self._delay:
            gevent.sleep(self._delay)
        self._delay = min(max(self._delay * 2, RETRY_FIRST), RETRY_MAX)
