"""The thread that writes: a transaction for each batch, in the order in which they come."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent import get_hub, monkey
from gevent.event import Event as Flag

from rplx.engine.sqlite import opening
from rplx.engine.sqlite.checkpoints import Checkpoints
from rplx.engine.sqlite.disk import is_full
from rplx.engine.sqlite.records import Changes, Failure, Row
from rplx.engine.sqlite.statements import shrink, write

# The thread and its queue are real ones, also where gevent has replaced the standard library's.
_start_thread = monkey.get_original("_thread", "start_new_thread")
_SimpleQueue: Any = monkey.get_original("queue", "SimpleQueue")

Done = Callable[[Failure | None], None]


class Job:
    """What one transaction writes. `shrinks`: the file is made smaller behind it, if it has pages to spare."""

    __slots__ = ("changes", "rows", "shrinks")

    def __init__(self, rows: list[Row], changes: Changes | None, *, shrinks: bool) -> None:
        self.rows = rows
        self.changes = changes
        self.shrinks = shrinks


class Writer:
    """Writes to `db`, which belongs to the thread from now on. One to an engine, made in the thread of its loop.

    `done` is called in the loop for each job, with what kept it from being written, if anything.
    """

    def __init__(self, db: sqlite3.Connection, path: str, done: Done) -> None:
        self._db = db
        self._path = path
        self._done = done
        self._jobs: Any = _SimpleQueue()
        self._results: deque[Failure | None] = deque()
        self._closed = Flag()
        self._is_closed = False
        self._woken: Any = get_hub().loop.async_()  # the only thing of the loop that another thread may touch
        self._woken.start(self._report)
        _start_thread(self._run, ())

    def put(self, job: Job) -> None:
        """Has a job written behind those that were put before."""
        self._jobs.put(job)

    def close(self, seconds: float) -> bool:
        """Returns whether all jobs are done and the file is closed within `seconds`; others go on meanwhile."""
        self._jobs.put(None)
        return bool(self._closed.wait(seconds))

    def _report(self) -> None:
        """In the loop: hands results on."""
        while self._results:
            self._done(self._results.popleft())
        if self._is_closed:
            self._woken.stop()
            self._closed.set()

    # -- in the thread

    def _run(self) -> None:
        checkpoints = Checkpoints(lambda: opening.beside(self._path))
        while (job := self._jobs.get()) is not None:
            self._results.append(self._attempt(job, checkpoints))
            self._woken.send()
        try:
            checkpoints.close()
            self._db.close()
        except sqlite3.Error:
            pass  # what was acknowledged is in the file or its log, and the next process finds it there
        finally:
            self._is_closed = True
            self._woken.send()

    def _attempt(self, job: Job, checkpoints: Checkpoints) -> Failure | None:
        try:
            checkpoints.make_room()
            with checkpoints.writing:
                write(self._db, job.rows, job.changes)
        except Exception as error:
            return Failure(str(error) or type(error).__name__, is_full(self._path, error))
        checkpoints.written(job.rows, job.changes)
        if job.shrinks:
            with contextlib.suppress(sqlite3.Error):  # it is tried again, and nothing is lost
                shrink(self._db)
        return None
