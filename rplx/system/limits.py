"""What this process may use of the machine: descriptors and memory."""

from __future__ import annotations

import ctypes
import resource


def raise_descriptor_limit() -> int:
    """Raises the limit of open files to what is allowed; gives it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def starting() -> str:
    """The log's first line; raises the limit of open files."""
    return f"Starting. Opened files limit (ulimit -n): {raise_descriptor_limit()}."


def resident_mb(pid: int) -> int:
    """Megabytes of memory that a process has resident; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize() >> 20
    except (OSError, IndexError):
        return 0


def trim_memory() -> None:
    """Gives freed memory back to the system: 52 -> 32 MB resident after a crowd has left."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
