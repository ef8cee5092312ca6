"""Does the time of a refusal tell whether a login is known? Are polls answered while passwords are checked?"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import gevent
from gevent import socket
from passlib.hash import apr_md5_crypt, bcrypt, ldap_sha1

from tests.soak.clients import Address, Listener, connect

LOGINS = ("apr", "sha", "slow", "nobody", "stranger")  # the last two are in no users file
KNOWN = LOGINS[:3]
ROUNDS = 4  # of bcrypt: 1 ms
CHANCE = 2.22  # Kolmogorov and Smirnov's: what chance alone passes once in 10,000 runs
GUESSERS = 8  # connections that guess at once, each from an address of its own
SLOW_ROUNDS = 11  # of bcrypt: 100 ms and more
PROMPT_PARTS = 2 * GUESSERS  # of a refusal's time that a poll may take one: half a hash, however busy the machine is
POLL_EVERY = 0.005  # seconds between two polls
PATIENCE = 60.0  # seconds that a busy machine may take for the guesses


@dataclass
class Count:
    """How much more often than by chance the best threshold of time tells a known login from an unknown one."""

    refusals: int = 0
    wrong_answers: int = 0
    told_percent: float = 0.0
    chance_percent: float = 0.0  # what chance alone may give

    @property
    def sound(self) -> bool:
        return self.refusals > 0 and not self.wrong_answers

    @property
    def flawless(self) -> bool:
        return self.sound and self.told_percent < self.chance_percent


def judged(samples: Mapping[str, Sequence[float]], wrong_answers: int = 0) -> Count:
    """`samples`: seconds of each refusal by login."""
    unknown = sorted(seconds for login, found in samples.items() if login not in KNOWN for seconds in found)
    told = max(_distance(sorted(samples[login]), unknown) for login in KNOWN)
    few, many = len(samples[KNOWN[0]]), len(unknown)
    chance = CHANCE * ((few + many) / (few * many)) ** 0.5
    return Count(sum(map(len, samples.values())), wrong_answers, told * 100, chance * 100)


def run(*, samples: int, seed: int = 1) -> Count:
    """Wrong passwords for known and unknown logins, in random order, one at a time."""
    chance = random.Random(seed)
    found: dict[str, list[float]] = {login: [] for login in LOGINS}
    wrong_answers = 0
    with _server(ROUNDS) as (_, in_):
        order = [login for login in LOGINS for _ in range(samples // len(LOGINS))]
        chance.shuffle(order)
        for login in order:
            sock = connect(in_)
            begin = time.perf_counter()
            text = _refusal(sock, login, f"wrong{chance.random()}")
            found[login].append(time.perf_counter() - begin)
            expected = "invalid password for login: {}" if login in KNOWN else "unknown login: {}"
            wrong_answers += text != expected.format(login)
    return judged(found, wrong_answers)


@dataclass
class BusyCount:
    """Polls that were asked while passwords were checked."""

    polls: int = 0
    refusals: int = 0
    median_ms: float = 0.0  # of a poll
    refusal_ms: float = 0.0  # median of a refusal, with all guessers at work

    @property
    def sound(self) -> bool:
        return self.polls > 0 and self.refusals >= GUESSERS

    @property
    def flawless(self) -> bool:
        """Whether a poll waited for less than half a hash: with hashes in the loop it would wait for one to eight."""
        return self.sound and self.median_ms * PROMPT_PARTS < self.refusal_ms


def run_busy(*, seconds: float) -> BusyCount:
    """Polls that need no waiting, while guessers from several addresses keep the threads at work.

    They are counted once each guesser has been refused, for `seconds` at least, and until as many refusals came
    meanwhile: so that hashing is known to have gone on.
    """
    took: list[float] = []  # seconds of each refusal
    with _server(SLOW_ROUNDS) as (wait, in_):
        guessers = [gevent.spawn(_guess, in_, f"127.0.0.{number + 2}", took) for number in range(GUESSERS)]
        listener = Listener(wait)
        found = []
        end = time.monotonic() + PATIENCE
        while len(took) < GUESSERS and time.monotonic() < end:
            gevent.sleep(POLL_EVERY)
        before, least = len(took), time.monotonic() + seconds
        while time.monotonic() < least or (len(took) < before + GUESSERS and time.monotonic() < end):
            begin = time.perf_counter()
            listener.poll({"a": None}, query="&position")
            found.append(time.perf_counter() - begin)
            gevent.sleep(POLL_EVERY)
        gevent.killall(guessers)
    median, refusal = (statistics.median(times or [0.0]) * 1000 for times in (found, took[before:]))
    return BusyCount(len(found), len(took) - before, median, refusal)


def _guess(in_: Address, source: str, took: list[float]) -> None:
    while True:
        begin = time.perf_counter()
        _refusal(connect(in_, source=source), "slow", "wrong")
        took.append(time.perf_counter() - begin)


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
