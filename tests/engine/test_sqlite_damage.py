"""Files that were cut or damaged: what was stored below the cut is there, or a clear error says what to do."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from rplx.errors import ConfigError
from tests.engine.harness import Tested

PAGE = 4096
WAL_HEADER, FRAME_HEADER = 32, 24  # bytes (sqlite.org/fileformat.html, 4.1)
FRAME = FRAME_HEADER + PAGE
MESSAGES = 14
LONG = 5000  # characters of a message that does not fit into a page


class Taken:
    """A history whose server has died: a file, its log, and how long the log was at each receipt."""

    def __init__(self, folder: Path, **options: object) -> None:
        live = folder / "live.db"
        self.path = folder / "history.db"
        self.log = folder / "history.db-wal"
        tested = Tested(f"sqlite:///{live}", **options)
        try:
            empty = live.with_name("live.db-wal").stat().st_size
            self.sizes = [empty]
            self.texts: list[str] = []
            tested.enter("someone")
            for number in range(MESSAGES):
                text = f'"{number}' + "x" * (LONG if number % 4 == 3 else 0) + '"'
                tested.send(text, "abc", "def", limiters=["lim"] if number % 5 == 4 else ())
                self.texts.append(text)
                self.sizes.append(live.with_name("live.db-wal").stat().st_size)
            self.file = live.read_bytes()
            self.wal = live.with_name("live.db-wal").read_bytes()
        finally:
            tested.close()

    def put(self, file: bytes, wal: bytes | None) -> None:
        """Puts these bytes in the place of the file and of its log."""
        for old in self.path.parent.glob("history.db*"):
            old.unlink()
        self.path.write_bytes(file)
        if wal is not None:
            self.log.write_bytes(wal)


def texts_of(path: Path, **options: object) -> list[str]:
    """What a server finds in the file. Errors: ConfigError."""
    tested = Tested(f"sqlite:///{path}", **options)
    try:
        found = tested.texts(abc="0", lim="0")
        assert found == tested.texts(**{"def": "0", "lim": "0"})
        assert tested.send('"more"', "abc", "def")  # and it goes on from there
        assert tested.texts(abc="0", lim="0") == [*found, '"more"']
    finally:
        tested.close()
    return found


def check_prefix(taken: Taken, upto: int) -> None:
    """A log that is whole up to here gives what was acknowledged until then, and nothing that was not sent."""
    found = texts_of(taken.path)
    least = sum(size <= upto for size in taken.sizes[1:])
    assert found == taken.texts[: len(found)]
    assert len(found) >= least


def test_a_log_that_is_cut_anywhere_gives_a_beginning_of_what_was_sent(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    frames = (len(taken.wal) - WAL_HEADER) // FRAME
    assert frames > MESSAGES
    cuts = {0, 1, WAL_HEADER - 1, len(taken.wal)}
    for number in range(frames):
        begin = WAL_HEADER + number * FRAME
        cuts |= {begin, begin + 1 + number * 293 % (FRAME - 1)}
    for cut in sorted(cuts):
        taken.put(taken.file, taken.wal[:cut])
        check_prefix(taken, cut)
    taken.put(taken.file, None)
    check_prefix(taken, 0)


def test_a_log_with_a_wrong_byte_counts_up_to_there(tmp_path: Path) -> None:
    taken = Taken(tmp_path)
    for number, at in enumerate(range(WAL_HEADER, len(taken.wal), FRAME)):
        offset = (0, 5, 9, 17, FRAME_HEADER + number * 37 % PAGE)[number % 5]
        changed = bytearray(taken.wal)
        changed[at + offset] ^= 1 << number % 8
        taken.put(taken.file, bytes(changed))
        check_prefix(taken, at)


def test_what_was_dropped_is_not_there_again_and_its_gap_is_told(tmp_path: Path) -> None:
    """With drops in the log, each cut gives a state that was: no message is missing above the floor."""
    taken = Taken(tmp_path, history__max_messages=3)
    for cut in range(WAL_HEADER, len(taken.wal) + 1, FRAME):
        taken.put(taken.file, taken.wal[:cut])
        found = texts_of(taken.path, history__max_messages=1000)
        begin = taken.texts.index(found[0]) if found else 0
        assert found == taken.texts[begin : begin + len(found)]
        assert begin + len(found) >= sum(size <= cut for size in taken.sizes[1:])


# -- damage of the file itself


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "history.db"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file without a log, with all kinds of rows."""
    path = tmp_path_factory.mktemp("whole") / "history.db"
    tested = Tested(f"sqlite:///{path}", history__expire_after=0.0)
    tested.send('"gone"', "gone")
    tested.engine.sweep()
    tested.close()
    tested = Tested(f"sqlite:///{path}", history__max_messages=20)
    tested.enter("abc", "def")
    tested.send('"many"', *[f"many{number}" for number in range(1500)])
    for number in range(30):
        tested.send(f'"{number}' + "x" * (LONG if number % 10 == 9 else 100) + '"', "abc", limiters=["lim"])
        tested.send("1", **{"def": "5." + "1" * number, "abc": f"{number + 1}"})
    tested.engine.sweep()
    tested.close()
    assert not path.with_name("history.db-wal").exists()
    return path


def refused(path: Path) -> str:
    """The error with which a server refuses the file, which stays where it is."""
    before = path.stat().st_ino
    with pytest.raises(ConfigError) as raised:
        Tested(f"sqlite:///{path}").close()
    assert path.stat().st_ino == before
    (text,) = raised.value.problems
    assert text.startswith(f"engine.url: {path} ")
    return text


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def exchange(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_foreign(path: Path) -> None:
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE messages (seq, drawn, channels, data, limiters)")
    db.commit()
    db.close()


WHOLE = "begin a new history"  # what every error for a damaged file says
FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is empty, so a history that was there is lost"),
    "a text": (lambda path: path.write_bytes(b"[engine]\nurl = 1\n" * 500), "file is not a database"),
    "a short text": (lambda path: path.write_bytes(b"hello\n"), "file is not a database"),
    "zeros": (lambda path: path.write_bytes(bytes(PAGE * 3)), WHOLE),
    "a folder": (replace_by_folder, "is no file"),
    "a foreign database": (replace_by_foreign, "is a database of something else: name another file"),
    "the first byte": (lambda path: change(path, 0, b"T"), "file is not a database"),
    "the page size": (lambda path: change(path, 16, b"\0\1"), WHOLE),
    "the schema's format": (lambda path: change(path, 44, b"\0\0\0\x09"), WHOLE),
    "the encoding": (lambda path: change(path, 56, b"\0\0\0\x03"), WHOLE),
    "the schema's texts": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"CREATE TABLE", b"\xff" * 12)),
        WHOLE,
    ),
    "the schema's names": (
        lambda path: path.write_bytes(path.read_bytes().replace(b"messages", b"m\xffssages")),
        WHOLE,
    ),
    "our id": (lambda path: change(path, 68, b"rplx"), "is a database of something else"),
    "a newer format": (lambda path: change(path, 60, b"\0\0\0\x02"), "was written by a newer rplx"),
    "an older format": (lambda path: change(path, 60, bytes(4)), "its format is 0"),
    "no second half": (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // PAGE * PAGE]),
        WHOLE,
    ),
    "no last byte": (lambda path: path.write_bytes(path.read_bytes()[:-1]), WHOLE),
    "the header alone": (lambda path: path.write_bytes(path.read_bytes()[:100]), WHOLE),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_of_ours(path: Path, name: str) -> None:
    damage, expected = FILES[name]
    damage(path)
    assert expected in refused(path)


def test_a_header_with_any_wrong_byte(path: Path) -> None:
    """Bytes that SQLite does not use, or that are counters, do no harm; with others the file is refused."""
    whole = path.read_bytes()
    expected = texts_in(path)
    for at in range(100):
        changed = bytearray(whole)
        changed[at] ^= 0xFF
        path.write_bytes(changed)
        assert found_in(path) in (expected, f"engine.url: {path} ")


def found_in(path: Path) -> list[str] | str:
    """What is in the file, or how its refusal begins."""
    try:
        return texts_in(path)
    except ConfigError as error:
        return error.problems[0][: len(f"engine.url: {path} ")]


def texts_in(path: Path) -> list[str]:
    """What is in the file, which is put back as it was. Errors: ConfigError."""
    before = path.read_bytes()
    try:
        tested = Tested(f"sqlite:///{path}")
        found = tested.texts(abc="0", lim="0")
        tested.close()
        return found
    finally:
        for old in path.parent.glob("history.db*"):
            old.unlink()
        path.write_bytes(before)


def test_a_page_of_zeros(path: Path) -> None:
    """Every page of a table is missed; one that only holds a part of a long text, or nothing, is not."""
    whole = path.read_bytes()
    expected = texts_in(path)
    refusals = 0
    for page in range(len(whole) // PAGE):
        path.write_bytes(whole[: page * PAGE] + bytes(PAGE) + whole[(page + 1) * PAGE :])
        found = found_in(path)
        if isinstance(found, str):
            refusals += 1
            continue
        assert len(found) == len(expected)
        assert [text for text in found if "\0" not in text] == [
            text for text, here in zip(expected, found, strict=True) if "\0" not in here
        ]
    assert refusals >= 6  # one for each table


TABLES = ("messages", "dropped", "floors", "events", "online", "facts")


@pytest.mark.parametrize("table", TABLES)
def test_a_table_is_missing(path: Path, table: str) -> None:
    change_rows(path, f"DROP TABLE {table}")
    assert f"no such table: {table}" in refused_as_it_is(path)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_other_columns(path: Path, table: str) -> None:
    change_rows(path, f"DROP TABLE {table}; CREATE TABLE {table} (a, b); INSERT INTO {table} VALUES (1, 2)")
    assert "is damaged" in refused_as_it_is(path)


def change_rows(path: Path, script: str) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(script)
    db.close()


def refused_as_it_is(path: Path) -> str:
    """As `refused`, where opening may have written the time of it."""
    with pytest.raises(ConfigError) as raised:
        Tested(f"sqlite:///{path}").close()
    (text,) = raised.value.problems
    assert re.match(rf"engine\.url: {re.escape(str(path))} is damaged \(.*\): put a backup in its place, or ", text), (
        text
    )
    return text


ROWS = [
    "UPDATE messages SET drawn = 'soon' WHERE seq = 33",
    "UPDATE messages SET drawn = -1 WHERE seq = 33",
    "UPDATE messages SET drawn = 1.5 WHERE seq = 33",
    "UPDATE messages SET drawn = 9e18 WHERE seq = 33",
    "UPDATE messages SET drawn = 9000000000000000000 WHERE seq = 33",
    "UPDATE messages SET drawn = drawn + 100000000 WHERE seq = 33",  # later than those behind it
    "UPDATE messages SET channels = '' WHERE seq = 33",
    "UPDATE messages SET channels = x'616263' WHERE seq = 33",
    "UPDATE messages SET channels = 'abc,' WHERE seq = 33",
    "UPDATE messages SET channels = 'abc=x' WHERE seq = 33",
    "UPDATE messages SET channels = 'abc=NaN' WHERE seq = 33",
    "UPDATE messages SET channels = 'abc=1e9' WHERE seq = 33",
    "UPDATE messages SET channels = 'a b' WHERE seq = 33",
    "UPDATE messages SET channels = 'a\"b' WHERE seq = 33",
    "UPDATE messages SET channels = cast(x'ff' AS TEXT) WHERE seq = 33",
    "UPDATE messages SET data = 'text' WHERE seq = 33",
    "UPDATE messages SET data = 7 WHERE seq = 33",
    "UPDATE messages SET limiters = -7.5 WHERE seq = 33",
    "UPDATE messages SET limiters = '' WHERE seq = 33",
    "UPDATE messages SET limiters = x'00' WHERE seq = 33",
    "UPDATE messages SET limiters = 'a,,b' WHERE seq = 33",
    "INSERT INTO dropped VALUES ('x', 'abc')",
    "INSERT INTO dropped VALUES (33, x'00')",
    "UPDATE floors SET floor = 'NaN'",
    "UPDATE floors SET floor = 'Infinity'",
    "UPDATE floors SET floor = '-1'",
    "UPDATE floors SET floor = ''",
    "UPDATE floors SET floor = x'00'",
    "INSERT INTO floors VALUES ('a b', '1', NULL)",
    "INSERT INTO floors VALUES (x'00', '1', NULL)",
    "INSERT INTO floors VALUES ('a', '1', 'x')",
    "UPDATE events SET kind = 'FAKE' WHERE position = 11",
    "UPDATE events SET kind = 1 WHERE position = 11",
    "UPDATE events SET id = 'a b' WHERE position = 11",
    "UPDATE events SET id = x'00' WHERE position = 11",
    "UPDATE events SET position = -5 WHERE position = 11",
    "INSERT INTO online VALUES ('a b')",
    "INSERT INTO online VALUES (x'00')",
    "DELETE FROM facts",
    "DELETE FROM facts WHERE name = 'beginning'",
    "UPDATE facts SET value = 'NaN' WHERE name = 'beginning'",
    "UPDATE facts SET value = 7 WHERE name = 'beginning'",
    "UPDATE facts SET value = NULL WHERE name = 'beginning'",
    "UPDATE facts SET value = 'x' WHERE name = 'clock'",
    "UPDATE facts SET value = 9000000000000000000 WHERE name = 'clock'",
    "UPDATE facts SET value = -1 WHERE name = 'clock'",
]


@pytest.mark.parametrize("script", ROWS)
def test_a_row_that_no_server_has_written(path: Path, script: str) -> None:
    change_rows(path, script)
    refused_as_it_is(path)
