"""Checkpoints: what is in the write-ahead log goes into the file, beside the thread that writes.

A checkpoint syncs the log and the file, which may take seconds, and sends go on into the log meanwhile. The log begins
anew once a checkpoint has ended beside which nothing was written; where that does not come by itself, the writer waits
for a last, short one. SQLite's own checkpoints would run within a transaction, see sqlite.org/wal.html, 3.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from gevent import monkey

from rplx.engine.sqlite.records import Changes, Row

PAGE = 4096  # bytes
ROW = 100  # bytes of a row beside its data
CHANGES_A_PAGE = 4  # so many changes that are written behind are taken for a page, as they lie anywhere
EVERY = 1000  # pages, as many as SQLite takes by itself
ANEW_FROM = 4 * EVERY  # pages of the log from which on the writer waits for its end
MOST = 16 * EVERY  # pages of the log beyond which nothing is written while a checkpoint does not end or fails

_allocate_lock: Any = monkey.get_original("_thread", "allocate_lock")
_start_thread: Any = monkey.get_original("_thread", "start_new_thread")
_SimpleQueue: Any = monkey.get_original("queue", "SimpleQueue")


class Checkpoints:
    """Of one file, by a thread and a connection that `connect` makes. All methods are for the thread that writes."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self.writing = _allocate_lock()  # held while a transaction is written
        self._running = _allocate_lock()  # taken by the thread that writes, released once the checkpoint has ended
        self._asked: Any = _SimpleQueue()
        self._pages = 0  # about as many as have been written to the log
        self._begun = 0  # and had been when the last checkpoint began
        self._found = 0  # pages that the log had by then
        self._error: Exception | None = None  # what that one failed with
        _start_thread(self._run, ())

    def make_room(self) -> None:
        """Before a transaction: waits for a checkpoint that the log has outgrown. Raises what it failed with."""
        if self._found + self._pages - self._begun < MOST:
            return
        with self._running:
            error, self._error = self._error, None
        if error is not None:
            self._ask()
            raise error

    def written(self, rows: Sequence[Row], changes: Changes | None) -> None:
        """After a transaction: has a checkpoint made if there is much in the log."""
        self._pages += 1 + sum([ROW + len(row[3]) for row in rows]) // PAGE
        if changes is not None:
            self._pages += (len(changes.floors) + len(changes.deleted) + len(changes.online)) // CHANGES_A_PAGE
        if self._pages - self._begun >= EVERY and not self._running.locked():
            self._ask()

    def close(self) -> None:
        """Returns when the connection is closed; a checkpoint that runs ends first."""
        self._running.acquire()
        self._asked.put(False)
        self._running.acquire()

    def _ask(self) -> None:
        self._running.acquire()
        self._begun = self._pages
        self._asked.put(True)

    # -- in the thread

    def _run(self) -> None:
        db: sqlite3.Connection | None = None
        while self._asked.get():
            try:
                if db is None:
                    db = self._connect()
                self._checkpoint(db)
                self._error = None
            except Exception as error:
                self._error = error
            self._running.release()
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()
        self._running.release()

    def _checkpoint(self, db: sqlite3.Connection) -> None:
        passive = "PRAGMA wal_checkpoint(PASSIVE)"
        _, self._found, _ = db.execute(passive).fetchone()
        if self._found >= ANEW_FROM:
            with self.writing:
                db.execute(passive).fetchall()
