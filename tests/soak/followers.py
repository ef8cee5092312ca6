"""Listeners that follow channels, and what they count: what is lost, doubled, out of order?"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import gevent

from tests.soak.clients import Address, Dropped, Listener

TAKING = 0.2  # seconds that a listener waits for the answer in the middle of which it hangs up


class Drops(Protocol):
    """Who says how often to hang up."""

    def drops_due(self) -> int:
        """How often each follower has to have hung up by now."""


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

    def follow(self, load: Drops) -> None:
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
