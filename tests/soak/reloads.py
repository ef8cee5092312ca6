"""Reloads under load, with good and bad files: is anybody dropped, and which settings are in force?"""

from __future__ import annotations

import itertools
import re
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gevent

from tests.live import LiveServer
from tests.soak.clients import BackEnd, Listener, connect
from tests.soak.crowd import Crowd, http
from tests.waiting import eventually

BASE = 20  # wait.max_ids of the first good file; each further one allows one more
BAD = (
    '[wait]\nmax_ids = "many"\n',
    "[wait]\nmax_ids = 0\n",
    "[wait]\nno_such_option = 1\n",
    "[wait\n",
    '[hooks]\ncheck_visibility = "no_such_module:f"\n',
    '[users]\nfile = "/no/such/file"\n',
)
FOLLOWERS = 20
PATIENCE = 60.0


@dataclass
class Count:
    """`explained`: bad files whose fault the log names. `lost`: messages; `errors`: polls and sends that failed."""

    good: int = 0
    applied: int = 0
    bad: int = 0
    kept: int = 0
    explained: int = 0
    dropped: int = 0  # listeners that were parked all the time
    sent: int = 0
    lost: int = 0
    errors: int = 0

    @property
    def flawless(self) -> bool:
        right = self.applied == self.good > 0 and self.kept == self.explained == self.bad > 0
        return right and self.sent > 0 and not (self.dropped or self.lost or self.errors)


def run(*, times: int, listeners: int) -> Count:
    """`listeners` are parked all the time, others follow what a back-end sends."""
    count = Count()
    with tempfile.TemporaryDirectory(prefix="rplx-soak-") as directory:
        file = Path(directory, "rplx.toml")
        file.write_text(_good(BASE))
        with LiveServer("--config", str(file)) as server, Crowd(server.wait) as crowd:
            crowd.park(listeners, http("1.0", "parked"))
            texts: list[str] = []
            followers = [_Follower(server, count) for _ in range(FOLLOWERS)]
            following = [gevent.spawn(follower.follow) for follower in followers]
            ended = False
            publishing = gevent.spawn(_publish, server, texts, lambda: ended, count)
            allowed = BASE
            for number in range(times):
                bad = BAD[number // 2 % len(BAD)] if number % 2 else ""
                allowed += not bad
                file.write_text(bad or _good(allowed))
                _reload(server, count, bad=bool(bad))
                in_force = _max_ids(server) == allowed
                count.good, count.applied = count.good + (not bad), count.applied + (in_force and not bad)
                count.bad, count.kept = count.bad + bool(bad), count.kept + (in_force and bool(bad))
            ended = True
            publishing.join()
            eventually(
                lambda: all(follower.texts == texts for follower in followers),
                timeout=PATIENCE,
                told=lambda: "all is delivered",
            )
            gevent.killall(following)
            count.lost = sum(len(set(texts) - set(follower.texts)) for follower in followers)
            crowd.look()
            count.dropped = sum(bool(member.end) for member in crowd.members)
    return count


def _good(max_ids: int) -> str:
    return f"[wait]\nmax_ids = {max_ids}\n[history]\nmax_messages = 1000\n"


def _reload(server: LiveServer, count: Count, *, bad: bool) -> None:
    seen = len(server.log)
    server.process.send_signal(signal.SIGHUP)
    last = "the old configuration stays in force" if bad else "Option wait.max_ids is changed"
    eventually(lambda: any(last in line for line in server.log[seen:]), timeout=PATIENCE, told=lambda: last)
    count.explained += bad and any("ERROR: " in line and last not in line for line in server.log[seen:])


def _max_ids(server: LiveServer) -> int:
    """The value in force: what a poll of too many channels is told."""
    sock = connect(server.wait)
    ids = ",".join(f"n{number}" for number in range(500))
    sock.sendall(http("1.0", ids))
    answer = b""
    while part := sock.recv(4096):
        answer += part
    sock.close()
    match = re.search(rb"more than (\d+) channels", answer)
    return int(match[1]) if match else 0


class _Follower:
    def __init__(self, server: LiveServer, count: Count) -> None:
        self._listener = Listener(server.wait)
        self._cursors: dict[str, str | None] = {"news": self._listener.poll({"news": None}, query="&position").position}
        self._count = count
        self.texts: list[str] = []

    def follow(self) -> None:
        while True:
            try:
                answer = self._listener.poll(self._cursors)
            except OSError:
                self._count.errors += 1
                continue
            for ids, text in answer.blocks:
                self._cursors.update(ids)
                self.texts.append(text)


def _publish(server: LiveServer, texts: list[str], ended: Callable[[], bool], count: Count) -> None:
    """Sends on a kept connection, and now and then on a new one."""
    back_end = BackEnd(server.in_)
    for number in itertools.count():
        if ended():
            break
        if number % 10 == 9:
            back_end.close()
            back_end = BackEnd(server.in_)
        try:
            back_end.send("news", f'"{number}"')
            texts.append(f'"{number}"')
            count.sent += 1
        except OSError:
            count.errors += 1
        gevent.sleep(0.005)
    back_end.close()
