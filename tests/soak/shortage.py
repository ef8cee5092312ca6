"""Descriptors run out: are those connected served, does the server rest meanwhile, and does it recover by itself?"""

from __future__ import annotations

import select
import socket
import time
from dataclasses import dataclass

from rplx.net.accepting import RESERVE
from tests.live import LiveServer
from tests.soak.clients import BackEnd, connect
from tests.soak.crowd import Crowd, http, is_answer, is_parked
from tests.soak.vitals import cpu_seconds

CPU_MAX = 0.05  # of a core while accepting is paused and nobody is served
LINES_PER_SECOND = 1.0
RECOVERY_MAX = 2.0  # seconds
PATIENCE = 60.0
TOLD = "cannot accept: Too many open files"


@dataclass
class Count:
    """`cpu`: part of a core while accepting was paused, `lines`: the log's in `seconds`. The back-end is on IN."""

    listeners: int = 0
    served: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    lines: int = 0
    told: int = 0
    waiting: int = 0  # listeners that could not be accepted
    back_end_served: bool = False  # a new one, while listeners had to wait
    back_end_waited: bool = False  # another one, when idle ones had taken the reserve
    back_end_recovered: bool = False  # once these had gone
    recovered: int = 0
    recovery_seconds: float = 0.0
    tracebacks: int = 0

    @property
    def sound(self) -> bool:
        resting = self.cpu < CPU_MAX and self.told >= 1 and self.lines <= LINES_PER_SECOND * self.seconds + 1
        on_in = self.back_end_served and self.back_end_waited and self.back_end_recovered
        back = self.recovered == self.waiting > 0
        return resting and on_in and back and self.served == 2 * self.listeners and not self.tracebacks

    @property
    def flawless(self) -> bool:
        return self.sound and self.recovery_seconds < RECOVERY_MAX


def run(*, limit: int, listeners: int, crowd: int, seconds: float) -> Count:
    """A server with `limit` descriptors has `listeners`; then a `crowd` comes that is more than there is room for."""
    count = Count(listeners, seconds=seconds)
    with (
        LiveServer(shell=f"ulimit -n {limit}") as server,
        Crowd(server.wait) as served,
        Crowd(server.wait) as late,
    ):
        back_end = BackEnd(server.in_)
        served.come(listeners, http("1.1", "a"))
        served.until(lambda: back_end.online("a").get("a") == listeners, PATIENCE, "the listeners are in")
        late.come(crowd, http("1.0", "b"))
        late.until(lambda: any(TOLD in line for line in server.log), PATIENCE, "the server is out of descriptors")
        late.until(lambda: False, 0.5)
        count.back_end_served = _is_served(late, _asking(server))
        idle = [_asking(server, b"ONLI") for _ in range(RESERVE + 2)]
        refused = _asking(server)
        before = len(server.log), cpu_seconds(server.process.pid)
        late.until(lambda: False, seconds)
        count.lines = len(server.log) - before[0]
        count.cpu = (cpu_seconds(server.process.pid) - before[1]) / seconds
        count.told = sum(TOLD in line for line in server.log)
        for text in ('"one"', '"two"'):
            _deliver(served, back_end, text, count)
        count.back_end_waited = not _readable(refused)
        parked = [member for member in late.members if is_parked(member)]
        waiting = [member for member in late.members if not is_parked(member)]
        count.waiting = min(len(parked), len(waiting))
        for sock in idle:
            sock.close()
        count.back_end_recovered = _is_served(late, refused)
        begin = time.monotonic()
        for member in parked:
            late.end(member)
        late.until(lambda: sum(map(is_parked, waiting)) >= count.waiting, PATIENCE)
        count.recovered = min(sum(map(is_parked, waiting)), count.waiting)
        count.recovery_seconds = time.monotonic() - begin
        count.tracebacks = sum("Traceback" in line for line in server.log)
    return count


def _deliver(crowd: Crowd, back_end: BackEnd, text: str, count: Count) -> None:
    back_end.send("a", text)
    crowd.until(lambda: all(map(is_answer, crowd.members)), PATIENCE)
    count.served += sum(is_answer(member) and text.encode() in member.data for member in crowd.members)
    for member in crowd.members:
        member.data = b""
        member.send(member.request)
    crowd.until(lambda: back_end.online("a").get("a") == len(crowd.members), PATIENCE, "the listeners ask again")


def _asking(server: LiveServer, text: bytes = b"ONLINE a\n\n") -> socket.socket:
    sock = connect(server.in_)
    sock.sendall(text)
    return sock


def _is_served(crowd: Crowd, sock: socket.socket) -> bool:
    crowd.until(lambda: _readable(sock), PATIENCE)
    served = _readable(sock) and sock.recv(100).startswith(b"HTTP/1.0 200 ")
    sock.close()
    return served


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])
