"""The limits of this process: file descriptors and memory."""

from __future__ import annotations

import ctypes
import resource


def raise_descriptor_limit() -> int:
    """Raises the limit of open files as far as it may be raised, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def starting() -> str:
    """Raises the limit of open files, and returns the log's first line, which tells it."""
    return f"Starting. Opened files limit (ulimit -n): {raise_descriptor_limit()}."


def resident_mb(pid: int) -> int:
    """Returns the resident memory of a process in megabytes; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize() >> 20
    except (OSError, IndexError):
        return 0


def trim_memory() -> None:
    """Gives freed memory back to the system, as after many listeners have left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
