"""Whatever Redis answers: no memory, not now, not here, nonsense. It ends, and then everything is whole."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

import gevent
import pytest
import redis

from rplx.engine.redis import follower, presence_reporter
from rplx.errors import InsufficientStorage, Refusal, Unavailable
from tests.engine.harness import Tested, eventually
from tests.engine.test_redis_faults import send_until_it_works
from tests.redis_proxy import Proxy
from tests.redis_server import AVAILABLE, Cluster, RedisServer

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")

Switch = Callable[[bool], None]  # on or off


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def pair(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tested, Tested]]:
    """Two processes' engines. Polls wait for what a slow Redis has for them."""
    monkeypatch.setattr(follower, "LOOK_TIMEOUT", 30.0)
    one, two = Tested(server.url), Tested(server.url)
    yield one, two
    one.close()
    two.close()


def full(client: redis.Redis) -> Switch:
    return lambda on: client.config_set("maxmemory", int(on))


def without_replicas(client: redis.Redis) -> Switch:
    return lambda on: client.config_set("min-replicas-to-write", int(on))


def not_saved(client: redis.Redis) -> Switch:
    """A background save fails, so that Redis takes no writes (MISCONF)."""

    def switch(on: bool) -> None:
        client.config_set("save", "3600 1" if on else "")
        if not on:
            return
        folder = client.config_get("dir")["dir"]
        os.mkdir(f"{folder}/dump.rdb")  # what is no file cannot be replaced by one
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")

    return switch


def count(lines: list[str], text: str) -> int:
    return sum(text in line for line in lines)


def refused(call: Callable[[], object], kind: type[Refusal] = Unavailable) -> bool:
    try:
        call()
    except kind:
        return True
    return False


class TestNoWrites:
    """What Redis holds can be read while it takes no writes, and nothing is lost for it."""

    @pytest.fixture(params=[full, without_replicas, not_saved])
    def switch(self, request: pytest.FixtureRequest, server: RedisServer) -> Iterator[Switch]:
        with server.client() as client:
            yield request.param(client)

    def test_a_channel_that_is_entered_meanwhile(self, switch: Switch, pair: tuple[Tested, Tested]) -> None:
        one, two = pair
        two.send("before", "a")
        switch(True)
        assert one.texts(a="0") == ["before"]  # read, not waited for in vain
        one.enter("a", "b")
        assert refused(lambda: two.send("refused", "a", "b"), Refusal)
        for tested in pair:
            eventually(lambda tested=tested: count(tested.log, " takes no messages: ") == 1)  # type: ignore[misc]
        gevent.sleep(0.5)
        switch(False)
        assert one.announced() == []
        two.send("after", "a", "b")
        eventually(lambda: one.announced() == ["after"])
        assert one.texts(a="0") == ["before", "after"]
        assert one.recalled == []
        for tested in pair:
            eventually(lambda tested=tested: count(tested.log, "takes messages again") == 1)  # type: ignore[misc]
            assert len(tested.log) == 2

    def test_presence(
        self, switch: Switch, server: RedisServer, pair: tuple[Tested, Tested], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(presence_reporter, "PROCESS_TIMEOUT", 2.0)
        one, two = pair
        one.engine.join(("a",))
        eventually(lambda: two.engine.online() == {"a": 1})
        switch(True)
        two.engine.join(("b",))
        for _ in range(60):
            gevent.sleep(0.1)
            assert one.engine.sweep() == ([], [])
            assert one.engine.online() == {"a": 1}  # known, and still so
            assert refused(two.engine.online)  # it cannot tell of its own listener
            assert refused(two.engine.position)
        switch(False)
        eventually(lambda: not refused(two.engine.online) and one.engine.online() == {"a": 1, "b": 1})
        assert one.shown() == ["online 11:a", "online 12:b"]


def test_a_send_without_memory_is_told_so(server: RedisServer, pair: tuple[Tested, Tested]) -> None:
    one, _ = pair
    with server.client() as client:
        client.config_set("maxmemory", 1)
        for _ in range(240):
            with pytest.raises(InsufficientStorage):
                one.send("1", "a")
        client.config_set("maxmemory", 0)
    one.send("2", "a")
    assert one.texts(a="0") == ["2"]
    eventually(lambda: count(one.log, "takes messages again") == 1)
    assert count(one.log, "takes no messages") == 1


def test_a_node_of_a_cluster_without_memory() -> None:
    cluster = Cluster()
    ids = [f"c{number}" for number in range(40)]  # on all nodes
    one, two = Tested(cluster.url), Tested(cluster.url)
    try:
        clients = [server.client() for server in cluster.servers]
        for client in clients:
            client.config_set("maxmemory", 1)
        one.enter(*ids)
        gevent.sleep(1)
        eventually(lambda: count(one.log, " takes no messages: ") == 1)
        for client in clients:
            client.config_set("maxmemory", 0)
            client.close()
        for id in ids:
            send_until_it_works(two, "1", id)
        eventually(lambda: {id for message in one.sent for id in message.cursors} == set(ids))
        eventually(lambda: not refused(two.engine.online) and two.engine.online() == dict.fromkeys(ids, 1))
        eventually(lambda: count(one.log, "takes messages again") == 1)
    finally:
        one.close()
        two.close()
        cluster.stop()


ANSWERS = {
    "not-now": [
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.\r\n",
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
    ],
    "not-here": [
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
        b"-MOVED 3999 127.0.0.1:1\r\n",
        b"-MOVED nonsense\r\n",
        b"-ASK 3999 127.0.0.1:1\r\n",
    ],
    "not-you": [
        b"-NOAUTH Authentication required.\r\n",
        b"-NOPERM this user has no permissions to run this command\r\n",
        b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        b"-ERR unknown command\r\n",
        b"-\r\n",
    ],
    "wrong-types": [
        b"+OK\r\n",
        b":1\r\n",
        b":-99999999999999999999\r\n",
        b"$-1\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n:1\r\n$3\r\nabc\r\n",
    ],
    "nonsense": [
        b"*8\r\n$1\r\n\xff\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n*0\r\n$1\r\n0\r\n",
        b"*3\r\n$7\r\nmessage\r\n$11\r\nrplx/0:{\xff}\r\n$5\r\na b c\r\n",
        b"*3\r\n$9\r\nsubscribe\r\n*0\r\n:1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff\x00\r\n",
    ],
}
FALSE = "somebody else publishes"


@pytest.mark.parametrize("spared", [True, False], ids=["logged-in", "from-the-start"])
def test_whatever_it_answers(spared: bool, server: RedisServer, capfd: pytest.CaptureFixture[str]) -> None:
    """All of them at once, each to an engine of its own, since each takes seconds in which nothing has to be done."""
    answers = itertools.chain.from_iterable(ANSWERS.values())
    troubles = [gevent.spawn(answer_for_a_while, answer, spared, server, n) for n, answer in enumerate(answers)]
    gevent.joinall(troubles, raise_error=True)
    assert capfd.readouterr().err == ""


def answer_for_a_while(answer: bytes, spared: bool, server: RedisServer, number: int) -> None:
    proxy = Proxy(server.port)
    one, two = Tested(f"{proxy.url}?prefix=t{number}"), Tested(f"{server.url}?prefix=t{number}")
    try:
        tell_of_an_answer(answer, spared, proxy, one, two)
    except BaseException as error:
        error.add_note(f"Redis answered {answer!r}")
        raise
    finally:
        one.close()
        two.close()
        proxy.close()


def tell_of_an_answer(answer: bytes, spared: bool, proxy: Proxy, one: Tested, two: Tested) -> None:
    one.enter("a")
    one.send("0", "a")
    eventually(lambda: one.announced() == ["0"])
    proxy.spared = spared
    proxy.answer = answer
    for subscriber in one.engine._follower._subscriptions._subscribers.values():
        subscriber._wire.close()  # the announcements are cut too
    one.enter("b")
    assert_all_refused(one, answer)
    assert proxy.answered < 10_000
    proxy.answer = None
    two.send("1", "a", "b")
    eventually(lambda: one.announced() == ["0", "1"])
    eventually(lambda: not refused(two.engine.online) and two.engine.online() == {"a": 1, "b": 1})
    send_until_it_works(one, "2", "a")
    eventually(lambda: not refused(one.engine.online) and one.engine.online() == {"a": 1, "b": 1})
    eventually(lambda: one.texts(a="0", b="0") == ["0", "1", "2"])
    begun = count(one.log, "ERROR: Redis at ")
    assert 1 <= begun <= 3, (answer, one.log)
    eventually(lambda: count(one.log, " (after ") == begun)
    assert len([line for line in one.log if FALSE not in line]) == 2 * begun, (answer, one.log)
    assert two.log == []


def assert_all_refused(tested: Tested, answer: bytes) -> None:
    engine = tested.engine
    calls: list[Callable[[], object]] = [
        lambda: tested.send("refused", "a"),
        engine.online,
        lambda: engine.events(10),
        engine.position,
        engine.history,
        engine.elsewhere,
    ]
    for _ in range(2):
        asked = [gevent.spawn(refused, call, Refusal) for call in calls]
        gevent.joinall(asked, raise_error=True)
        assert all(one.value for one in asked), (answer, [one.value for one in asked])
        assert engine.sweep() == ([], [])


def test_what_others_have_written_over_a_channel(
    server: RedisServer, pair: tuple[Tested, Tested], capfd: pytest.CaptureFixture[str]
) -> None:
    """It is silent, and no other with it."""
    one, two = pair
    with server.client() as client:
        client.set("rplx:{wrong}:history", "x")
        client.hset("rplx:{wrong}:facts", mapping={"number": 1, "incarnation": "1.0/1", "floor": "0", "newest": "5"})
        client.zadd("rplx:{odd}:history", {b"0000015 nonsense": 0})
        client.hset("rplx:{odd}:facts", mapping={"number": 1, "incarnation": "1.0/1", "floor": "0", "newest": "5"})
        one.engine.join(("a", "wrong", "odd", "b"))
        assert one.texts(a="0", odd="0", wrong="0", b="0") == []
        two.send("1", "a", "b")
        eventually(lambda: one.announced() == ["1"])
        assert refused(lambda: two.send("1", "wrong"))
        eventually(lambda: count(one.log, "ERROR: ") == 1)
        client.delete("rplx:{wrong}:history", "rplx:{wrong}:facts", "rplx:{odd}:history", "rplx:{odd}:facts")
        two.send("2", "wrong", "odd")
        eventually(lambda: "2" in one.announced())
        eventually(lambda: count(one.log, " (after ") == 1)
    assert capfd.readouterr().err == ""
