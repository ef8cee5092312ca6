"""One transaction: the rows of messages, and what is written behind.

Each statement writes many rows at once, since the thread that writes gives way to the loop between any two.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache

from rplx.engine.sqlite.records import Changes, Row

ROWS_MAX = 128  # rows of one statement; SQLite has some limit to the number of parameters
VACUUM_FROM = 1024  # free pages from which on the file is made smaller, if they are a quarter of it
VACUUM_STEP = 256  # pages by which it is made smaller at once


def write(db: sqlite3.Connection, rows: Sequence[Row], changes: Changes | None) -> None:
    """Writes all in one transaction, or nothing. Raises sqlite3.Error."""
    if changes is None and len(rows) <= ROWS_MAX:
        db.execute(_insert(len(rows)), _flat(rows))  # a transaction of its own
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for at in range(0, len(rows), ROWS_MAX):
            piece = rows[at : at + ROWS_MAX]
            db.execute(_insert(len(piece)), _flat(piece))
        if changes is not None:
            _write_drops(db, changes)
            _write_presence(db, changes)
            for name, value in changes.facts.items():
                db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def shrink(db: sqlite3.Connection) -> None:
    """Gives pages that are no longer used back to the file system, some at a time. Raises sqlite3.Error."""
    (free,) = db.execute("PRAGMA freelist_count").fetchone()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    if free >= VACUUM_FROM and free * 4 >= pages:
        db.execute(f"PRAGMA incremental_vacuum({VACUUM_STEP})").fetchall()


@cache
def _insert(count: int) -> str:
    return f"INSERT INTO messages VALUES {','.join(['(?,?,?,?,?)'] * count)}"


def _flat(rows: Iterable[Row]) -> list[object]:
    return [value for row in rows for value in row]


def _write_drops(db: sqlite3.Connection, changes: Changes) -> None:
    kept = [floor for floor in changes.floors.values() if floor[1] is not None]
    if kept:
        values = "json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
        db.execute(f"INSERT OR REPLACE INTO floors SELECT {values} FROM json_each(?)", (json.dumps(kept),))
    forgotten = [floor[0] for floor in changes.floors.values() if floor[1] is None]
    if forgotten:
        _delete(db, "floors WHERE channel", forgotten)
    if changes.partial:
        values = "json_extract(value, '$[0]'), json_extract(value, '$[1]')"
        db.execute(f"INSERT OR REPLACE INTO dropped SELECT {values} FROM json_each(?)", (json.dumps(changes.partial),))
    if changes.deleted:
        _delete(db, "messages WHERE seq", changes.deleted)
    if changes.healed:
        _delete(db, "dropped WHERE seq", changes.healed)


def _write_presence(db: sqlite3.Connection, changes: Changes) -> None:
    came = [id for id, is_online in changes.online.items() if is_online]
    went = [id for id, is_online in changes.online.items() if not is_online]
    if came:
        db.execute("INSERT OR REPLACE INTO online SELECT value FROM json_each(?)", (json.dumps(came),))
    if went:
        _delete(db, "online WHERE id", went)
    if changes.events:
        values = "json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')"
        rows = json.dumps([(event.position, event.kind, event.id) for event in changes.events])
        db.execute(f"INSERT OR REPLACE INTO events SELECT {values} FROM json_each(?)", (rows,))
        db.execute("DELETE FROM events WHERE position < ?", (changes.oldest_event,))


def _delete(db: sqlite3.Connection, where: str, keys: Sequence[object]) -> None:
    db.execute(f"DELETE FROM {where} IN (SELECT value FROM json_each(?))", (json.dumps(keys),))
