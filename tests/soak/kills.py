"""A server is killed under load and started again: is everybody told that it may have missed something?"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import gevent

from tests.soak.clients import Address, BackEnd, Listener
from tests.soak.event_streams import StreamListener
from tests.soak.sockets import SocketListener
from tests.waiting import eventually

CHANNELS = 10
BACK_WITHIN = 60.0  # seconds for all listeners to be there again
AFTER = 30  # messages that are sent when all is over
# Listeners that ask for a server that is away must not meet themselves: from an address of its own no connection can
# end where it begins.
SOURCE = "127.0.0.2"


MAKERS: tuple[Callable[[Address], Listener], ...] = (
    lambda address: Listener(address, "kept", source=SOURCE),
    lambda address: Listener(address, "closed", source=SOURCE),
    lambda address: StreamListener(address, source=SOURCE),
    lambda address: SocketListener(address, random.Random(1), source=SOURCE),
)


@dataclass
class Count:
    """`listeners`: resumes, over all kills; `told` of a gap in all of their channels, `told_again` without need."""

    kills: int = 0
    listeners: int = 0
    told: int = 0
    told_again: int = 0
    lost_after: int = 0

    @property
    def flawless(self) -> bool:
        right = not (self.told_again or self.lost_after)
        return right and self.listeners > 0 and self.told == self.listeners


def run(*, kills: int, listeners: int) -> Count:
    """The server is killed (-9) under load and started again at the same addresses."""
    from tests.live import LiveServer

    count = Count(kills)
    server = LiveServer()
    wait, in_ = server.wait, server.in_
    crowd = [_Resumer(wait, number, count) for number in range(listeners)]
    running = [gevent.spawn(resumer.run) for resumer in crowd]
    try:
        for _ in range(kills):
            publishing = gevent.spawn(_publish, in_, lambda: False)
            start = [resumer.received for resumer in crowd]
            while any(resumer.received < before + 3 for resumer, before in zip(crowd, start, strict=True)):
                gevent.sleep(0.01)
            for resumer in crowd:
                resumer.away = False
            server.process.kill()
            server.process.wait()
            publishing.join()
            # Until then answers of the killed server are still being read.
            eventually(
                lambda: all(resumer.away for resumer in crowd),
                timeout=BACK_WITHIN,
                told=lambda: "the server's end is noticed",
            )
            for resumer in crowd:
                resumer.told = None
            server = LiveServer("--wait", "%s:%d" % wait, "--in", "%s:%d" % in_, addresses=False)
            eventually(
                lambda: all(resumer.told is not None for resumer in crowd),
                timeout=BACK_WITHIN,
                told=lambda: "all have come back",
            )
            count.listeners += listeners
            count.told += sum(resumer.told == resumer.names for resumer in crowd)
        count.lost_after = _lost_after(in_, crowd)
    finally:
        gevent.killall(running)
        server.stop()
    return count


def _lost_after(in_: Address, crowd: list[_Resumer]) -> int:
    """What is sent from now on reaches everybody again, from the cursors of before."""
    for resumer in crowd:
        resumer.texts.clear()
    stop = iter([False] * AFTER)
    _publish(in_, lambda: next(stop, True))
    lost = lambda: sum(resumer.lost() for resumer in crowd)  # noqa: E731
    with contextlib.suppress(AssertionError):
        eventually(lost, 0, BACK_WITHIN)
    return lost()


class _Resumer:
    """An HTTP listener of two channels. `told`: the gap of its first answer after the kill, None until it is there."""

    def __init__(self, address: Address, number: int, count: Count) -> None:
        self.names = frozenset((f"k{number % CHANNELS}", f"k{(number + 3) % CHANNELS}"))
        self._listener = MAKERS[number % len(MAKERS)](address)
        self._cursors: dict[str, str | None] = dict.fromkeys(self.names)
        self._count = count
        self.received = 0
        self.away = False  # it has met no server
        self.told: frozenset[str] | None = frozenset()
        self.texts: list[str] = []

    def run(self) -> None:
        asked = "&position"  # so that it has a cursor everywhere before it waits
        while True:
            try:
                answer = self._listener.poll(self._cursors, query=asked)
            except OSError:  # the server is away
                self.away = True
                asked = "&position"
                gevent.sleep(0.02)
                continue
            asked = ""
            if self.told is None:
                self.told = answer.gaps
                for id in answer.gaps:  # it has been told, and goes on from here
                    self._cursors[id] = answer.position
            else:
                self._count.told_again += bool(answer.gaps)
            for id, cursor in self._cursors.items():
                self._cursors[id] = cursor or answer.position
            for ids, text in answer.blocks:
                self.received += 1
                self.texts.append(text)
                self._cursors.update(ids)

    def lost(self) -> int:
        return sum(self.texts.count(f'"{number}"') != 1 for number in range(AFTER))


def _publish(in_: Address, ended: Callable[[], bool]) -> None:
    """Sends to all channels at once, until `ended` or the server is gone."""
    ids = ",".join(f"k{number}" for number in range(CHANNELS))
    try:
        back_end = BackEnd(in_)
        for number in itertools.count():
            if ended():
                break
            back_end.send(ids, f'"{number}"')
            gevent.sleep(0.01)
        back_end.close()
    except OSError:
        pass
