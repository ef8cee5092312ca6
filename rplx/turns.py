"""Turns of the event loop: who finds more and more to do lets others go on from time to time."""

from __future__ import annotations

import time

import gevent

TURN = 0.004  # seconds that all connections of a line together work in one turn of the loop, but for one request each


class Turns:
    """One for all greenlets that share their turn. Made in the process that serves."""

    def __init__(self) -> None:
        self._loop = gevent.get_hub().loop
        self._turn = 0.0  # when the current turn of the loop began, by the loop's own clock
        self._end = 0.0  # when the work in it is to end, by the monotonic one

    def pause(self) -> None:
        """Called between two pieces of work: lets the loop look at all sockets when the turn's time is used up."""
        turn = self._loop.now()
        now = time.monotonic()
        if turn != self._turn:
            self._turn = turn
            self._end = now + TURN
        elif now >= self._end:
            gevent.sleep(0)
