"""Channels' messages by cursor: order, floors and gaps, limits, expiry (protocol page, parts 2 and 3)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from rplx.engine.history import CHANNEL_OVERHEAD, LIMITER_OVERHEAD, OVERHEAD, ChannelHistory
from rplx.errors import InsufficientStorage
from rplx.messages import Message
from rplx.options.table import HistoryOptions
from tests.engine.clock import Clock, Engine


class TestChannelHistory:
    def channel(self, *cursors: str, limit: int = 3) -> ChannelHistory:
        channel = ChannelHistory(Decimal(0))
        for number, cursor in enumerate(cursors):
            channel.add(Decimal(cursor), Message(f"{number}".encode(), {"a": cursor}), limit, now=number)
        return channel

    @pytest.mark.parametrize(
        ("cursors", "since", "expected"),
        [
            (["1", "2", "3"], "0", "012"),
            (["1", "2", "3"], "1", "12"),
            (["1", "2", "3"], "3", ""),
            (["3", "1", "2"], "0", "120"),
            (["10", "9"], "9", "0"),
            (["1", "1", "1"], "0", "012"),
            (["1", "1.0", "1.00"], "1", ""),
            (["0.10000000000000001", "0.1"], "0.1", "0"),
        ],
    )
    def test_since(self, cursors: list[str], since: str, expected: str) -> None:
        _, found = self.channel(*cursors).since(Decimal(since))
        assert b"".join(message.data for message in found).decode() == expected

    @pytest.mark.parametrize(
        ("cursors", "kept", "floor"),
        [
            (["1", "2", "3"], "012", "0"),
            (["1", "2", "3", "4"], "123", "1"),
            (["5", "6", "7", "1"], "012", "1"),  # older than all that is kept: dropped at once
            (["5", "6", "7", "6.5"], "132", "5"),
        ],
    )
    def test_the_newest_by_cursor_are_kept(self, cursors: list[str], kept: str, floor: str) -> None:
        channel = self.channel(*cursors)
        assert b"".join(message.data for message in channel.since(Decimal(-1))[1]).decode() == kept
        assert b"".join(message.data for message in channel.newest_first()).decode() == kept[::-1]
        assert channel.floor == Decimal(floor)
        assert channel.size == self.channel("1", "2", "3").size


class TestDue:
    def test_newer_than_the_cursor_and_nothing_else(self, engine: Engine) -> None:
        for cursor in ("1", "2", "3"):
            engine.send(cursor, a=cursor)
        assert [engine.texts(a=cursor) for cursor in ("0", "1", "2.999", "3", "99")] == [
            ["1", "2", "3"],
            ["2", "3"],
            ["3"],
            [],
            [],
        ]

    def test_each_channel_from_its_own_cursor(self, engine: Engine) -> None:
        engine.send("x", a="10", b="10")
        engine.send("y", b="20")
        assert engine.texts(a="5", b="15") == ["x", "y"]
        [due] = engine.due(("a",), ("5",))
        assert due.ids == {"a": "10"}
        dues = engine.due(("a", "b"), ("5", "5"))
        assert [due.ids for due in sorted(dues, key=lambda due: due.value)] == [{"a": "10", "b": "10"}, {"b": "20"}]
        assert engine.due(("a", "b"), ("10", "20")) == []

    def test_limiters(self, engine: Engine) -> None:
        engine.send("x", ("l", "m"), a="1")
        assert engine.texts(a="0") == []
        assert engine.texts(a="0", other="0") == []
        assert engine.texts(a="0", l="0") == ["x"]
        assert engine.texts(a="0", m="99") == ["x"]
        assert engine.texts(l="0", m="0") == []

    def test_announced_once_in_the_order_of_storing(self, engine: Engine) -> None:
        engine.send("1", a="9", b="9")
        engine.send("2", a="3")
        assert [message.data for message in engine.sent] == [b"1", b"2"]


class TestGaps:
    """The listener is told where history does not reach back to its cursor."""

    def test_from_before_the_start(self, clock: Clock, engine: Engine) -> None:
        assert engine.gaps(("a",), (engine.draw(),)) == []
        assert engine.gaps(("a",), ("1",)) == ["a"]
        engine.send("x", a=None)
        assert engine.gaps(("a",), ("1",)) == ["a"]

    def test_beyond_the_limit(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(max_messages=2))
        beginning = engine.draw()
        sent = [engine.send(text, a=None)["a"] for text in ("1", "2", "3")]
        assert engine.gaps(("a",), (beginning,)) == ["a"]
        assert engine.gaps(("a",), (sent[0],)) == []
        assert engine.texts(a=sent[0]) == ["2", "3"]
        assert engine.gaps(("a", "b"), (beginning, beginning)) == ["a"]

    def test_after_expiry(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(expire_after=60))
        beginning = engine.draw()
        clock.pass_(1)
        sent = engine.send("1", a=None)["a"]
        clock.pass_(61)
        engine.sweep()
        assert engine.gaps(("a",), (beginning,)) == ["a"]
        assert engine.gaps(("a",), (sent,)) == []
        engine.send("2", a=None)
        assert engine.gaps(("a",), (beginning,)) == ["a"]
        assert engine.gaps(("a",), (sent,)) == []

    def test_more_expired_channels_than_can_be_remembered(self, clock: Clock) -> None:
        """Told of too often rather than not at all."""
        engine = Engine(clock, HistoryOptions(expire_after=60, max_channels=2))
        beginning = engine.draw()
        clock.pass_(1)
        for names in (("a", "b"), ("c",)):
            for name in names:
                engine.send("1", **{name: None})
            clock.pass_(61)
            engine.sweep()
        assert engine.gaps(("a", "b", "c"), (beginning,) * 3) == ["a", "b", "c"]

    def test_a_forgotten_channel_whose_cursors_were_ahead_of_the_clock(self, clock: Clock) -> None:
        """Its listeners hold that cursor: what is sent next has to lie beyond it, or it never reaches them."""
        engine = Engine(clock, HistoryOptions(expire_after=60, max_channels=1))
        ahead = f"{clock.wall + 3600}"
        engine.send("1", a=ahead)
        for name in ("b", "c"):
            clock.pass_(61)
            engine.sweep()
            engine.send("1", **{name: None})
        clock.pass_(61)
        engine.sweep()
        engine.send("2", a=None)
        assert engine.texts(a=ahead) == ["2"]


class TestExpiry:
    def test_a_channel_into_which_nothing_was_sent(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(expire_after=60))
        engine.send("1", a="1")
        clock.pass_(30)
        engine.send("1", b="1")
        clock.pass_(29.9)
        assert engine.sweep() == ([], [])
        clock.pass_(0.1)
        assert engine.sweep() == ([], ["a"])
        assert (engine.texts(a="0"), engine.texts(b="0")) == ([], ["1"])
        assert engine.counters()["data_to_send"] == 1

    def test_a_send_renews_it(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(expire_after=60))
        engine.send("1", a="1")
        engine.send("1", b="1")
        clock.pass_(40)
        engine.send("2", a="2")
        clock.pass_(40)
        assert engine.sweep() == ([], ["b"])
        assert engine.texts(a="0") == ["1", "2"]

    def test_the_wall_clock_does_not_matter(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(expire_after=60))
        engine.send("1", a="1")
        clock.wall += 10_000
        assert engine.sweep() == ([], [])
        clock.monotonic += 60
        clock.set_back(20_000)
        assert engine.sweep() == ([], ["a"])

    def test_a_shorter_time_counts_at_once(self, clock: Clock, engine: Engine) -> None:
        engine.send("1", a="1")
        clock.pass_(10)
        engine.reconfigure(HistoryOptions(expire_after=5), engine.presence_options)
        assert engine.sweep() == ([], ["a"])


class TestLimits:
    def test_messages(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(max_messages=3))
        for number in range(1, 6):
            engine.send(str(number), a=str(number))
        assert engine.texts(a="0") == ["3", "4", "5"]
        engine.send("old", a="1")
        assert engine.texts(a="0") == ["3", "4", "5"]

    def test_channels(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(max_channels=2))
        engine.send("1", a=None, b=None)
        with pytest.raises(InsufficientStorage, match="more than 2 channels") as caught:
            engine.send("1", a=None, c=None)
        assert not caught.value.closes
        assert engine.texts(a="0") == ["1"]
        engine.send("2", a=None)

    @pytest.mark.parametrize(
        ("ids", "limiters", "size"),
        [
            ("a", (), CHANNEL_OVERHEAD + OVERHEAD),
            ("ab", (), 2 * (CHANNEL_OVERHEAD + OVERHEAD)),
            ("a", ("l", "mm"), CHANNEL_OVERHEAD + OVERHEAD + 2 * LIMITER_OVERHEAD + 3),
        ],
    )
    def test_bytes(self, clock: Clock, ids: str, limiters: tuple[str, ...], size: int) -> None:
        """With what each channel, each message and each limiter costs beside its text."""
        text = "x" * 600
        engine = Engine(clock, HistoryOptions(max_bytes=size + 600 * len(ids), expire_after=60))
        with pytest.raises(InsufficientStorage, match=r"more than \d+ bytes of history") as caught:
            engine.send(text + "x", limiters, **dict.fromkeys(ids))
        assert not caught.value.closes
        assert not engine.sent
        engine.send(text, limiters, **dict.fromkeys(ids))
        with pytest.raises(InsufficientStorage):
            engine.send("", other=None)
        assert len(engine.sent) == 1
        clock.pass_(60)
        engine.sweep()
        engine.send(text, limiters, **dict.fromkeys(ids))

    def test_a_channel_that_is_there_costs_nothing_again(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(max_bytes=CHANNEL_OVERHEAD + 3 * OVERHEAD))
        for _ in range(3):
            engine.send("", a=None)
        with pytest.raises(InsufficientStorage):
            engine.send("", a=None)

    def test_bytes_are_given_back_by_what_is_dropped(self, clock: Clock) -> None:
        engine = Engine(clock, HistoryOptions(max_bytes=CHANNEL_OVERHEAD + 2 * OVERHEAD + 1000, max_messages=1))
        for _ in range(10):
            engine.send("x" * 100, ("l" * 50,), a=None)
        with pytest.raises(InsufficientStorage):
            engine.send("x" * 951, a=None)
        assert engine.texts(a="0", l="0") == []

    def test_floors_of_emptied_channels(self, clock: Clock) -> None:
        """Those of the newest max_channels are remembered; of older ones everybody is told of a gap."""
        engine = Engine(clock, HistoryOptions(max_channels=2, expire_after=1))
        begin = engine.draw()
        for id in ("a", "b", "c", "d"):
            clock.pass_(1)
            engine.send("1", **{id: None})
            clock.pass_(1)
            engine.sweep()
            assert len(engine._floors) <= 2
        now = engine.draw()
        assert engine.gaps(("a", "c", "d", "x"), (begin, begin, begin, begin)) == ["a", "c", "d", "x"]
        assert engine.gaps(("a", "c", "d", "x"), (now, now, now, now)) == []


def test_what_stats_shows(engine: Engine) -> None:
    engine.send("1", a="1", b="5")
    engine.send("22", ("l",), a="2")
    history = engine.history()
    assert {id: [message.data for message in kept] for id, kept in history.items()} == {"a": [b"22", b"1"], "b": [b"1"]}
    assert engine.counters() == {"data_to_send": 2, "online_timers": 0, "cleanup_timers": 2, "events": 0}
