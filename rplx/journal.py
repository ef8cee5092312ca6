"""systemd's journal: whether a stream goes there, and errors in a form for it and for terminals."""

from __future__ import annotations

import os
import sys


def is_journal(descriptor: int) -> bool:
    """Returns whether `descriptor` is systemd's journal, which reads a line's priority from the line's beginning.

    systemd names its stream in JOURNAL_STREAM as DEVICE:INODE (systemd.exec(5)); `<3>` is an error (sd-daemon(3)).
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def complain(text: str) -> None:
    """Writes an error of one or more lines to stderr."""
    mark = "<3>" if is_journal(2) else ""
    print(*[mark + line for line in text.splitlines()], sep="\n", file=sys.stderr)
