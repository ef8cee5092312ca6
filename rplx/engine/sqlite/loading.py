"""Reads a file back into memory, a piece at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from decimal import Decimal
from typing import Any

from rplx.engine.cursors import drawn_text
from rplx.engine.sqlite.records import Kept
from rplx.engine.sqlite.schema import BEGINNING, CLOCK, cursors_of
from rplx.engine.sqlite.staging import StagedMemory
from rplx.messages import Event

STEP = 200  # rows between two rests
CLOCK_MARGIN = 2_000_000  # microseconds; more than positions may be ahead of the last that was written
NOBODY: frozenset[str] = frozenset()


def read(db: sqlite3.Connection, memory: StagedMemory, now: float) -> Generator[None, None, int]:
    """Reads all into `memory`, yields now and then, and returns the greatest `seq`. `now`: the wall clock's seconds.

    Raises sqlite3.Error, and any other error where the file holds what no server has written.
    """
    facts: dict[str, Any] = dict(db.execute("SELECT name, value FROM facts"))
    memory.restore_beginning(Decimal(facts[BEGINNING]))
    for floors in _pieces(db, "SELECT channel, floor FROM floors ORDER BY emptied"):
        memory.restore_floors([(channel, Decimal(floor)) for channel, floor in floors])
        yield
    dropped: dict[int, set[str]] = {}
    for pairs in _pieces(db, "SELECT seq, channel FROM dropped"):
        for seq, channel in pairs:
            dropped.setdefault(seq, set()).add(channel)
        yield
    greatest, drawn = 0, int(facts.get(CLOCK, 0))
    for rows in _pieces(db, "SELECT seq, drawn, channels, data, limiters FROM messages ORDER BY seq"):
        for row in rows:
            _restore(memory, row, dropped, now)
            drawn = max(drawn, row[1])
        greatest = rows[-1][0]
        yield
    yield from _read_presence(db, memory)
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
    message = Kept(data, cursors, frozenset(limiters.split(",")) if limiters else NOBODY, seq=seq)
    ids = list(cursors)
    if seq in dropped:
        message.is_partial = True
        ids = [id for id in cursors if id not in dropped[seq]]
    memory.restore(message, ids, now - drawn / 1_000_000)


def _read_presence(db: sqlite3.Connection, memory: StagedMemory) -> Iterator[None]:
    for rows in _pieces(db, "SELECT id FROM online"):
        memory.restore_presence([id for (id,) in rows], ())
        yield
    for rows in _pieces(db, "SELECT position, kind, id FROM events ORDER BY position"):
        memory.restore_presence((), [Event(*row) for row in rows])
        yield
