"""Replaces the workers one after the other, each once its successor serves, so that there are never fewer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from rplx.serving.worker import Worker
from rplx.system.signals import REPLACED_SIGNAL


class Replacement:
    """The workers of a supervisor that are being replaced. Successors take their places in its list `workers`.

    `start` starts a worker's process, and `deadline` returns when one that is told to end now is to be killed, in
    monotonic seconds. `failed` is called if a successor ends before it serves.
    """

    def __init__(
        self,
        workers: list[Worker],
        start: Callable[[Worker], None],
        deadline: Callable[[], float],
        failed: Callable[[], None],
    ) -> None:
        self._workers = workers
        self._start = start
        self._deadline = deadline
        self._failed = failed
        self._outdated: deque[Worker] = deque()
        self._successor: Worker | None = None
        self._leaving: list[Worker] = []

    @property
    def is_under_way(self) -> bool:
        """Whether workers are still to be replaced."""
        return bool(self._outdated) or self._successor is not None

    def begin(self) -> None:
        """Has all workers of now replaced; a successor that has been started already is ended."""
        self.give_up()
        self._outdated = deque(self._workers)

    def give_up(self) -> None:
        """Replaces no further worker."""
        self._outdated.clear()
        if self._successor is not None:
            self._leave(self._successor)
            self._successor = None

    def others(self) -> list[Worker]:
        """Returns the workers that run beside those in the supervisor's list."""
        return [*self._leaving, *([self._successor] if self._successor is not None else [])]

    def step(self) -> None:
        """Does what is due: to be called again and again."""
        for worker in list(self._leaving):
            worker.kill_if_overdue(time.monotonic())
            if worker.reap() is not None or not worker.is_running:
                self._leaving.remove(worker)
        successor = self._successor
        if successor is None:
            self._start_next()
        elif successor.reap() is not None or not successor.is_running:
            self._successor = None
            self._outdated.clear()
            self._failed()
        elif successor.serves:
            self._put_in_place(successor)

    def _start_next(self) -> None:
        if self._outdated:
            self._successor = Worker(self._outdated[0].sockets)
            self._start(self._successor)

    def _put_in_place(self, successor: Worker) -> None:
        old = self._outdated.popleft()
        self._workers[self._workers.index(old)] = successor
        self._successor = None
        self._leave(old)

    def _leave(self, worker: Worker) -> None:
        worker.signal(REPLACED_SIGNAL)
        worker.end_by(self._deadline())
        self._leaving.append(worker)
