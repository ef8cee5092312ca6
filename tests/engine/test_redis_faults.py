"""Redis away, slow, restarted, paused, cut off, emptied: what listeners and senders see of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal

import gevent
import pytest
import redis

from rplx.engine.redis import follower, presence_reporter
from rplx.errors import InsufficientStorage, Refusal, Unavailable
from tests.engine.harness import Stalls, Tested, eventually
from tests.redis_server import AVAILABLE, RedisServer

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")

SEND_LIMIT = 2.0  # seconds within which a sender hears that Redis is away


@pytest.fixture(params=[True, False], ids=["aof", "no-aof"])
def aof(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def server(aof: bool) -> Iterator[RedisServer]:
    with RedisServer(aof=aof) as started:
        yield started


@pytest.fixture
def pair(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tested, Tested]]:
    """Two processes' engines. Polls wait for what a slow Redis has for them."""
    monkeypatch.setattr(follower, "LOOK_TIMEOUT", 30.0)
    one, two = Tested(server.url), Tested(server.url)
    yield one, two
    one.close()
    two.close()


def assert_unavailable(tested: Tested, *ids: str) -> None:
    """A send is refused in time, and meanwhile others are served."""
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.01)
            turns += 1

    counting = gevent.spawn(count)
    begin = time.monotonic()
    with Stalls() as stalls, pytest.raises(Unavailable):
        tested.send('"refused"', *ids)
    took = time.monotonic() - begin - stalls.seconds
    counting.kill()
    assert took < SEND_LIMIT
    assert turns > took / 0.01 / 5, "the loop was blocked"


def send_until_it_works(tested: Tested, text: str, *ids: str) -> dict[str, str]:
    deadline = time.monotonic() + 30
    while True:
        try:
            return tested.send(text, *ids)
        except Unavailable:
            assert time.monotonic() < deadline


class TestRestart:
    def test_polls_keep_hanging_and_senders_are_told(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        position = one.enter("a")
        server.kill()
        gevent.sleep(0.1)
        assert_unavailable(one, "a")
        for id in ("a", "never_seen"):  # new polls are let in, and wait too
            begin = time.monotonic()
            with Stalls() as stalls:
                at = one.engine.draw()
                assert one.engine.gaps((id,), (at,)) == []
                one.engine.join((id,))
                assert one.engine.due((id,), (position,)) == []
            assert time.monotonic() - begin - stalls.seconds < 1
        assert one.sent == []
        server.start()
        send_until_it_works(one, "1", "a", "never_seen")
        eventually(lambda: set(one.announced()) == {"1"})  # one that was refused may have been stored all the same
        assert any("is away" in line for line in one.log)
        eventually(lambda: one.log[-1].startswith("Redis is back (after "))

    def test_what_was_acknowledged(self, aof: bool, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        position = one.enter("a")
        receipts = [one.send(str(number), "a")["a"] for number in range(20)]
        server.kill()
        server.start()
        if aof:
            eventually(lambda: two.texts(a=position) == [str(number) for number in range(20)])
            assert two.gaps(a=position) == []
            assert one.recalled == []
        else:
            # All is lost, and everybody is told: who waits is called back, who comes back sees the gap.
            eventually(lambda: "a" in one.recalled)
            eventually(lambda: one.gaps(a=receipts[-1]) == two.gaps(a=receipts[-1]) == ["a"])
            assert two.texts(a=position) == []
        cursor = send_until_it_works(two, "20", "a")["a"]
        assert Decimal(cursor) > Decimal(receipts[-1])
        eventually(lambda: one.announced() == [str(number) for number in range(21)])
        assert one.gaps(a=cursor) == []

    def test_presence(self, aof: bool, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.engine.join(("a", "b"))
        two.engine.join(("a",))
        eventually(lambda: one.engine.online() == {"a": 2, "b": 1})
        server.kill()
        two.engine.join(("b",))
        one.engine.leave(("a",))
        server.start()

        def known() -> bool:
            try:
                return one.engine.online() == {"a": 1, "b": 2} == two.engine.online()  # type: ignore[no-any-return]
            except Unavailable:
                return False

        eventually(known)
        assert sorted(text.partition(" ")[0] for text in one.shown()) == ["online", "online"]

    def test_redis_that_is_not_there_at_first(self, server: RedisServer) -> None:
        server.kill()
        tested = Tested(server.url)
        assert_unavailable(tested, "a")
        position = tested.enter("a")
        server.start()
        send_until_it_works(tested, "1", "a")
        eventually(lambda: tested.announced() == ["1"])
        assert tested.texts(a=position) == ["1"]
        tested.close()


class TestPause:
    def test_paused(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        position = one.enter("a")
        one.send("1", "a")
        server.pause()
        assert_unavailable(two, "a")
        assert one.texts(a=position) == ["1"]  # what has been seen is answered without Redis
        gevent.sleep(1.5)
        server.resume()
        send_until_it_works(two, "2", "a")
        eventually(lambda: [text for text in one.announced() if text != '"refused"'] == ["1", "2"])
        assert one.recalled == []
        # A refused send may have been read by Redis after all, but never twice.
        assert one.announced().count('"refused"') <= 1
        assert one.texts(a=position) == one.announced()

    def test_a_short_pause_is_not_noticed(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        server.pause()
        gevent.spawn_later(0.5, server.resume)
        one.send("1", "a")
        assert one.texts(a="0") == ["1"]

    def test_a_slow_redis_stores_once(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        """An answer that comes too late: the send is repeated, and Redis sees that it has it already."""
        one, _ = pair
        server.pause()
        gevent.spawn_later(1.3, server.resume)
        try:
            one.send("1", "a")
        except Unavailable:
            pass
        gevent.sleep(0.5)
        assert one.texts(a="0").count("1") == 1


class TestConnections:
    def test_cut_in_the_middle(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        """Every connection is cut again and again while two processes send: each acknowledged message is there once."""
        one, two = pair
        one.engine.reconfigure(*limits())
        two.engine.reconfigure(*limits())
        position = one.enter("a")
        acknowledged: list[str] = []

        def send(tested: Tested, name: str) -> None:
            for number in range(300):
                try:
                    tested.send(f"{name}{number}", "a")
                except Unavailable:
                    continue
                acknowledged.append(f"{name}{number}")
                gevent.sleep(0.001)

        senders = [gevent.spawn(send, one, "x"), gevent.spawn(send, two, "y")]
        client = server.client()
        while not all(sender.ready() for sender in senders):
            gevent.sleep(0.05)
            client.client_kill_filter(_type="normal")
            client.client_kill_filter(_type="pubsub")
        client.close()
        assert len(acknowledged) > 500
        eventually(lambda: set(acknowledged) <= set(two.texts(a=position)))
        kept = two.texts(a=position)
        assert len(kept) == len(set(kept))
        eventually(lambda: len(one.sent) == len(kept))
        assert one.announced() == kept  # every one, once, in order, though the announcements were cut too
        assert one.texts(a=position) == kept

    def test_announcements_that_were_missed(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.enter("a", "b")
        one.send("0", "a")
        eventually(lambda: one.announced() == ["0"])
        with server.client() as client:
            for round_ in range(1, 5):
                client.client_kill_filter(_type="pubsub")
                two.send(str(round_), "a", "b")
                eventually(lambda round_=round_: one.announced() == [str(n) for n in range(round_ + 1)])  # type: ignore[misc]

    def test_more_missed_than_history_holds(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        position = one.enter("a")
        with server.client() as client:
            client.execute_command("CLIENT", "NO-EVICT", "ON")
            client.client_kill_filter(_type="pubsub")
            for number in range(100):
                two.send(str(number), "a")
        eventually(lambda: one.announced()[-1:] == ["99"])
        if one.announced() != [str(number) for number in range(100)]:
            assert one.recalled == ["a"]
            assert one.gaps(a=position) == ["a"]

    def test_scripts_flushed(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        with server.client() as client:
            client.script_flush()
        assert list(one.send("1", "a")) == ["a"]
        assert one.texts(a="0") == ["1"]

    def test_too_many_calls_wait(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        server.pause()
        gevent.sleep(0.1)
        refused = 0

        def send() -> None:
            nonlocal refused
            try:
                one.send("1", "a")
            except Unavailable:
                refused += 1

        begin = time.monotonic()
        with Stalls() as stalls:
            senders = [gevent.spawn(send) for _ in range(3000)]
            gevent.joinall(senders)
        assert refused == 3000
        assert time.monotonic() - begin - stalls.seconds < SEND_LIMIT + 1
        server.resume()

    def test_scripts_flushed_under_load(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        """What stands behind a refused call in a batch has its answer too, and is not sent again for it."""
        one, two = pair
        one.engine.reconfigure(*limits())
        two.engine.reconfigure(*limits())
        acknowledged: list[str] = []
        refused: list[str] = []

        def send(tested: Tested, name: str) -> None:
            for number in range(15):
                try:
                    tested.send(f"{name}-{number}", "a")
                except Unavailable:  # Redis was too slow: it may have stored it all the same
                    refused.append(f"{name}-{number}")
                else:
                    acknowledged.append(f"{name}-{number}")

        with server.client() as client:
            senders = [gevent.spawn(send, tested, f"{n}") for n, tested in enumerate((one, two) * 100)]
            while not all(sender.ready() for sender in senders):
                client.script_flush()
                gevent.sleep(0.002)
        gevent.joinall(senders, raise_error=True)
        kept = [member.rpartition(b" ")[2].decode() for member in everything(server, "a")]
        assert len(kept) == len(set(kept))
        assert set(acknowledged) <= set(kept) <= {*acknowledged, *refused}
        assert len(acknowledged) > 2000


def everything(server: RedisServer, id: str) -> list[bytes]:
    with server.client() as client:
        return list(client.zrange(f"rplx:{{{id}}}:history", 0, -1))


class TestFalseAnnouncements:
    """Whoever may publish under our prefix can say what he likes: the process stays well, and true messages come."""

    @pytest.fixture
    def client(self, server: RedisServer) -> Iterator[redis.Redis]:
        with server.client() as client:
            yield client

    @pytest.fixture
    def listening(self, pair: tuple[Tested, Tested]) -> Tested:
        pair[0].enter("a")
        pair[1].send("1", "a")
        eventually(lambda: pair[0].announced() == ["1"])
        return pair[0]

    def publish(self, client: redis.Redis, text: bytes) -> None:
        assert client.publish("rplx/0:{a}", text) >= 1

    @pytest.mark.parametrize(
        "text",
        [b"", b"a b c", b"1 a:5:9", b"1 a:x:9:1 body - 1", b"1 a:5:x:1 i - 1", b"1 \xff:5:2:1 i - 1", b"x" * 100_000],
    )
    def test_nonsense(
        self, text: bytes, client: redis.Redis, listening: Tested, capfd: pytest.CaptureFixture[str]
    ) -> None:
        lost = listening.recalled
        for _ in range(20):
            self.publish(client, text)
        gevent.sleep(0.2)
        listening.send("2", "a")
        eventually(lambda: listening.announced() == ["1", "2"])
        assert lost == []
        assert len(listening.log) == 1
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("incarnation", [b"", b"9.5/9"])
    def test_one_that_is_far_ahead(self, incarnation: bytes, client: redis.Redis, listening: Tested) -> None:
        """It is looked for once, not for ever."""
        known = client.hget("rplx:{a}:facts", "incarnation")
        self.publish(client, b'17 a:1.5:999:%b i - "false"' % (incarnation or known))
        gevent.sleep(0.5)
        before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        gevent.sleep(1)
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - before < 30  # two clocks, two signs of life
        listening.send("2", "a")
        eventually(lambda: listening.announced() == ["1", "2"])
        assert listening.texts(a="0") == ["1", "2"]
        assert listening.recalled == []

    def test_one_in_the_place_of_the_next(self, client: redis.Redis, pair: tuple[Tested, Tested]) -> None:
        """It cannot be told from a true one; the true one is told all the same."""
        one, two = pair
        one.enter("a")
        two.send("1", "a")
        eventually(lambda: one.announced() == ["1"])
        self.publish(client, b'17 a:1.5:2:%b i - "false"' % client.hget("rplx:{a}:facts", "incarnation"))
        two.send("2", "a")
        two.send("3", "a")
        eventually(lambda: [text for text in one.announced() if text != '"false"'] == ["1", "2", "3"])
        gevent.sleep(0.3)
        assert [text for text in one.announced() if text != '"false"'] == ["1", "2", "3"]

    def test_another_in_the_place_of_the_last(self, client: redis.Redis, pair: tuple[Tested, Tested]) -> None:
        """A replica took over that did not have the last message yet, and gave its number to the next one."""
        one, two = pair
        one.enter("a")
        two.send("1", "a")
        two.send("2", "a")
        eventually(lambda: one.announced() == ["1", "2"])
        follower = one.engine._follower
        channel = follower._replicas["a"]
        channel.live = False  # while the connection is lost
        client.zremrangebyrank("rplx:{a}:history", 1, 1)
        client.hset("rplx:{a}:facts", "number", "1")
        two.send("3", "a")
        eventually(lambda: bool(channel.pending))
        channel.pending.clear()
        follower._reread("a")
        eventually(lambda: channel.live)
        assert one.announced()[-1] == "3"
        assert one.texts(a="0") == ["1", "3"]

    def test_one_in_the_place_of_the_last(self, client: redis.Redis, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.enter("a")
        two.send("1", "a")
        eventually(lambda: one.announced() == ["1"])
        self.publish(client, b'17 a:1.5:1:%b i - "false"' % client.hget("rplx:{a}:facts", "incarnation"))
        two.send("2", "a")
        eventually(lambda: one.announced() == ["1", "2"])
        assert one.texts(a="0") == ["1", "2"]


class TestEviction:
    """A maxmemory-policy that throws keys away: whoever may have lost a message for it is told of a gap."""

    def evict(self, server: RedisServer, *ids: str) -> None:
        """Makes room as Redis does: by throwing away what has a time to live."""
        with server.client() as client:
            client.config_set("maxmemory-policy", "volatile-ttl")
            client.config_set("maxmemory", 1)
            eventually(lambda: not self.kept(client, ids))
            client.config_set("maxmemory", 0)

    def kept(self, client: redis.Redis, ids: tuple[str, ...]) -> int:
        try:
            client.set("x", 1)
        except redis.exceptions.OutOfMemoryError:
            pass
        return client.exists(*[f"rplx:{{{id}}}:{what}" for id in ids for what in ("history", "facts")])  # type: ignore[no-any-return]

    def test_who_comes_afterwards(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        before = one.send("1", "a")["a"]
        one.send("2", "a")
        self.evict(server, "a")
        assert two.gaps(a=before, never_used=before) == ["a", "never_used"]
        after = one.send("3", "a")["a"]
        assert two.gaps(a=before) == ["a"]
        assert two.gaps(a=after, never_used=after) == []
        eventually(lambda: two.texts(a=before) == ["3"])
        eventually(lambda: any("throws away" in line for line in one.log))

    def test_who_was_cut_off(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        position = one.enter("a")
        two.send("1", "a")
        eventually(lambda: one.announced() == ["1"])
        (subscriber,) = one.engine._follower._subscriptions._subscribers.values()
        connect = one.engine._servers.connect
        one.engine._servers.connect = lambda *_: connect(("", 0), 0.0001)  # it does not come back yet
        subscriber._wire.close()
        two.send("2", "a")
        self.evict(server, "a")
        two.send("3", "a")
        one.engine._servers.connect = connect
        eventually(lambda: "3" in one.announced())
        if "2" not in one.announced():
            assert one.recalled == ["a"]
            assert one.gaps(a=position) == ["a"]

    def test_who_heard_all(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        position = one.enter("a")
        two.send("1", "a")
        eventually(lambda: one.announced() == ["1"])
        self.evict(server, "a")
        two.send("2", "a")
        eventually(lambda: one.announced() == ["1", "2"])
        assert one.texts(a=position) == ["1", "2"]
        assert one.recalled == []


class TestLoss:
    def test_emptied(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.enter("a", "quiet")
        cursor = one.send("1", "a")["a"]
        with server.client() as client:
            client.flushall()
        eventually(lambda: sorted(one.recalled) == ["a", "quiet"])
        assert one.gaps(a=cursor, quiet=cursor) == two.gaps(a=cursor, quiet=cursor) == ["a", "quiet"]
        newest = two.send("2", "a")["a"]
        assert Decimal(newest) > Decimal(cursor)
        eventually(lambda: one.announced() == ["1", "2"])
        assert one.gaps(a=newest) == []

    def test_who_is_online_is_told_again_or_not_known(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.engine.join(("a",))
        two.engine.join(("a", "b"))
        eventually(lambda: one.engine.online() == two.engine.online() == {"a": 2, "b": 1})
        for tested in (one, two):
            with server.client() as client:
                client.flushall()
            refused = 0
            while True:
                try:
                    assert tested.engine.online() == {"a": 2, "b": 1}  # never less
                    break
                except Unavailable:
                    refused += 1
                    gevent.sleep(0.02)
            assert refused

    def test_emptied_and_sent_to_at_once(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        one.enter("a")
        cursor = two.send("1", "a")["a"]
        eventually(lambda: one.announced() == ["1"])
        with server.client() as client:
            client.flushall()
        two.send("2", "a")
        eventually(lambda: one.announced() == ["1", "2"] and one.recalled == ["a"])
        assert one.gaps(a=cursor) == ["a"]

    def test_no_memory_left(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        with server.client() as client:
            client.config_set("maxmemory", 1)
            with pytest.raises(InsufficientStorage):
                one.send("1", "a")
            client.config_set("maxmemory", 0)
        one.send("2", "a")
        assert one.texts(a="0") == ["2"]

    def test_a_replica_refuses(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        one, _ = pair
        one.send("1", "a")
        with server.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert_unavailable(one, "a")
            client.execute_command("REPLICAOF", "NO", "ONE")
        send_until_it_works(one, "2", "a")
        assert one.texts(a="0") == ["1", "2"]


class TestClock:
    def test_cursors_grow_when_the_clock_is_set_back(self, server: RedisServer, pair: tuple[Tested, Tested]) -> None:
        """As Redis sees it: its clock is behind a reading that it has noted before, and behind the last cursor."""
        one, two = pair
        position = one.enter("a")
        first = one.send("1", "a")["a"]
        ahead = int(time.time() + 3600) * 1_000_000
        with server.client() as client:
            client.hset("rplx:{}:order", "clock", ahead)
        cursors = [two.send(str(number), "a")["a"] for number in range(2, 5)]
        assert Decimal(cursors[0]) * 1_000_000 >= ahead + 3_000_000  # clear of positions drawn by the old reading
        assert Decimal(first) < Decimal(cursors[0]) < Decimal(cursors[1]) < Decimal(cursors[2])
        assert Decimal(cursors[2]) - Decimal(cursors[0]) == Decimal("0.000002")
        eventually(lambda: one.announced() == ["1", "2", "3", "4"])
        now = one.engine.draw()  # behind all that was sent, ahead of all that comes
        assert Decimal(now) >= Decimal(cursors[2])
        one.send("5", "a")
        assert one.texts(a=now) == ["5"]
        assert one.texts(a=position) == ["1", "2", "3", "4", "5"]


class TestProcesses:
    def test_one_that_dies_takes_its_listeners_with_it(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence_reporter, "PROCESS_TIMEOUT", 3.0)  # a beat may be late by two seconds
        one = Tested(server.url, presence__offline_timeout=0.2)
        two = Tested(server.url, presence__offline_timeout=0.2)
        one.engine.join(("a", "b"))
        two.engine.join(("a",))
        eventually(lambda: one.engine.online() == {"a": 2, "b": 1})
        die(two)
        begin = time.monotonic()

        def gone() -> bool:
            one.engine.sweep()
            return one.engine.online() == {"a": 1, "b": 1}  # type: ignore[no-any-return]

        with Stalls() as stalls:
            eventually(gone)
        assert time.monotonic() - begin - stalls.seconds < 3.0 + 0.5
        gevent.sleep(0.3)
        assert one.engine.sweep() == ([], [])
        die(one)
        three = Tested(server.url, presence__offline_timeout=0.2)

        def empty() -> bool:
            three.engine.sweep()
            return three.engine.online() == {}  # type: ignore[no-any-return]

        eventually(empty)
        assert sorted(three.shown(12)) in (["offline 13:a", "offline 14:b"], ["offline 13:b", "offline 14:a"])
        three.close()

    def test_one_that_was_only_paused_comes_back(self, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(presence_reporter, "PROCESS_TIMEOUT", 0.2)  # shorter than BEAT_EVERY: it is late each time
        one, two = Tested(server.url), Tested(server.url)
        two.engine.join(("a",))
        eventually(lambda: one.engine.online() == {"a": 1})
        gevent.sleep(0.5)
        one.engine.sweep()
        eventually(lambda: one.engine.online() == {"a": 1})
        one.close()
        two.close()

    def test_one_that_ends_leaves_at_once(self, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        two.engine.join(("a",))
        one.engine.join(("a",))
        eventually(lambda: one.engine.online() == {"a": 2})
        two.close()
        assert one.engine.online() == {"a": 1}


def die(tested: Tested) -> None:
    """Ends an engine as kill -9 ends its process: without a word to Redis."""
    engine = tested.engine
    gevent.killall([engine._clock_greenlet, *engine._presence._greenlets])
    engine._follower.close()
    for link in engine._links.values():
        link.close()


def limits() -> tuple[object, object]:
    config = Tested("memory:", history__max_messages=5000).engine
    return config.history_options, config.presence_options


def test_refusals_do_not_end_connections() -> None:
    assert issubclass(Unavailable, Refusal)
    assert not Unavailable("", closes=False).closes
