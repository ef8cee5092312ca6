"""The server is killed and started again, and all its listeners come back at the same moment."""

from __future__ import annotations

import time
from dataclasses import dataclass

from tests.live import LiveServer
from tests.soak.crowd import Crowd, http, is_parked

WITHIN = 15.0  # seconds until all are parked again
PATIENCE = 60.0


@dataclass
class Count:
    """`seconds`: from the first connect until the last had its head. `refused`: those that ended."""

    listeners: int = 0
    parked: int = 0
    seconds: float = 0.0
    refused: int = 0

    @property
    def sound(self) -> bool:
        return self.parked == self.listeners > 0 and not self.refused

    @property
    def flawless(self) -> bool:
        return self.sound and self.seconds < WITHIN


def run(*, listeners: int) -> Count:
    count = Count(listeners)
    request = http("1.0", "a")
    first = LiveServer()
    with first, Crowd(first.wait) as crowd:
        crowd.park(listeners, request)
        first.process.kill()
        first.process.wait()
        crowd.leave()
    with (
        LiveServer("--wait", "%s:%d" % first.wait, "--in", "127.0.0.1:0", addresses=False) as server,
        Crowd(server.wait) as crowd,
    ):
        begin = time.monotonic()
        crowd.come(listeners, request)
        crowd.until(lambda: all(is_parked(member) or member.end for member in crowd.members), PATIENCE)
        count.seconds = time.monotonic() - begin
        count.parked = sum(map(is_parked, crowd.members))
        count.refused = sum(bool(member.end) for member in crowd.members)
    return count
