"""Reads a file back into memory, a piece at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from decimal import Decimal
from typing import Any

from rplx.engine.archive.records import NO_POSITION, check_cursor, check_event, check_id
from rplx.engine.cursors import drawn_text
from rplx.engine.sqlite.records import Kept
from rplx.engine.sqlite.rows import check_dropped, check_floor, check_message, clock_of
from rplx.engine.sqlite.schema import BEGINNING, CLOCK, cursors_of
from rplx.engine.sqlite.staging import StagedMemory
from rplx.messages import Event

STEP = 200  # rows between two rests
CLOCK_MARGIN = 2_000_000  # microseconds; more than positions may be ahead of the last that was written
NOBODY: frozenset[str] = frozenset()


def read(db: sqlite3.Connection, memory: StagedMemory, now: float) -> Generator[None, None, int]:
    """Reads all into `memory`, yields now and then, and returns the greatest `seq`. `now`: the wall clock's seconds.

    Raises sqlite3.Error, WrongRecord, and any other error where the file holds what no server has written.
    """
    facts: dict[str, Any] = dict(db.execute("SELECT name, value FROM facts"))
    check_cursor(facts.get(BEGINNING))
    memory.restore_beginning(Decimal(facts[BEGINNING]))
    for floors in _pieces(db, "SELECT channel, floor, emptied FROM floors ORDER BY emptied"):
        for floor in floors:
            check_floor(*floor)
        memory.restore_floors([(channel, Decimal(floor)) for channel, floor, _ in floors])
        yield
    dropped: dict[int, set[str]] = {}
    for pairs in _pieces(db, "SELECT seq, channel FROM dropped"):
        for seq, channel in pairs:
            check_dropped(seq, channel)
            dropped.setdefault(seq, set()).add(channel)
        yield
    greatest = before = 0
    for rows in _pieces(db, "SELECT seq, drawn, channels, data, limiters FROM messages ORDER BY seq"):
        for row in rows:
            check_message(row, before)
            before = row[1]
            _restore(memory, row, dropped, now)
        greatest = rows[-1][0]
        yield
    yield from _read_presence(db, memory)
    drawn = max(before, clock_of(facts.get(CLOCK)))
    # Listeners may have got positions behind the last that was written; a clock that was set back draws behind them.
    is_behind = int(now * 1_000_000) < drawn + CLOCK_MARGIN
    memory.restore_clock(drawn + CLOCK_MARGIN if is_behind else drawn)
    return greatest


def _pieces(db: sqlite3.Connection, query: str) -> Iterator[list[tuple[Any, ...]]]:
    found = db.execute(query)
    while piece := found.fetchmany(STEP):
        yield piece


def _restore(memory: StagedMemory, row: tuple[Any, ...], dropped: dict[int, set[str]], now: float) -> None:
    seq, drawn, channels, data, limiters = row
    cursors = cursors_of(channels, drawn_text(drawn))
    message = Kept(data, cursors, frozenset(limiters.split(",")) if limiters else NOBODY, seq)
    if seq in dropped:
        message.is_partial = True
        cursors = {id: cursor for id, cursor in cursors.items() if id not in dropped[seq]}
    memory.restore(message, cursors, now - drawn / 1_000_000)


def _read_presence(db: sqlite3.Connection, memory: StagedMemory) -> Iterator[None]:
    for rows in _pieces(db, "SELECT id FROM online"):
        for (id,) in rows:
            check_id(id)
        memory.restore_presence([id for (id,) in rows], ())
        yield
    before = NO_POSITION
    for rows in _pieces(db, "SELECT position, kind, id FROM events ORDER BY position"):
        events = [Event(*row) for row in rows]
        for event in events:
            check_event(event, before)
            before = event.position
        memory.restore_presence((), events)
        yield
