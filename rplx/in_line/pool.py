"""The IN line's pool of greenlets. A greenlet serves one connection after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gevent import Greenlet, get_hub, getcurrent
from gevent.pool import Pool

IDLE_MAX = 64  # greenlets that wait for another connection; more end

_Task = tuple[Callable[..., Any], tuple[Any, ...]]


class ReusingPool(Pool):
    """A gevent Pool whose greenlets are used again, since each new one maps and unmaps memory for its frames.

    `spawn` is called in the event loop; an idle greenlet begins at once.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._idle: list[Greenlet[..., Any]] = []
        self._tasks: dict[Greenlet[..., Any], _Task] = {}
        self._dismissed = False
        self._at_limit = False  # what `full` returned last

    def spawn(self, function: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        if not self._idle:
            return super().spawn(self._work, function, args)
        worker = self._idle.pop()
        self._tasks[worker] = (function, args)
        worker.switch()
        return worker

    def full(self) -> bool:
        """Returns whether nobody else can be served now."""
        self._at_limit = not self._idle and super().full()
        return self._at_limit

    def dismiss(self) -> None:
        """Ends the idle greenlets at once, and the others when they have done their work."""
        self._dismissed = True
        for worker in self._idle:
            get_hub().loop.run_callback(worker.switch)
        self._idle = []

    def _work(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        worker: Any = getcurrent()
        to_hub = get_hub().switch
        while True:
            function(*args)
            # At the limit a greenlet ends: that is how gevent's server learns that it may accept again.
            if self._dismissed or self._at_limit or len(self._idle) >= IDLE_MAX:
                return
            self._idle.append(worker)
            to_hub()
            task = self._tasks.pop(worker, None)
            if task is None:
                return
            function, args = task
