"""Many listeners follow many channels through forced reconnects: what is lost, doubled, out of order?"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import gevent

from tests.soak.clients import FORMS, Address, BackEnd, Dropped, Listener

PUBLISHERS = 4
BATCH = 250  # sends of a publisher that are under way at once: answers hold one message or a dozen
PATIENCE = 60.0  # seconds for the last messages to arrive
LAG_MAX = 400  # messages of a channel that a publisher may be ahead of a listener, with the history of HISTORY
HISTORY = 1000
LIMITED = 0.1  # of the messages have limiters
TAKING = 0.2  # seconds that a listener waits for the answer in the middle of which it hangs up
SHARED = 0.2  # go to more than one channel
LIMITERS = 10  # ids of a message that has them


@dataclass
class Channel:
    """One channel, as its only publisher knows it."""

    id: str
    sent: int = 0
    limited: dict[int, frozenset[str]] = field(default_factory=dict)  # message number -> who may see it
    followers: list[Follower] = field(default_factory=list)

    def visible(self, number: int, names: frozenset[str]) -> bool:
        return number not in self.limited or not self.limited[number].isdisjoint(names)

    def last_visible(self, names: frozenset[str]) -> int:
        number = self.sent
        while number and not self.visible(number, names):
            number -= 1
        return number


@dataclass
class Count:
    """What came out. `gaps`: answers that told of one."""

    sent: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    reordered: int = 0
    shown: int = 0  # to who may not see them
    gaps: int = 0
    reconnects: int = 0
    errors: int = 0
    seconds: float = 0.0

    @property
    def flawless(self) -> bool:
        return self.sent > 0 and not (
            self.lost or self.doubled or self.reordered or self.shown or self.gaps or self.errors
        )


class Follower:
    """A listener that goes on from the cursors it was told, and counts what is wrong with what it gets."""

    def __init__(
        self,
        address: Address,
        form: str,
        channels: Sequence[Channel],
        position: str,
        chance: random.Random,
        count: Count,
    ) -> None:
        self.listener = Listener(address, form)
        self.names = frozenset(channel.id for channel in channels)
        self.channels = {channel.id: channel for channel in channels}
        self.cursors: dict[str, str | None] = dict.fromkeys(self.channels, position)
        self.seen = dict.fromkeys(self.channels, 0)  # the number of the newest message of each channel
        self.missing: set[tuple[str, int]] = set()
        self.drops = 0
        self._chance = chance
        self._count = count
        for channel in channels:
            channel.followers.append(self)

    def follow(self, load: Load) -> None:
        """Polls for ever; hangs up as often as `load` wants it."""
        while True:
            if self.drops < load.drops_due():
                self._drop()
                continue
            try:
                answer = self.listener.poll(self.cursors)
            except OSError:
                self._count.errors += 1
                gevent.sleep(0.1)
                continue
            self._count.gaps += bool(answer.gaps)
            for ids, text in answer.blocks:
                self._take(ids, json.loads(text))

    def _drop(self) -> None:
        """Ends a connection in the middle of a poll; what has come of the answer is thrown away."""
        chance = self._chance
        self.drops += 1
        self._count.reconnects += 1
        way = chance.randrange(3)
        try:
            if way == 0:
                take = chance.randrange(1, 800)
                self.listener.poll(self.cursors, take=take, patience=TAKING, hard=chance.random() < 0.5)
            else:
                self.listener.poll(self.cursors, patience=chance.random() * 0.02, hard=way == 1)
        except Dropped:
            pass
        except OSError:
            self._count.errors += 1
        else:  # the answer was quicker; it is thrown away too
            self.listener.drop(hard=way == 1)

    def _take(self, ids: dict[str, str], numbers: dict[str, int]) -> None:
        for id, cursor in ids.items():
            number, last = numbers[id], self.seen[id]
            channel = self.channels[id]
            self._count.delivered += 1
            self.cursors[id] = cursor
            self._count.shown += not channel.visible(number, self.names)
            if number > last:
                if number > last + 1:
                    between = range(last + 1, number)
                    self.missing |= {(id, skipped) for skipped in between if channel.visible(skipped, self.names)}
                self.seen[id] = number
            elif (id, number) in self.missing:
                self.missing.discard((id, number))
                self._count.reordered += 1
            else:
                self._count.doubled += 1

    def behind(self) -> int:
        """Messages that it still has to get."""
        count = 0
        for id, channel in self.channels.items():
            last = channel.last_visible(self.names)
            if self.seen[id] < last:
                count += sum(channel.visible(number, self.names) for number in range(self.seen[id] + 1, last + 1))
        return count


class Load:
    """Publishers and followers at work. `run` gives the count."""

    def __init__(
        self, wait: Address, in_: Address, *, messages: int, channels: int, listeners: int, reconnects: int, seed: int
    ) -> None:
        self._messages = messages
        self._drops_each = -(-reconnects // listeners)
        self._in = in_
        self._chance = random.Random(seed)
        self.count = Count()
        self.channels = [Channel(f"c{number}") for number in range(channels)]
        position = Listener(wait).poll({"c0": None}, query="&position").position
        self.followers = [
            Follower(wait, FORMS[number % 3], self._some_channels(number), position, self._chance, self.count)
            for number in range(listeners)
        ]

    def _some_channels(self, number: int) -> list[Channel]:
        """One to three; every channel has a listener as long as there are enough of them."""
        first = self.channels[number % len(self.channels)]
        others = self._chance.sample(self.channels, self._chance.randrange(3))
        return list({channel.id: channel for channel in (first, *others)}.values())

    def drops_due(self) -> int:
        """How often each follower has to have hung up by now."""
        return self._drops_each * min(self.count.sent, self._messages) // self._messages

    def run(self) -> Count:
        begin = time.monotonic()
        following = [gevent.spawn(follower.follow, self) for follower in self.followers]
        publishing = [gevent.spawn(self._publish, number) for number in range(PUBLISHERS)]
        try:
            gevent.joinall(publishing, raise_error=True)
            self._say_goodbye()
            deadline = time.monotonic() + PATIENCE
            while self._unfinished() and time.monotonic() < deadline:
                gevent.sleep(0.05)
        finally:
            gevent.killall(following + publishing)
        for follower in self.followers:
            follower.listener.drop(hard=False)
            self.count.lost += len(follower.missing) + follower.behind()
        self.count.seconds = time.monotonic() - begin
        return self.count

    def _unfinished(self) -> bool:
        due = self.drops_due()
        return any(follower.drops < due or follower.behind() for follower in self.followers)

    def _publish(self, number: int) -> None:
        """Sends this publisher's share into its own channels, in order, and never far ahead of who listens."""
        own = self.channels[number::PUBLISHERS]
        back_end = BackEnd(self._in)
        share = self._messages // PUBLISHERS + (number < self._messages % PUBLISHERS)
        while share > 0:
            batch = [self._message(own) for _ in range(min(BATCH, share))]
            back_end.send_all(batch)
            share -= len(batch)
            self.count.sent += len(batch)
            while any(self._far_ahead(channel) for channel in own):
                gevent.sleep(0.005)
        back_end.close()

    def _say_goodbye(self) -> None:
        """One more message to every channel: who waits would not see that hang-ups are still due."""
        back_end = BackEnd(self._in)
        for channel in self.channels:
            channel.sent += 1
        back_end.send_all([(channel.id, json.dumps({channel.id: channel.sent}).encode()) for channel in self.channels])
        self.count.sent += len(self.channels)
        back_end.close()

    def _message(self, own: list[Channel]) -> tuple[str, bytes]:
        chance = self._chance
        targets = chance.sample(own, chance.randrange(2, 4)) if chance.random() < SHARED else [chance.choice(own)]
        limiters: frozenset[str] = frozenset()
        if chance.random() < LIMITED:
            limiters = frozenset(channel.id for channel in chance.sample(self.channels, LIMITERS))
        for channel in targets:
            channel.sent += 1
            if limiters:
                channel.limited[channel.sent] = limiters
        ids = ",".join([channel.id for channel in targets] + [f"*{id}" for id in sorted(limiters)])
        return ids, json.dumps({channel.id: channel.sent for channel in targets}).encode()

    def _far_ahead(self, channel: Channel) -> bool:
        return any(channel.sent - follower.seen[channel.id] > LAG_MAX for follower in channel.followers)


OPTIONS = ("--set", f"history.max_messages={HISTORY}")


def run(*, messages: int, channels: int, listeners: int, reconnects: int, seed: int = 1) -> Count:
    """Against a server of its own. History is long enough that nobody may miss a thing."""
    from tests.live import LiveServer

    with LiveServer(*OPTIONS) as server:
        load = Load(
            server.wait,
            server.in_,
            messages=messages,
            channels=channels,
            listeners=listeners,
            reconnects=reconnects,
            seed=seed,
        )
        return load.run()
