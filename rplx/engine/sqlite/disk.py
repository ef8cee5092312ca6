"""Whether an error of SQLite is for want of room on the disk."""

from __future__ import annotations

import os

ROOM = 65536  # bytes: with less, SQLite cannot make the files that it needs, and says only that the disk fails


def is_full(path: str, error: Exception) -> bool:
    """Returns whether what was to be written to the file at `path` failed for want of room. Asks the file system."""
    name = getattr(error, "sqlite_errorname", "")
    if not name.startswith("SQLITE_IOERR"):
        return bool(name.startswith("SQLITE_FULL"))
    try:
        found = os.statvfs(os.path.dirname(path) or ".")
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < ROOM
