"""What workers report to their supervisor: that they serve."""

from __future__ import annotations

import contextlib
import os
import struct

_PID = struct.Struct("=i")
_READ_MAX = 1024 * _PID.size  # bytes read at once


class Reports:
    """A pipe in which each worker writes its process id once it serves."""

    def __init__(self) -> None:
        self._from, self._to = os.pipe()
        os.set_blocking(self._from, False)
        os.set_blocking(self._to, False)

    def tell(self) -> None:
        """In a worker: reports that it serves."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._to, _PID.pack(os.getpid()))

    def read(self) -> set[int]:
        """Returns the ids of the processes that have reported since the last call."""
        try:
            told = os.read(self._from, _READ_MAX)  # whole ids: so few bytes are written at once or not at all
        except BlockingIOError:
            return set()
        return {pid for (pid,) in _PID.iter_unpack(told)}
