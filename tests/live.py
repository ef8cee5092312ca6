"""A real rplx server as a child process on ports that the kernel chose."""

from __future__ import annotations

import shlex
import signal
import socket
import sys
from collections.abc import Sequence

from tests.child import Child
from tests.waiting import PATIENCE

# Longer than the patience of the tests, so that nothing of what they wait for comes by such a timeout.
PATIENT = tuple(
    word
    for option in ("wait.head_timeout", "wait.write_timeout", "in.timeout")
    for word in ("--set", f"{option}={10 * PATIENCE}")
)


class LiveServer(Child):
    """`rplx serve` on loopback, port 0 on both lines. `wait` and `in_` are (host, port), or (path, 0);
    `log` is the lines so far.

    Arguments are handed to `rplx serve` behind the addresses, so `LiveServer("--set", "wait.timeout=1")`. `program` is
    run by Python instead of rplx, `shell` is a shell command that comes before it, such as a `ulimit`.
    """

    stopped_by = signal.SIGINT

    def __init__(
        self,
        *arguments: str,
        command: tuple[str, ...] = ("serve",),
        addresses: bool = True,
        program: tuple[str, ...] = ("-m", "rplx"),
        shell: str = "",
        pass_fds: Sequence[int] = (),
    ) -> None:
        given = ("--wait", "127.0.0.1:0", "--in", "127.0.0.1:0") if addresses else ()
        given += PATIENT if command else ()
        line = [sys.executable, *program, *command, *given, *arguments]
        if shell:
            line = ["/bin/sh", "-c", f"{shell}; exec {shlex.join(line)}"]
        super().__init__(line, pass_fds=pass_fds)
        self.wait = self.bound(r"\bWAIT: listening (?:unix:)?(\S+?)(?::(\d+))?$")
        self.in_ = self.bound(r"\bIN: listening (?:unix:)?(\S+?)(?::(\d+))?$")

    def connect(self, address: tuple[str, int], timeout: float = 10.0) -> socket.socket:
        return socket.create_connection(address, timeout=timeout)
