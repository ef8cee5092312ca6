"""Commands to one Redis server, from many greenlets over one connection.

What has gathered while the last answers were awaited goes out together: under load a batch, without load at once. A
command whose answer was lost is sent again until its caller has no more time; `Call.again` tells it so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from redis import exceptions

from rplx.engine.redis.address import Node
from rplx.engine.redis.background import spawn_forever
from rplx.engine.redis.scripts import Script
from rplx.engine.redis.servers import Servers
from rplx.engine.redis.wire import LOST, RedisError, Wire
from rplx.errors import InsufficientStorage, Refusal, Unavailable

CALL_TIMEOUT = 1.5  # seconds until a caller is told that Redis is unavailable: less than two, with all around it
QUEUE_MAX = 10_000  # calls that may wait for one server; past it they are refused at once
BATCH_MAX = 256  # calls sent together
BATCH_BYTES = 1 << 20  # of arguments sent together, beyond one call
RETRY_FIRST = 0.02  # seconds before the second try to connect; doubled each time
RETRY_MAX = 0.5  # seconds between two tries to connect

_ELSEWHERE = (
    exceptions.MovedError,
    exceptions.AskError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
    exceptions.ReadOnlyError,
    exceptions.MasterDownError,
)
"""Answers of a server that is not, or not yet, the one to ask."""


class Call:
    """One command under way. `asked` and `answered`: monotonic seconds around the exchange that brought the answer."""

    __slots__ = ("again", "answered", "arguments", "asked", "deadline", "result", "script", "size", "tag")

    def __init__(self, tag: str, script: Script | None, arguments: tuple[Any, ...], timeout: float, again: int) -> None:
        self.tag = tag
        self.script = script
        self.arguments = arguments
        self.deadline = time.monotonic() + timeout
        self.again = again  # index of the argument that becomes "1" when the call is sent again; -1: none
        self.result: AsyncResult[Any] = AsyncResult()
        self.asked = self.answered = 0.0
        self.size = sum([len(argument) for argument in arguments if isinstance(argument, bytes | str)])

    def get(self) -> Any:
        """The answer. Errors: Unavailable, InsufficientStorage."""
        try:
            return self.result.get(timeout=max(self.deadline - time.monotonic(), 0))
        except gevent.Timeout:
            self.deadline = 0.0
            raise Unavailable("Redis does not answer; try again", closes=False) from None

    def repeated(self) -> None:
        """It may have been carried out already."""
        if self.again >= 0:
            self.arguments = (*self.arguments[: self.again], "1", *self.arguments[self.again + 1 :])

    def command(self) -> tuple[Any, ...]:
        if self.script is None:
            return self.arguments
        return ("EVALSHA", self.script.digest, *self.arguments)


class Link:
    """One server's connection, made when it is needed and made again when it is lost."""

    def __init__(
        self, servers: Servers, node: Node, scripts: dict[str, Script], resubmit: Callable[[Call], None]
    ) -> None:
        self.up = True  # False from a loss until the next answer
        self.problem = ""
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
            except (*LOST, RedisError) as error:
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
        try:
            for script in self._scripts.values():
                wire.ask("SCRIPT", "LOAD", script.source)
        except BaseException:
            wire.close()
            raise
        return wire

    def _disconnect(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _exchange(self, wire: Wire, batch: list[Call]) -> None:
        """Sends the calls, hands out the answers, takes those answered out of `batch`. Errors: LOST, RedisError."""
        asked = time.monotonic()
        moved: list[Call] = []
        calls = list(batch)
        wire.send([call.command() for call in calls])
        for call in calls:
            call.asked = asked
            try:
                answer = wire.read()
            except exceptions.NoScriptError:
                raise
            except _ELSEWHERE as error:
                self.problem = str(error)
                moved.append(call)
            except exceptions.ResponseError as error:
                call.result.set_exception(_refusal(error))
            else:
                call.answered = time.monotonic()
                call.result.set(answer)
            batch.pop(0)
        if moved:
            self.up = False
            self._move(moved)
        else:
            self.up = True
            self._delay = 0.0

    def _move(self, calls: list[Call]) -> None:
        """Somebody else has to be asked: looks who, on a new connection if it is the same one."""
        self._disconnect()
        self._pause()
        self._look_again()
        for call in calls:
            self._resubmit(call)

    def _lose(self, error: Exception, batch: list[Call]) -> None:
        self._disconnect()
        if isinstance(error, exceptions.NoScriptError):
            self._queue.extendleft(reversed(batch))  # the scripts were flushed; they come back with the connection
            return
        self.up = False
        self.problem = str(error) or type(error).__name__
        self._pause()
        self._look_again()
        for call in batch:
            call.repeated()
        while self._queue:
            batch.append(self._queue.popleft())
        for call in batch:
            if call.deadline > time.monotonic():
                self._resubmit(call)

    def _look_again(self) -> None:
        try:
            self._servers.refresh()
        except (*LOST, RedisError) as error:
            self.problem = str(error) or type(error).__name__

    def _pause(self) -> None:
        if self._delay:
            gevent.sleep(self._delay)
        self._delay = min(max(self._delay * 2, RETRY_FIRST), RETRY_MAX)


def _refusal(error: Exception) -> Refusal:
    text = str(error)
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM " in text:
        return InsufficientStorage("Redis has no memory left for more history", closes=False)
    return Unavailable(f"Redis refuses: {text[:200]}", closes=False)
