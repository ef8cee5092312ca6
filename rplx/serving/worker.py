"""A serving process of the supervisor's: when it is started, started again and killed. Times are monotonic seconds."""

from __future__ import annotations

import os
import signal

from rplx.net.listening import Sockets

DELAY_MIN = 1.0  # seconds before a worker that died young is started again; doubled with each such death
DELAY_MAX = 30.0
YOUNG = 10.0  # seconds: a worker that dies younger is started again with a delay


class Worker:
    """One serving process, or the place of one that has ended. Its listening sockets outlive it."""

    def __init__(self, sockets: Sockets) -> None:
        self.sockets = sockets
        self.has_died = False  # whether an earlier process in this place died
        self.serves = False  # whether its process has reported that it does
        self._pid = 0  # 0: none runs
        self._started = 0.0
        self._delay = 0.0  # seconds between the last death and the next start
        self._start_at = 0.0
        self._kill_at: float | None = None  # None: it has not been told to end

    @property
    def is_running(self) -> bool:
        """Whether a process runs in this place."""
        return self._pid != 0

    @property
    def is_ending(self) -> bool:
        """Whether its process has been told to end, and has not ended yet."""
        return self._pid != 0 and self._kill_at is not None

    @property
    def pid(self) -> int:
        """Its process id, 0 if none runs."""
        return self._pid

    def is_due(self, now: float) -> bool:
        """Returns whether a process is to be started now."""
        return not self._pid and now >= self._start_at

    def runs(self, pid: int, now: float) -> None:
        """Takes note of the process that was started at `now`."""
        self._pid = pid
        self.serves = False
        self._started = now
        self._kill_at = None

    def signal(self, number: signal.Signals | int) -> None:
        """Sends a signal to its process, if there is one."""
        if self._pid:
            os.kill(self._pid, number)

    def end_by(self, deadline: float) -> None:
        """Takes note that its process has been told to end, and is to be killed if it lives at `deadline`."""
        self._kill_at = deadline

    def kill_if_overdue(self, now: float) -> None:
        """Kills its process if it was told to end and has taken too long."""
        if self._kill_at is not None and now > self._kill_at:
            self.signal(signal.SIGKILL)

    def reap(self) -> int | None:
        """Returns the exit status of its process if it has ended since the last call, negative for a signal."""
        if not self._pid:
            return None
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if not pid:
            return None
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def died(self, failed: bool, now: float) -> float:
        """Takes note of a death; returns the seconds until it is started again, which grow if it `failed` young."""
        self.has_died = True
        young = now - self._started < YOUNG
        self._delay = min(max(DELAY_MIN, self._delay * 2), DELAY_MAX) if young and failed else 0.0
        self._start_at = now + self._delay
        return self._delay
