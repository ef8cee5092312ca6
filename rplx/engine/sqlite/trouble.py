"""Troubles with the disk. The log has one line when one begins and one when it ends, however often it is met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from rplx.engine.sqlite.records import Failure
from rplx.errors import InsufficientStorage, Refusal, Unavailable

STUCK = "disk stuck"  # a write does not end
FULL = "disk full"
FAILING = "disk failing"  # writes end with errors

_BEGIN = {
    STUCK: "the disk of {} is stuck, so messages are refused; polls go on",
    FULL: "the disk of {} is full, so messages are refused; polls go on",
    FAILING: "the disk of {} takes no messages; polls go on",
}
_END = {
    STUCK: "the disk of {} writes again",
    FULL: "the disk of {} has room again",
    FAILING: "the disk of {} takes messages again",
}
_REFUSALS: dict[str, Callable[[], Refusal]] = {
    STUCK: lambda: Unavailable("the disk does not answer; try again", closes=False),
    FULL: lambda: InsufficientStorage("the disk is full", closes=False),
    FAILING: lambda: Unavailable("the disk takes no messages; try again", closes=False),
}
_TEXT_MAX = 200  # characters of an error's text in the log

Refuse = Callable[[], Refusal]


class TroubleLog(Protocol):
    """What the engine needs of rplx.log.Log."""

    def message(self, text: str) -> None: ...
    def trouble(self, kind: str, text: str) -> None: ...
    def recovered(self, kind: str, text: str) -> None: ...


class Troubles:
    """The trouble that there is with the disk of the file at `path`, if any."""

    def __init__(self, path: str, log: TroubleLog) -> None:
        self._path = path
        self._log = log
        self._kind = ""

    def __bool__(self) -> bool:
        return bool(self._kind)

    @property
    def is_stuck(self) -> bool:
        """Whether a write is known not to end."""
        return self._kind == STUCK

    def met(self, kind: str, why: str = "") -> Refuse:
        """Notes that a trouble is there, or still there. Returns what makes the refusals for it."""
        if self._kind != kind:
            self.over()
            self._kind = kind
            text = _BEGIN[kind].format(self._path)
            self._log.trouble(kind, f"{text} ({why[:_TEXT_MAX]})" if why else text)
        return self.refusal

    def failed(self, failure: Failure) -> Refuse:
        """Notes that a write has ended with an error; returns as `met` does."""
        return self.met(FULL) if failure.is_full else self.met(FAILING, failure.text)

    def over(self) -> None:
        """Notes that a write has ended as it should."""
        if self._kind:
            self._log.recovered(self._kind, _END[self._kind].format(self._path))
            self._kind = ""

    def refusal(self) -> Refusal:
        """Returns the refusal of a send for the trouble that there is, of which it is a part."""
        kind = self._kind or STUCK
        refusal = _REFUSALS[kind]()
        refusal.trouble = kind
        return refusal
