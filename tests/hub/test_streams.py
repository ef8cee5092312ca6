"""Streams in the hub: whatever sockets take, whoever comes and goes, each message is told once, in order."""

from __future__ import annotations

import gc
import json
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence

import pytest

from rplx.engine.memory import MemoryEngine
from rplx.hub.hub import Hub
from rplx.hub.members import MEMBERS_MAX, Member, StayingSet
from rplx.hub.staying import PENDING_MAX
from rplx.log import Log
from rplx.messages import Due, Identifiers, Message, Send, cursor_value
from rplx.options.table import HistoryOptions, PresenceOptions
from rplx.protocol.event_stream import event_stream, parse_mark

PLAIN = event_stream(chunked=False, charset=None)


class Reader:
    """A client: what it has read, and how much its socket takes."""

    def __init__(self, hub: Hub, ids: Sequence[str]) -> None:
        self.hub = hub
        self.ids = ids
        self.takes = 1 << 30  # bytes
        self.last_id = ""
        self.messages: list[dict[str, object]] = []
        self.gaps: list[str] = []
        self.woken = False
        self._sent = 0
        self.data = b""
        self.member: Member | None = None

    def come(self, cursors: dict[str, str | None] | None = None) -> None:
        """Connects, and resumes if it has been here before."""
        mark = parse_mark(self.last_id) if self.last_id else None
        asked = dict.fromkeys(self.ids) if cursors is None else cursors
        if mark is not None:
            asked = {id: mark.named.get(id) for id in self.ids}
        common = mark.common if mark is not None else None
        self.data = b""
        self.member, first = self.hub.streams.enter(asked, self, encoding=PLAIN, common=common)
        self.hub.streams.ready(self.member, self.take)
        self.woken = self.member.answer is not None
        self._sent = 0
        self.data += first

    def go(self) -> None:
        """Disconnects. What was not read whole is lost."""
        assert self.member is not None
        self.hub.leave(self.member)
        self.member = None
        self.read()

    def go_on(self) -> None:
        """What the greenlet of a stream does that is behind."""
        member, streams = self.member, self.hub.streams
        assert member is not None
        self.woken = False
        self.data += (member.answer or b"")[self._sent :]
        self._sent = 0
        member.answer = b""
        while True:
            while piece := streams.read_on(member):
                self.data += piece
            if streams.settle(member):
                return

    def read(self) -> list[str]:
        """Takes in whole events; returns the events' names."""
        *events, self.data = self.data.split(b"\n\n")
        names = []
        for event in events:
            fields = [line.partition(b": ")[::2] for line in event.split(b"\n")]
            self.last_id = dict(fields).get(b"id", self.last_id.encode()).decode()
            data = b"\n".join([value for name, value in fields if name == b"data"])
            name = dict(fields).get(b"event", b"message").decode()
            names.append(name)
            if name == "message" and data:
                self.messages.append(json.loads(data))
            elif name == "gap":
                self.gaps += json.loads(data)["ids"]
        return names

    def take(self, piece: bytes) -> int:
        taken = min(self.takes, len(piece))
        self.takes -= taken
        self.data += piece[:taken]
        return taken

    def told(self, id: str) -> list[object]:
        return [message["data"] for message in self.messages if id in message["ids"]]  # type: ignore[operator]


class Sockets:
    """A Transport to Readers."""

    def __init__(self) -> None:
        self.woken = 0

    def fell_behind(self, member: Member, taken: int) -> None:
        self.woken += 1
        member.connection.woken = True
        member.connection._sent = taken


@pytest.fixture
def hub(in_one_turn: None) -> Iterator[Hub]:
    engine = MemoryEngine(HistoryOptions(max_messages=50), PresenceOptions(), wall=time.time, monotonic=time.monotonic)
    gc.collect()
    gc.disable()
    try:
        hub = Hub(engine, Log(0))
        hub.streams.attach(Sockets())
        yield hub
    finally:
        gc.enable()


def send(hub: Hub, ids: dict[str, str | None], data: object, limiters: Sequence[str] = ()) -> None:
    hub.publish(Send(Identifiers(ids, dict.fromkeys(limiters)), json.dumps(data).encode()))


def comes(hub: Hub, *ids: str) -> Reader:
    reader = Reader(hub, ids)
    reader.come()
    return reader


def sets(hub: Hub) -> list[StayingSet]:
    return hub.staying.all()


def test_all_members_of_sets_are_told(hub: Hub) -> None:
    readers = [comes(hub, "a", "b") for _ in range(2 * MEMBERS_MAX)]
    for number in range(3):
        send(hub, {"ab"[number % 2]: None}, number)
    for reader in readers:
        assert reader.read() == ["open", "message", "message", "message"]
        assert reader.last_id == f"{reader.messages[-1]['ids']['a']}:*"  # type: ignore[index]
    assert len(sets(hub)) == 2
    assert hub.waiting == len(readers)
    assert hub.engine.online() == {"a": len(readers), "b": len(readers)}


def test_all_is_let_go(hub: Hub) -> None:
    readers = [comes(hub, "a", "b") for _ in range(100)]
    send(hub, {"a": None}, 1)
    for reader in readers:
        reader.go()
    assert (hub.staying.channels, sets(hub), hub.waiting) == ({}, [], 0)
    del reader, readers
    members = [found for found in gc.get_objects() if isinstance(found, Member)]
    assert members == []


def test_who_takes_nothing_falls_behind_and_comes_back(hub: Hub) -> None:
    slow, swift = comes(hub, "a"), comes(hub, "a")
    slow.takes = 0
    for number in range(3):
        send(hub, {"a": None}, number)
    assert slow.woken
    assert slow.member is not None
    assert slow.member.progress is not None
    slow.takes = 1 << 30
    slow.go_on()
    send(hub, {"a": None}, 3)
    for reader in (slow, swift):
        reader.read()
        assert reader.told("a") == [0, 1, 2, 3]
        assert reader.gaps == []
    assert len(sets(hub)) == 1


def test_who_takes_a_part_gets_the_rest_first(hub: Hub) -> None:
    slow = comes(hub, "a")
    slow.takes = 20
    send(hub, {"a": None}, "x")
    send(hub, {"a": None}, "y")
    slow.takes = 1 << 30
    slow.go_on()
    slow.read()
    assert slow.told("a") == ["x", "y"]


def test_a_gap_is_told_once(hub: Hub) -> None:
    slow = comes(hub, "a", "b")
    slow.takes = 0
    for number in range(60):
        send(hub, {"a": None}, number)
    slow.takes = 1 << 30
    slow.go_on()
    send(hub, {"b": None}, "more")
    assert slow.read()[:3] == ["open", "gap", "message"]
    assert slow.gaps == ["a"]
    assert slow.told("a") == list(range(10, 60))
    assert slow.told("b") == ["more"]


def test_what_is_recalled_is_read_from_history(hub: Hub) -> None:
    reader = comes(hub, "a")
    hub.recall(["a"])
    assert reader.woken is False  # nobody is written to: its Event is set
    assert reader.member is not None
    assert reader.member.answer == b""
    send(hub, {"a": None}, 1)
    reader.go_on()
    reader.read()
    assert reader.told("a") == [1]


def test_a_cursor_that_a_back_end_chose_names_its_channel(hub: Hub) -> None:
    reader = Reader(hub, ("a", "b"))
    reader.come({"a": None, "b": "3"})
    send(hub, {"b": "5"}, "five")
    send(hub, {"a": None}, "drawn")
    send(hub, {"b": "4"}, "late")
    reader.read()
    assert reader.told("b") == ["five"]
    drawn = reader.messages[-1]["ids"]["a"]  # type: ignore[index]
    assert reader.last_id == f"{drawn}:*,5:b"
    reader.go()
    send(hub, {"b": "6"}, "six")
    reader.come()
    reader.read()
    assert reader.told("b") == ["five", "six"]
    assert reader.told("a") == ["drawn"]


def test_those_who_are_ahead_of_an_old_cursor_do_not_get_it(hub: Hub) -> None:
    behind, ahead = Reader(hub, ("a",)), Reader(hub, ("a",))
    behind.come({"a": "1"})
    ahead.come({"a": "9"})
    assert len(sets(hub)) == 1
    send(hub, {"a": "5"}, "five")
    for reader in (behind, ahead):
        reader.go_on()
    send(hub, {"a": "10"}, "ten")
    for reader in (behind, ahead):
        reader.read()
    assert behind.told("a") == ["five", "ten"]
    assert ahead.told("a") == ["ten"]


def test_a_message_whose_channels_have_copies_of_their_own(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a cluster of Redis: each copy knows the cursor of its own channel alone."""
    copy = Message(b"1", {"a": "5"})
    dues = [[Due(copy, {"a": "5", "b": "6"}, cursor_value("5"))], []]
    monkeypatch.setattr(hub.engine, "due", lambda names, cursors, limit=None: dues.pop(0))
    reader = Reader(hub, ("a", "b"))
    reader.come({"a": "1", "b": "1"})
    reader.read()
    assert reader.messages == [{"ids": {"a": "5", "b": "6"}, "data": 1}]


def test_limiters(hub: Hub) -> None:
    both, one = comes(hub, "a", "friend"), comes(hub, "a")
    send(hub, {"a": None}, 1, ["friend"])
    for reader in (both, one):
        reader.read()
    assert (both.told("a"), one.told("a")) == ([1], [])


def test_the_hook_hides(hub: Hub) -> None:
    hub.configure(1 << 20, lambda id, ids, cursor, data: id != "secret")
    reader = comes(hub, "a", "secret")
    send(hub, {"a": None, "secret": None}, 1)
    send(hub, {"secret": None}, 2)
    reader.read()
    assert [message["ids"].keys() for message in reader.messages] == [{"a"}]  # type: ignore[attr-defined]


def test_heartbeats_move_the_mark(hub: Hub) -> None:
    hub.configure(1 << 20, None, 3)
    reader = comes(hub, "a", "b")
    reader.read()
    before = reader.last_id
    for _ in range(3):
        hub.sweep(3600)
    assert len(reader.read()) == 1
    assert cursor_value(reader.last_id.partition(":")[0]) > cursor_value(before.partition(":")[0])
    reader.takes = 1
    for _ in range(3):
        hub.sweep(3600)
    assert reader.woken


def test_the_time_is_looked_at_behind_what_is_written_anew(hub: Hub) -> None:
    """A message may be long, and is written, maybe compressed, for each combination of its channels."""
    readers = [comes(hub, *ids) for ids in ("a", "ab", "bc", "abc")]
    queue = deque[StayingSet]()
    outgoing = hub.staying.outgoing(Message(b"1", dict.fromkeys("abc", hub.engine.draw())))
    assert outgoing is not None
    list(hub.staying.find(outgoing, queue, None))
    for left in (3, 2, 1, 0):
        hub.staying.serve_some(queue, end=0.0)
        assert len(queue) == left
    assert [reader.read() for reader in readers] == [["open", "message"]] * 4


def test_many_messages_in_one_turn(hub: Hub) -> None:
    """A set whose turn has not come gets all that is pending at once, and never waits with more than PENDING_MAX."""
    reader = comes(hub, "a")
    outgoing = []
    for number in range(PENDING_MAX + 5):
        send_later = Send(Identifiers({"a": None}), str(number).encode())
        outgoing.append(send_later)
    hub.turns.renew()
    for one in outgoing:
        hub.publish(one)
    reader.read()
    assert reader.told("a") == list(range(PENDING_MAX + 5))


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_lost_doubled_or_out_of_order(hub: Hub, seed: int) -> None:
    chance = random.Random(seed)
    ids = "abcd"
    sent: list[tuple[frozenset[str], int]] = []
    readers = [Reader(hub, sorted(chance.sample(ids, chance.randint(1, 3)))) for _ in range(chance.randint(1, 12))]
    since: dict[Reader, int] = {}

    def step() -> None:
        reader = chance.choice(readers)
        what = chance.random()
        if what < 0.45:
            to = frozenset(chance.sample(ids, chance.choice([1, 1, 1, 2, 3])))
            sent.append((to, len(sent)))
            send(hub, dict.fromkeys(to), len(sent) - 1)
        elif reader.member is None:
            since.setdefault(reader, len(sent))
            reader.come()
            reader.read()
        elif what < 0.6:
            reader.takes = chance.choice([0, 1, 40, 130, 1 << 30])
        elif what < 0.9:
            if reader.woken or reader.member.answer is not None:
                reader.go_on()
            reader.read()
        elif what < 0.93:
            hub.recall([chance.choice(ids)])
        elif what < 0.95:
            hub.sweep(3600)
        else:
            reader.go()

    for _ in range(300):
        step()
    for reader in readers:
        if reader.member is None:
            since.setdefault(reader, len(sent))
            reader.come()
        if reader.member is not None and reader.member.answer is not None:
            reader.go_on()
        reader.read()
        assert reader.data == b""
        got = [message["data"] for message in reader.messages]
        due = [number for to, number in sent[since[reader] :] if to & set(reader.ids)]
        assert got == due, reader.gaps
