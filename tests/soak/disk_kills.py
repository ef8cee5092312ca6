"""A server with its history on disk is killed again and again under load: is all there that it has acknowledged?"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import gevent

from tests.live import LiveServer
from tests.soak.clients import Address, BackEnd, Listener, connect, marker
from tests.soak.presence import Watcher
from tests.waiting import eventually

PUBLISHERS = 8  # each sends to the channel of its number and to the next one
AHEAD_MAX = 10  # sends of one segment
PAUSE = 0.02  # seconds between two segments
AGAIN_AFTER = 0.02  # seconds before somebody who met no server asks again
ALIVE_MAX = 2.0  # seconds until a kill, from the moment at which the server listens
STARTING_MAX = 0.8  # seconds until a process is killed that has just been started
STARTING_EVERY = 5  # kills of which one strikes such a process, too
COMERS, COMERS_IDS = 10, 200  # listeners that come and go, and the channels in which they do
STAY_MAX = 0.3  # seconds
GRACE = 0.3  # seconds
BACK_WITHIN = 120.0  # seconds for all to have what they miss
# Those who ask for a server that is away must not meet themselves, see tests/soak/kills.py.
SOURCE = "127.0.0.2"
CHANNELS = [f"c{number}" for number in range(PUBLISHERS)]
OPTIONS = ("server.drain=0", f"presence.offline_timeout={GRACE}")
EVENTS = "presence.event_chain_len=20000"


@dataclass
class Count:
    """Messages count once for each of their channels. `kept`: how many the server keeps in each.

    `lost`: acknowledged and not there in the end, or there beyond those kept, `moved`: there at another cursor than the
    receipt's, `invented`: there and never sent, `taken_back`: delivered and not there, `undelivered`: acknowledged, and
    not in time at each listener. `gaps`: answers that told of one. `differed`: as in `presence`.
    """

    kills: int = 0
    kept: int = 0
    acknowledged: int = 0
    stored: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    moved: int = 0
    invented: int = 0
    taken_back: int = 0
    undelivered: int = 0
    gaps: int = 0
    events: int = 0
    looks: int = 0
    differed: int = 0

    @property
    def flawless(self) -> bool:
        faults = self.lost + self.doubled + self.reordered + self.moved + self.invented + self.taken_back
        faults += self.undelivered + self.gaps + self.differed
        return self.kills > 0 and self.acknowledged > 0 and self.events > 0 and self.looks > 0 and not faults


def run(*, kills: int, listeners: int, sync: str, kept: int = 1_000_000, seed: int = 1) -> Count:
    """The server is killed (-9) at random moments, also while it starts, and started again at the same addresses."""
    count = Count(kills, kept)
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        where = (f"engine.url=sqlite:///{folder}/history.db", f"engine.sync={sync}", f"history.max_messages={kept}")
        given = (*where, *OPTIONS, EVENTS)
        options = [word for option in given for word in ("--set", option)]
        server = LiveServer(*options)
        wait, in_ = server.wait, server.in_
        own = ("--wait", "%s:%d" % wait, "--in", "%s:%d" % in_, *options)
        publishers = [_Publisher(in_, number) for number in range(PUBLISHERS)]
        crowd = [_Follower(wait, number, count) for number in range(listeners)]
        watcher = Watcher(in_, count)
        running = [gevent.spawn(one.run) for one in crowd]
        running += [gevent.spawn(_come_and_go, wait, random.Random(seed + number)) for number in range(COMERS)]
        running.append(gevent.spawn(_watch, watcher, in_))
        try:
            eventually(lambda: all(follower.has_entered for follower in crowd))
            sending = [gevent.spawn(publisher.run) for publisher in publishers]
            running += sending
            for number in range(kills):
                gevent.sleep(chance.uniform(0.0, ALIVE_MAX))
                server.process.kill()
                server.process.wait()
                if number % STARTING_EVERY == STARTING_EVERY - 1:
                    _kill_while_starting(own, chance.uniform(0.1, STARTING_MAX))
                server = LiveServer(*own, addresses=False)
            eventually(lambda: all(publisher.is_there for publisher in publishers), timeout=BACK_WITHIN)
            gevent.killall(sending)
            _settle(crowd, publishers, count)
            looks = count.looks  # one more, on the server of the last start
            eventually(lambda: count.looks > looks, timeout=BACK_WITHIN)
            _judge(_history(wait), crowd, publishers, count)
        finally:
            gevent.killall(running)
            server.stop()
    return count


def _kill_while_starting(arguments: Sequence[str], seconds: float) -> None:
    command = [sys.executable, "-m", "rplx", "serve", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    gevent.sleep(seconds)
    process.kill()
    process.wait()


class _Publisher:
    """Sends numbered messages, some ahead of their receipts. What has no receipt is not sent again.

    `receipts` has the cursors by text; `sent` is how many were sent, `is_there` whether the last connection lives.
    """

    def __init__(self, in_: Address, number: int) -> None:
        self._in = in_
        self.number = number
        self._chance = random.Random(number)
        self.ids = (CHANNELS[number], CHANNELS[(number + 1) % PUBLISHERS])
        self.sent = 0
        self.receipts: dict[str, dict[str, str]] = {}
        self.is_there = False

    def run(self) -> None:
        while True:
            with contextlib.suppress(OSError), contextlib.closing(BackEnd(self._in, source=SOURCE)) as back_end:
                while True:
                    self._send(back_end)
                    self.is_there = True
                    gevent.sleep(PAUSE)
            self.is_there = False
            gevent.sleep(AGAIN_AFTER)

    def _send(self, back_end: BackEnd) -> None:
        first, self.sent = self.sent, self.sent + self._chance.randint(1, AHEAD_MAX)
        texts = [f'"{self.number}-{number}"' for number in range(first, self.sent)]
        back_end.start((",".join(self.ids), text.encode()) for text in texts)
        for text in texts:
            (self.receipts[text],) = back_end.finish(1)


class _Follower:
    """Listens to two channels, whatever happens, and goes on with its cursors. `seen`: (cursor, text) by channel."""

    def __init__(self, wait: Address, number: int, count: Count) -> None:
        self.ids = (CHANNELS[number % PUBLISHERS], CHANNELS[(number + 3) % PUBLISHERS])
        self._listener = Listener(wait, "closed" if number % 2 else "kept", source=SOURCE)
        self._cursors: dict[str, str | None] = dict.fromkeys(self.ids)
        self._count = count
        self.seen: dict[str, list[tuple[str, str]]] = {id: [] for id in self.ids}

    @property
    def has_entered(self) -> bool:
        return None not in self._cursors.values()

    def run(self) -> None:
        while True:
            try:
                answer = self._listener.poll(self._cursors, query="" if self.has_entered else "&position")
            except OSError:
                gevent.sleep(AGAIN_AFTER)
                continue
            if answer.status != 200:  # history is being read
                gevent.sleep(AGAIN_AFTER)
                continue
            self._count.gaps += bool(answer.gaps)
            if not self.has_entered:
                self._cursors = dict.fromkeys(self.ids, answer.position)
            for ids, text in answer.blocks:
                for id, cursor in ids.items():
                    self.seen[id].append((cursor, text))
                self._cursors.update(ids)


def _come_and_go(wait: Address, chance: random.Random) -> None:
    while True:
        ids = {f"q{chance.randrange(COMERS_IDS)}" for _ in range(chance.randint(1, 3))}
        with contextlib.suppress(OSError), contextlib.closing(connect(wait, source=SOURCE)) as sock:
            sock.sendall(f"GET /?{marker(dict.fromkeys(ids))} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            gevent.sleep(chance.uniform(0.0, STAY_MAX))
        gevent.sleep(AGAIN_AFTER)


def _watch(watcher: Watcher, in_: Address) -> None:
    while True:
        try:
            watcher.look()
            gevent.sleep(PAUSE)
        except OSError:
            gevent.sleep(AGAIN_AFTER)
            with contextlib.suppress(OSError):
                watcher.reconnect(in_, SOURCE)


def _acknowledged(publishers: Iterable[_Publisher]) -> dict[str, dict[str, str]]:
    """The cursor of each acknowledged message, by its channel and its text."""
    found: dict[str, dict[str, str]] = {id: {} for id in CHANNELS}
    for publisher in publishers:
        for text, cursors in publisher.receipts.items():
            for id, cursor in cursors.items():
                found[id][text] = cursor
    return found


def _settle(crowd: Sequence[_Follower], publishers: Sequence[_Publisher], count: Count) -> None:
    """All listeners have what was acknowledged, in time."""
    acknowledged = _acknowledged(publishers)

    def missing() -> int:
        texts = [(id, {text for _, text in follower.seen[id]}) for follower in crowd for id in follower.ids]
        return sum(len(acknowledged[id].keys() - seen) for id, seen in texts)

    with contextlib.suppress(AssertionError):
        eventually(missing, 0, BACK_WITHIN)
    count.undelivered = missing()
    count.delivered = sum(len(seen) for follower in crowd for seen in follower.seen.values())


def _history(wait: Address) -> dict[str, list[tuple[str, str]]]:
    """All that is there, (cursor, text) by channel, as a listener gets it that comes with the cursor 0."""
    found: dict[str, list[tuple[str, str]]] = {id: [] for id in CHANNELS}
    listener = Listener(wait, "kept", source=SOURCE)
    for id, messages in found.items():
        cursors: dict[str, str | None] = {id: "0"}
        while blocks := listener.poll(cursors, query="&position").blocks:
            messages += [(ids[id], text) for ids, text in blocks]
            cursors = {id: messages[-1][0]}
    return found


def _judge(
    history: dict[str, list[tuple[str, str]]],
    crowd: Sequence[_Follower],
    publishers: Sequence[_Publisher],
    count: Count,
) -> None:
    acknowledged = _acknowledged(publishers)
    sent = {text for one in publishers for text in (f'"{one.number}-{at}"' for at in range(one.sent))}
    for id, messages in history.items():
        there = {text: cursor for cursor, text in messages}
        floor = float(messages[0][0]) if len(messages) >= count.kept else 0.0  # older ones have made room
        wanted = {text: cursor for text, cursor in acknowledged[id].items() if float(cursor) >= floor}
        count.acknowledged += len(acknowledged[id])
        count.stored += len(messages)
        count.lost += len(wanted.keys() - there.keys()) + max(len(messages) - count.kept, 0)
        count.moved += sum(there.get(text, cursor) != cursor for text, cursor in wanted.items())
        count.invented += len(there.keys() - sent)
        _judge_order(messages, count)
        for follower in crowd:
            if id in follower.ids:
                seen = {text for cursor, text in follower.seen[id] if float(cursor) >= floor}
                count.taken_back += len(seen - there.keys())
                _judge_order(follower.seen[id], count)


def _judge_order(messages: Sequence[tuple[str, str]], count: Count) -> None:
    """Counts what is doubled and what came before something that was sent earlier."""
    count.doubled += len(messages) - len({text for _, text in messages})
    last: dict[str, int] = {}  # by publisher
    newest = 0.0
    for cursor, text in messages:
        publisher, _, number = text.strip('"').partition("-")
        count.reordered += int(number) <= last.get(publisher, -1) or float(cursor) <= newest
        last[publisher] = int(number)
        newest = float(cursor)
