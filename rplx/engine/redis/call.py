"""One command to Redis: what is asked, until when its caller waits, and the answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
from gevent.event import AsyncResult

from rplx.engine.redis.health import Health
from rplx.engine.redis.scripts import Script

CALL_TIMEOUT = 1.5  # seconds until a caller is told that Redis is unavailable: less than two, with all around it

T = TypeVar("T")


class Call:
    """One command. `asked` and `answered` are the monotonic seconds around the exchange that brought the answer."""

    __slots__ = (
        "again",
        "answered",
        "arguments",
        "asked",
        "deadline",
        "health",
        "result",
        "script",
        "size",
        "tag",
        "whole",
    )

    def __init__(
        self,
        health: Health,
        tag: str,
        script: Script | None,
        arguments: tuple[Any, ...],
        timeout: float = CALL_TIMEOUT,
        again: int = -1,
    ) -> None:
        self.health = health
        self.tag = tag
        self.script = script
        self.arguments = arguments
        self.deadline = time.monotonic() + timeout
        self.whole = False  # the script itself has to be sent, as Redis does not have it
        self.again = again  # index of the argument that is "1" if the call is sent again; -1: none
        self.result: AsyncResult[Any] = AsyncResult()
        self.asked = self.answered = 0.0
        self.size = sum([len(argument) for argument in arguments if isinstance(argument, bytes | str)])

    def get(self, read: Callable[[Any], T]) -> T:
        """Returns the answer as `read` reads it. `read` may raise any error for one that makes no sense.

        Raises Unavailable, and InsufficientStorage if a message was to be stored.
        """
        try:
            answer = self.result.get(timeout=max(self.deadline - time.monotonic(), 0))
        except gevent.Timeout:
            self.deadline = 0.0
            raise self.health.no_answer() from None
        try:
            return read(answer)
        except Exception as error:
            raise self.health.unusable_answer(error) from error

    def refuse(self, error: Exception) -> None:
        """Refuses the call with an error that Redis gave."""
        stores = self.script is not None and self.script.stores
        self.result.set_exception(self.health.refused(error, stores=stores))

    def repeated(self) -> None:
        """Marks the call as a repetition: it may have been carried out already."""
        if self.again >= 0:
            self.arguments = (*self.arguments[: self.again], "1", *self.arguments[self.again + 1 :])

    def command(self) -> tuple[Any, ...]:
        """Returns the command as it is sent."""
        if self.script is None:
            return self.arguments
        if self.whole:
            return ("EVAL", self.script.source, *self.arguments)
        return ("EVALSHA", self.script.digest, *self.arguments)
