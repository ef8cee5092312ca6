"""Cuts long work into turns. Between two turns the loop looks at all sockets, so nobody waits for others' work."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from gevent import get_hub, getcurrent
from gevent.hub import Waiter

TURN = 0.005  # seconds after which work in one turn of the loop rests


class Turns:
    """The turns of one loop. It is made in the thread of that loop.

    Long work calls `rest` now and then, at most some hundred steps apart.
    """

    def __init__(self) -> None:
        self._gevent_hub = get_hub()
        loop: Any = self._gevent_hub.loop
        self._end = time.monotonic() + TURN
        self._beginning = loop.check(ref=False)  # it alone keeps no program running
        self._beginning.start(self.renew)
        self._resting: deque[Waiter[None]] = deque()
        self._timer = loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns

    def renew(self) -> None:
        """Begins a turn: the loop has looked at its sockets, or work begins for which the last one left no time."""
        self._end = time.monotonic() + TURN

    def is_over(self) -> bool:
        """Returns whether this turn of the loop has gone on for TURN seconds."""
        return time.monotonic() >= self._end

    def is_somebody_resting(self) -> bool:
        """Returns whether long work is under way."""
        return bool(self._resting)

    def rest(self) -> None:
        """Lets all others go on if this turn is over, and returns in a later one. Does nothing in the loop itself."""
        while self.is_over() and getcurrent() is not self._gevent_hub and get_hub() is self._gevent_hub:
            self.pause()

    def pause(self) -> None:
        """Lets all others go on, whatever the time. It must not be called in the loop itself."""
        waiter: Waiter[None] = Waiter()
        self._resting.append(waiter)
        if len(self._resting) == 1:
            self._timer.start(self._go_on)
        waiter.get()

    def _go_on(self) -> None:
        """Resumes resting work in the order in which it came to rest, for a turn of its own."""
        self.renew()  # else other work, which comes first in each turn, would leave it no time
        for _ in range(len(self._resting)):
            self._resting.popleft().switch(None)
            if self.is_over():
                break
        if self._resting:
            self._timer.start(self._go_on)
