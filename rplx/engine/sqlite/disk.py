"""Whether an error of SQLite is for want of room on the disk."""

from __future__ import annotations

import errno
import os
import tempfile

ROOM = 65536  # bytes: with less, SQLite cannot make the files that it needs, and says only that the disk fails
WITHOUT_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""The system's errors for want of room. SQLite takes the second, a quota that is used up, for a failing disk."""


def is_full(path: str, error: Exception) -> bool:
    """Returns whether a write to the file at `path` failed for want of room: tries to write beside it."""
    name = getattr(error, "sqlite_errorname", "")
    if not name.startswith("SQLITE_IOERR"):
        return bool(name.startswith("SQLITE_FULL"))
    try:
        with tempfile.TemporaryFile(dir=os.path.dirname(path) or ".", buffering=0) as file:
            return os.pwrite(file.fileno(), bytes(ROOM), 0) < ROOM
    except OSError as found:
        return found.errno in WITHOUT_ROOM
