"""The file as a whole, for those who are no server: what is in it, whether it is whole, a copy, a new one."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from rplx.engine.archive.records import (
    NO_POSITION,
    ArchivedMessage,
    Floor,
    Head,
    OnlineId,
    Record,
    Totals,
    WrongRecord,
    check_cursor,
    check_event,
    check_id,
)
from rplx.engine.cursors import drawn_text
from rplx.engine.sqlite import copies, opening
from rplx.engine.sqlite.rows import check_dropped, check_floor, check_message, clock_of
from rplx.engine.sqlite.schema import BEGINNING, CLOCK, channels_text, cursors_of
from rplx.errors import ConfigError
from rplx.messages import Event

BUSY_TIMEOUT = 5.0  # seconds that reading waits for a server which has just died, and is read by another process
PROBLEMS_SHOWN = 5  # of what SQLite finds wrong


def records(path: str) -> Iterator[Record]:
    """Yields what the file holds, as it was at one moment, also while a server writes. Raises ConfigError."""
    with _reading(path) as db:
        yield from _records(db)


def problems(path: str) -> list[str]:
    """Returns what is wrong with the structure of the file, nothing if it is whole. Raises ConfigError."""
    with _reading(path) as db:
        found = [text for (text,) in db.execute(f"PRAGMA integrity_check({PROBLEMS_SHOWN})")]
    return [] if found == ["ok"] else found


def copy(path: str, target: str) -> None:
    """Copies the file, as it was at one moment, also while a server writes; see copies.py. Raises ConfigError."""
    with _reading(path) as db, opening.explained(target):
        check_free(target)
        with opening.new_file(target) as new, contextlib.closing(sqlite3.connect(new)) as other:
            db.backup(other)
            with other:
                copies.mark(other, int(time.time()))
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def create(path: str, given: Iterable[Record], *, is_old: bool) -> Totals:
    """Makes a file of these records, all or nothing. `is_old`: something was sent since they were read; see copies.py.

    Raises ConfigError, and what `given` raises.
    """
    totals = Totals()

    def fill(db: sqlite3.Connection) -> None:
        for record in given:
            _insert(db, record, totals.messages + 1)
            totals.count(record)
        if is_old:
            copies.mark(db, int(time.time()))

    check_free(path)
    lock = opening.lock(path, 0.0, lambda _: None)
    try:
        with opening.explained(path):
            check_free(path)
            opening.create(path, fill)
    finally:
        lock.release()
    return totals


def check_free(path: str) -> None:
    """Raises ConfigError if something is at `path`."""
    if os.path.lexists(path):
        raise ConfigError([f"{path} is there already, and nothing is written over it: name another file"])


@contextlib.contextmanager
def _reading(path: str) -> Iterator[sqlite3.Connection]:
    """Yields a connection that reads the file in one transaction. Raises ConfigError."""
    if not os.path.isfile(path):
        raise ConfigError([f"{path} is no file" if os.path.lexists(path) else f"{path} is not there"])
    if not os.path.getsize(path):
        raise ConfigError([f"{path} is empty"])
    alone = not os.path.exists(f"{path}-wal") and not os.access(os.path.dirname(path) or ".", os.W_OK)
    mode = "immutable=1" if alone else "mode=ro"  # beside a file that is read SQLite makes others
    uri = f"file:{quote(os.path.abspath(path))}?{mode}"
    with opening.explained(path):
        db = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
        with contextlib.closing(db):
            db.execute("BEGIN")
            opening.check_format(db, path)
            try:
                yield db
            except WrongRecord as error:
                raise opening.damaged(path, error) from None


def _records(db: sqlite3.Connection) -> Iterator[Record]:
    """Raises WrongRecord, sqlite3.Error."""
    facts: dict[str, Any] = dict(db.execute("SELECT name, value FROM facts"))
    check_cursor(facts.get(BEGINNING))
    (drawn,) = db.execute("SELECT max(drawn) FROM messages").fetchone()
    yield Head(facts[BEGINNING], max(clock_of(facts.get(CLOCK)), clock_of(drawn)))
    for row in db.execute("SELECT channel, floor, emptied FROM floors ORDER BY emptied, channel"):
        check_floor(*row)
        yield Floor(*row)
    yield from _messages(db)
    before = NO_POSITION
    for row in db.execute("SELECT position, kind, id FROM events ORDER BY position"):
        check_event(event := Event(*row), before)
        before = event.position
        yield event
    for (id,) in db.execute("SELECT id FROM online ORDER BY id"):
        check_id(id)
        yield OnlineId(id)


def _messages(db: sqlite3.Connection) -> Iterator[ArchivedMessage]:
    dropped: dict[int, list[str]] = {}
    for seq, channel in db.execute("SELECT seq, channel FROM dropped ORDER BY seq, channel"):
        check_dropped(seq, channel)
        dropped.setdefault(seq, []).append(channel)
    before = 0
    for row in db.execute("SELECT seq, drawn, channels, data, limiters FROM messages ORDER BY seq"):
        check_message(row, before)
        seq, before, channels, data, limiters = row
        cursors = cursors_of(channels, drawn_text(before))
        gone = [id for id in dropped.get(seq, ()) if id in cursors]
        yield ArchivedMessage(before, cursors, data, tuple(limiters.split(",")) if limiters else (), tuple(gone))


def _insert(db: sqlite3.Connection, record: Record, seq: int) -> None:
    """Writes a record; `seq`: of a message. Raises sqlite3.Error."""
    if isinstance(record, ArchivedMessage):
        channels = channels_text(record.cursors, drawn_text(record.drawn))
        limiters = ",".join(record.limiters) or None
        row = (seq, record.drawn, channels, record.data, limiters)
        db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", row)
        db.executemany("INSERT INTO dropped VALUES (?, ?)", [(seq, id) for id in record.dropped])
    elif isinstance(record, Floor):
        db.execute("INSERT INTO floors VALUES (?, ?, ?)", (record.channel, record.floor, record.emptied))
    elif isinstance(record, Event):
        db.execute("INSERT INTO events VALUES (?, ?, ?)", (record.position, record.kind, record.id))
    elif isinstance(record, OnlineId):
        db.execute("INSERT INTO online VALUES (?)", (record.id,))
    else:
        facts = [(BEGINNING, f"{Decimal(record.beginning):f}"), (CLOCK, record.drawn)]
        db.executemany("INSERT INTO facts VALUES (?, ?)", facts)
