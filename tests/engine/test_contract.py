"""What every engine does, whichever it is (memory, one Redis, a Redis Cluster): cursors, history, announcements."""

from __future__ import annotations

import itertools
import time
from decimal import Decimal

import gevent
import gevent.event
import pytest

from rplx.errors import Refusal
from rplx.protocol.identifiers import CURSOR_MAX
from tests.engine.harness import Make, Tested, eventually


class TestCursors:
    def test_each_draw_is_greater(self, make: Make) -> None:
        tested = make()
        drawn = [Decimal(tested.engine.draw()) for _ in range(5000)]
        assert all(a < b for a, b in itertools.pairwise(drawn))

    def test_the_latest_is_known_where_messages_are_reported_in_their_order(self, make: Make) -> None:
        tested = make()
        before = tested.engine.latest()
        sent = Decimal(tested.send("1", "a")["a"])
        after = tested.engine.latest()
        assert (before is None) == (after is None)
        if before is not None and after is not None:
            assert before < sent <= after
        tested.send("2", a="9999999999")
        found = tested.engine.latest()
        assert found is None or found < Decimal("9999999999")

    def test_they_are_seconds_with_decimals(self, make: Make) -> None:
        tested = make()
        whole, _, fraction = tested.send("1", "a")["a"].partition(".")
        assert abs(int(whole) - time.time()) < 5
        assert len(fraction) == 6

    def test_a_send_is_behind_what_was_sent_before(self, make: Make) -> None:
        tested = make()
        sent = [Decimal(tested.send(str(number), "a")["a"]) for number in range(200)]
        assert all(a < b for a, b in itertools.pairwise(sent))

    def test_those_given_are_kept_as_they_are(self, make: Make) -> None:
        tested = make()
        given = {"a": "20", "b": "0007.50", "c": "1795346940.12345678901234567"}
        assert tested.send("1", **given) == given
        assert tested.texts(a="19", b="7.49", c="1795346940.12345678901234566") == ["1"]
        assert tested.texts(a="20.0", b="7.5", c="1795346940.123456789012345670") == []

    @pytest.mark.parametrize(
        ("newest", "expected"),
        [
            ("9999999999", "9999999999.000001"),
            ("9999999999.999999", "10000000000.000000"),
            ("99999999999999999999999999.5", "99999999999999999999999999.500001"),
            ("9999999999.1234567", "9999999999.123457"),
        ],
    )
    def test_a_send_is_behind_a_cursor_given_in_the_future(self, make: Make, newest: str, expected: str) -> None:
        tested = make()
        tested.send("1", a=newest)
        assert tested.send("2", "a")["a"] == expected
        assert tested.texts(a=newest) == ["2"]

    @pytest.mark.parametrize(
        "newest", ["9" * 40, "9" * 40 + ".99999999999999999999999", "0" * 30 + "1", "0." + "0" * 61 + "1"]
    )
    def test_behind_whatever_cursor_the_next_is_one_that_a_poll_may_name(self, make: Make, newest: str) -> None:
        tested = make()
        tested.send("1", a=newest)
        drawn = tested.send("2", "a")["a"]
        assert len(drawn) <= CURSOR_MAX
        assert Decimal(drawn) > Decimal(newest)
        assert tested.texts(a=newest) == ["2"]
        assert tested.texts(a=drawn) == []

    @pytest.mark.parametrize("cursor", ["0.0000001", "0." + "0" * 61 + "1", "0.00000000", "00000000000.00000000001"])
    def test_a_poll_from_a_tiny_cursor(self, make: Make, cursor: str) -> None:
        """Such a number written by Python has an exponent, which no cursor has."""
        tested = make()
        tested.send("1", "a")
        assert tested.texts(a=cursor) == ["1"]
        assert tested.gaps(a=cursor) == ["a"]
        again = make()  # another process, which has to read it
        assert again.texts(a=cursor) == (["1"] if again.engine.history() else [])

    def test_one_given_in_the_future_does_not_move_the_positions_of_others(self, make: Make) -> None:
        tested = make()
        tested.engine.join(("a", "b"))
        tested.send("1", a="9999999999")
        gevent.sleep(0.05)
        position = tested.engine.draw()
        assert Decimal(position) < 9999999999
        tested.send("2", "b")
        assert tested.texts(b=position) == ["2"]


class TestCursorsThatNobodyWasGiven:
    """By a clock that was ahead before a restart, or by a back-end before the data was lost: a gap."""

    def test_one_ahead_of_all_is_a_gap(self, make: Make) -> None:
        tested = make()
        tested.send("1", "a")
        ahead = str(int(time.time()) + 60)
        assert tested.gaps(a=ahead, b=ahead) == ["a", "b"]
        position = tested.engine.draw()
        assert tested.gaps(a=position, b=position) == []

    def test_one_that_a_back_end_gave_is_none(self, make: Make) -> None:
        tested = make(history__max_messages=1)
        tested.send("1", a="9999999999")
        assert tested.gaps(a="9999999999", b="9999999999") == ["b"]
        drawn = tested.send("2", "a")["a"]
        assert tested.gaps(a=drawn) == []
        other = make()  # the other process's, or of before a restart
        assert other.gaps(a=drawn) == ([] if other.engine.history() else ["a"])


class TestDue:
    def test_what_is_newer_than_the_cursor(self, make: Make) -> None:
        tested = make()
        for cursor in ("10", "20", "30"):
            tested.send(cursor, a=cursor)
        assert tested.texts(a="0") == ["10", "20", "30"]
        assert tested.texts(a="10") == ["20", "30"]
        assert tested.texts(a="19.99999999999999999") == ["20", "30"]
        assert tested.texts(a="30") == []

    def test_one_who_enters_now_gets_what_comes_and_not_what_was(self, make: Make) -> None:
        tested = make()
        for number in range(50):
            tested.send("before", "a")
            gevent.sleep(0.06 if number == 49 else 0)  # a cluster's positions lag by CLUSTER_MARGIN
        position = tested.engine.draw()
        tested.send("after", "a")
        assert tested.texts(a=position) == ["after"]

    def test_a_message_of_several_channels_is_one(self, make: Make) -> None:
        tested = make()
        tested.send("1", a="10", b="20", c="30")
        (due,) = tested.engine.due(("a", "b", "c"), ("0", "0", "30"))
        assert due.ids == {"a": "10", "b": "20"}
        assert due.message.data == b"1"

    def test_equal_texts_are_two(self, make: Make) -> None:
        tested = make()
        tested.send("1", a="10")
        tested.send("1", a="10")
        assert tested.texts(a="0") == ["1", "1"]

    def test_an_old_cursor_is_put_where_it_belongs(self, make: Make) -> None:
        tested = make()
        tested.engine.join(("a",))
        assert tested.texts(a="15") == []
        for cursor in ("20", "9", "10", "100"):
            tested.send(cursor, a=cursor)
        eventually(lambda: len(tested.sent) == 4)
        assert tested.texts(a="15") == ["20", "100"]
        assert tested.texts(a="0") == ["9", "10", "20", "100"]

    def test_limiters(self, make: Make) -> None:
        tested = make()
        tested.send("x", limiters=("b", "c"), a="10")
        assert tested.texts(a="0") == []
        assert tested.texts(a="0", b="99") == ["x"]

    def test_ids_of_http(self, make: Make) -> None:
        """They have dots and dashes (part 9.8), and one that another begins with, or differs by them, is another."""
        tested = make()
        ids = [
            "a",
            "a-",
            "a-1",
            "a.1",
            "a..1",
            "a_1",
            "0b5f2d3e-9c1a-4f7e-8d21-1f0a6c3b9e55",
            "5.7",
            "-".join("a" * 64),
        ]
        for id in ids:
            tested.send(id, **{id: "10"})
        for id in ids:
            assert tested.texts(**{id: "0"}) == [id]
        tested.send("x", limiters=("b-1", "c.2"), **{"a-1": "20"})
        assert tested.texts(**{"a-1": "10"}) == []
        for limiter in ("b-1", "c.2"):
            assert tested.texts(**{"a-1": "10", limiter: "99"}) == ["x"]
        eventually(lambda: tested.announced()[-1:] == ["x"])

    def test_bytes_are_kept(self, make: Make) -> None:
        tested = make()
        data = ' {"ключ":\n "\\u0000 , : " }  '
        tested.send(data, "a")
        assert tested.texts(a="0") == [data]

    def test_nothing_is_due_where_nothing_was_sent(self, make: Make) -> None:
        assert make().texts(nobody="0") == []


class TestHistory:
    def test_the_newest_are_kept(self, make: Make) -> None:
        tested = make(history__max_messages=3)
        for cursor in ("10", "40", "20", "30"):
            tested.send(cursor, a=cursor)
        assert tested.texts(a="0") == ["20", "30", "40"]

    def test_a_gap_is_told(self, make: Make) -> None:
        tested = make(history__max_messages=2)
        position = tested.engine.draw()
        assert tested.gaps(a=position) == []
        first, second, third = [tested.send(str(number), "a")["a"] for number in range(3)]
        assert tested.gaps(a=position) == ["a"]
        assert tested.gaps(a=first) == []
        assert tested.gaps(a=second, b=third) == []
        assert tested.texts(a=first) == ["1", "2"]

    def test_before_the_beginning_is_a_gap(self, make: Make) -> None:
        tested = make()
        assert tested.gaps(a="5", b=tested.engine.draw()) == ["a"]

    def test_a_quiet_channel_is_emptied(self, make: Make) -> None:
        tested = make(history__expire_after=1.0)
        cursor = tested.send("1", "a")["a"]
        position = str(Decimal(cursor) - Decimal("0.000001"))
        assert tested.texts(a=position) == ["1"]
        gevent.sleep(1.2)
        tested.engine.sweep()
        assert tested.texts(a=position) == []
        assert tested.gaps(a=position) == ["a"]
        assert tested.gaps(a=cursor) == []

    def test_each_send_keeps_it(self, make: Make) -> None:
        tested = make(history__expire_after=2.0)
        for number in range(3):
            tested.send(str(number), "a")
            gevent.sleep(0.8)
            tested.engine.sweep()
        assert tested.texts(a="0") == ["0", "1", "2"]

    def test_all_that_is_kept(self, make: Make) -> None:
        tested = make()
        for cursor in ("10", "20"):
            tested.send(cursor, a=cursor, b="5")
        kept = tested.engine.history()
        assert sorted(kept) == ["a", "b"]
        assert [(message.data, message.cursors["a"]) for message in kept["a"]] == [(b"20", "20"), (b"10", "10")]

    def test_smaller_limits_count_from_the_next_message_on(self, make: Make) -> None:
        tested = make()
        for cursor in ("10", "20", "30"):
            tested.send(cursor, a=cursor)
        config = Tested("memory:", history__max_messages=2).engine
        tested.engine.reconfigure(config.history_options, config.presence_options)
        tested.send("40", a="40")
        assert tested.texts(a="0") == ["30", "40"]


class TestAnnounce:
    def test_each_message_once_and_in_order(self, make: Make) -> None:
        tested = make()
        tested.enter("a", "b")
        for number in range(100):
            tested.send(str(number), "a", "b") if number % 3 else tested.send(str(number), "a")
        eventually(lambda: len(tested.sent) >= 100)
        gevent.sleep(0.05)
        mine = [message.data.decode() for message in tested.sent if "a" in message.cursors]
        assert mine == [str(number) for number in range(100)]  # a cluster announces for each slot

    def test_what_it_carries(self, make: Make) -> None:
        tested = make()
        tested.enter("a")
        tested.send("1", limiters=("x", "y"), a="10")
        eventually(lambda: len(tested.sent) == 1)
        (message,) = tested.sent
        assert (message.data, message.cursors, message.limiters) == (b"1", {"a": "10"}, frozenset("xy"))

    def test_nothing_slips_between_a_poll_and_the_next(self, make: Make) -> None:
        """A listener that polls as clients do gets every message of a busy channel once, in order."""
        tested = make(history__max_messages=2000)
        got: list[str] = []
        woken = gevent.event.Event()
        tested.observer.woken = woken.set

        def listen() -> None:
            cursor = start
            while len(got) < 500:
                tested.engine.join(("a",))
                dues = tested.engine.due(("a",), (cursor,))
                if not dues:
                    woken.clear()
                    woken.wait(60)
                tested.engine.leave(("a",))
                for due in sorted(dues, key=lambda due: Decimal(due.ids["a"])):
                    got.append(due.message.data.decode())
                    cursor = due.ids["a"]

        start = tested.engine.draw()
        listener = gevent.spawn(listen)
        for number in range(500):
            tested.send(str(number), "a")
            if number % 50 == 0:
                gevent.sleep(0.002)
        listener.join(120)
        assert got == [str(number) for number in range(500)]


def test_a_refusal_leaves_the_engine_as_it_was(make: Make) -> None:
    """Where a limit refuses a send, nothing of it is kept (only the memory engine has limits of its own)."""
    tested = make(history__max_channels=1)
    tested.send("1", "a")
    try:
        tested.send("2", "a", "b")
    except Refusal:
        assert tested.texts(a="0", b="0") == ["1"]
    else:
        assert tested.texts(a="0", b="0") == ["1", "2"]
