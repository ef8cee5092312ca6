"""Connections that send a byte now and then, or none: are they ended in time, and the honest served meanwhile?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rplx.net.listening import DEFER_ACCEPT
from tests.live import LiveServer
from tests.soak.clients import BackEnd
from tests.soak.crowd import Crowd, Member, http, is_answer
from tests.soak.vitals import descriptors

SWEEP = 1.0  # seconds between two looks of the server at its deadlines
LATE = 1.5  # seconds that may pass until we notice
KERNEL = 2 * DEFER_ACCEPT + 2  # seconds that the kernel may keep a silent connection to itself
DELIVERY_MAX = 2.0  # seconds until the honest have a message
BYTES = (
    b"GET /?identifier=" + b"a" * 4000,
    b"GET /?identifier=a HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 4000,
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n" + b"x" * 4000,
    b"identifier=" + b"a" * 4000,
)
AT_ONCE = (10, 60, 70, 12)  # of these bytes, what is sent first
PATIENCE = 60.0


@dataclass
class Count:
    """`shortest`, `longest`: seconds from a slow connection's first byte to its end."""

    slow: int = 0
    ended: int = 0
    shortest: float = 0.0
    longest: float = 0.0
    silent: int = 0
    silent_ended: int = 0
    silent_longest: float = 0.0
    honest: int = 0
    messages: int = 0
    served: int = 0
    slowest_ms: float = 0.0
    left_over: int = 0  # descriptors of the server, beyond those of before
    timeout: float = 0.0

    @property
    def sound(self) -> bool:
        slow = self.ended == self.slow > 0 and self.timeout - 0.1 <= self.shortest
        silent = self.silent_ended == self.silent > 0
        return slow and silent and self.served == self.honest * self.messages > 0 and not self.left_over

    @property
    def flawless(self) -> bool:
        latest = self.timeout + SWEEP + LATE
        in_time = self.longest < latest and self.silent_longest < latest + KERNEL
        return self.sound and in_time and self.slowest_ms < DELIVERY_MAX * 1000


def run(*, slow: int, silent: int, honest: int, timeout: float = 10.0, every: float = 1.0) -> Count:
    """`slow` send a byte every `every` seconds."""
    count = Count(slow, silent=silent, honest=honest, timeout=timeout)
    with (
        LiveServer("--set", f"wait.head_timeout={timeout}") as server,
        Crowd(server.wait) as crowd,
        Crowd(server.wait) as listeners,
    ):
        back_end = BackEnd(server.in_)
        listeners.come(honest, http("1.1", "h"))
        listeners.until(lambda: back_end.online("h").get("h") == honest, PATIENCE, "the honest are in")
        before = descriptors(server.process.pid)
        mute = crowd.come(silent, b"")
        attackers: list[Member] = []
        while len(attackers) < slow:
            kind = len(attackers) % len(BYTES)
            attackers += crowd.come(1, BYTES[kind][: AT_ONCE[kind]])
            crowd.look()
        begin = time.monotonic()
        sent = 0
        while any(crowd.lasting()) and time.monotonic() < begin + timeout + KERNEL + PATIENCE:
            for number, member in enumerate(attackers):
                kind = number % len(BYTES)
                if not member.end:
                    member.send(BYTES[kind][AT_ONCE[kind] + sent : AT_ONCE[kind] + sent + 1])
                if not number % 200:
                    crowd.look()
            sent += 1
            _deliver(listeners, back_end, count)
            crowd.until(lambda: not any(crowd.lasting()), begin + sent * every - time.monotonic())
        lives = [member.at - member.began for member in attackers if member.end]
        count.ended, count.shortest, count.longest = len(lives), min(lives, default=0), max(lives, default=0)
        lives = [member.at - member.began for member in mute if member.end]
        count.silent_ended, count.silent_longest = len(lives), max(lives, default=0)
        crowd.leave()
        crowd.until(lambda: descriptors(server.process.pid) <= before, PATIENCE)
        count.left_over = descriptors(server.process.pid) - before
    return count


def _deliver(crowd: Crowd, back_end: BackEnd, count: Count) -> None:
    begin = time.monotonic()
    back_end.send("h", '"hello"')
    crowd.until(lambda: all(map(is_answer, crowd.members)), PATIENCE)
    got: list[Member] = [member for member in crowd.members if is_answer(member)]
    count.messages += 1
    count.served += len(got)
    count.slowest_ms = max([count.slowest_ms, *((member.at - begin) * 1000 for member in got)])
    for member in crowd.members:
        member.data = b""
        member.send(member.request)
    crowd.until(lambda: back_end.online("h").get("h") == len(crowd.members), PATIENCE, "the honest ask again")
