"""The hub and the embedded engine held against the model, by random sends, polls, hang-ups, expiries, clock steps."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rplx.engine.cursors import STEP
from rplx.engine.memory import MemoryEngine
from rplx.errors import InsufficientStorage
from rplx.hub.hub import Hub
from rplx.hub.sets import Listener
from rplx.log import Log
from rplx.messages import Identifiers, Send
from rplx.options.table import HistoryOptions, PresenceOptions
from rplx.protocol.long_poll import AS_IT_CAME
from tests.engine.clock import Clock
from tests.reliability.model import Block, Model, Told, block, in_order

CHANNELS = ("a", "b", "c", "d")
EXPIRE_AFTER = 60.0
OFFLINE_TIMEOUT = 30.0
NO_LIMIT = 1 << 20

_BLOCK = re.compile(r'\{\n    "ids": \{ (.*?) \},\n    "data": ("\w+")\n  \}')
_PAIR = re.compile(r'"(\w+)": "([\d.]+)"')

some_channels = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)
# Old ones that lie below everything, near ones around the clock's time, and ones an hour ahead of it.
steps = st.sampled_from(["-7200", "-3600.5", "-0.0000005", "0", "0.000001", "0.5", "10", "3600"])
given_cursor = st.one_of(st.none(), st.none(), st.none(), steps, st.sampled_from(["5", "7.50", "7.5", "9"]))


@dataclass(eq=False)
class Client:
    """A listener as clients are: it comes back from the cursors that it was told."""

    cursors: dict[str, str]
    parked: Listener | None = None
    torn: bool = False  # its connection ends in the middle of the answer that it waits for
    got: dict[str, set[str]] = field(default_factory=dict)  # channel -> messages that came by it


class Conversation(RuleBasedStateMachine):
    """Every answer is compared with the model's, and every client counts what it got."""

    @initialize(
        limit=st.integers(1, 4),
        answer_max=st.sampled_from([NO_LIMIT, NO_LIMIT, 6]),
        max_channels=st.sampled_from([NO_LIMIT, NO_LIMIT, 1]),
    )
    def begin(self, limit: int, answer_max: int, max_channels: int) -> None:
        self.clock = Clock()
        self.limit = limit
        self.answer_max = answer_max
        self.max_channels = max_channels
        self.clients: list[Client] = []
        self.count = 0
        self.start()

    def start(self) -> None:
        self.engine = MemoryEngine(
            self.history_options(),
            PresenceOptions(offline_timeout=OFFLINE_TIMEOUT, event_chain_len=1000),
            wall=lambda: self.clock.wall,
            monotonic=lambda: self.clock.monotonic,
        )
        self.hub = Hub(self.engine, Log(0))
        self.hub.configure(self.answer_max, None)
        # Its first draw was the cursor at which it began.
        self.model = Model(str(Decimal(self.engine.draw()) - STEP), self.limit)
        self.changed: dict[str, float] = {}  # channel -> when something was last sent there
        self.left: dict[str, float] = {}  # channel -> when its last listener left
        self.position = self.engine.position()
        self.online: set[str] = set()  # replayed from the events

    def history_options(self) -> HistoryOptions:
        return HistoryOptions(max_messages=self.limit, expire_after=EXPIRE_AFTER, max_channels=self.max_channels)

    # -- what happens

    @rule(cursors=st.dictionaries(st.sampled_from(CHANNELS), given_cursor, min_size=1, max_size=3),
          limiters=st.one_of(st.just([]), st.just([]), some_channels))  # fmt: skip
    def send(self, cursors: dict[str, str | None], limiters: list[str]) -> None:
        self.count += 1
        text = f'"m{self.count}"'
        given = {id: self._near(cursor) for id, cursor in cursors.items()}
        newest = {id: self._newest(id) for id, cursor in given.items() if cursor is None}
        try:
            receipt = self.hub.publish(Send(Identifiers(given, dict.fromkeys(limiters)), text.encode()))
        except InsufficientStorage:  # and nothing was stored or sent
            assert len(self.changed.keys() | given.keys()) > self.max_channels
            assert all(client.parked is None or client.parked.answer is None for client in self.clients)
            return
        assert {id: cursor for id, cursor in given.items() if cursor is not None}.items() <= receipt.items()
        for id, cursor in newest.items():  # nothing that is sent without a cursor falls behind what was sent before
            assert Decimal(receipt[id]) > cursor
        told = Told(text, receipt, frozenset(limiters))
        self.model.send(told)
        self.changed.update(dict.fromkeys(receipt, self.clock.monotonic))
        for client in self.clients:
            if client.parked is None:
                continue
            ids = told.ids_for(client.cursors)
            assert (client.parked.answer is not None) == bool(ids)
            if client.parked.answer is not None:
                answer = client.parked.answer
                self._unpark(client)
                found = found_in(answer) if client.torn else self._take(client, answer)
                assert found == [block(ids, text)]

    @precondition(lambda self: len(self.clients) < 8)
    @rule(names=some_channels, cursor=given_cursor)
    def come(self, names: list[str], cursor: str | None) -> None:
        client = Client({})
        self.clients.append(client)
        self._poll(client, dict.fromkeys(names, self._near(cursor)))

    @precondition(lambda self: any(client.parked is None for client in self.clients))
    @rule(data=st.data(), wait=st.booleans(), torn=st.booleans())
    def come_back(self, data: st.DataObject, wait: bool, torn: bool) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.parked is None]))
        self._poll(client, dict(client.cursors), wait=wait, torn=torn)

    @precondition(lambda self: any(client.parked for client in self.clients))
    @rule(data=st.data())
    def hang_up(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from([client for client in self.clients if client.parked]))
        assert client.parked is not None
        self.hub.leave(client.parked)
        self._unpark(client)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave_for_good(self, data: st.DataObject) -> None:
        client = data.draw(st.sampled_from(self.clients))
        if client.parked is not None:
            self.hub.leave(client.parked)
            self._unpark(client)
        self.clients.remove(client)

    @rule(seconds=st.sampled_from([0.0, 0.0000001, 1.0, 29.0, 31.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(seconds=st.sampled_from([0.001, 3600.0]))
    def clock_is_set_back(self, seconds: float) -> None:
        self.clock.set_back(seconds)

    @rule()
    def sweep(self) -> None:
        now = self.clock.monotonic
        offline, cleaned = self.engine.sweep()
        late = {id for id, changed in self.changed.items() if changed + EXPIRE_AFTER <= now}
        assert set(cleaned) == late
        for id in late:
            self.model.expire(id)
            del self.changed[id]
        gone = {id for id, left in self.left.items() if left + OFFLINE_TIMEOUT <= now}
        assert set(offline) == gone
        for id in gone:
            del self.left[id]

    @rule()
    def long_silence(self) -> None:
        """All channels expire."""
        self.clock.pass_(EXPIRE_AFTER)
        self.sweep()

    @rule(limit=st.integers(1, 4))
    def another_limit(self, limit: int) -> None:
        """It counts for a channel from its next message on."""
        self.limit = self.model.limit = limit
        self.engine.reconfigure(self.history_options(), self.engine.presence_options)

    @rule(seconds=st.sampled_from([0.5, 100.0]))
    def restart(self, seconds: float) -> None:
        """Everything is forgotten: whoever comes back is told so, in every channel."""
        self.clock.pass_(seconds + max(0.0, 4000.0 if self._clock_was_set_back() else 0.0))
        self.clients = [Client(client.cursors) for client in self.clients]
        self.start()
        for client in self.clients:
            lost = {id for id, cursor in client.cursors.items() if Decimal(cursor) < Decimal(self.model.beginning)}
            lost |= self.model.ahead(client.cursors, self._present(Decimal(self.model.beginning) + STEP))
            assert set(self.engine.gaps(tuple(client.cursors), tuple(client.cursors.values()))) == lost

    # -- what always holds

    @invariant()
    def presence(self) -> None:
        """ONLINE is right, and the events replayed give the same."""
        counts: dict[str, int] = dict.fromkeys(self.left, 0)
        for client in self.clients:
            for id in client.cursors if client.parked else ():
                counts[id] = counts.get(id, 0) + 1
        assert self.engine.online() == counts
        for event in self.engine.events(self.position):
            assert event.position > self.position
            self.position = event.position
            (self.online.add if event.kind == "online" else self.online.discard)(event.id)
        assert self.online == set(counts)
        assert self.hub.listening == sum(client.parked is not None for client in self.clients)

    @invariant()
    def nothing_but_listeners_is_held(self) -> None:
        assert len(self.hub.listeners()) == self.hub.listening
        assert set(self.hub.channels) == {id for client in self.clients if client.parked for id in client.cursors}

    # -- a client's side

    def _poll(self, client: Client, cursors: dict[str, str | None], *, wait: bool = True, torn: bool = False) -> None:
        client.torn = torn
        entered = self.hub.enter(cursors, wait=wait, encoding=AS_IT_CAME)
        client.cursors = {id: cursor or entered.position for id, cursor in cursors.items()}
        ahead = self.model.ahead(client.cursors, self._present(Decimal(entered.position)))
        missing = self.model.gaps(client.cursors) if any(cursors.values()) else set()
        # Who has more channels than the server remembers is told too often rather than not at all.
        exact = self.max_channels == NO_LIMIT
        assert set(entered.gaps) == missing | ahead if exact else set(entered.gaps) >= missing
        for id in entered.gaps:  # who was told goes on from the present
            client.cursors[id] = min(client.cursors[id], entered.position, key=Decimal)
        due = self.model.due(client.cursors)
        for id in client.cursors:
            self.left.pop(id, None)
        client.parked = entered.listener
        if entered.listener is not None:
            assert not due
            assert wait
            return
        self._unpark(client)
        if torn:
            assert self.answer_max < NO_LIMIT or found_in(entered.body) == due
            return
        at = dict(client.cursors)
        found = self._take(client, entered.body)
        if self.answer_max == NO_LIMIT:
            assert found == due
        elif due:  # a part, and the next polls have the rest
            assert found
            while len(found) < len(due):
                entered = self.hub.enter(dict(client.cursors), wait=False, encoding=AS_IT_CAME)
                more = self._take(client, entered.body)
                assert more
                found += more
            assert sorted(text for _, text in found) == sorted(text for _, text in due)
            assert all(Decimal(cursor) >= Decimal(at[id]) for id, cursor in client.cursors.items())

    def _take(self, client: Client, body: bytes) -> list[Block]:
        """The blocks of a body; the client's cursors move on. Each message once in each channel, in order."""
        found = found_in(body)
        for ids, data in found:
            for id, _ in ids:
                client.got.setdefault(id, set())
                assert data not in client.got[id]
                client.got[id].add(data)
                assert id in client.cursors
        for ids, _ in found:
            for id, cursor in ids:
                client.cursors[id] = max(client.cursors[id], cursor, key=Decimal)
        return found

    def _unpark(self, client: Client) -> None:
        client.parked = None
        for id in client.cursors:
            if not any(other.parked and id in other.cursors for other in self.clients):
                self.left[id] = self.clock.monotonic

    def _near(self, cursor: str | None) -> str | None:
        """A small number is a cursor as it is; a step with a sign or an hour is counted from the clock."""
        if cursor is None or cursor in ("5", "7.50", "7.5", "9"):
            return cursor
        return f"{Decimal(repr(self.clock.wall)) + Decimal(cursor):f}"

    def _present(self, drawn: Decimal) -> Decimal:
        """The greatest cursor that can have been drawn, where `drawn` is the last that was."""
        return max(drawn, Decimal(int(self.clock.wall * 1_000_000)).scaleb(-6))

    def _newest(self, id: str) -> Decimal:
        return max([Decimal(told.cursors[id]) for told in self.model.sent if id in told.cursors], default=Decimal(0))

    def _clock_was_set_back(self) -> bool:
        """What a restarted server cannot know: it draws its first cursor from the clock alone."""
        return Decimal(repr(self.clock.wall)) < Decimal(self.engine.draw())


def found_in(body: bytes) -> list[Block]:
    """The blocks of a body, which are in order."""
    found = [(tuple(_PAIR.findall(ids)), data) for ids, data in _BLOCK.findall(body.decode())]
    assert bool(found) == bool(body)
    assert found == in_order(found)
    return found


Conversation.TestCase.settings = settings(max_examples=150, stateful_step_count=50)
TestConversation = pytest.mark.usefixtures("in_one_turn")(Conversation.TestCase)
