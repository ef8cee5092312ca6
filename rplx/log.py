"""The log that operators watch and grep (protocol page, part 4). A stuck or full target never holds up the server."""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gevent import monkey

from rplx.journal import is_journal

LINES_MAX = 100_000  # lines that may wait for a slow target; further lines are dropped and counted
NO_COUNTERS = "[pairs_by_fhs=0 data_to_send=0 connected_fhs=0 online_timers=0 cleanup_timers=0 events=0]"
ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7  # priorities of syslog(3), which systemd's journal is told
RETRY_AFTER = 0.05  # seconds between two tries on a target that takes nothing
REPEAT_AFTER = 1.0  # seconds between two lines that say the same of an ongoing trouble
FLUSH_TIMEOUT = 2.0  # seconds that the end of the process waits for the target
COUNT_FOR = 60.0  # seconds for which what happens often is counted before it is told again
COUNTED_MAX = 1000  # things counted at once; with more, the oldest is told early

# Letters and marks that nobody sees, so that Python takes them for printable (Default_Ignorable_Code_Point of Unicode).
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# The thread is a real one, also where gevent has replaced the standard library's.
_start_thread = monkey.get_original("_thread", "start_new_thread")
_sleep = monkey.get_original("time", "sleep")


def visible(text: str) -> str:
    """Returns `text` with all signs escaped that cannot be seen, or change how others are shown, such as line ends."""
    if text.isprintable() and (text.isascii() or not _UNSEEN.search(text)):
        return text
    return "".join([_escaped(sign) if not sign.isprintable() or _UNSEEN.match(sign) else sign for sign in text])


def _escaped(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class LoggedConnection(Protocol):
    """What a line of the log names of a connection: `line` is WAIT or IN, `peer` is HOST:PORT."""

    @property
    def line(self) -> str: ...
    @property
    def peer(self) -> str: ...


@dataclass(slots=True)
class _Counted:
    """Something that happens again and again: its latest text, the time of the first, and how often it came since."""

    text: str
    since: float  # monotonic seconds
    times: int = 0


class Log:
    """Writes lines to a descriptor from a thread of its own.

    `verbosity`: 0 for nothing, 1 for messages, 2 for the time before them, 3 for a line of counters behind them.
    `connections`: whether each step of each connection has a line. `descriptor`: the file descriptor written to.
    """

    def __init__(self, verbosity: int = 1, connections: bool = False, descriptor: int = 1) -> None:
        self.configure(verbosity, connections)
        self._counters: Callable[[], str] = lambda: NO_COUNTERS
        self._descriptor = descriptor
        self._journal = is_journal(descriptor)
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._repeated = ""
        self._repeated_at = 0.0
        self._counted: dict[str, _Counted] = {}  # by kind, oldest first
        self._troubles: dict[str, _Counted] = {}  # by kind
        self._wake = -1  # an eventfd, once there is a thread that reads it
        self._writing = False

    def configure(self, verbosity: int, connections: bool) -> None:
        """Takes new options, from the next line on."""
        self.verbosity = verbosity
        self.connections = connections and verbosity > 0

    def show_counters(self, counters: Callable[[], str]) -> None:
        """Makes the line of counters (`verbosity` 3) hold what `counters` returns."""
        self._counters = counters

    def message(self, text: str, priority: int = INFO) -> None:
        """Writes a line about the server itself."""
        if not self.verbosity:
            return
        line = visible(text)
        if self.verbosity >= 2:
            line = f"[{time.strftime('%a %b %d %H:%M:%S %Y')}] {line}"
        if self.verbosity >= 3:
            line += f"\n{self._mark(priority)}  {self._counters()}"
        self._write(self._mark(priority) + line)

    def _mark(self, priority: int) -> str:
        return f"<{priority}>" if self._journal else ""

    def error(self, text: str) -> None:
        self.message(f"ERROR: {text}", ERROR)

    def rarely(self, text: str) -> None:
        """Writes a line that would come again and again, once a second at most."""
        now = time.monotonic()
        if text != self._repeated or now - self._repeated_at >= REPEAT_AFTER:
            self._repeated, self._repeated_at = text, now
            self.message(text, WARNING)

    def counted(self, kind: str, text: str) -> None:
        """Writes a line about what clients can cause as often as they like, if it is the first of its `kind`.

        Those that follow within a minute are counted, and `sweep` writes their number and the latest text.
        """
        known = self._counted.get(kind)
        if known is not None:
            known.text, known.times = text, known.times + 1
            return
        if len(self._counted) >= COUNTED_MAX:
            self._tell_count(next(iter(self._counted)))
        self._counted[kind] = _Counted(text, time.monotonic())
        self.message(text, WARNING)

    def trouble(self, kind: str, text: str) -> None:
        """Writes an ERROR line when an ongoing trouble begins; until `recovered` the same `kind` is only counted."""
        known = self._troubles.get(kind)
        if known is not None:
            known.times += 1
            return
        self._troubles[kind] = _Counted(text, time.monotonic())
        self.error(text)

    def recovered(self, kind: str, text: str) -> None:
        """Writes that a trouble has ended, how long it lasted and how often it was met; nothing if there was none."""
        known = self._troubles.pop(kind, None)
        if known is not None:
            seconds = time.monotonic() - known.since
            self.message(f"{text} (after {seconds:.1f} s; met {known.times + 1} times)")

    def sweep(self, now: float) -> None:
        """Writes the counts whose minute is over; called about once a second. `now`: monotonic seconds."""
        for kind in [kind for kind, known in self._counted.items() if now - known.since >= COUNT_FOR]:
            self._tell_count(kind)

    def _tell_count(self, kind: str) -> None:
        known = self._counted.pop(kind)
        if known.times:
            self.message(f"{known.text} ({known.times} more in the last {COUNT_FOR:.0f} s)", WARNING)

    def connection(self, connection: LoggedConnection, text: str) -> None:
        """Writes a step of a connection, if `connections` is set."""
        if self.connections:
            self.message(f"{connection.line}: {connection.peer}: DEBUG: {text}", DEBUG)

    def connection_error(self, connection: LoggedConnection, text: str) -> None:
        """Writes what a connection did wrong: a back-end always, a browser if `connections` is set."""
        if self.connections or connection.line == "IN":
            self.message(f"{connection.line}: {connection.peer}: ERROR: {text}", WARNING)

    def refused(self, connection: LoggedConnection, text: str, trouble: str) -> None:
        """Writes that a request was refused. One that is part of an ongoing `trouble` is counted with it instead."""
        if trouble:
            self.trouble(trouble, f"{connection.line}: {text}")
        if self.connections or not trouble:
            self.connection_error(connection, text)

    # -- the thread

    def _write(self, line: str) -> None:
        if len(self._lines) >= LINES_MAX:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._wake < 0:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC)
            _start_thread(self._run, ())
        if len(self._lines) == 1:
            os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while True:
            os.eventfd_read(self._wake)
            while self._lines:
                self._writing = True
                lines = [self._lines.popleft() for _ in range(len(self._lines))]
                if self._dropped:
                    lines.append(
                        f"{self._mark(WARNING)}{self._dropped} log lines dropped: the log's target was too slow"
                    )
                    self._dropped = 0
                self._put(("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))
            self._writing = False

    def _put(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                _sleep(RETRY_AFTER)
            except OSError:
                return  # a full disk or a closed pipe loses lines, not listeners

    def flush(self, timeout: float = FLUSH_TIMEOUT) -> None:
        """Waits until all lines are out, `timeout` seconds at most."""
        deadline = time.monotonic() + timeout
        while (self._lines or self._writing) and time.monotonic() < deadline:
            _sleep(0.002)
