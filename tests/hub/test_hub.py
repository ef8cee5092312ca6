"""The hub: what it lets go of, as the collector is off while the server runs; and that its work can be cut anywhere."""

from __future__ import annotations

import gc
import json
import random
import time
from collections.abc import Collection, Iterator
from decimal import Decimal

import gevent
import pytest

from rplx.engine import selection
from rplx.engine.memory import MemoryEngine
from rplx.hub import delivery
from rplx.hub.hub import Hub
from rplx.hub.sets import ChannelSet, Listener
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.table import HistoryOptions, PresenceOptions
from rplx.protocol import long_poll
from rplx.protocol.long_poll import AS_IT_CAME


@pytest.fixture
def hub(in_one_turn: None) -> Iterator[Hub]:
    engine = MemoryEngine(HistoryOptions(), PresenceOptions(), wall=time.time, monotonic=time.monotonic)
    gc.collect()
    gc.disable()
    try:
        yield Hub(engine, Log(0))
    finally:
        gc.enable()


def left() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, (ChannelSet, Listener))]


def test_listeners_that_were_served(hub: Hub) -> None:
    for number in range(1, 4):
        for _ in range(100):
            hub.enter({"a": str(number), "b": str(number)}, encoding=AS_IT_CAME)
        hub.publish(Send(Identifiers({"a": str(number + 1)}), b"1"))
        assert hub.listening == 0
        assert left() == []


def test_listeners_that_a_message_parts(hub: Hub) -> None:
    behind = hub.enter({"a": "1"}, encoding=AS_IT_CAME).listener
    ahead = hub.enter({"a": "9"}, encoding=AS_IT_CAME).listener
    hub.publish(Send(Identifiers({"a": "5"}), b"1"))
    assert behind is not None
    assert ahead is not None
    assert behind.answer
    assert ahead.answer is None
    assert hub.listening == 1
    hub.publish(Send(Identifiers({"a": "10"}), b"2"))
    assert ahead.answer
    del behind, ahead
    assert left() == []


def test_listeners_that_left(hub: Hub) -> None:
    for _ in range(100):
        entered = hub.enter({"a": None, "b": None}, encoding=AS_IT_CAME)
        assert entered.listener is not None
        hub.leave(entered.listener)
    del entered
    assert left() == []


def test_clients_names_are_forgotten_with_their_polls(hub: Hub) -> None:
    ended: list[Listener] = []
    hub.named.attach(ended.append)

    def enter(id: str, client: str) -> Listener:
        listener = hub.enter({id: None}, encoding=AS_IT_CAME, client=client).listener
        assert listener is not None
        return listener

    older = enter("a", "x")
    newer = enter("b", "x")
    assert ended == [older]
    assert hub.listening == 2  # the newer one waits before the older one ends
    assert hub.named.has_newer(older)
    hub.leave(older)
    assert not hub.named.has_newer(newer)
    answered = enter("c", "y")
    hub.publish(Send(Identifiers({"c": None}), b"1"))
    recalled = enter("d", "y")
    hub.recall(["d"])
    hub.leave(newer)
    assert ended == [older]
    assert not any(map(hub.named.has_newer, (older, newer, answered, recalled)))
    for name in ("x", "y"):
        hub.leave(enter("a", name))
    ended.clear()
    del older, newer, answered, recalled
    assert left() == []


def test_one_sender_at_most(hub: Hub) -> None:
    sent: list[bytes] = []

    def send(listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool:
        sent.append(body)
        return True

    hub.attach(send)
    with pytest.raises(ValueError, match="attached already"):
        hub.attach(send)
    hub.enter({"a": None}, encoding=AS_IT_CAME)
    hub.publish(Send(Identifiers({"a": None}), b"1"))
    assert len(sent) == 1


def made(**history: int) -> Hub:
    engine = MemoryEngine(HistoryOptions(**history), PresenceOptions(), wall=time.time, monotonic=time.monotonic)
    return Hub(engine, Log(0))


class Client:
    """Polls again and again from where it is, and leaves now and then; `got` is what it was given, in order."""

    def __init__(self, hub: Hub, names: list[str], chance: random.Random) -> None:
        self.hub = hub
        self.chance = chance
        self.cursors: dict[str, str | None] = dict.fromkeys(names)
        self.got: list[str] = []
        self.done = False
        self.start = hub.enter(self.cursors, wait=False, encoding=AS_IT_CAME).position
        self.cursors = dict.fromkeys(names, self.start)

    def run(self) -> None:
        while not self.done:
            self.poll()
            if self.chance.random() < 0.3:
                gevent.sleep(self.chance.random() * 0.003)

    def poll(self) -> None:
        entered = self.hub.enter(self.cursors, encoding=AS_IT_CAME)
        body, listener = entered.body, entered.listener
        if listener is not None:
            with gevent.Timeout(self.chance.random() * 0.01, False):
                while listener.answer is None:
                    listener.channel_set.event.wait()
            self.hub.leave(listener)
            body = listener.answer or b""
        assert entered.gaps == []
        for block in json.loads(body or b"[]"):
            self.got.append(block["data"])
            for id, cursor in block["ids"].items():
                assert Decimal(cursor) > Decimal(self.cursors[id] or 0)
                self.cursors[id] = cursor


@pytest.mark.parametrize("seed", range(5))
def test_work_that_is_cut_everywhere_loses_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between any two steps others send, come and leave: every listener gets every message once, in order."""
    monkeypatch.setattr(delivery, "STEPS", 1)
    monkeypatch.setattr(delivery, "SLICE", 0.0)
    monkeypatch.setattr(selection, "STEPS", 1)
    monkeypatch.setattr(long_poll, "CHUNK", 1)
    hub = made(max_messages=10_000)
    monkeypatch.setattr(hub.turns, "is_over", lambda: True)
    monkeypatch.setattr(hub.turns, "rest", hub.turns.pause)
    monkeypatch.setattr(hub, "rest", hub.turns.pause)
    hub.engine.attach(hub)
    chance = random.Random(seed)
    channels = [f"c{number}" for number in range(6)]
    clients = [Client(hub, chance.sample(channels, chance.randint(1, 4)), chance) for _ in range(30)]
    running = [gevent.spawn(client.run) for client in clients]
    sent: list[list[str]] = []

    def send() -> None:
        for _ in range(25):
            ids = chance.sample(channels, chance.randint(1, 5))
            sent.append(ids)
            hub.publish(Send(Identifiers(dict.fromkeys(ids)), b'"%d"' % (len(sent) - 1)))
            gevent.sleep(chance.random() * 0.003)

    gevent.joinall([gevent.spawn(send) for _ in range(3)], raise_error=True)
    wanted = [[str(n) for n, ids in enumerate(sent) if not client.cursors.keys().isdisjoint(ids)] for client in clients]
    with gevent.Timeout(300):
        while [client.got for client in clients] != wanted:
            gevent.sleep(0.01)
            assert all(len(client.got) <= len(all_) for client, all_ in zip(clients, wanted, strict=True))
            for greenlet in running:
                assert greenlet.exception is None
    for client in clients:
        client.done = True
    gevent.joinall(running, raise_error=True, timeout=300)
    assert hub.quiet.wait(300)
    assert hub.listening == 0
    assert hub.channels == {}


def test_a_cursor_that_nobody_was_given_waits_from_the_present() -> None:
    hub = made()
    hub.publish(Send(Identifiers({"b": "9999999999"}), b"0"))
    entered = hub.enter({"a": "9999999998", "b": "9999999999"}, encoding=AS_IT_CAME)
    assert entered.gaps == ["a"]
    assert entered.listener is not None
    hub.publish(Send(Identifiers({"a": None}), b"1"))
    assert b'"data": 1' in (entered.listener.answer or b"")
    (block,) = json.loads(entered.listener.answer or b"")
    assert Decimal(block["ids"]["a"]) > Decimal(entered.position)


def steps_to_send(ids: int, listeners: int, channels: int) -> float:
    """CPU seconds to send a message to so many ids with so many listeners of so many of them each."""
    hub = made()
    names = [f"c{number:05}" for number in range(ids)]
    for number in range(listeners):
        some = names[number : number + channels]
        hub.enter(dict.fromkeys(some), encoding=AS_IT_CAME)
    begin = time.thread_time()
    hub.publish(Send(Identifiers(dict.fromkeys(names)), b"1"))
    while hub.listening:
        gevent.sleep(0.001)
    return time.thread_time() - begin


def test_a_send_costs_what_it_finds_and_not_its_ids_times_their_channels() -> None:
    few = min(steps_to_send(500, 100, 100) for _ in range(3))
    many = min(steps_to_send(4000, 100, 100) for _ in range(3))
    assert many < few * 4  # eight times the ids, and the same listeners


def test_limiters_are_counted_once_for_all_channels() -> None:
    def cost(limiters: int) -> float:
        send = Send(
            Identifiers(dict.fromkeys(f"c{n}" for n in range(1000)), dict.fromkeys(f"x{n}" for n in range(limiters))),
            b"1",
        )
        hub = made(max_messages=1)
        hub.publish(send)
        begin = time.thread_time()
        hub.publish(send)  # drops the first from each channel
        return time.thread_time() - begin

    assert min(cost(3000) for _ in range(3)) < 5 * min(cost(3) for _ in range(3))


@pytest.mark.parametrize("common", [False, True])
def test_an_answer_is_cut_as_if_all_were_looked_at(common: bool) -> None:
    """More than an answer holds, in many channels: the first by greatest cursor, and the rest behind them."""
    chance = random.Random(1)
    hub = made(max_messages=500)
    hub.answer_max = 4000
    names = [f"c{number}" for number in range(20)]
    for number in range(600):
        ids = chance.sample(names, chance.randint(2, 4)) if common else [chance.choice(names)]
        cursors: dict[str, str | None] = {id: str(chance.randint(1, 400)) for id in ids}
        hub.publish(Send(Identifiers(cursors), b"%d" % number))
    dues = hub.engine.due(names, ["0"] * len(names))
    assert len(dues) == 600
    limit = hub.answer_max - len(long_poll.PREFIX)
    expected = sorted(due.message.data for due in selection.first(dues, limit))
    found = hub.engine.due(names, ["0"] * len(names), limit)
    assert sorted(due.message.data for due in found) == expected
    assert 20 < len(found) < 100
    got = [due.message.data for due in found]
    at: dict[str, str | None] = dict.fromkeys(names, "0")
    while body := hub.enter(at, wait=False, encoding=AS_IT_CAME).body:
        assert len(body) <= limit
        for block in json.loads(body):
            got.append(b"%d" % block["data"])
            for id, cursor in block["ids"].items():
                at[id] = max(str(at[id]), cursor, key=Decimal)
    assert set(got) == {due.message.data for due in dues}
