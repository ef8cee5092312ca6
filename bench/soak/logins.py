"""Does the time of a refusal tell whether a login is known? Are polls answered while passwords are checked?

`python -m bench.soak.logins` prints the counts.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gevent
from gevent import socket
from passlib.hash import apr_md5_crypt, bcrypt, ldap_sha1

from bench.soak.clients import Address, Listener, connect

LOGINS = ("apr", "sha", "slow", "nobody", "stranger")  # the last two are in no users file
KNOWN = LOGINS[:3]
ROUNDS = 4  # of bcrypt: 1 ms
CHANCE = 2.22  # Kolmogorov and Smirnov's: what chance alone passes once in 10,000 runs
GUESSERS = 8  # connections that guess at once, each from an address of its own
SLOW_ROUNDS = 11  # of bcrypt: 100 ms and more
PROMPT = 0.05  # seconds within which a poll is answered: less than half a hash


@dataclass
class Count:
    """Seconds of each refusal by login, and how well they tell known logins from unknown ones."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    wrong_answers: int = 0

    @property
    def unknown(self) -> list[float]:
        return [seconds for login, found in self.samples.items() if login not in KNOWN for seconds in found]

    @property
    def advantage(self) -> float:
        """How much more often than by chance the best threshold of time would tell a known login from an unknown."""
        unknown = sorted(self.unknown)
        return max(_distance(sorted(self.samples[login]), unknown) for login in KNOWN)

    @property
    def flawless(self) -> bool:
        known, unknown = len(self.samples[KNOWN[0]]), len(self.unknown)
        if self.wrong_answers or not known or not unknown:
            return False
        return self.advantage < CHANCE * ((known + unknown) / (known * unknown)) ** 0.5

    def __str__(self) -> str:
        lines = [
            f"{login:10} {len(found):6} refusals, median {statistics.median(found) * 1e6:.1f} µs"
            for login, found in self.samples.items()
        ]
        told = f"the best threshold tells {self.advantage:.1%}, {self.wrong_answers} wrong answers"
        return "\n".join([*lines, f"{told}, flawless: {self.flawless}"])


def run(*, samples: int, seed: int = 1) -> Count:
    """Wrong passwords for known and unknown logins, in random order, one at a time."""
    chance = random.Random(seed)
    count = Count({login: [] for login in LOGINS})
    with _server(ROUNDS) as (_, in_):
        order = [login for login in LOGINS for _ in range(samples // len(LOGINS))]
        chance.shuffle(order)
        for login in order:
            sock = connect(in_)
            begin = time.perf_counter()
            text = _refusal(sock, login, f"wrong{chance.random()}")
            count.samples[login].append(time.perf_counter() - begin)
            expected = "invalid password for login: {}" if login in KNOWN else "unknown login: {}"
            count.wrong_answers += text != expected.format(login)
    return count


@dataclass
class BusyCount:
    """Polls that were asked while passwords were checked."""

    polls: int = 0
    refusals: int = 0
    median: float = 0.0  # seconds of a poll

    @property
    def flawless(self) -> bool:
        return self.polls > 0 and self.refusals > 0 and self.median < PROMPT


def run_busy(*, seconds: float) -> BusyCount:
    """Polls that need no waiting, while guessers from several addresses keep the threads at work."""
    count = BusyCount()
    with _server(SLOW_ROUNDS) as (wait, in_):
        guessers = [gevent.spawn(_guess, in_, f"127.0.0.{number + 2}", count) for number in range(GUESSERS)]
        gevent.sleep(0.5)
        listener = Listener(wait)
        found = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            listener.poll({"a": None}, query="&position")
            found.append(time.perf_counter() - begin)
            gevent.sleep(0.005)
        gevent.killall(guessers)
        count.polls = len(found)
        count.median = statistics.median(found)
    return count


def _guess(in_: Address, source: str, count: BusyCount) -> None:
    while True:
        _refusal(connect(in_, source=source), "slow", "wrong")
        count.refusals += 1


@contextmanager
def _server(rounds: int) -> Iterator[tuple[Address, Address]]:
    """A server with a users file of several forms of hashes, and no limit of failures."""
    from tests.live import LiveServer

    with tempfile.TemporaryDirectory() as folder:
        users = Path(folder) / "users"
        users.write_text(
            f"apr:{apr_md5_crypt.hash('pw')}\nsha:{ldap_sha1.hash('pw')}\n"
            f"slow:{bcrypt.using(rounds=rounds).hash('pw')}\n"
        )
        with LiveServer("--set", f"users.file={users}", "--set", "users.max_failures=0") as server:
            yield server.wait, server.in_


def _refusal(sock: socket.socket, login: str, password: str) -> str:
    """The text of the refusal of a send, which ends the connection."""
    marker = f"identifier={login}:{password}@{login}_a"
    sock.sendall(f"POST / HTTP/1.0\r\nX-Realplexor: {marker}\r\nContent-Length: 1\r\n\r\n1".encode())
    data = b""
    while part := sock.recv(65536):
        data += part
    sock.close()
    return data.partition(b"\r\n\r\n")[2].decode().strip()


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    """The greatest distance between the shares of two sorted lists that lie below the same value."""
    values = (*one, *other)
    return max(abs(bisect_right(one, value) / len(one) - bisect_right(other, value) / len(other)) for value in values)


if __name__ == "__main__":
    print(run(samples=10_000))
    print(run_busy(seconds=5))
