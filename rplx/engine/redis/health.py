"""What is wrong with Redis, as the log tells it: a line when it begins, a line when it ends, however often it is met.

What is refused for it carries the trouble's name, so that the lines can count it instead of telling each.
"""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

from redis.exceptions import OutOfMemoryError

from rplx.errors import InsufficientStorage, Refusal, Unavailable

AWAY = "redis away"  # nothing can be asked
FULL = "redis full"  # it can be read, and takes no writes
ODD = "redis odd"  # it answers, and its answers cannot be used
SETTLED = 2.0  # seconds without it after which a trouble is over; longer than any pause between two tries

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
"""By the word that an error begins with (Redis, server.c, "shared error replies"); ODD for all others."""

R = TypeVar("R", bound=Refusal)


class HealthLog(Protocol):
    """Of rplx.log.Log what the engine needs."""

    def message(self, text: str) -> None: ...
    def counted(self, kind: str, text: str) -> None: ...
    def trouble(self, kind: str, text: str) -> None: ...
    def recovered(self, kind: str, text: str) -> None: ...


class Health:
    """The troubles that there are. `shown`: the address without its password."""

    def __init__(self, shown: str, log: HealthLog) -> None:
        self.problem = ""  # what a connection's end or refusal was told by, until all is well
        self._shown = shown
        self._log = log
        self._met: dict[str, float] = {}  # trouble -> when it was met last, monotonic seconds

    @property
    def away(self) -> bool:
        return AWAY in self._met

    def met(self, kind: str, problem: str = "") -> None:
        """A trouble is there, or still there."""
        if kind not in self._met:
            problem = problem or self.problem or "it does not answer"
            self._log.trouble(kind, _BEGIN[kind].format(self._shown, problem[:200]))
        self._met[kind] = time.monotonic()

    def settle(self) -> list[str]:
        """Redis was asked and has answered as it should; gives the troubles that are over with it."""
        self.problem = ""
        now = time.monotonic()
        over = [kind for kind, met in self._met.items() if now - met >= SETTLED]
        for kind in over:
            del self._met[kind]
            self._log.recovered(kind, _END[kind])
        return over

    # -- what callers are told

    def silent(self) -> Unavailable:
        self.met(AWAY)
        return self._part_of(AWAY, Unavailable("Redis does not answer; try again", closes=False))

    def senseless(self, problem: object) -> Unavailable:
        self.met(ODD, str(problem) or type(problem).__name__)
        return self._part_of(ODD, Unavailable("Redis answers what cannot be used; try again", closes=False))

    def refused(self, error: Exception, *, stores: bool) -> Refusal:
        """`error`: as Redis gave it; `stores`: it was for a message to be kept."""
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
    """An error's text as Redis gave it; redis-py takes some first words off."""
    return f"OOM {error}" if isinstance(error, OutOfMemoryError) else str(error) or type(error).__name__


def kind_of(text: str) -> str:
    """Which trouble an error of Redis' is a sign of; in what a script raised its word stands somewhere."""
    return next((kind for word, kind in _KINDS.items() if f"{word} " in text), ODD)
