"""Long work in turns: between two of them the loop looks at all sockets, so nobody waits for somebody else's work."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from gevent import get_hub, getcurrent
from gevent.hub import Waiter

TURN = 0.005  # seconds that a turn of the loop has before who works in it rests


class Turns:
    """The turns of one loop. Made in the thread whose loop it is.

    Who works for long calls `rest` now and then, some hundred steps apart at most.
    """

    def __init__(self) -> None:
        self._gevent_hub = get_hub()
        loop: Any = self._gevent_hub.loop
        self._end = time.monotonic() + TURN
        self._beginning = loop.check(ref=False)  # of itself it keeps no program running
        self._beginning.start(self.renew)
        self._resting: deque[Waiter[None]] = deque()
        self._timer = loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns

    def renew(self) -> None:
        """A turn begins: the loop has looked at its sockets, or others begin their work whom the last left no time."""
        self._end = time.monotonic() + TURN

    def is_over(self) -> bool:
        """Whether this turn of the loop has gone on for TURN seconds."""
        return time.monotonic() >= self._end

    def is_somebody_resting(self) -> bool:
        """Whether long work is under way."""
        return bool(self._resting)

    def rest(self) -> None:
        """Lets all others go on if this turn is over; comes back in a later one. Does nothing in the loop itself."""
        while self.is_over() and getcurrent() is not self._gevent_hub and get_hub() is self._gevent_hub:
            self.pause()

    def pause(self) -> None:
        """Lets all others go on, whatever the time. Not in the loop itself."""
        waiter: Waiter[None] = Waiter()
        self._resting.append(waiter)
        if len(self._resting) == 1:
            self._timer.start(self._go_on)
        waiter.get()

    def _go_on(self) -> None:
        """Those who rest go on in the order in which they came to rest, for a turn of their own."""
        self.renew()  # else work of other kinds that comes before it in each turn would leave it none
        for _ in range(len(self._resting)):
            self._resting.popleft().switch(None)
            if self.is_over():
                break
        if self._resting:
            self._timer.start(self._go_on)
