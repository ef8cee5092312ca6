"""An hour like any other: listeners come, poll, hang up and are cut off, back-ends send. Does the server grow?"""

from __future__ import annotations

import contextlib
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import gevent

from rplx.bench.servers import started_rplx
from rplx.options.checks import parse_address
from tests.soak.clients import FORMS, Address, BackEnd, Dropped, Listener, connect
from tests.waiting import eventually

LISTENERS = 300
CHANNELS = 40  # that are sent to: bounded, so that history is full when the warm-up ends
QUIET_CHANNELS = 20  # where nothing is ever sent: polls there end by the server's timeout
BACK_ENDS = 4
SEND_EVERY = 0.06  # seconds between two sends of a back-end
PAYLOAD_MAX = 600  # bytes of a message
ROUNDS_MAX = 40  # polls of a listener before another takes its place
SAMPLES = 360  # looks at the server's memory after the warm-up
WARM_UP_MAX = 600.0  # seconds
SETTLE = 60.0  # seconds for the server to notice that all have left
SLOPE_MAX = 1.0  # MB an hour
JUDGED = 1800.0  # seconds measured from which the slope counts
GROWTH_MAX = 8.0  # MB that a shorter run, which is all warm-up, may grow by

OPTIONS = (
    "--set",
    "wait.timeout=15",
    "--set",
    "wait.maxlen=2000",
    "--set",
    "presence.offline_timeout=2",
    "--set",
    "presence.event_chain_len=20",  # full when the warm-up ends, as histories are
)

REFUSED = (  # and each of them is answered or closed
    b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /?identifier=,,, HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n bad\r\n\r\n",
    b"x" * 3000,
)
COMMANDS = ("ONLINE", "ONLINE s1", "WATCH 11", "WATCH", "STATS")


@dataclass
class Count:
    """What went on, and what it left behind. Memory is the server's own: anonymous pages, in memory or swapped."""

    seconds: float = 0.0
    polls: int = 0
    answers: int = 0  # with messages
    hang_ups: int = 0  # by the client, in all ways
    refused: int = 0
    sends: int = 0
    errors: int = 0
    memory_mb: float = 0.0  # when the warm-up was over
    slope_mb_h: float = 0.0
    measured: float = 0.0  # seconds, after the warm-up
    server_cpu: float = 0.0  # of one core
    left_open: int = 0  # descriptors more than before the first listener came
    left_listening: int = 0  # polls and online ids that the server still knows of
    threads_more: int = 0

    @property
    def flawless(self) -> bool:
        left = self.left_open > 0 or self.left_listening or self.threads_more > 0
        worked = self.answers > 0 and self.sends > 0 and self.hang_ups > 0 and self.refused > 0
        grown = self.slope_mb_h * self.measured / 3600
        grows = self.slope_mb_h >= SLOPE_MAX if self.measured >= JUDGED else grown >= GROWTH_MAX
        return worked and not (self.errors or left or grows)


def run(*, seconds: float = 3600.0, listeners: int = LISTENERS, seed: int = 1) -> Count:
    """`seconds`: how long, with the warm-up: a sixth of it, ten minutes at most."""
    count = Count()
    warm_up = min(WARM_UP_MAX, seconds / 6)
    with started_rplx(*OPTIONS) as target:
        town = Town(parse_address(target.wait), parse_address(target.in_), count, random.Random(seed))
        town.visit()
        before = _state(target.pid)
        begin = time.monotonic()
        people = [gevent.spawn(town.listen, number) for number in range(listeners)]
        people += [gevent.spawn(town.send) for _ in range(BACK_ENDS)]
        people += [gevent.spawn(town.ask), gevent.spawn(town.stray)]
        try:
            _rest(warm_up, people)
            samples = _samples(target.pid, seconds - warm_up, people)
        finally:
            gevent.killall(people)
        count.seconds = time.monotonic() - begin
        count.measured = samples[-1][0] - samples[0][0]
        count.memory_mb = samples[0][1]
        count.slope_mb_h = slope(samples) * 3600
        count.server_cpu = (_state(target.pid).cpu - before.cpu) / count.seconds
        town.leave()

        with contextlib.suppress(AssertionError):
            eventually(town.known, 0, SETTLE)
            # Nobody asks any more, so that no connection of whoever asks is counted.
            eventually(lambda: _state(target.pid).descriptors <= before.descriptors, True, SETTLE)
        after = _state(target.pid)
        count.left_open = after.descriptors - before.descriptors
        count.threads_more = after.threads - before.threads
        count.left_listening = town.known()
    return count


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """Of the straight line that lies nearest to the points (x, y), by least squares."""
    x_mean = sum(x for x, _ in samples) / len(samples)
    y_mean = sum(y for _, y in samples) / len(samples)
    spread = sum((x - x_mean) ** 2 for x, _ in samples)
    return sum((x - x_mean) * (y - y_mean) for x, y in samples) / spread if spread else 0.0


class Town:
    """All the clients of one server. `leave` has them close what is still open."""

    def __init__(self, wait: Address, in_: Address, count: Count, chance: random.Random) -> None:
        self._wait = wait
        self._in = in_
        self._count = count
        self._chance = chance
        self._open: set[Listener | BackEnd] = set()

    def visit(self) -> None:
        """One of each kind, so that all that the server loads or opens once is there."""
        listener = Listener(self._wait)
        listener.poll({"s0": None}, query="&position")
        listener.drop(hard=False)
        for request in REFUSED:
            self._refused(request)
        back_end = BackEnd(self._in)
        back_end.send("s0", "1")
        back_end.ask(*COMMANDS)
        back_end.close()
        self._send_plainly("s0", b"1")

    def listen(self, number: int) -> None:
        """One listener after another in the same place."""
        chance = self._chance
        while True:
            listener = Listener(self._wait, chance.choice(FORMS))
            self._open.add(listener)
            prefix, channels = ("q", QUIET_CHANNELS) if number % 10 == 0 else ("s", CHANNELS)
            ids = chance.sample([f"{prefix}{id}" for id in range(channels)], chance.randrange(1, 4))
            self._follow(listener, dict.fromkeys(ids), chance.randrange(1, ROUNDS_MAX))
            listener.drop(hard=chance.random() < 0.3)
            self._open.discard(listener)
            gevent.sleep(chance.random())

    def _follow(self, listener: Listener, cursors: dict[str, str | None], rounds: int) -> None:
        chance = self._chance
        for _ in range(rounds):
            self._count.polls += 1
            patience = chance.random() * 1.5 if chance.random() < 0.2 else None
            take = chance.randrange(1, 600) if chance.random() < 0.05 else None
            try:
                answer = listener.poll(cursors, patience=patience, take=take, hard=chance.random() < 0.5)
            except Dropped:
                self._count.hang_ups += 1
                continue
            except OSError:
                self._count.errors += 1
                gevent.sleep(1)
                continue
            self._count.answers += bool(answer.blocks)
            self._count.errors += answer.status != 200
            for found, _ in answer.blocks:
                cursors.update(found)
            if chance.random() < 0.1:
                gevent.sleep(chance.random() * 3)  # comes back later, and finds history

    def send(self) -> None:
        """A back-end: mostly on a kept connection, at times on one of its own, in plain text."""
        chance = self._chance
        while True:
            back_end = BackEnd(self._in)
            self._open.add(back_end)
            for _ in range(chance.randrange(1, 100)):
                gevent.sleep(SEND_EVERY * chance.random() * 2)
                ids = ",".join(chance.sample([f"s{id}" for id in range(CHANNELS)], chance.randrange(1, 3)))
                if chance.random() < 0.1:
                    ids += f",*s{chance.randrange(CHANNELS)}"
                text = f'"{"x" * chance.randrange(PAYLOAD_MAX)}"'
                self._guarded(back_end.send, ids, text)
                self._count.sends += 1
                if chance.random() < 0.2:
                    self._guarded(self._send_plainly, ids, text.encode())
            back_end.close()
            self._open.discard(back_end)

    def ask(self) -> None:
        """A back-end that looks who is there."""
        back_end = BackEnd(self._in)
        self._open.add(back_end)
        while True:
            gevent.sleep(1)
            self._guarded(back_end.ask, self._chance.choice(COMMANDS))

    def stray(self) -> None:
        """Who sends what is no poll."""
        while True:
            gevent.sleep(0.5)
            self._guarded(self._refused, self._chance.choice(REFUSED))

    def _guarded(self, act: Callable[..., object], *arguments: object) -> None:
        try:
            act(*arguments)
        except OSError:
            self._count.errors += 1

    def _refused(self, request: bytes) -> None:
        sock = connect(self._wait)
        try:
            sock.sendall(request)
            while sock.recv(4096):
                pass
            self._count.refused += 1
        finally:
            sock.close()

    def _send_plainly(self, ids: str, text: bytes) -> None:
        sock = connect(self._in)
        try:
            sock.sendall(f"identifier={ids}\n\n".encode() + text)
            sock.shutdown(1)
            while sock.recv(4096):
                pass
            self._count.sends += 1
        finally:
            sock.close()

    def leave(self) -> None:
        for client in self._open:
            client.drop(hard=False) if isinstance(client, Listener) else client.close()
        self._open.clear()

    def known(self) -> int:
        """Polls and online ids that the server knows of."""
        back_end = BackEnd(self._in)
        stats, online = back_end.ask("STATS", "ONLINE")
        back_end.end()  # else the server might still have its descriptor when they are counted
        polls = stats.partition("[pairs_by_fhs]")[2].split("\n")
        return sum("=>" in line for line in polls) + online.count("\n")


@dataclass(frozen=True)
class _State:
    """What the system knows of a process."""

    memory_mb: float
    descriptors: int
    threads: int
    cpu: float  # seconds


def _state(pid: int) -> _State:
    status = Path(f"/proc/{pid}/status").read_text()
    found = {
        name: int(value) for name, value in re.findall(r"^(RssAnon|VmSwap|Threads):\s+(\d+)", status, re.MULTILINE)
    }
    # Pages of files are left out: how many of them count depends on what else runs on the machine.
    memory = (found["RssAnon"] + found["VmSwap"]) / 1024
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return _State(memory, len(os.listdir(f"/proc/{pid}/fd")), found["Threads"], cpu)


def _samples(pid: int, seconds: float, people: Sequence[gevent.Greenlet]) -> list[tuple[float, float]]:
    """Times in seconds and the memory in MB then."""
    found = []
    for _ in range(SAMPLES):
        _rest(seconds / SAMPLES, people)
        found.append((time.monotonic(), _state(pid).memory_mb))
    return found


def _rest(seconds: float, people: Sequence[gevent.Greenlet]) -> None:
    """Lets them go on; raises what ended one of them."""
    gevent.sleep(seconds)
    for person in people:
        if person.ready():
            person.get()
