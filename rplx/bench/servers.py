"""What is measured: where it listens, how it is asked, and how much memory it takes."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rplx.errors import RplxError

START_TIMEOUT = 15.0  # seconds until a server must listen
END_TIMEOUT = 5.0  # seconds that it may take to end


class ServerFailed(RplxError):
    """A server that is to be measured did not start; the text holds its log."""


@dataclass(frozen=True)
class Target:
    """A server under measurement, at IPv4 HOST:PORT or unix:/PATH. Templates: see common.h; none: Realplexor's."""

    name: str
    wait: str
    in_: str
    pid: int = 0  # the root of its processes; 0: it runs elsewhere
    worker: int = 0  # the process that does the work
    polls: Mapping[str, str] = field(default_factory=dict)  # by Crowd.mode
    send: str | None = None
    answers_head: bool = True  # whether a poll that will be closed gets its head at once
    half_close: bool = True  # whether a send ends with a half-close, as Realplexor's clients do it

    @property
    def loopback(self) -> bool:
        """Whether clients may come from all of 127.0.0.0/16, so that the ports of one address are no limit."""
        return self.wait.startswith("127.") and self.in_.startswith("127.")

    def memory(self) -> int:
        """Returns the bytes of user memory of all its processes, with shared pages counted once (PSS)."""
        return sum(map(_proportional_set_size, family(self.pid)))


def family(pid: int) -> list[int]:
    """Returns the ids of a process and of all its descendants."""
    members = [pid]
    for parent in members:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                members += map(int, children.read_text().split())
    return members


def _proportional_set_size(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # has ended meanwhile
        return 0
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


@contextlib.contextmanager
def running(
    command: Sequence[str], patterns: Sequence[str], environ: Mapping[str, str] | None = None
) -> Iterator[tuple[int, list[str]]]:
    """Runs a child process. Yields its id and, for each pattern, the first group of its match in the log.

    Raises ServerFailed with the log if they are not all there within START_TIMEOUT.
    """
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environ)
        try:
            yield process.pid, _wait_for(process, log.fileno(), command, patterns)
        finally:
            _end(process)


def _wait_for(process: subprocess.Popen[bytes], log: int, command: Sequence[str], patterns: Sequence[str]) -> list[str]:
    deadline = time.monotonic() + START_TIMEOUT
    while True:
        ended = process.poll() is not None
        text = os.pread(log, 1 << 16, 0).decode("utf-8", "replace")
        matches = [match[1] for pattern in patterns if (match := re.search(pattern, text))]
        if len(matches) == len(patterns) and not ended:
            return matches
        if ended or time.monotonic() > deadline:
            raise ServerFailed(f"{' '.join(command)} did not start:\n{text.strip()}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


LISTENING = (r"WAIT: listening (127\.0\.0\.1:\d+)", r"IN: listening (127\.0\.0\.1:\d+)")


@contextlib.contextmanager
def started_rplx(*arguments: str) -> Iterator[Target]:
    """Runs `rplx serve` on loopback with `arguments`, and none of the environment's options. Yields the target."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RPLX_")}
    command = [sys.executable, "-m", "rplx", "serve", "--wait", "127.0.0.1:0", "--in", "127.0.0.1:0", *arguments]
    with running(command, LISTENING, environ) as (pid, (wait, in_)):
        yield Target("rplx", wait, in_, pid, pid)


@contextlib.contextmanager
def started_floor(directory: Path) -> Iterator[Target]:
    """Runs the floor (floor.c), built in `directory`. Yields the target."""
    with running([str(directory / "floor"), "0", "0"], LISTENING) as (pid, (wait, in_)):
        yield Target("floor", wait, in_, pid, pid)
