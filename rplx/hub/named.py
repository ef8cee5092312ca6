"""Listeners with a name that their client gave itself (protocol page, part 9.9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


class Named(Protocol):
    """A poll or a stream. `client`: the name that its client gave itself, or ""."""

    client: str


def _leave_it(listener: Named) -> None:
    """Lets a listener wait for as long as it may."""


class NamedListeners:
    """The polls and streams that wait and have their client's name: a newer one ends the older one (part 9.9)."""

    def __init__(self) -> None:
        self._newest: dict[str, Named] = {}
        self._end: Callable[[Any], None] = _leave_it

    def attach(self, end: Callable[[Any], None]) -> None:
        """Has `end` end an older listener soon. The newer one waits already when it is called."""
        self._end = end

    def enter(self, listener: Named, client: str) -> None:
        """Takes a listener of `client` that waits, and ends the one that did so before it."""
        older = self._newest.get(client)
        self._newest[client] = listener
        listener.client = client
        if older is not None:
            self._end(older)

    def has_newer(self, listener: Named) -> bool:
        """Returns whether a newer one of the same client waits: it may have come before `end` found the older one."""
        newest = self._newest.get(listener.client)
        return newest is not None and newest is not listener

    def forget(self, listener: Named) -> None:
        """Lets go of a listener with a name that waits no more."""
        if self._newest.get(listener.client) is listener:
            del self._newest[listener.client]
