"""A copy lacks what was sent after it was made. The first server that starts with it tells everybody so.

Every listener from before that start is told of a gap in each of its channels, and every watcher that events are
missing.
"""

from __future__ import annotations

import sqlite3

from rplx.engine.sqlite.schema import BEGINNING

COPIED = "copied"  # the fact that a file is a copy: when it was made, in seconds since the epoch
EVENTS_A_SECOND = 1000  # more positions than can have been given since then, in the mean
EVENTS_AT_LEAST = 100_000


def mark(db: sqlite3.Connection, now: int) -> None:
    """Notes that the file is a copy, made at `now`, seconds since the epoch. Raises sqlite3.Error."""
    db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (COPIED, now))


def take_over(db: sqlite3.Connection, beginning: str, now: int) -> None:
    """Makes the file one's own, if it is a copy. `beginning`: a cursor drawn now. Raises sqlite3.Error."""
    found = db.execute("SELECT value FROM facts WHERE name = ?", (COPIED,)).fetchone()
    if found is None:
        return
    seconds = max(now - found[0], 0) if type(found[0]) is int else 0
    jump = EVENTS_AT_LEAST + seconds * EVENTS_A_SECOND
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("DELETE FROM floors")  # all channels have that of the beginning
        db.execute("UPDATE facts SET value = ? WHERE name = ?", (beginning, BEGINNING))
        db.execute("UPDATE events SET position = -position - ?", (jump,))  # no two meet on their way
        db.execute("UPDATE events SET position = -position")
        db.execute("DELETE FROM facts WHERE name = ?", (COPIED,))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
