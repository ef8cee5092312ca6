"""Listeners connect, hang up and are cut off: do WATCH's events, replayed, give what ONLINE says?"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import gevent
from gevent import socket
from gevent.event import Event

from tests.soak.clients import Address, BackEnd, connect, marker, reset
from tests.waiting import eventually

OPTIONS = ("--set", "presence.offline_timeout=0.3", "--set", "presence.event_chain_len=20000")
ACTORS = 60
BUSY, QUIET = 500, 20_000  # channels that several listen to at a time, and those that go offline nearly every time
LISTENERS_EACH = 5  # at once
SETTLE = 60.0  # seconds, at most: the grace time, and the server's look at what time has brought
LOOK_EVERY = 0.02  # seconds between two looks of the watcher


@dataclass
class Count:
    """`differed`: looks at which ONLINE gave another set of ids than the events before it, replayed.

    Ids that had an event right behind those may be in either.
    """

    actions: int = 0
    events: int = 0
    looks: int = 0
    differed: int = 0
    wrong_counts: int = 0  # ids whose number of connections was wrong once all had settled
    left_over: int = 0  # ids online when nobody listened any more

    @property
    def flawless(self) -> bool:
        return self.events > 0 and self.looks > 0 and not (self.differed or self.wrong_counts or self.left_over)


class Looks(Protocol):
    """The figures of a Count that a Watcher keeps."""

    events: int
    looks: int
    differed: int


def _position(event: str) -> int:
    return int(event.partition(" ")[2].partition(":")[0])


def _id(event: str) -> str:
    return event.partition(":")[2]


class Watcher:
    """Follows WATCH and compares with ONLINE, asked in one segment between two WATCH from the same position.

    A server that has long been at it, on a busy machine, rests within an answer, and then things happen in between.
    """

    def __init__(self, in_: Address, count: Looks) -> None:
        self._back_end = BackEnd(in_)
        self._count = count
        self._position = self._back_end.ask("WATCH")[0].split(" ")[1].partition(":")[0]
        self._ids: set[str] = set()

    def reconnect(self, in_: Address, source: str = "") -> None:
        """Goes on from its position on another connection. Errors: OSError."""
        self._back_end.close()
        self._back_end = BackEnd(in_, source=source)

    def look(self) -> dict[str, int]:
        """Online ids and their counts."""
        watch = f"WATCH {self._position}"
        before, online, after = map(str.splitlines, self._back_end.ask(watch, "ONLINE", watch))
        known = _position(before[-1]) if before else int(self._position)
        since = [event for event in after if _position(event) > known]
        changed = set(map(_id, since))  # of several changes of one id only the latest is told (part 3)
        kept = [event for event in before if _id(event) not in changed]
        assert after == kept + since, f"events have changed:\n{before}\n{after}"
        self._replay(before)
        counts = {id: int(number) for id, number in (line.split(" ") for line in online)}
        differing = set(counts) ^ self._ids
        self._count.looks += 1
        self._count.differed += not differing <= self._replay(since)
        return counts

    def _replay(self, events: Sequence[str]) -> set[str]:
        """Applies these lines of WATCH; gives the ids that are in them."""
        seen = set()
        for event in events:
            kind, _, rest = event.partition(" ")
            self._position, _, id = rest.partition(":")
            (self._ids.add if kind == "online" else self._ids.discard)(id)
            seen.add(id)
            self._count.events += 1
        return seen

    def watch(self, ended: Event) -> None:
        while not ended.is_set():
            self.look()
            gevent.sleep(LOOK_EVERY)


class Actor:
    """Opens listeners and ends them in all ways. `held`: those that are there, with their ids."""

    def __init__(self, wait: Address, seed: int) -> None:
        self._wait = wait
        self._chance = random.Random(seed)
        self.held: list[tuple[socket.socket, Sequence[str]]] = []

    def act(self, actions: int, count: Count) -> None:
        for _ in range(actions):
            count.actions += 1
            if not self.held or (len(self.held) < LISTENERS_EACH and self._chance.random() < 0.5):
                self._come()
            else:
                self._go(*self.held.pop(self._chance.randrange(len(self.held))))

    def _come(self) -> None:
        ids = list({self._channel() for _ in range(self._chance.randrange(1, 4))})
        sock = connect(self._wait)
        text = marker(dict.fromkeys(ids))
        form = self._chance.randrange(3)
        if form == 0:
            sock.sendall(f"{text}\n".encode())
        else:
            sock.sendall(f"GET /?{text} HTTP/1.{form - 1}\r\nHost: x\r\n\r\n".encode())
        if self._chance.random() < 0.1:  # ends before it is even heard
            reset(sock) if form else sock.close()
            return
        self.held.append((sock, ids))
        if form != 2:
            sock.recv(4096)  # the head: it is registered

    def _channel(self) -> str:
        if self._chance.random() < 0.5:
            return f"busy{self._chance.randrange(BUSY)}"
        return f"quiet{self._chance.randrange(QUIET)}"

    def _go(self, sock: socket.socket, _: Sequence[str]) -> None:
        way = self._chance.randrange(3)
        if way == 0:
            sock.close()
        elif way == 1:
            reset(sock)
        else:  # half-closed: it has hung up, and gets the end of its answer
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
            sock.close()

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for _, ids in self.held:
            for id in ids:
                found[id] = found.get(id, 0) + 1
        return found

    def leave(self) -> None:
        for sock, _ in self.held:
            sock.close()
        self.held = []


def run(*, actions: int, seed: int = 1) -> Count:
    """`actions`: listeners that come or go, in all."""
    from tests.live import LiveServer

    count = Count()
    with LiveServer(*OPTIONS) as server:
        watcher = Watcher(server.in_, count)
        ended = Event()
        watching = gevent.spawn(watcher.watch, ended)
        actors = [Actor(server.wait, seed + number) for number in range(ACTORS)]
        acting = [gevent.spawn(actor.act, -(-actions // ACTORS), count) for actor in actors]
        gevent.joinall(acting, raise_error=True)
        ended.set()
        watching.get()
        _settle(watcher, actors, count)
        for actor in actors:
            actor.leave()
        with contextlib.suppress(AssertionError):
            eventually(lambda: not watcher.look(), timeout=SETTLE, told=lambda: "the grace time")
        count.left_over = len(watcher.look())
    return count


def _settle(watcher: Watcher, actors: Sequence[Actor], count: Count) -> None:
    """Everybody who left has been noticed: now the counts have to be those of the listeners that are there."""
    expected: dict[str, int] = {}
    for actor in actors:
        for id, number in actor.counts().items():
            expected[id] = expected.get(id, 0) + number

    def right() -> bool:
        return {id: number for id, number in watcher.look().items() if number} == expected

    try:
        eventually(right, timeout=SETTLE, told=lambda: "the counts of those who listen")
    except AssertionError:
        found = watcher.look()
        count.wrong_counts = sum(found.get(id, 0) != expected.get(id, 0) for id in set(found) | set(expected))
