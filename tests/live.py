"""A real rplx server as a child process on ports that the kernel chose."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from types import TracebackType

START_TIMEOUT = 15.0


class LiveServer:
    """`rplx serve` on loopback, port 0 on both lines. `wait` and `in_` are (host, port), `log` the lines so far.

    Arguments are handed to `rplx serve` behind the addresses, so `LiveServer("--set", "wait.timeout=1")`. `program` is
    run by Python instead of rplx, `shell` is a shell command that comes before it, such as a `ulimit`.
    """

    def __init__(
        self,
        *arguments: str,
        command: tuple[str, ...] = ("serve",),
        addresses: bool = True,
        program: tuple[str, ...] = ("-m", "rplx"),
        shell: str = "",
    ) -> None:
        given = ("--wait", "127.0.0.1:0", "--in", "127.0.0.1:0") if addresses else ()
        line = [sys.executable, *program, *command, *given, *arguments]
        if shell:
            line = ["/bin/sh", "-c", f"{shell}; exec {shlex.join(line)}"]
        self.process = subprocess.Popen(
            line,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.log: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait = self._bound("WAIT")
        self.in_ = self._bound("IN")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.log.append(line.rstrip("\n"))

    def wait_for(self, pattern: str, timeout: float = START_TIMEOUT) -> re.Match[str]:
        """The first log line that `pattern` is found in; AssertionError with the log if none comes."""
        deadline = time.monotonic() + timeout
        while True:
            for line in list(self.log):
                if match := re.search(pattern, line):
                    return match
            if time.monotonic() > deadline or (self.process.poll() is not None and not self._reader.is_alive()):
                raise AssertionError(f"no line like {pattern!r} in the log:\n" + "\n".join(self.log))
            time.sleep(0.005)

    def _bound(self, line: str) -> tuple[str, int]:
        match = self.wait_for(rf"\b{line}: listening (\S+):(\d+)")
        return match[1], int(match[2])

    def connect(self, address: tuple[str, int], timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(address, timeout=timeout)

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ends the server and gives its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        status = self.process.wait()
        self._reader.join(START_TIMEOUT)  # the last lines of its log
        return status

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
