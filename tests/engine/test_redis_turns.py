"""Long work of the Redis engine is done in turns: `rest` is called often enough that others go on meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

import gevent
import pytest
import redis

from rplx.engine.prefixes import Prefixes
from rplx.engine.redis import engine, subscriptions
from rplx.engine.redis.names import Names
from tests.engine.harness import Tested, be_patient, eventually
from tests.redis_server import AVAILABLE, RedisServer

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")

MANY = [f"c{number}" for number in range(3_000)]


class Rests:
    """Counts the rests, and in each lets all others go on."""

    def __init__(self, tested: Tested) -> None:
        self.count = 0
        tested.observer.rested = self._rest

    def _rest(self) -> None:
        self.count += 1
        gevent.sleep(0)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as started:
        yield started


@pytest.fixture
def client(server: RedisServer) -> Iterator[redis.Redis]:
    with server.client() as found:
        yield found


@pytest.fixture
def pair(server: RedisServer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Tested, Tested]]:
    """Two processes' engines."""
    be_patient(monkeypatch)
    client.flushall()
    one, two = Tested(server.url), Tested(server.url)
    yield one, two
    one.close()
    two.close()


def live(tested: Tested, ids: list[str]) -> bool:
    channels = tested.engine._follower._replicas
    return all(channels[id].live for id in ids)


def enter_all(tested: Tested) -> None:
    """Listeners of MANY, as polls of no more than 500 channels let them enter."""
    for at in range(0, len(MANY), 500):
        tested.enter(*MANY[at : at + 500])


def test_a_send_to_many_channels(pair: tuple[Tested, Tested]) -> None:
    sender, listener = pair
    listener.enter("c7")
    sending, hearing = Rests(sender), Rests(listener)
    sender.send('"wide"', *MANY)
    assert sending.count >= 2 * len(MANY) // engine.STEPS
    eventually(lambda: listener.announced() == ['"wide"'])
    assert hearing.count >= len(MANY) // engine.STEPS


def test_channels_are_read_anew(pair: tuple[Tested, Tested]) -> None:
    """What Redis lost is looked for in all channels, and those who listen are told."""
    tested, _ = pair
    enter_all(tested)
    rests = Rests(tested)
    tested.engine._follower.reread_all()
    assert rests.count >= len(MANY) // subscriptions.STEPS
    rests.count = 0
    eventually(lambda: live(tested, MANY))
    assert rests.count >= len(MANY)  # one behind each copy


def test_a_loss_of_the_connection(pair: tuple[Tested, Tested], client: redis.Redis) -> None:
    """Channels that are let go or come while the others are told of it do no harm."""
    tested, _ = pair
    enter_all(tested)
    eventually(lambda: live(tested, MANY))  # subscribed: only then Redis counts the connection as one of that kind
    rests = Rests(tested)
    losses = tested.engine._follower._replicas[MANY[-1]].losses
    assert client.client_kill_filter(_type="pubsub") >= 1
    eventually(lambda: bool(tested.engine._follower._replicas[MANY[-1]].losses > losses))
    assert rests.count >= len(MANY) // subscriptions.STEPS
    eventually(lambda: live(tested, MANY))


def test_channels_that_go_while_a_loss_is_told(pair: tuple[Tested, Tested]) -> None:
    tested, _ = pair
    enter_all(tested)
    kept = tested.engine._follower
    at = dict(kept._subscriptions._nodes)

    def let_go() -> None:
        kept._replicas.pop(MANY[-1], None)
        kept._subscriptions._nodes.pop(MANY[-1], None)

    tested.observer.rested = let_go
    kept._subscriptions._lost(at[MANY[0]])
    assert not any(kept._replicas[id].live for id in MANY[:-1])


def test_answers_are_read_and_handed_out(pair: tuple[Tested, Tested]) -> None:
    """Also where Redis gives them faster than they can be read."""
    sender, other = pair
    for number in range(10):
        sender.send(f'"{"x" * 200_000}{number}"', "long")
    rests = Rests(other)
    assert len(other.texts(long="1")) == 10
    assert rests.count >= 2_000_000 // 65_536


def test_who_is_online_and_what_changed(pair: tuple[Tested, Tested]) -> None:
    tested, _ = pair
    enter_all(tested)
    rests = Rests(tested)
    assert len(tested.engine.online()) == len(MANY)
    assert rests.count
    rests.count = 0
    assert len(tested.engine.events(10, ["c"])) == len(MANY)
    assert rests.count >= 2


def test_many_prefixes() -> None:
    rests = 0

    def rest() -> None:
        nonlocal rests
        rests += 1

    assert Prefixes([f"p{number}" for number in range(40_000)], rest).match("p39999x")
    assert rests >= 1


class TestManyChannelsOfOneMessage:
    def test_it_is_announced_once_if_its_copies_were_too_much(
        self, pair: tuple[Tested, Tested], client: redis.Redis
    ) -> None:
        sender, listener = pair
        listener.enter(*MANY[:500])
        with client.pubsub() as announcements:
            announcements.psubscribe("*")
            assert announcements.get_message(timeout=120)
            sender.send(f'"{"x" * 2_000}"', *MANY)
            sender.send('"short"', "c1", "c2")
            found = []
            while len(found) < 3:
                if message := announcements.get_message(timeout=120):
                    found.append(message["channel"])
        names = Names("rplx", 0)
        assert found == [names.topic_of_all, names.topic("c1"), names.topic("c2")]
        eventually(lambda: len(listener.sent) == 2)
        assert set(listener.sent[0].cursors) == set(MANY)
        assert listener.announced()[1] == '"short"'

    def test_in_one_of_them_something_is_still_missing(self, pair: tuple[Tested, Tested]) -> None:
        """Who waits there must not be answered with the newer message alone: the older one would be passed over."""
        sender, listener = pair
        listener.enter("a", "b")
        kept = listener.engine._follower
        kept._replicas["b"].live = False  # as after a loss, while the channel is read
        sender.send("1", "b")
        sender.send("2", "a", "b")
        eventually(lambda: bool(listener.sent))
        assert [(message.data, list(message.cursors)) for message in listener.sent] == [(b"2", ["a"])]
        kept._reread("b")
        eventually(lambda: len(listener.sent) == 3)
        assert [(message.data, list(message.cursors)) for message in listener.sent[1:]] == [
            (b"1", ["b"]),
            (b"2", ["b"]),
        ]
