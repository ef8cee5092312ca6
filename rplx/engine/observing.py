"""Whom an engine reports to, before and after somebody has attached himself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rplx.messages import Message

Listeners = list[tuple[int, Sequence[str], Sequence[str]]]
"""The parked listeners of a process: for each a number of its own, its ids, and its cursors there."""


class Observer(Protocol):
    """What an engine reports to, and asks: the listeners of its process. It raises nothing."""

    def wake(self, message: Message, /) -> None:
        """Takes a message that has been stored. Messages of a channel come in the order in which they were stored."""

    def recall(self, ids: Sequence[str], /) -> None:
        """Makes the listeners of `ids` ask again: history was lost there, or messages were missed."""

    def listeners(self) -> Listeners:
        """Returns this process's listeners, for other processes' STATS."""

    def rest(self) -> None:
        """Lets others go on between two pieces of long work; returns when the next piece's turn has come."""


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
