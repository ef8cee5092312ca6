"""Who is online, and WATCH's memory (protocol page, part 3)."""

from __future__ import annotations

import pytest

from rplx.engine.grace import Grace
from rplx.engine.prefixes import Prefixes
from rplx.engine.presence import EventLog
from rplx.messages import Event
from rplx.options.table import PresenceOptions
from tests.engine.clock import Clock, Engine


def shown(events: list[Event]) -> list[str]:
    return [f"{event.kind} {event.position}:{event.id}" for event in events]


@pytest.fixture
def engine(clock: Clock) -> Engine:
    return Engine(clock, presence=PresenceOptions(offline_timeout=30))


class TestOnline:
    def test_counts_connections(self, engine: Engine) -> None:
        engine.join(("a", "b"))
        engine.join(("a",))
        assert engine.online() == {"a": 2, "b": 1}
        engine.leave(("a",))
        assert engine.online() == {"a": 1, "b": 1}

    def test_prefixes(self, engine: Engine) -> None:
        engine.join(("me_a", "me_b", "you_a"))
        assert engine.online(("me_",)) == {"me_a": 1, "me_b": 1}
        assert engine.online(("x", "you_a", "me_b")) == {"me_b": 1, "you_a": 1}
        assert engine.online(("me_ab",)) == {}

    def test_the_grace_time(self, clock: Clock, engine: Engine) -> None:
        engine.join(("a",))
        engine.leave(("a",))
        assert engine.online() == {"a": 0}
        clock.pass_(29.9)
        assert engine.sweep() == ([], [])
        assert engine.online() == {"a": 0}
        clock.pass_(0.1)
        assert engine.sweep() == (["a"], [])
        assert engine.online() == {}

    def test_who_comes_back_within_it_has_never_been_away(self, clock: Clock, engine: Engine) -> None:
        engine.join(("a",))
        engine.leave(("a",))
        clock.pass_(29)
        engine.join(("a",))
        clock.pass_(29)
        assert engine.sweep() == ([], [])
        assert shown(engine.events(10)) == ["online 11:a"]
        engine.leave(("a",))
        clock.pass_(30)
        assert engine.sweep() == (["a"], [])
        assert shown(engine.events(10)) == ["offline 12:a"]

    def test_while_one_stays_the_others_leaving_changes_nothing(self, clock: Clock, engine: Engine) -> None:
        for _ in range(3):
            engine.join(("a",))
        engine.leave(("a",), 2)
        clock.pass_(100)
        assert engine.sweep() == ([], [])
        assert engine.online() == {"a": 1}
        assert engine.position() == 11

    def test_no_more_than_max_in_grace_stay(self, clock: Clock) -> None:
        engine = Engine(clock, presence=PresenceOptions(offline_timeout=30, max_in_grace=2))
        engine.join(("a", "b", "c", "d"))
        engine.leave(("c",))
        engine.leave(("b",))
        assert engine.sweep() == ([], [])
        engine.leave(("a",))
        assert engine.sweep() == (["c"], [])
        assert engine.online() == {"a": 0, "b": 0, "d": 1}

    def test_an_address_has_no_more_than_its_share(self, clock: Clock) -> None:
        engine = Engine(clock, presence=PresenceOptions(offline_timeout=30, max_in_grace_per_address=2))
        engine.join(("a", "b", "c", "d", "e", "x", "y"))
        engine.leave(("x",), 1, "192.0.2.1")
        engine.leave(("a", "b", "c", "d"), 1, "192.0.2.2")
        engine.leave(("e",))
        engine.join(("b",))
        assert engine.sweep() == (["a"], [])
        engine.leave(("b",), 1, "192.0.2.1")
        engine.leave(("y",), 1, "192.0.2.2")
        assert engine.sweep() == (["c"], [])
        assert engine.online() == dict.fromkeys("bdexy", 0)
        clock.pass_(30)
        assert engine.sweep() == (["x", "d", "e", "b", "y"], [])
        assert engine.online() == {}

    def test_without_a_share_none_is_taken(self, clock: Clock) -> None:
        engine = Engine(clock, presence=PresenceOptions(offline_timeout=30, max_in_grace_per_address=0))
        engine.join(("a", "b", "c"))
        engine.leave(("a", "b", "c"), 1, "192.0.2.2")
        assert engine.sweep() == ([], [])

    def test_what_one_address_leaves_is_forgotten_when_all_are_back(self) -> None:
        grace = Grace(10)
        for number in range(1000):
            grace.add([f"a{number}", f"b{number}"], 0.0, f"192.0.2.{number}")
            grace.remove(f"a{number}")
            grace.remove(f"b{number}")
            grace.remove(f"b{number}")
        assert not grace._left
        assert not grace._of
        assert grace.take_excess(100) == []

    def test_the_excess_comes_in_pieces(self) -> None:
        grace = Grace(3)
        grace.add([f"a{number}" for number in range(8)], 0.0, "192.0.2.1")
        assert [grace.take_excess(2) for _ in range(4)] == [["a0", "a1"], ["a2", "a3"], ["a4"], []]
        assert len(grace) == 3

    def test_the_wall_clock_does_not_matter(self, clock: Clock, engine: Engine) -> None:
        engine.join(("a",))
        engine.leave(("a",))
        clock.set_back(3600)
        clock.monotonic += 30
        assert engine.sweep() == (["a"], [])


class TestEvents:
    def test_the_first_has_position_11(self, engine: Engine) -> None:
        assert engine.position() == 10
        engine.join(("a",))
        assert engine.position() == 11
        assert shown(engine.events(10)) == ["online 11:a"]
        assert engine.events(11) == []

    def test_oldest_first_and_of_one_id_the_latest(self, clock: Clock, engine: Engine) -> None:
        engine.join(("a",))
        engine.join(("b",))
        engine.leave(("a",))
        clock.pass_(31)
        engine.sweep()
        engine.join(("c",))
        assert shown(engine.events(10)) == ["online 12:b", "offline 13:a", "online 14:c"]
        assert shown(engine.events(12)) == ["offline 13:a", "online 14:c"]
        engine.join(("a",))
        assert shown(engine.events(10)) == ["online 12:b", "online 14:c", "online 15:a"]

    def test_offline_in_the_order_of_leaving(self, clock: Clock, engine: Engine) -> None:
        engine.join(("a", "b", "c"))
        for id in ("b", "c", "a"):
            engine.leave((id,))
            clock.pass_(1)
        clock.pass_(60)
        assert engine.sweep() == (["b", "c", "a"], [])
        assert shown(engine.events(13)) == ["offline 14:b", "offline 15:c", "offline 16:a"]

    def test_prefixes(self, engine: Engine) -> None:
        engine.join(("me_a", "you_a", "me_b"))
        assert shown(engine.events(10, ("me_",))) == ["online 11:me_a", "online 13:me_b"]
        assert shown(engine.events(10, ("you", "me_b"))) == ["online 12:you_a", "online 13:me_b"]


class TestBlocks:
    """The newest three blocks of EVENT_CHAIN_LEN+1 events are kept."""

    @pytest.mark.parametrize(
        ("events", "kept_from"),
        [(0, 11), (1, 11), (8, 11), (9, 11), (10, 14), (12, 14), (13, 17), (100, 104)],
    )
    def test_what_is_kept(self, clock: Clock, events: int, kept_from: int) -> None:
        engine = Engine(clock, presence=PresenceOptions(event_chain_len=2))
        for number in range(events):
            engine.join((f"id{number}",))
        kept = list(range(kept_from, 11 + events))
        missed = [] if kept_from == 11 else [Event(kept_from - 1, "FAKE", "FAKE")]  # told, not passed over
        assert [event.position for event in engine.events(kept_from - 1)] == kept
        for position in (1, 10, kept_from - 2) if missed else (1, 10):
            found = engine.events(position)
            assert found[: len(missed)] == missed
            assert [event.position for event in found[len(missed) :]] == kept
        assert engine.counters()["events"] == 11 + events - kept_from
        assert engine.position() == 10 + events

    def test_a_position_within_a_block(self) -> None:
        log = EventLog(3)
        for number in range(7):
            log.add("online", f"id{number}")
        assert shown(log.after(10, Prefixes(("id6",), lambda: None))) == ["online 17:id6"]
        for position in range(10, 18):
            assert [event.position for event in log.after(position)] == list(range(position + 1, 18))
