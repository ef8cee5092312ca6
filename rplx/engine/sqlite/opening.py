"""Opens the file for the one process that may have it, or says what is wrong and what to do.

A file is never begun anew where there was one: what is there is read, or the server does not start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from urllib.parse import quote

import gevent

from rplx.engine.sqlite import copies
from rplx.engine.sqlite.disk import WITHOUT_ROOM, is_full
from rplx.engine.sqlite.schema import APPLICATION_ID, BEGINNING, TABLES, VERSION
from rplx.errors import ConfigError

LOCK_SUFFIX = "-lock"
NEW_SUFFIX = "-new"  # of a file that is being made
SIDE_FILES = ("-wal", "-journal")  # which belong to a file, and hold a part of it
LOCK_STEP = 0.05  # seconds between two tries to have the file
BUSY_TIMEOUT = 1.0  # seconds for which a write waits for another process that holds the database, such as a shell
STATEMENTS = 256  # prepared statements that are kept, more than statements.ROWS_MAX
CACHE_KIB = 16384  # of pages, so that what is dropped is found without reading
WAL_BYTES_KEPT = 64 << 20  # of the write-ahead log's file, where a long reader has made it longer
SYNCHRONOUS = {"always": "FULL", "process": "NORMAL"}
"""By engine.sync: NORMAL syncs at checkpoints alone, so that a power cut takes the last sends and not the file."""


class Lock:
    """The right to use a file, until `release` or the end of the process."""

    def __init__(self, path: str, seconds: float, waits: Callable[[str], None]) -> None:
        """Waits for `seconds` at most for a process that is about to end, and tells `waits` so. Raises ConfigError."""
        self._fd = os.open(path + LOCK_SUFFIX, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._acquire(path, seconds, waits)
            os.truncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(self._fd)
            raise

    def _acquire(self, path: str, seconds: float, waits: Callable[[str], None]) -> None:
        deadline = time.monotonic() + seconds
        told = False
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            who = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip() or "?"
            if time.monotonic() >= deadline:
                raise _error(
                    f"{path} is held by process {who}: end that one, or name another file here; processes that are"
                    " to share history need redis://HOST:PORT/0"
                )
            if not told:
                told = True
                waits(f"{path} is held by process {who}, waiting for its end")
            gevent.sleep(LOCK_STEP)

    def release(self) -> None:
        """Lets another process have the file. Does nothing the second time."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def holder(path: str) -> str:
    """Returns the process that has the file, as it has written its number, "" if none has it."""
    try:
        fd = os.open(path + LOCK_SUFFIX, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "?"
    finally:
        os.close(fd)
    return ""


def lock(path: str, seconds: float, waits: Callable[[str], None]) -> Lock:
    """Returns the right to use the file at `path`; see Lock. Raises ConfigError, also where its folder is missing."""
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        shown = folder if os.path.isabs(folder) else f"{folder} (below {os.getcwd()})"
        hint = (
            "" if os.path.isabs(folder) else "; an absolute path has four slashes: sqlite:////var/lib/rplx/history.db"
        )
        raise _error(f"the folder {shown} is missing: make it, and let the server's user write there{hint}")
    try:
        return Lock(path, seconds, waits)
    except OSError as error:
        raise _error(_of_the_system(path, error)) from None


def connect(path: str, sync: str, beginning: str) -> sqlite3.Connection:
    """Returns a connection to the file, which is ready for writes; makes the file if nothing is there.

    `sync` is engine.sync, `beginning` the first cursor of a new history, or of one that goes on behind a loss. Raises
    ConfigError.
    """
    with explained(path):
        if not os.path.lexists(path):
            create(path, lambda db: db.execute("INSERT INTO facts VALUES (?, ?)", (BEGINNING, beginning)))
        elif not os.path.isfile(path):
            raise _error(f"{path} is no file")
        elif os.path.getsize(path) == 0:
            raise _error(f"{path} is empty, so a history that was there is lost: remove the file to begin a new one")
        db = _connect(path)
        try:
            check_format(db, path)
            _prepare(db, sync)
            copies.take_over(db, beginning, int(time.time()))
        except BaseException:
            db.close()
            raise
        return db


def beside(path: str) -> sqlite3.Connection:
    """Returns another connection to the file, which is in use, for its checkpoints. Raises sqlite3.Error."""
    db = _connect(path)
    db.execute("SELECT 1 FROM facts").fetchone()  # a checkpoint asks that its connection knows of the log
    return db


@contextlib.contextmanager
def explained(path: str) -> Iterator[None]:
    """Turns errors of SQLite and of the system into ConfigErrors that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise _error(_of_sqlite(path, error)) from None
    except OSError as error:
        raise _error(_of_the_system(path, error)) from None
    except UnicodeDecodeError as error:  # in the text of an error, which names what the schema has
        raise damaged(path, error) from None


def damaged(path: str, why: object) -> ConfigError:
    """Returns the error for a file that cannot be read back."""
    return _error(
        f"{path} is damaged ({why}): put a backup in its place, or move it and its -wal away to begin a new history;"
        " `sqlite3 FILE .recover` may save what is left"
    )


def _connect(path: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(os.path.abspath(path))}?mode=rw",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )


def create(path: str, fill: Callable[[sqlite3.Connection], object]) -> None:
    """Makes the file, with what `fill` writes into its tables.

    It is made under another name first, so that it is whole as soon as it is there. Raises ConfigError, sqlite3.Error,
    OSError, and what `fill` raises.
    """
    with new_file(path) as new:
        db = _connect(new)
        try:
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.executescript(f"BEGIN; {TABLES}")
            fill(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        finally:
            db.close()


@contextlib.contextmanager
def new_file(path: str) -> Iterator[str]:
    """Yields the name of an empty file, which is the one at `path` when the block has ended without an error.

    Raises ConfigError, OSError.
    """
    for suffix in SIDE_FILES:
        if os.path.exists(path + suffix):
            raise _error(f"{path} is missing, while {path}{suffix} is there: put it back, or remove that one, too")
    new = path + NEW_SUFFIX
    _remove(new)
    os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield new
    except BaseException:
        _remove(new)
        raise
    os.rename(new, path)
    folder = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: str) -> None:
    for suffix in ("", *SIDE_FILES, "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + suffix)


def check_format(db: sqlite3.Connection, path: str) -> None:
    """Raises ConfigError, sqlite3.Error."""
    (application_id,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if application_id != APPLICATION_ID:
        raise _error(f"{path} is a database of something else: name another file")
    if version > VERSION:
        raise _error(
            f"{path} was written by a newer rplx (its format is {version}, this one knows {VERSION}): start that"
            " version again, or name another file"
        )
    if version != VERSION:
        raise damaged(path, f"its format is {version}")


def _prepare(db: sqlite3.Connection, sync: str) -> None:
    """Sets what counts for this connection, and writes once, so that a disk that takes nothing is known now."""
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute(f"PRAGMA synchronous = {SYNCHRONOUS[sync]}")
    db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}").fetchall()
    db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()  # see checkpoints.py
    db.execute("PRAGMA secure_delete = FAST").fetchall()  # some builds write zeros over all pages of what is dropped
    db.execute("INSERT OR REPLACE INTO facts VALUES ('opened', ?)", (int(time.time()),))


def _of_sqlite(path: str, error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    if is_full(path, error):
        return f"the disk of {path} is full: make room there"
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_CANTOPEN")):
        return f"{path} cannot be written by {_user()} ({error}): give it the file and its folder"
    if name.startswith("SQLITE_BUSY"):
        return f"{path} is held by another program, such as a shell of sqlite3: end that one"
    if name.startswith("SQLITE_IOERR"):
        return f"the disk of {path} fails ({error}); the kernel's log may say why"
    return str(damaged(path, error).problems[0]).removeprefix("engine.url: ")


def _of_the_system(path: str, error: OSError) -> str:
    if error.errno in WITHOUT_ROOM:
        return f"the disk of {path} is full: make room there"
    return f"{path} cannot be written by {_user()} ({error.strerror}): give it the file and its folder"


def _user() -> str:
    return f"user {os.geteuid()}"


def _error(text: str) -> ConfigError:
    return ConfigError([f"engine.url: {text}"])
