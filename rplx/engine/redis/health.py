"""Troubles with Redis. The log has one line when a trouble begins and one when it ends, however often it is met.

Refusals carry the name of their trouble, so that the lines can count them instead of logging each.
"""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

from redis.exceptions import OutOfMemoryError

from rplx.errors import InsufficientStorage, Refusal, Unavailable

AWAY = "redis away"  # it does not answer
FULL = "redis full"  # it can be read, but takes no writes
ODD = "redis odd"  # its answers cannot be used
SETTLED = 2.0  # seconds after which a trouble that was not met again is over; longer than any pause between tries

_BEGIN = {
    AWAY: "Redis at {} is away: {}",
    FULL: "Redis at {} takes no messages: {}",
    ODD: "Redis at {} answers what cannot be used: {}",
}
_END = {AWAY: "Redis is back", FULL: "Redis takes messages again", ODD: "Redis answers as it should again"}
_KINDS = {
    "OOM": FULL,
    "MISCONF": FULL,
    "NOREPLICAS": FULL,
    "BUSY": AWAY,
    "UNKILLABLE": AWAY,
}
"""Troubles by the word that an error begins with (Redis, server.c, "shared error replies"); others are ODD."""

R = TypeVar("R", bound=Refusal)


class HealthLog(Protocol):
    """What the engine needs of rplx.log.Log."""

    def message(self, text: str) -> None: ...
    def counted(self, kind: str, text: str) -> None: ...
    def trouble(self, kind: str, text: str) -> None: ...
    def recovered(self, kind: str, text: str) -> None: ...


class Health:
    """The troubles that there are. `shown` is the address without its password."""

    def __init__(self, shown: str, log: HealthLog) -> None:
        self._problem = ""  # the last error of a connection, until Redis answers
        self._shown = shown
        self._log = log
        self._met: dict[str, float] = {}  # trouble -> when it was met last, monotonic seconds

    def note(self, error: Exception) -> None:
        """Remembers why a connection was lost or refused, for the log line of the trouble that may follow."""
        self._problem = str(error) or type(error).__name__

    @property
    def away(self) -> bool:
        """Whether Redis is known not to answer."""
        return AWAY in self._met

    def met(self, kind: str, problem: str = "") -> None:
        """Notes that a trouble is there, or still there."""
        if kind not in self._met:
            problem = problem or self._problem or "it does not answer"
            self._log.trouble(kind, _BEGIN[kind].format(self._shown, problem[:200]))
        self._met[kind] = time.monotonic()

    def settle(self) -> list[str]:
        """Notes that Redis has answered as it should; returns the troubles that are over with that."""
        self._problem = ""
        now = time.monotonic()
        over = [kind for kind, met in self._met.items() if now - met >= SETTLED]
        for kind in over:
            del self._met[kind]
            self._log.recovered(kind, _END[kind])
        return over

    # -- refusals for callers

    def no_answer(self) -> Unavailable:
        """Returns the refusal for a call that was not answered in time."""
        self.met(AWAY)
        return self._part_of(AWAY, Unavailable("Redis does not answer; try again", closes=False))

    def unusable_answer(self, problem: object) -> Unavailable:
        """Returns the refusal for a call whose answer cannot be used."""
        self.met(ODD, str(problem) or type(problem).__name__)
        return self._part_of(ODD, Unavailable("Redis answers what cannot be used; try again", closes=False))

    def refused(self, error: Exception, *, stores: bool) -> Refusal:
        """Returns the refusal for an error that Redis gave. `stores`: the call was to store a message."""
        text = text_of(error)
        kind = kind_of(text)
        self.met(kind, text)
        if stores and "OOM " in text:
            return self._part_of(kind, InsufficientStorage("Redis has no memory left for more history", closes=False))
        return self._part_of(kind, Unavailable(f"Redis refuses: {text[:200]}", closes=False))

    @staticmethod
    def _part_of(kind: str, refusal: R) -> R:
        refusal.trouble = kind
        return refusal


def text_of(error: Exception) -> str:
    """Returns an error's text as Redis gave it, although redis-py takes some first words off."""
    return f"OOM {error}" if isinstance(error, OutOfMemoryError) else str(error) or type(error).__name__


def kind_of(text: str) -> str:
    """Returns the trouble that an error is a sign of. A script's error has the word anywhere in its text."""
    return next((kind for word, kind in _KINDS.items() if f"{word} " in text), ODD)
