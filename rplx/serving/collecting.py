"""When a serving process collects garbage and gives freed memory back to the system.

A full collection walks through every listener and stops the event loop meanwhile. So Python's own collector is off
while the server serves, what lives at its start is set aside (`gc.freeze`), and `Collector` chooses the moments.
"""

from __future__ import annotations

import gc

from rplx.system.limits import trim_memory

FEW = 1000  # connections: with fewer, a collection is short
WORTH_IT = 10_000  # new objects that are worth a collection
FULL_EVERY = 600.0  # seconds between two collections that take place whatever the number of connections
TRIM_FROM = 1000  # connections that must have closed before memory is given back


def set_aside() -> None:
    """Collects garbage, and keeps what lives now out of later collections, in processes forked from this one too."""
    gc.collect()
    gc.freeze()


class Collector:
    """Collects in place of Python's own collector. One to a process; `look` is to be called about once a second."""

    def __init__(self, now: float) -> None:
        """Switches Python's collector off. `now`: monotonic seconds."""
        self._last_full = now
        self._most = 0  # the most connections since memory was given back
        set_aside()
        gc.disable()

    def pass_over(self) -> None:
        """Keeps what lives now out of collections until the next full one, without looking through it."""
        gc.freeze()

    def look(self, now: float, connections: int, *, busy: bool) -> None:
        """Collects if it is time, and gives memory back once half of the connections have closed.

        `now`: monotonic seconds. `connections`: open ones. `busy`: long work is under way, whose objects a collection
        would walk through.
        """
        self._collect(now, may=connections < FEW and not busy)
        self._most = max(self._most, connections)
        if self._most - connections > max(TRIM_FROM, self._most // 2):
            self._most = connections
            trim_memory()

    def _collect(self, now: float, *, may: bool) -> None:
        if now - self._last_full > FULL_EVERY:
            gc.unfreeze()  # otherwise new objects alone are looked at, as a long history would stop the loop each time
            set_aside()
            self._last_full = now
        elif may and gc.get_count()[0] > WORTH_IT:
            set_aside()
