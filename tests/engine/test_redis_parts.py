"""The pure parts of the Redis engine: addresses, the clock, the counts, the copies of channels."""

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
from rplx.engine.redis.crowd import Crowd
from rplx.engine.redis.followed import Followed, Held, News
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


class TestCrowd:
    def test_absolute_counts_of_what_has_changed(self) -> None:
        crowd = Crowd()
        assert crowd.join(("a", "b")) == ["a", "b"]
        assert crowd.join(("a",)) == []
        changes = crowd.changes()
        assert changes == [("a", 2, True), ("b", 1, True)]
        crowd.told(changes)
        assert not crowd
        assert crowd.leave(("a",), 1) == []
        crowd.join(("a",))
        assert crowd.changes() == []  # one left and one came
        assert crowd.leave(("a", "b"), 1) == ["b"]
        assert crowd.changes() == [("a", 1, False), ("b", 0, False)]

    def test_one_who_only_looked_in_is_told(self) -> None:
        crowd = Crowd()
        crowd.join(("a",))
        crowd.leave(("a",), 1)
        assert crowd.changes() == [("a", 0, True)]

    def test_told_anew(self) -> None:
        crowd = Crowd()
        crowd.join(("a", "b"))
        crowd.told(crowd.changes())
        crowd.leave(("b",), 1)
        crowd.untold(crowd.changes())
        crowd.all_changed()
        assert sorted(crowd.changes()) == [("a", 1, False), ("b", 0, False)]


def held(number: int, *texts: str, floor: str = "0", incarnation: bytes = b"1.0/5", begin: bytes = b"1.0") -> Held:
    """What Redis holds: messages numbered up to `number`, each at its number as cursor."""
    first = number - len(texts) + 1
    members = [
        codec.unpack_member("a", b"0 %d %d p-%d - %b" % (at, at, at, text.encode()))
        for at, text in enumerate(texts, first)
    ]
    return Held(incarnation, number, Decimal(floor), str(number) if number else "", begin, 1000, members)


def part(number: int, incarnation: bytes = b"1.0/5") -> codec.Part:
    return codec.Part("a", str(number), number, incarnation)


def followed() -> Followed:
    """A channel whose topic has been subscribed."""
    channel = Followed(0.0)
    channel.heard = True
    return channel


class TestFollowed:
    def loaded(self) -> Followed:
        channel = followed()
        channel.want(Decimal(0))
        assert channel.question() == ("0", b"", 0)
        assert channel.absorb(held(2, "1", "2"), ("0", b"", 0), 30, 60.0, 0.0).missed == []
        assert channel.covers(Decimal(0))
        return channel

    def texts(self, channel: Followed) -> list[str]:
        return [message.data.decode() for message in channel.history.since(Decimal(0))[1]]

    def test_what_is_announced(self) -> None:
        channel = self.loaded()
        assert channel.judge(part(2)) is News.OLD
        assert channel.judge(part(3)) is News.NEXT
        assert channel.judge(part(4)) is News.HOLE
        assert channel.judge(part(1, b"1.0/9")) is News.NEXT  # forgotten, for nothing was sent for long
        assert channel.judge(part(1, b"2.0/9")) is News.HOLE  # lost

    def test_what_was_missed_is_told_once(self) -> None:
        channel = self.loaded()
        channel.live = False
        assert channel.question() == ("0", b"1.0/5", 2)
        caught = channel.absorb(held(4, "3", "4"), channel.question(), 30, 60.0, 0.0)
        assert [message.data for message in caught.missed] == [b"3", b"4"]
        assert not caught.lost
        assert self.texts(channel) == ["1", "2", "3", "4"]

    def test_an_answer_from_before_a_loss(self) -> None:
        """What was sent between it and the next subscription is in neither, so polls wait for the next answer."""
        channel = self.loaded()
        question = channel.question()
        channel.deafen()
        assert [message.data for message in channel.absorb(held(3, "3"), question, 30, 60.0, 0.0).missed] == [b"3"]
        assert not channel.covers(Decimal(3))
        question = channel.question()
        channel.heard = True
        channel.absorb(held(3), question, 30, 60.0, 0.0)
        assert not channel.covers(Decimal(3))  # asked before the topic was subscribed again
        channel.absorb(held(3), channel.question(), 30, 60.0, 0.0)
        assert channel.covers(Decimal(3))
        question = channel.question()
        channel.deafen()
        channel.heard = True
        channel.absorb(held(3, "3"), question, 30, 60.0, 0.0)
        assert not channel.covers(Decimal(3))

    def test_an_answer_that_announcements_have_outrun(self) -> None:
        channel = self.loaded()
        question = channel.question()
        message = codec.unpack_member("a", b"0 3 3 p-3 - 3")[1]
        channel.take(part(3), message, 30, 0.0)
        assert channel.outran(held(2), question)
        assert not channel.outran(held(3), question)
        assert not channel.outran(held(2), channel.question())  # Redis itself has gone back: something is lost
        assert not channel.outran(held(0, incarnation=b"9.0/9", begin=b"9.0"), question)

    def test_more_was_missed_than_is_kept(self) -> None:
        channel = self.loaded()
        caught = channel.absorb(held(9, "8", "9", floor="7"), channel.question(), 2, 60.0, 0.0)
        assert caught.lost
        assert channel.history.floor == 7

    def test_redis_has_lost_all(self) -> None:
        channel = self.loaded()
        caught = channel.absorb(
            held(1, "new", floor="50", incarnation=b"9.0/9", begin=b"9.0"), channel.question(), 30, 60, 0
        )
        assert caught.lost
        assert [message.data for message in caught.missed] == [b"new"]
        assert channel.history.floor == 50

    def test_redis_has_forgotten_a_quiet_channel(self) -> None:
        channel = self.loaded()
        caught = channel.absorb(held(0, floor="2", incarnation=b""), channel.question(), 30, 60.0, 0.0)
        assert not caught.lost
        assert caught.missed == []
        assert self.texts(channel) == []

    def test_polls_that_could_not_be_looked_for(self) -> None:
        channel = followed()
        channel.leave_open(Decimal(1))
        caught = channel.absorb(held(3, "2", "3", floor="1"), channel.question(), 30, 60.0, 0.0)
        assert [message.data for message in caught.missed] == [b"2", b"3"]
        assert not caught.lost
        channel = followed()
        channel.leave_open(Decimal("0.5"))
        assert channel.absorb(held(3, "2", "3", floor="1"), channel.question(), 30, 60.0, 0.0).lost

    def test_a_poll_that_comes_while_an_answer_is_under_way_that_does_not_reach_so_far_back(self) -> None:
        """Redis cannot be asked just then, so it waits; it is told by the next answer, not forgotten with this one."""
        channel = followed()
        question = channel.question()  # of one who enters now: nothing is read
        channel.leave_open(Decimal(1))
        caught = channel.absorb(held(3, floor="0"), question, 30, 60.0, 0.0)
        assert (caught.missed, caught.lost) == ([], False)
        channel.want(Decimal(1))  # as the follower does, since it was wanted meanwhile
        question = channel.question()
        assert question == ("0", b"", 0)
        caught = channel.absorb(held(3, "1", "2", "3"), question, 30, 60.0, 0.0)
        assert [message.data for message in caught.missed] == [b"1", b"2", b"3"]
        assert channel.absorb(held(3), channel.question(), 30, 60.0, 0.0).missed == []

    def test_two_messages_of_one_number(self) -> None:
        channel = self.loaded()
        message = codec.unpack_member("a", b"0 3 3 p-3 - 3")[1]
        channel.take(part(3), message, 30, 0.0)
        assert channel.judge(part(3)) is News.OLD
        other = codec.Part("a", "3.5", 3, b"1.0/5")
        assert channel.judge(other) is News.DOUBT
        channel.doubt()
        question = channel.question()
        assert question == ("0", b"1.0/5", 2)
        assert channel.absorb(held(3, "3"), question, 30, 60.0, 0.0).missed == []  # known already
        assert self.texts(channel) == ["1", "2", "3"]
        assert channel.judge(other) is News.DOUBT  # the false one

    def test_thrown_away_while_nothing_was_heard(self) -> None:
        channel = self.loaded()
        channel.deafen()
        question = channel.question()
        new = held(1, "new", floor="9", incarnation=b"1.0/9")
        assert not channel.absorb(new, question, 30, 60.0, 0.0).lost  # forgotten, for nothing was sent for long
        channel = self.loaded()
        channel.deafen()
        new = dataclasses.replace(new, evicted=b"9.0")
        assert channel.absorb(new, channel.question(), 30, 60.0, 0.0).lost

    def test_a_poll_from_further_back(self) -> None:
        channel = followed()
        channel.want(Decimal(2))
        channel.absorb(held(3, "3"), channel.question(), 30, 60.0, 0.0)
        assert channel.covers(Decimal(2))
        assert not channel.covers(Decimal(1))
        channel.want(Decimal(1))
        assert channel.question() == ("0", b"", 0)
        assert channel.absorb(held(3, "1", "2", "3"), channel.question(), 30, 60.0, 0.0).missed == []
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
