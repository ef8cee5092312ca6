"""Many listeners follow many channels through forced reconnects: what is lost, doubled, out of order?"""

from __future__ import annotations

import itertools
import json
import random
import time

import gevent

from tests.soak.clients import FORMS, Address, BackEnd, Listener
from tests.soak.followers import Channel, Count, Follower
from tests.soak.sockets import SocketFollower
from tests.soak.stream_followers import StreamFollower

FOLLOWED = {
    **dict.fromkeys(FORMS, Follower),
    "stream": StreamFollower,
    "closing stream": StreamFollower,
    "websocket": SocketFollower,
}
PUBLISHERS = 4
BATCH = 250  # sends of a publisher that are under way at once: answers hold one message or a dozen
PATIENCE = 60.0  # seconds for the last messages to arrive
LAG_MAX = 400  # messages of a channel that a publisher may be ahead of a listener, with the history of HISTORY
HISTORY = 1000
LIMITED = 0.1  # of the messages have limiters
SHARED = 0.2  # go to more than one channel
LIMITERS = 10  # ids of a message that has them


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
            kind(wait, form, self._some_channels(number), position, self._chance, self.count)
            for number, (form, kind) in zip(range(listeners), itertools.cycle(FOLLOWED.items()), strict=False)
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
