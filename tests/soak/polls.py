"""A server whose log is read as it comes: when did listeners have no poll there?"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tests.live import LiveServer


class Polls:
    """What the log says of polls, each listener in a channel of its own: the times in which it had none."""

    _PARKED = re.compile(r" (\S+): DEBUG: \[[\d.]+:(\w+)\] registered$")
    _ENDED = re.compile(r" (\S+): DEBUG: \[[\d.]+:(\w+)\] (?:timeout|connection closed)$")
    _SENT = re.compile(r"^<- sending .* from \[(\w+)\] ")

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        """`tell` is called with the listener and the seconds of each such time, while `judged` is set."""
        self._tell = tell
        self._ended: dict[str, float] = {}
        self._parked: dict[str, str] = {}  # id -> the connection that waits
        self.known: set[str] = set()
        self.judged = False

    def take(self, line: str) -> None:
        now = time.monotonic()
        if found := self._PARKED.search(line):
            self._gap_ends(found[2], now)
            self._parked[found[2]] = found[1]
            self.known.add(found[2])
        elif found := self._ENDED.search(line):
            if self._parked.get(found[2]) == found[1]:
                del self._parked[found[2]]
                self._ended[found[2]] = now
        elif found := self._SENT.search(line):
            self._gap_ends(found[1], now)
            self._parked.pop(found[1], None)
            self._ended[found[1]] = now

    def _gap_ends(self, id: str, now: float) -> None:
        ended = self._ended.pop(id, None)
        if ended is not None and self.judged:
            self._tell(id, now - ended)


class LoggedServer(LiveServer):
    """A server whose log is read by `polls` as it comes."""

    def __init__(self, polls: Polls, *arguments: str, addresses: bool = True) -> None:
        self._polls = polls
        super().__init__("--set", "log.connections=true", *arguments, addresses=addresses)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._polls.take(line.rstrip("\n"))
            if "DEBUG" not in line:
                self.log.append(line.rstrip("\n"))
