"""A damaged file of the engine on disk is refused, or what was read of it is served as if it had been sent.

An input is a list of damages, five bytes each: a byte of the file, or a value in a row.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from functools import cache

from rplx.engine.archive.records import WrongRecord
from rplx.engine.sqlite import behind, copies, loading, opening
from rplx.engine.sqlite.records import Kept
from rplx.engine.sqlite.schema import APPLICATION_ID, TABLES, VERSION
from rplx.engine.sqlite.staging import StagedMemory
from rplx.errors import ConfigError
from rplx.messages import cursor_value
from rplx.options.table import HistoryOptions, PresenceOptions
from tests.fuzz.inputs import plain

SIZE = 5 * 40
SLOWEST = 0.5
NOW = 1795494990.0
COLUMNS = [
    *[("messages", column) for column in ("seq", "drawn", "channels", "data", "limiters")],
    *[("dropped", column) for column in ("seq", "channel")],
    *[("floors", column) for column in ("channel", "floor", "emptied")],
    *[("events", column) for column in ("position", "kind", "id")],
    ("online", "id"),
    *[("facts", column) for column in ("name", "value")],
]
VALUES: list[object] = [
    None, 0, -1, 1, 7, 1 << 62, 1795494981476271, 1.5, float("inf"), "", "abc", "a b", "a,b", "a=1.5,b", "a=x", "NaN",
    "online", "offline", "FAKE", "1.5", "1e5", "Infinity", "clock", "beginning", "copied", b"", b"abc", b"\xff",
    "\0", "ü",
]  # fmt: skip


@cache
def whole() -> bytes:
    """A file with all kinds of rows."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(f"BEGIN; {TABLES} COMMIT")
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")
    drawn = 1795494981476271
    for seq in range(1, 40):
        channels = ("abc", "abc,def", f"abc={seq},x.{seq}", ",".join(f"many{number}" for number in range(20)))[seq % 4]
        data = b'"%d"' % seq + b"x" * (3000 if seq % 10 == 0 else 0)
        db.execute(
            "INSERT INTO messages VALUES (?,?,?,?,?)", (seq, drawn + seq, channels, data, "l,m" if seq % 3 else None)
        )
    db.execute("INSERT INTO dropped VALUES (1, 'abc'), (5, 'def')")
    db.execute("INSERT INTO floors VALUES ('abc', '5.5', NULL), ('gone', '1795494981.000001', 1795494981)")
    for position in range(11, 30):
        db.execute("INSERT INTO events VALUES (?,?,?)", (position, ("online", "offline")[position % 2], f"u{position}"))
    db.execute("INSERT INTO online VALUES ('u12'), ('u14')")
    db.execute("INSERT INTO facts VALUES ('beginning', '1795494981.5'), ('clock', 1795494981476299), ('opened', 1)")
    return db.serialize()


def seeds() -> Iterator[bytes]:
    yield plain(b"")
    yield plain(bytes((198, 14, 255, 15, 11, 255, 26, 0)))  # an error whose text is no UTF-8
    yield plain(bytes((0xFF, 14, VALUES.index("copied"), 0, 2)))
    for at in range(0, 100, 3):
        yield plain(bytes((0, 0, 0, at, 0xFF)))
    for column, value in itertools.product(range(len(COLUMNS)), range(len(VALUES))):
        yield plain(bytes((0xFF, column, value, 0, column + value)))
    for page in range(len(whole()) // 4096):
        offsets = ((page * 4096 + at).to_bytes(3, "big") for at in range(30))
        yield plain(b"".join(b"\0" + offset + b"\x81" for offset in offsets))


def damaged(data: bytes) -> sqlite3.Connection:
    """The file with the damages of an input."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.deserialize(whole())
    damages = [data[at : at + 5] for at in range(0, len(data) - 4, 5)]
    for _, a, b, _, row in [damage for damage in damages if damage[0] >= 0x80]:
        table, column = COLUMNS[a % len(COLUMNS)]
        key = {"floors": "channel", "events": "position", "online": "id", "facts": "name"}.get(table, "seq")
        where = f"{key} IN (SELECT {key} FROM {table} LIMIT 1 OFFSET {row % 20})"
        db.execute(f"UPDATE OR IGNORE {table} SET {column} = ? WHERE {where}", (VALUES[b % len(VALUES)],))
    file = bytearray(db.serialize())
    for _, *offset, value in [damage for damage in damages if damage[0] < 0x80]:
        file[int.from_bytes(bytes(offset), "big") % len(file)] = value
    db.deserialize(bytes(file))
    return db


def check(data: bytes) -> None:
    memory = StagedMemory(
        HistoryOptions(max_messages=20),
        PresenceOptions(),
        wall=lambda: NOW,
        monotonic=lambda: 100.0,
        journal=behind.Behind(lambda: NOW, lambda: 100, lambda: None),
    )
    try:
        db = damaged(data)
    except sqlite3.IntegrityError:  # a row may not be changed so
        return
    try:
        with opening.explained("some.db"):
            opening.check_format(db, "some.db")
            copies.take_over(db, "1795494990.000000", int(NOW))
            for _ in loading.read(db, memory, NOW):
                pass
    except (WrongRecord, ConfigError):
        return
    finally:
        db.close()
    serves(memory)


def serves(memory: StagedMemory) -> None:
    """Whatever has been read is as if it had been sent."""
    for id, messages in itertools.islice(memory.history().items(), 8):
        for message in messages:
            assert isinstance(message, Kept)
            assert isinstance(message.data, bytes)
            assert id in message.cursors
        dues = memory.due([id, "l"], ["0", "0"], 100_000)
        assert all(due.value <= cursor_value(cursor) for due in dues for cursor in due.ids.values())
        memory.gaps([id], ["5"])
    for event in memory.events(0):
        assert event.kind in ("online", "offline", "FAKE")
    memory.online()
    message = Kept(b"1", {}, frozenset())
    memory.admit(message, {"abc": None, "def": None})
    memory.keep(message)
    memory.sweep()
    assert len(memory.draw()) < 30
