"""A file read back gives what the engine before knew: made-up sends, expiries and listeners, restarts in between."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from rplx.errors import InsufficientStorage
from tests.engine.harness import Tested, eventually

CHANNELS = [f"c{number}" for number in range(12)]
OPTIONS = {
    "history__max_messages": 4,
    "history__max_channels": 9,
    "history__expire_after": 0.3,
    "presence__offline_timeout": 0.2,
    "presence__event_chain_len": 5,
    "server__drain": 0.0,
}


class Restarted:
    """An engine on a file, and what it says of all channels."""

    def __init__(self, path: Path, **options: object) -> None:
        self._url = f"sqlite:///{path}"
        self._options = OPTIONS | options
        self.tested = Tested(self._url, **self._options)

    def restart(self) -> None:
        self.tested.close()
        self.tested = Tested(self._url, **self._options)

    def history(self) -> dict[str, list[tuple[str, bytes, frozenset[str]]]]:
        kept = self.tested.engine.history()
        return {
            id: [(message.cursors[id], message.data, message.limiters) for message in messages]
            for id, messages in kept.items()
        }

    def gaps(self, cursors: list[str]) -> list[list[str]]:
        return [self.tested.engine.gaps(CHANNELS, [cursor] * len(CHANNELS)) for cursor in cursors]


@pytest.fixture
def restarted(tmp_path: Path) -> Iterator[Restarted]:
    made = Restarted(tmp_path / "history.db")
    yield made
    made.tested.close()


def send(tested: Tested, chance: random.Random, number: int) -> list[str]:
    """Sends to some channels, at drawn cursors or at given ones; gives the cursors, none if history is full."""
    ids = chance.sample(CHANNELS, chance.choice((1, 1, 1, 2, 5)))
    given = {id: f"{chance.randrange(1, 3000)}.5" for id in ids if chance.random() < 0.1}
    limiters = chance.sample(CHANNELS, chance.choice((0, 0, 0, 2)))
    try:
        found = tested.send(str(number), *[id for id in ids if id not in given], limiters=limiters, **given)
    except InsufficientStorage:  # more than 9 channels
        return []
    return list(found.values())


@pytest.mark.parametrize("seed", range(6))
def test_history_and_floors(restarted: Restarted, seed: int) -> None:
    chance = random.Random(seed)
    cursors = ["0", "1000", "2500.5"]
    for _ in range(6):
        for number in range(chance.randrange(5, 60)):
            cursors += send(restarted.tested, chance, number)
            if chance.random() < 0.05:
                restarted.tested.engine.sweep()
        if chance.random() < 0.4:
            gevent.sleep(0.35)
            restarted.tested.engine.sweep()
        cursors.append(restarted.tested.engine.draw())
        history, gaps = restarted.history(), restarted.gaps(cursors)
        restarted.restart()
        assert restarted.history() == history
        assert restarted.gaps(cursors) == gaps


def test_presence(restarted: Restarted) -> None:
    chance = random.Random(1)
    here: list[str] = []
    for _ in range(8):
        for _ in range(30):
            if here and chance.random() < 0.5:
                restarted.tested.engine.leave([here.pop(chance.randrange(len(here)))])
            else:
                here.append(chance.choice(CHANNELS))
                restarted.tested.engine.join([here[-1]])
            if chance.random() < 0.1:
                gevent.sleep(0.05)
                restarted.tested.engine.sweep()
        engine = restarted.tested.engine
        position = engine.position()
        known = [restarted.tested.shown(after) for after in range(5, position + 1)]
        online = set(engine.online())
        restarted.restart()
        engine = restarted.tested.engine
        assert engine.position() == position
        assert [restarted.tested.shown(after) for after in range(5, position + 1)] == known
        assert engine.online() == dict.fromkeys(online, 0)
        here = []
    eventually(lambda: restarted.tested.engine.sweep() is not None and restarted.tested.engine.online(), {})


def test_a_smaller_limit_counts_when_it_is_read_back(tmp_path: Path) -> None:
    first = Restarted(tmp_path / "history.db", history__expire_after=3600.0)
    cursors = [first.tested.send(str(number), "a")["a"] for number in range(4)]
    first.tested.close()
    second = Restarted(tmp_path / "history.db", history__expire_after=3600.0, history__max_messages=2)
    assert second.tested.texts(a="0") == ["2", "3"]
    assert second.tested.gaps(a=cursors[0]) == ["a"]
    assert second.tested.gaps(a=cursors[1]) == []
    second.tested.engine.sweep()
    second.tested.close()
    third = Restarted(tmp_path / "history.db", history__expire_after=3600.0)
    assert third.tested.texts(a="0") == ["2", "3"]
    assert third.tested.gaps(a=cursors[0]) == ["a"]
    third.tested.close()


def test_a_clock_that_was_set_back_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions that listeners have are not drawn again, and are none that nobody was given."""
    first = Restarted(tmp_path / "history.db")
    sent = first.tested.send("1", "a")["a"]
    position = first.tested.engine.draw()
    first.tested.close()
    monkeypatch.setattr("time.time", lambda: float(sent) - 1000)
    second = Restarted(tmp_path / "history.db")
    assert second.tested.gaps(a=position, b=position) == []
    assert float(second.tested.engine.draw()) > float(position)
    assert second.tested.send("2", "a")["a"] > position
    assert second.tested.texts(a=position) == ["2"]
    second.tested.close()
