"""Which other processes hold a socket, as far as the system lets this one look (proc(5))."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from pathlib import Path


def inodes_of(sockets: Iterable[socket.socket]) -> set[int]:
    """Returns the numbers by which the system knows `sockets`, whichever process holds them."""
    return {os.fstat(sock.fileno()).st_ino for sock in sockets}


def holds_any(process: int, inodes: set[int]) -> bool:
    """Returns whether a process holds one of the sockets. Raises OSError if it is not ours to look at, or is gone."""
    targets = {f"socket:[{inode}]" for inode in inodes}
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            if os.readlink(descriptor) in targets:
                return True
    return False


def children_of(process: int) -> list[int]:
    """Returns the children that a process's first thread has started. Raises OSError if that cannot be seen."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
