"""Whom an engine reports to, before and after somebody has attached himself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rplx.engine import Listeners, Observer
from rplx.messages import Message


class Observed:
    """The observer of one engine, shared by its parts. Until one is attached, reports go nowhere."""

    __slots__ = ("listeners", "recall", "rest", "wake")

    wake: Callable[[Message], None]
    recall: Callable[[Sequence[str]], None]
    listeners: Callable[[], Listeners]
    rest: Callable[[], None]

    def __init__(self) -> None:
        self.attach(_Nobody())

    def attach(self, observer: Observer) -> None:
        """Hands all reports to `observer` from now on. Its methods are looked up once, as they are called often."""
        self.wake = observer.wake
        self.recall = observer.recall
        self.listeners = observer.listeners
        self.rest = observer.rest


class _Nobody:
    def wake(self, message: Message) -> None:
        pass

    def recall(self, ids: Sequence[str]) -> None:
        pass

    def listeners(self) -> Listeners:
        return []

    def rest(self) -> None:
        pass
