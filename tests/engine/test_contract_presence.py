"""What every engine knows of who is online and who came and went, whichever it is."""

from __future__ import annotations

import gevent
import gevent.event

from tests.engine.harness import Make, eventually


class TestPresence:
    def test_counts(self, make: Make) -> None:
        tested = make()
        tested.engine.join(("a", "b"))
        tested.engine.join(("a",))
        assert tested.engine.online() == {"a": 2, "b": 1}
        tested.engine.leave(("a",))
        assert tested.engine.online() == {"a": 1, "b": 1}
        tested.engine.leave(("a", "b"))
        assert tested.engine.online() == {"a": 0, "b": 0}

    def test_prefixes(self, make: Make) -> None:
        tested = make()
        tested.engine.join(("me_a", "me_b", "you_a", "0"))
        assert tested.engine.online(("me_",)) == {"me_a": 1, "me_b": 1}
        assert tested.engine.online(("x", "you_a", "me_b")) == {"me_b": 1, "you_a": 1}
        assert tested.engine.online(("me_ab",)) == {}
        assert tested.engine.online(("0",)) == {"0": 1}

    def test_ids_of_http(self, make: Make) -> None:
        """They have dots and dashes (part 9.8)."""
        tested = make(presence__offline_timeout=0.05)
        ids = ("a-1", "a-2", "a.1", "a_1", "5.7")
        tested.engine.join(ids)
        assert tested.engine.online(("a-",)) == {"a-1": 1, "a-2": 1}
        assert tested.engine.online(("a.", "5.")) == {"5.7": 1, "a.1": 1}
        assert sorted(event.split(":")[1] for event in tested.shown()) == sorted(ids)
        assert [event.split(":")[1] for event in tested.shown(prefixes=("a.",))] == ["a.1"]
        tested.engine.leave(ids)
        gevent.sleep(0.1)
        eventually(lambda: tested.engine.online() == {} or tested.engine.sweep() is None)
        assert sorted(event.split(" ")[0] for event in tested.shown()) == ["offline"] * 5

    def test_online_once_and_offline_once(self, make: Make) -> None:
        tested = make(presence__offline_timeout=1.0)
        engine = tested.engine
        engine.join(("a",))
        engine.join(("a",))
        engine.leave(("a",))
        assert tested.shown() == ["online 11:a"]
        engine.leave(("a",))
        assert engine.sweep() == ([], [])
        gevent.sleep(0.4)
        engine.join(("a",))
        gevent.sleep(0.8)
        assert engine.sweep() == ([], [])
        assert tested.shown() == ["online 11:a"]
        engine.leave(("a",))
        assert engine.sweep()[0] == []
        gevent.sleep(1.2)
        assert engine.sweep() == (["a"], [])
        assert engine.sweep() == ([], [])
        assert tested.shown() == ["offline 12:a"]
        assert engine.online() == {}
        engine.join(("a",))
        assert tested.shown(12) == ["online 13:a"]

    def test_one_who_only_looked_in_was_there(self, make: Make) -> None:
        tested = make(presence__offline_timeout=0.05)
        tested.engine.join(("a",))
        tested.engine.leave(("a",))
        assert tested.engine.online() == {"a": 0}
        gevent.sleep(0.1)
        assert tested.engine.sweep()[0] == ["a"]
        assert tested.shown() == ["offline 12:a"]

    def test_one_address_has_no_more_than_its_share_in_grace(self, make: Make) -> None:
        engine = make(presence__offline_timeout=300.0, presence__max_in_grace_per_address=10).engine
        ids = [f"c{number:02}" for number in range(40)]
        engine.join(("honest", *ids))
        engine.join((ids[0],))
        engine.leave(("honest",), 1, "192.0.2.1")
        for id in ids:
            engine.leave((id,), 1, "192.0.2.2")
        gone: list[str] = []

        def swept() -> bool:
            gone.extend(engine.sweep()[0])
            return len(gone) >= 29

        eventually(swept)
        gone += engine.sweep()[0]
        assert sorted(gone) == ids[1:30]  # somebody listens to the first
        assert engine.online() == {ids[0]: 1, "honest": 0, **dict.fromkeys(ids[30:], 0)}

    def test_positions(self, make: Make) -> None:
        tested = make()
        assert tested.engine.position() == 10
        assert tested.shown(0) == []
        tested.engine.join(("a", "b"))
        assert tested.engine.position() == 12
        assert tested.shown(11) == ["online 12:b"]
        assert tested.shown(12) == []
        assert tested.shown(0, ("a",)) == ["online 11:a"]

    def test_the_log_is_bounded(self, make: Make) -> None:
        tested = make(presence__event_chain_len=3)
        for number in range(30):
            tested.engine.join((f"c{number}",))
        # Blocks of four: 11-14, 15-18, ... 35-38, 39, 40: the newest three begin at 31.
        assert [event.position for event in tested.engine.events(30)] == list(range(31, 41))
        assert tested.shown(38) == ["online 39:c28", "online 40:c29"]

    def test_many_at_once(self, make: Make) -> None:
        tested = make(presence__offline_timeout=0.1, presence__event_chain_len=5000)
        ids = [f"c{number}" for number in range(2500)]
        for id in ids:
            tested.engine.join((id,))
        assert tested.engine.online() == dict.fromkeys(ids, 1)
        for id in ids:
            tested.engine.leave((id,))
        assert set(tested.engine.online().values()) == {0}
        gevent.sleep(0.15)
        assert sorted(tested.engine.sweep()[0]) == sorted(ids)
        assert tested.engine.online() == {}
        assert tested.engine.position() == 10 + 5000


class TestWatchersThatMissedEvents:
    def test_they_are_told(self, make: Make) -> None:
        tested = make(presence__event_chain_len=2)
        position = tested.engine.position()
        for number in range(20):
            tested.engine.join((f"id{number}",))
            tested.engine.position()  # all are told in their order
        events = tested.engine.events(position)
        newest = tested.engine.position()
        assert (events[0].kind, events[0].id) == ("FAKE", "FAKE")
        assert [event.position for event in events] == list(range(events[0].position, newest + 1))
        assert [event.kind for event in events[1:]] == ["online"] * (len(events) - 1)
        assert [event.kind for event in tested.engine.events(events[0].position)] == ["online"] * (len(events) - 1)
        assert [event.kind for event in tested.engine.events(position, ("id19",))] == ["FAKE", "online"]


class TestCounters:
    def test_names(self, make: Make) -> None:
        tested = make()
        tested.engine.join(("a",))
        tested.texts(a="0")
        tested.send("1", "a")
        gevent.sleep(0.05)
        tested.engine.sweep()
        assert tested.engine.counters() == {"data_to_send": 1, "online_timers": 1, "cleanup_timers": 1, "events": 1}
