"""Listeners that read nothing among honest ones: are the honest served as quickly as without them?"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from functools import partial

from tests.live import LiveServer
from tests.soak.clients import BackEnd
from tests.soak.crowd import Crowd, Member, http, is_answer, stream, websocket
from tests.soak.vitals import descriptors

RATIO = 2.0  # of the 99th percentile with slow readers to that without
NOISE_MS = 50.0  # below this, a percentile says nothing of the server
RECEIVE_BUFFER = 4096
BACKLOG = 6  # messages that a slow reader is owed when it comes: as much as wait.out_max lets out at once
HONEST = (http("1.1", "h"), stream("h"), websocket("h"))
OWED = (http("1.1", "0:owed"), stream("0:owed"), websocket("0:owed"))
LATE = (http("1.0", "late"), stream("late"), websocket("late"))
TEXT = '"%s"' % ("x" * 190_000)
PATIENCE = 60.0


@dataclass
class Count:
    """`idle_ms`, `loaded_ms`: medians over the rounds of the honest listeners' 99th percentile."""

    honest: int = 0
    slow: int = 0
    stuck: int = 0  # slow ones with an answer under way at once
    dropped: int = 0
    missed: int = 0  # honest listeners that did not get a message whole
    idle_ms: float = 0.0
    loaded_ms: float = 0.0
    held_seconds: float = 0.0  # from the last slow reader's coming until none was there any more

    @property
    def sound(self) -> bool:
        return self.stuck > 0 and self.dropped == self.slow and not self.missed

    @property
    def flawless(self) -> bool:
        return self.sound and self.loaded_ms < max(RATIO * self.idle_ms, NOISE_MS)


def run(*, honest: int, slow: int, rounds: int, write_timeout: float = 10.0) -> Count:
    """`slow` come anew for each loaded round: half are owed more than they take, half get it while all listen.

    All are polls, event streams and WebSockets alike.
    """
    count = Count()
    with LiveServer("--set", f"wait.write_timeout={write_timeout}") as server, Crowd(server.wait) as crowd:
        back_end = BackEnd(server.in_)
        for form in HONEST:
            crowd.come(honest // 3, form)
        count.honest = len(crowd.members)
        _parked(crowd, back_end, count.honest)
        back_end.send_all([(f"{1 + number}:owed", TEXT.encode()) for number in range(BACKLOG)])
        alone = descriptors(server.process.pid)
        count.idle_ms = statistics.median(_round(crowd, back_end, count) for _ in range(rounds))
        with Crowd(server.wait, receive_buffer=RECEIVE_BUFFER) as stuck:
            loaded = []
            for _ in range(rounds):
                came = len(stuck.members)
                late = back_end.online("late").get("late", 0)
                for form in OWED + LATE:
                    stuck.come(slow // 6, form)
                late += slow // 6 * 3
                stuck.until(partial(_asked, stuck, back_end, late), PATIENCE, "the slow readers ask")
                back_end.send("late", TEXT)
                count.slow += len(stuck.members) - came
                loaded.append(_round(crowd, back_end, count))
                count.stuck = max(count.stuck, descriptors(server.process.pid) - alone)
            begin = time.monotonic()
            stuck.until(lambda: descriptors(server.process.pid) <= alone, PATIENCE)
            count.held_seconds = time.monotonic() - begin
            count.dropped = count.slow - (descriptors(server.process.pid) - alone)
        count.loaded_ms = statistics.median(loaded)
    return count


def _parked(crowd: Crowd, back_end: BackEnd, number: int) -> None:
    crowd.until(lambda: back_end.online("h").get("h") == number, PATIENCE, f"{number} listeners are in")


def _asked(stuck: Crowd, back_end: BackEnd, late: int) -> bool:
    return all(member.asked for member in stuck.members) and back_end.online("late").get("late") == late


def _round(crowd: Crowd, back_end: BackEnd, count: Count) -> float:
    """One message to all the honest; gives the 99th percentile of the ms until they have it. Then they ask again."""
    begin = time.monotonic()
    back_end.send("h", '"hello"')
    crowd.until(lambda: all(map(_has_it, crowd.lasting())), PATIENCE)
    members = list(crowd.lasting())
    got = [member for member in members if _has_it(member)]
    count.missed += count.honest - len(got)
    took = sorted((member.at - begin) * 1000 for member in got)
    _ask_again(members)
    _parked(crowd, back_end, len(members))
    return took[int(0.99 * (len(took) - 1))]


def _has_it(member: Member) -> bool:
    return is_answer(member) if member.request == HONEST[0] else b'"data":"hello"' in member.data


def _ask_again(members: list[Member]) -> None:
    for member in members:
        member.data = b""
        if member.request == HONEST[0]:
            member.send(member.request)
