"""Beyond history: is everyone told who missed something, and nobody who did not?"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

import gevent

from tests.soak.clients import Address, BackEnd, Listener

WORKERS = 8  # each with channels of its own, so that it knows all that was sent there
CHANNELS_EACH = 6
HISTORY = 30
OPTIONS = (
    "--set",
    f"history.max_messages={HISTORY}",
    "--set",
    "history.expire_after=0.3",
    "--set",
    "log.connections=true",
)
BACK = 2 * HISTORY  # messages that a listener may have been away for, and half of them are beyond history
PAUSE = 0.03  # seconds between a worker's rounds, so that quiet channels expire in the meantime


@dataclass
class Count:
    """Per channel of each resume: who missed something, who was told, and where the two differ."""

    resumes: int = 0
    missed: int = 0
    complete: int = 0
    not_told: int = 0
    told_for_nothing: int = 0
    emptied: int = 0  # times that a channel was
    wrong_messages: int = 0  # answers that hold what the listener had, or miss what lies between two others

    @property
    def flawless(self) -> bool:
        right = not (self.not_told or self.told_for_nothing or self.wrong_messages)
        return right and self.missed > 0 and self.complete > 0 and self.emptied > 0


@dataclass
class Known:
    """One channel: all cursors at which something was sent, in the order of sending."""

    id: str
    cursors: list[str] = field(default_factory=list)


def run(*, resumes: int, seed: int = 1) -> Count:
    """Listeners come back from all kinds of old cursors, into channels that are busy, quiet or emptied."""
    from tests.live import LiveServer

    count = Count()
    with LiveServer(*OPTIONS) as server:
        workers = [
            gevent.spawn(
                _work, server.wait, server.in_, number, resumes // WORKERS, random.Random(seed + number), count
            )
            for number in range(WORKERS)
        ]
        gevent.joinall(workers, raise_error=True)
        count.emptied = sum("cleaned, because" in line for line in server.log)
    return count


def _work(wait: Address, in_: Address, number: int, resumes: int, chance: random.Random, count: Count) -> None:
    back_end = BackEnd(in_)
    listener = Listener(wait, ("kept", "closed")[number % 2])  # plain text has no place for a gap
    start = listener.poll({"x": None}, query="&position").position
    channels = [Known(f"w{number}c{channel}", [start]) for channel in range(CHANNELS_EACH)]
    for _ in range(resumes):
        # The first channel is busy, the last hardly ever used: it expires again and again.
        busy = channels[min(int(chance.expovariate(1.0) * 1.5), CHANNELS_EACH - 1)]
        burst = chance.choice((0, 1, 1, 5, HISTORY + 5))
        for receipt in back_end.send_all([(busy.id, b'"x"')] * burst):
            busy.cursors.append(receipt[busy.id])
        asked = chance.sample(channels, chance.randrange(1, 4))
        cursors = {known.id: _old(known, chance) for known in asked}
        answer = listener.poll(dict(cursors), query="&position")
        count.resumes += 1
        for known in asked:
            got = [ids[known.id] for ids, _ in answer.blocks if known.id in ids]
            _judge(known, cursors[known.id], got, known.id in answer.gaps, count)
        gevent.sleep(PAUSE)
    back_end.close()
    listener.drop(hard=False)


def _old(known: Known, chance: random.Random) -> str:
    """A cursor that a listener of this channel had; at times one that lies just behind it."""
    cursor = known.cursors[max(0, len(known.cursors) - 1 - chance.randrange(BACK))]
    return cursor if chance.random() < 0.8 else f"{Decimal(cursor) + Decimal('0.0000001')}"


def _judge(known: Known, cursor: str, got: list[str], told: bool, count: Count) -> None:
    expected = [sent for sent in known.cursors[1:] if Decimal(sent) > Decimal(cursor)]
    missed = len(got) < len(expected)
    if got != expected[len(expected) - len(got) :]:
        count.wrong_messages += 1
    count.missed += missed
    count.complete += not missed
    count.not_told += missed and not told
    count.told_for_nothing += told and not missed
