"""What cannot be opened is told with what to do, and left as it is."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rplx.engine.sqlite import engine
from rplx.engine.sqlite.engine import SqliteEngine
from rplx.engine.sqlite.schema import APPLICATION_ID, VERSION
from rplx.errors import ConfigError, Unavailable
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.rows import replace
from rplx.options.table import Config
from tests.engine.harness import Tested


def opened(path: Path, **options: object) -> Tested:
    return Tested(f"sqlite:///{path}", server__drain=0.0, **options)


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A file with more messages than are read at once."""
    path = tmp_path / "history.db"
    made = opened(path, history__max_messages=100)
    sends = [Send(Identifiers({f"c{number % 7}": None}), b"%d" % number) for number in range(500)]
    assert all(begun.receipt() for begun in [made.engine.append(send) for send in sends])
    made.close()
    return path


def problem(path: Path) -> str:
    with pytest.raises(ConfigError) as found:
        opened(path)
    (text,) = found.value.problems
    return text.replace(str(path), "FILE")


def changed(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def test_a_new_file_is_made_whole_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    made = opened(path)
    assert {name.name for name in tmp_path.iterdir()} == {
        f"history.db{suffix}" for suffix in ("", "-lock", "-shm", "-wal")
    }
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    made.close()


def test_what_is_left_of_a_creation_that_was_cut_off_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "history.db-new").write_bytes(b"rest")
    made = opened(tmp_path / "history.db")
    assert made.send("1", "a")
    made.close()


def test_the_folder_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "no" / "history.db"
    assert problem(path) == (
        f"engine.url: the folder {tmp_path}/no is missing: make it, and let the server's user write there"
    )
    monkeypatch.chdir(tmp_path)
    assert problem(Path("var/lib/history.db")).endswith(
        f"the folder var/lib (below {tmp_path}) is missing: make it, and let the server's user write there;"
        " an absolute path has four slashes: sqlite:////var/lib/rplx/history.db"
    )


def test_a_newer_version(history: Path) -> None:
    changed(history, f"PRAGMA user_version = {VERSION + 1}")
    assert problem(history) == (
        f"engine.url: FILE was written by a newer rplx (its format is {VERSION + 1}, this one knows {VERSION}):"
        " start that version again, or name another file"
    )


def test_a_database_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "site.db"
    changed(path, "CREATE TABLE users (name)")
    before = path.read_bytes()
    assert problem(path) == "engine.url: FILE is a database of something else: name another file"
    assert path.read_bytes() == before


def test_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.touch()
    assert "FILE is empty" in problem(path)
    assert path.stat().st_size == 0


def test_a_file_that_is_missing_while_its_log_is_there(history: Path) -> None:
    made = opened(history)
    made.send("1", "a")
    shutil.copy(f"{history}-wal", f"{history}-kept")
    made.close()
    history.unlink()
    os.rename(f"{history}-kept", f"{history}-wal")
    assert problem(history) == (
        "engine.url: FILE is missing, while FILE-wal is there: put it back, or remove that one, too"
    )
    assert not history.exists()


def _header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\0" * 100)


def _page(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 2)
        file.write(b"\xff" * 4096)


def _half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        _header,
        _page,
        _half,
        lambda path: changed(path, "DROP TABLE messages"),
        lambda path: changed(path, "DELETE FROM facts"),
        lambda path: changed(path, "UPDATE messages SET drawn = 'x' WHERE seq = 10"),
        lambda path: changed(path, "UPDATE messages SET channels = 'a=b' WHERE seq = 10"),
        lambda path: changed(path, "INSERT INTO floors VALUES ('a', 'none', NULL)"),
    ],
    ids=["header", "page", "half", "table", "facts", "drawn", "channels", "floors"],
)
def test_a_damaged_file(history: Path, damage: Callable[[Path], None]) -> None:
    damage(history)
    before = history.read_bytes()[100:]
    told = problem(history)
    assert told.startswith("engine.url: FILE is damaged (")
    assert "put a backup in its place, or move it and its -wal away to begin a new history" in told
    assert len(history.read_bytes()[100:]) == len(before)


def test_a_file_that_another_program_holds(history: Path) -> None:
    db = sqlite3.connect(history, isolation_level=None)
    db.execute("PRAGMA journal_mode = DELETE")
    db.execute("BEGIN EXCLUSIVE")
    assert problem(history).startswith("engine.url: FILE is held by another program")
    db.close()


@pytest.fixture
def read_only(history: Path) -> Iterator[Path]:
    mounted = history.parent / "mounted"
    mounted.mkdir()
    mount = f"mount -t tmpfs tmpfs {mounted} && cp {history} {mounted} && mount -o remount,ro {mounted}"
    if os.geteuid() or subprocess.run(["sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield mounted / history.name
    subprocess.run(["umount", "-l", str(mounted)], check=True)


def test_a_read_only_file_system(read_only: Path) -> None:
    assert problem(read_only) == (
        "engine.url: FILE cannot be written by user 0 (Read-only file system): give it the file and its folder"
    )


class TestReading:
    @pytest.fixture(autouse=True)
    def slow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Opening reads a piece alone."""
        monkeypatch.setattr(engine, "START_TIMEOUT", -1.0)

    @pytest.fixture
    def reading(self, history: Path) -> Iterator[SqliteEngine]:
        """An engine that is opened, and has not read all."""
        made = SqliteEngine(replace(Config(), {"engine.url": f"sqlite:///{history}"}), log=Log(0))
        made.open()
        yield made
        made.close()

    def test_until_all_is_read_nobody_is_served(self, reading: SqliteEngine) -> None:
        send = Send(Identifiers({"a": None}), b"1")
        asks = (reading.draw, reading.online, reading.position, reading.history, lambda: reading.append(send))
        assert reading.problem() == "history is being read from disk"
        for ask in asks:
            with pytest.raises(Unavailable) as refused:
                ask()
            assert refused.value.text == "history is being read from disk; try again"
        assert reading.sweep() == ([], [])
        reading.load()
        assert reading.problem() == ""
        assert len(reading.history()) == 7
        for ask in asks:
            ask()

    def test_a_damage_that_is_found_late(self, history: Path) -> None:
        changed(history, "UPDATE messages SET channels = 'a=b' WHERE seq = 490")
        made = SqliteEngine(replace(Config(), {"engine.url": f"sqlite:///{history}"}), log=Log(0))
        made.open()
        with pytest.raises(ConfigError) as found:
            made.load()
        assert "is damaged" in str(found.value)
        made.close()

    def test_it_may_end_before_all_is_read(self, history: Path, reading: SqliteEngine) -> None:
        reading.close()
        again = opened(history)
        assert len(again.engine.history()) == 7
        again.close()
