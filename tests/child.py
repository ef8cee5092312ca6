"""A program as a child process: its log is read while it runs."""

from __future__ import annotations

import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

# Seconds. Long, since they are waited for only if something is wrong, and a busy machine takes its time.
START_TIMEOUT = 120.0
STOP_TIMEOUT = 60.0


class Child:
    """`log` is what it wrote so far, line by line."""

    stopped_by = signal.SIGTERM

    def __init__(
        self,
        command: Sequence[str],
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            cwd=cwd,
            pass_fds=pass_fds,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """The first line of the log that `pattern` is found in.

        Raises AssertionError with the log if none comes in `timeout` seconds, or the program has ended without it.
        """
        deadline = time.monotonic() + timeout
        while True:
            ended = self.process.poll() is not None and not self._reader.is_alive()
            for line in list(self.log):
                if match := re.search(pattern, line):
                    return match
            if ended or time.monotonic() > deadline:
                raise AssertionError(f"no line like {pattern!r} in the log:\n" + "\n".join(self.log))
            time.sleep(0.005)

    def bound(self, pattern: str) -> tuple[str, int]:
        """The host and the port that are the groups of `pattern`, 0 where it finds no port.

        A child that does not tell them is killed.
        """
        try:
            match = self.wait_for(pattern)
        except BaseException:
            self.stop(signal.SIGKILL)
            raise
        return match[1], int(match[2] or 0)

    def stop(self, how: signal.Signals | None = None) -> int:
        """Ends the program with this signal, or that which is its own, and gives its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how or self.stopped_by)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._reader.join(STOP_TIMEOUT)  # the last lines of its log
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
