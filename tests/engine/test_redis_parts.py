"""The pure parts of the Redis engine: addresses, the clock, counts, replicas of channels."""

from __future__ import annotations

import dataclasses
import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.engine.redis import codec
from rplx.engine.redis.address import parse
from rplx.engine.redis.clock import CLUSTER_MARGIN, TRUST, RedisClock
from rplx.engine.redis.counts import Counts
from rplx.engine.redis.replica import News, ReadRequest, Replica, Snapshot
from rplx.engine.redis.servers import ClusterServers, slot
from rplx.errors import ConfigError
from rplx.messages import Identifiers, Send

NOW = 1_795_346_940_000_000  # microseconds


class TestAddress:
    @pytest.mark.parametrize(
        ("url", "kind", "nodes", "service", "tls"),
        [
            ("redis://host", "single", (("host", 6379),), "", False),
            ("valkeys://u:p@[::1]:7000/3", "single", (("::1", 7000),), "", True),
            ("redis+sentinel://a,b:5000/site/2", "sentinel", (("a", 26379), ("b", 5000)), "site", False),
            ("rediss+cluster://:secret@a:1,b:2", "cluster", (("a", 1), ("b", 2)), "", True),
        ],
    )
    def test_forms(self, url: str, kind: str, nodes: tuple[object, ...], service: str, tls: bool) -> None:
        address = parse(url)
        assert (address.kind, address.nodes, address.service, address.tls) == (kind, nodes, service, tls)
        assert address.prefix == "rplx"

    def test_options(self) -> None:
        address = parse("redis+sentinel://me:s%40@a/site/2?prefix=x&sentinel_password=t&ssl_cert_reqs=none")
        assert (address.options["username"], address.options["password"], address.options["db"]) == ("me", "s@", 2)
        assert address.prefix == "x"
        assert address.sentinel_options == {"password": "t", "ssl_cert_reqs": "none"}
        assert "s@" not in repr(address)
        assert parse("unix:///run/redis.sock?db=4").path == "/run/redis.sock"

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("http://a", "is not a URL such as"),
            ("redis://a:99999", "not HOST or HOST:PORT"),
            ("redis://a/x", "not the number of a database"),
            ("redis+sentinel://a", "names no service"),
            ("redis+cluster://a/3", "only database 0"),
            ("redis://a?prefix=a*b", "prefix"),
            ("redis://a?socket_timeout=x", "cannot be used"),
        ],
    )
    def test_what_is_wrong(self, url: str, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            parse(url)


class TestClock:
    def test_a_position_lags_by_the_way_of_the_answer_alone(self) -> None:
        clock = RedisClock(cluster=False)
        clock.read(None, NOW, 10.0, 10.002)
        assert clock.draw(10.002) == "1795346940.000000"
        assert Decimal("1795346940.999") < Decimal(clock.draw(11.002)) < Decimal("1795346941")

    def test_a_better_reading_counts_and_a_worse_one_does_not(self) -> None:
        clock = RedisClock(cluster=False)
        clock.read(None, NOW, 10.0, 10.1)
        clock.read(None, NOW + 200_000, 10.2, 10.2)
        assert clock.bound(10.2) == NOW + 200_000
        clock.read(None, NOW + 300_000, 10.25, 10.6)  # read at 10.3 for all that is known
        assert clock.bound(10.6) >= NOW + 599_000

    def test_set_back(self) -> None:
        clock = RedisClock(cluster=False)
        clock.read(None, NOW, 10.0, 10.0)
        before = clock.draw(10.5)
        clock.read(None, NOW - 3_600_000_000, 11.0, 11.0)
        assert clock.bound(11.0) == NOW - 3_600_000_000
        clock.saw(NOW + 3_000_000)  # what Redis draws next is ahead of all positions
        assert Decimal(before) < Decimal(clock.draw(11.0)) == Decimal(NOW + 3_000_000) / 1_000_000

    def test_without_readings_it_stops_below_what_redis_can_draw(self) -> None:
        clock = RedisClock(cluster=False)
        clock.read(None, NOW, 10.0, 10.0)
        drawn = [Decimal(clock.draw(10.0 + TRUST + second)) for second in range(1000)]
        assert all(a < b for a, b in itertools.pairwise(drawn))
        assert drawn[-1] < Decimal(NOW) / 1_000_000 + Decimal(TRUST)

    def test_what_was_seen_is_behind_a_position(self) -> None:
        clock = RedisClock(cluster=False)
        clock.read(None, NOW, 10.0, 10.0)
        clock.saw(NOW + 5_000_000)
        drawn = [Decimal(clock.draw(10.0)) for _ in range(100_000)]
        assert all(a < b for a, b in itertools.pairwise(drawn))
        assert drawn[0] * 1_000_000 >= NOW + 5_000_000
        assert drawn[-1] * 1_000_000 < NOW + 5_000_001

    def test_a_guess_counts_until_redis_is_reached(self) -> None:
        clock = RedisClock(cluster=False)
        assert not clock
        clock.guess(NOW + 9_000_000)
        assert clock.draw(1.0).startswith("1795346949.")
        clock.read(None, NOW, 2.0, 2.0)
        assert clock.draw(2.0) == "1795346940.000000"

    def test_a_cluster_goes_by_its_fastest_clock(self) -> None:
        clock = RedisClock(cluster=True)
        clock.read("a", NOW, 10.0, 10.0)
        clock.read("b", NOW + 700_000, 10.0, 10.0)
        assert clock.floor(10.0) == NOW + 700_000
        assert Decimal(clock.draw(10.0)) * 1_000_000 == NOW + 700_000 - CLUSTER_MARGIN


class TestCodec:
    @given(st.binary(), st.sets(st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True), max_size=3))
    def test_there_and_back(self, data: bytes, limiters: set[str]) -> None:
        body = codec.pack_body(b"p-1", Send(Identifiers({}, dict.fromkeys(limiters)), data))
        number, message = codec.unpack_member("a", b"0000021 000000000000007 1.5 " + body)
        assert (number, message.data, message.limiters, message.id) == (7, data, frozenset(limiters), b"p-1")
        announced = codec.unpack_announced(b"17 a:1.5:7:1.0/2,b:2:1:1.0/3 " + body, lambda: None)
        assert announced == (17, [("a", "1.5", 7, b"1.0/2"), ("b", "2", 1, b"1.0/3")], body)


class TestCounts:
    def test_absolute_counts_of_what_has_changed(self) -> None:
        counts = Counts()
        assert counts.join(("a", "b")) == ["a", "b"]
        assert counts.join(("a",)) == []
        changes = counts.changes()
        assert changes == [("a", 2, True), ("b", 1, True)]
        counts.reported(changes)
        assert not counts.has_changes()
        assert counts.leave(("a",), 1) == []
        counts.join(("a",))
        assert counts.changes() == []  # one left and one came
        assert counts.leave(("a", "b"), 1) == ["b"]
        assert counts.changes() == [("a", 1, False), ("b", 0, False)]

    def test_a_listener_that_only_looked_in_is_reported(self) -> None:
        counts = Counts()
        counts.join(("a",))
        counts.leave(("a",), 1)
        assert counts.changes() == [("a", 0, True)]

    def test_reported_again(self) -> None:
        counts = Counts()
        counts.join(("a", "b"))
        counts.reported(counts.changes())
        counts.leave(("b",), 1)
        counts.not_reported(counts.changes())
        counts.forget_reported()
        assert sorted(counts.changes()) == [("a", 1, False), ("b", 0, False)]


def snapshot(
    number: int, *texts: str, floor: str = "0", incarnation: bytes = b"1.0/5", begin: bytes = b"1.0"
) -> Snapshot:
    """What Redis holds: messages numbered up to `number`, each at its number as cursor."""
    first = number - len(texts) + 1
    members = [
        codec.unpack_member("a", b"0 %d %d p-%d - %b" % (at, at, at, text.encode()))
        for at, text in enumerate(texts, first)
    ]
    return Snapshot(incarnation, number, Decimal(floor), str(number) if number else "", begin, 1000, members)


def part(number: int, incarnation: bytes = b"1.0/5") -> codec.Part:
    return codec.Part("a", str(number), number, incarnation)


def subscribed() -> Replica:
    """A channel whose topic has been subscribed."""
    channel = Replica(0.0)
    channel.subscribe()
    return channel


class TestReplica:
    def loaded(self) -> Replica:
        channel = subscribed()
        channel.want(Decimal(0))
        assert channel.read_request() == ("0", b"", 0)
        assert channel.apply(snapshot(2, "1", "2"), ReadRequest("0", b"", 0), 30, 60.0, 0.0).missed == []
        assert channel.covers(Decimal(0))
        return channel

    def texts(self, channel: Replica) -> list[str]:
        return [message.data.decode() for message in channel.history.since(Decimal(0))[1]]

    def test_what_is_announced(self) -> None:
        channel = self.loaded()
        assert channel.classify(part(2)) is News.OLD
        assert channel.classify(part(3)) is News.NEXT
        assert channel.classify(part(4)) is News.GAP
        assert channel.classify(part(1, b"1.0/9")) is News.NEXT  # forgotten, for nothing was sent for long
        assert channel.classify(part(1, b"2.0/9")) is News.GAP  # lost

    def test_what_was_missed_is_told_once(self) -> None:
        channel = self.loaded()
        channel.live = False
        assert channel.read_request() == ("0", b"1.0/5", 2)
        replayed = channel.apply(snapshot(4, "3", "4"), channel.read_request(), 30, 60.0, 0.0)
        assert [message.data for message in replayed.missed] == [b"3", b"4"]
        assert not replayed.lost
        assert self.texts(channel) == ["1", "2", "3", "4"]

    def test_an_answer_from_before_a_loss(self) -> None:
        """What was sent between it and the next subscription is in neither, so polls wait for the next answer."""
        channel = self.loaded()
        question = channel.read_request()
        channel.unsubscribe()
        assert [message.data for message in channel.apply(snapshot(3, "3"), question, 30, 60.0, 0.0).missed] == [b"3"]
        assert not channel.covers(Decimal(3))
        question = channel.read_request()
        channel.subscribe()
        channel.apply(snapshot(3), question, 30, 60.0, 0.0)
        assert not channel.covers(Decimal(3))  # asked before the topic was subscribed again
        channel.apply(snapshot(3), channel.read_request(), 30, 60.0, 0.0)
        assert channel.covers(Decimal(3))
        question = channel.read_request()
        channel.unsubscribe()
        channel.subscribe()
        channel.apply(snapshot(3, "3"), question, 30, 60.0, 0.0)
        assert not channel.covers(Decimal(3))

    def test_an_answer_that_announcements_have_outrun(self) -> None:
        channel = self.loaded()
        question = channel.read_request()
        message = codec.unpack_member("a", b"0 3 3 p-3 - 3")[1]
        channel.add(part(3), message, 30, 0.0)
        assert channel.is_ahead_of(snapshot(2), question)
        assert not channel.is_ahead_of(snapshot(3), question)
        # Redis itself has gone back, so something is lost.
        assert not channel.is_ahead_of(snapshot(2), channel.read_request())
        assert not channel.is_ahead_of(snapshot(0, incarnation=b"9.0/9", begin=b"9.0"), question)

    def test_more_was_missed_than_is_kept(self) -> None:
        channel = self.loaded()
        replayed = channel.apply(snapshot(9, "8", "9", floor="7"), channel.read_request(), 2, 60.0, 0.0)
        assert replayed.lost
        assert channel.history.floor == 7

    def test_redis_has_lost_all(self) -> None:
        channel = self.loaded()
        replayed = channel.apply(
            snapshot(1, "new", floor="50", incarnation=b"9.0/9", begin=b"9.0"), channel.read_request(), 30, 60, 0
        )
        assert replayed.lost
        assert [message.data for message in replayed.missed] == [b"new"]
        assert channel.history.floor == 50

    def test_redis_has_forgotten_a_quiet_channel(self) -> None:
        channel = self.loaded()
        replayed = channel.apply(snapshot(0, floor="2", incarnation=b""), channel.read_request(), 30, 60.0, 0.0)
        assert not replayed.lost
        assert replayed.missed == []
        assert self.texts(channel) == []

    def test_polls_that_could_not_be_looked_for(self) -> None:
        channel = subscribed()
        channel.wait_unchecked(Decimal(1))
        replayed = channel.apply(snapshot(3, "2", "3", floor="1"), channel.read_request(), 30, 60.0, 0.0)
        assert [message.data for message in replayed.missed] == [b"2", b"3"]
        assert not replayed.lost
        channel = subscribed()
        channel.wait_unchecked(Decimal("0.5"))
        assert channel.apply(snapshot(3, "2", "3", floor="1"), channel.read_request(), 30, 60.0, 0.0).lost

    def test_a_poll_that_comes_while_an_answer_is_under_way_that_does_not_reach_so_far_back(self) -> None:
        """Redis cannot be asked just then, so it waits; it is told by the next answer, not forgotten with this one."""
        channel = subscribed()
        question = channel.read_request()  # of one who enters now: nothing is read
        channel.wait_unchecked(Decimal(1))
        replayed = channel.apply(snapshot(3, floor="0"), question, 30, 60.0, 0.0)
        assert (replayed.missed, replayed.lost) == ([], False)
        channel.want(Decimal(1))  # as the follower does, since it was wanted meanwhile
        question = channel.read_request()
        assert question == ("0", b"", 0)
        replayed = channel.apply(snapshot(3, "1", "2", "3"), question, 30, 60.0, 0.0)
        assert [message.data for message in replayed.missed] == [b"1", b"2", b"3"]
        assert channel.apply(snapshot(3), channel.read_request(), 30, 60.0, 0.0).missed == []

    def test_two_messages_of_one_number(self) -> None:
        channel = self.loaded()
        message = codec.unpack_member("a", b"0 3 3 p-3 - 3")[1]
        channel.add(part(3), message, 30, 0.0)
        assert channel.classify(part(3)) is News.OLD
        other = codec.Part("a", "3.5", 3, b"1.0/5")
        assert channel.classify(other) is News.CONFLICT
        channel.enter_conflict()
        question = channel.read_request()
        assert question == ("0", b"1.0/5", 2)
        assert channel.apply(snapshot(3, "3"), question, 30, 60.0, 0.0).missed == []  # known already
        assert self.texts(channel) == ["1", "2", "3"]
        assert channel.classify(other) is News.CONFLICT  # the false one

    def test_thrown_away_while_it_was_not_subscribed(self) -> None:
        channel = self.loaded()
        channel.unsubscribe()
        question = channel.read_request()
        new = snapshot(1, "new", floor="9", incarnation=b"1.0/9")
        assert not channel.apply(new, question, 30, 60.0, 0.0).lost  # forgotten, for nothing was sent for long
        channel = self.loaded()
        channel.unsubscribe()
        new = dataclasses.replace(new, evicted=b"9.0")
        assert channel.apply(new, channel.read_request(), 30, 60.0, 0.0).lost

    def test_a_poll_from_further_back(self) -> None:
        channel = subscribed()
        channel.want(Decimal(2))
        channel.apply(snapshot(3, "3"), channel.read_request(), 30, 60.0, 0.0)
        assert channel.covers(Decimal(2))
        assert not channel.covers(Decimal(1))
        channel.want(Decimal(1))
        assert channel.read_request() == ("0", b"", 0)
        assert channel.apply(snapshot(3, "1", "2", "3"), channel.read_request(), 30, 60.0, 0.0).missed == []
        assert self.texts(channel) == ["1", "2", "3"]


class TestSlots:
    def test_known_ones(self) -> None:
        # From the Redis Cluster specification, appendix A, and CLUSTER KEYSLOT.
        assert slot("123456789") == 0x31C3
        assert slot("{user1000}.following") == slot("{user1000}.followers") == slot("user1000")
        assert slot("foo{}{bar}") != slot("{bar}")

    def test_each_slot_has_a_tag(self) -> None:
        servers = ClusterServers(parse("redis+cluster://a"))
        assert slot(f"x:{{{servers.tag('abc')}}}:order") == slot("x:{abc}:history")


def test_copies_of_a_message_share_their_limiters() -> None:
    one, other = [codec.unpack_body(b"id%d a,b %d" % (number, number), {"c": "1"}) for number in (1, 2)]
    assert one.limiters == {"a", "b"}
    assert one.limiters is other.limiters
