"""Two real servers on one Redis, as back-ends and browsers see them."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator

import pytest

from rplx.engine.redis.presence_reporter import HEARTBEAT_EVERY, PROCESS_TIMEOUT
from tests.engine.harness import Stalls
from tests.lines.wire import Conversation
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer
from tests.waiting import eventually

PATIENCE = 10.0  # seconds until something that has to come is missed: less than PROCESS_TIMEOUT

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer(aof=True) as started:
        yield started


@pytest.fixture
def pair(server: RedisServer) -> Iterator[tuple[LiveServer, LiveServer]]:
    options = ("--set", f"engine.url={server.url}", "--set", "server.drain=0", "--set", "presence.offline_timeout=1")
    with LiveServer(*options) as one, LiveServer(*options) as two:
        assert_online(b"", one, two)  # both have begun to serve
        yield one, two


def poll(live: LiveServer, identifier: str) -> Conversation:
    """A poll that is let in: its head has come."""
    listener = Conversation(live.wait, f"GET /?identifier={identifier} HTTP/1.0\r\n\r\n".encode())
    listener.until(b"\r\n\r\n \r\n")
    return listener


def ask(live: LiveServer, data: bytes) -> bytes:
    return Conversation(live.in_, data, end=True).rest()


def send(live: LiveServer, identifier: str, text: bytes) -> bytes:
    head = f"POST / HTTP/1.1\r\nHost: a\r\nX-Realplexor: identifier={identifier}\r\nContent-Length: {len(text)}\r\n\r\n"
    return ask(live, head.encode() + text)


def online(live: LiveServer) -> bytes:
    return ask(live, b"ONLINE\n\n").partition(b"\r\n\r\n")[2]


def assert_online(expected: bytes, *lives: LiveServer) -> None:
    """What a process knows of the others' listeners lags by some ten milliseconds."""
    eventually(lambda: [online(live) for live in lives], [expected] * len(lives), PATIENCE)


def test_a_message_reaches_the_listeners_of_the_other_process(pair: tuple[LiveServer, LiveServer]) -> None:
    one, two = pair
    listeners = [poll(one, "abc"), poll(two, "abc")]
    assert_online(b"abc 2\n", one, two)
    events = ask(one, b"WATCH 10\n\n").partition(b"\r\n\r\n")[2]
    assert events == b"online 11:abc\n"
    answer = send(two, "abc", b'"hello"')
    (cursor,) = re.findall(rb"\r\n\r\nabc (\S+)\n$", answer)
    for sock in listeners:
        assert re.sub(rb"\s", b"", sock.rest()) == b'[{"ids":{"abc":"%b"},"data":"hello"}]' % cursor
    assert_online(b"", one, two)
    assert ask(two, b"WATCH 11\n\n").endswith(b"\r\n\r\noffline 12:abc\n")


def test_a_listener_that_enters_now_gets_nothing_that_was_sent_before(pair: tuple[LiveServer, LiveServer]) -> None:
    one, two = pair
    for number in range(30):
        send(two, "abc", b'"before"')
        time.sleep(0.03)  # of what lies closer together a message is given rather than lost
        sock = poll(one, "abc")
        send(two, "abc", b'"after %d"' % number)
        assert re.findall(rb'"data": "(.*?)"', sock.rest()) == [b"after %d" % number]


def test_redis_restarts_under_waiting_polls(server: RedisServer, pair: tuple[LiveServer, LiveServer]) -> None:
    one, two = pair
    before = poll(one, "abc")
    server.kill()
    begin = time.monotonic()
    with Stalls() as stalls:
        refused = send(two, "abc", b'"refused"')
    assert time.monotonic() - begin - stalls.seconds < 2
    assert refused.startswith(b"HTTP/1.1 503 ")
    meanwhile = poll(one, "abc")  # new polls are let in, and wait
    server.start()
    while not send(two, "abc", b'"stored"').startswith(b"HTTP/1.1 200 "):
        pass
    for sock in (before, meanwhile):  # a send that is refused may have been stored all the same
        assert set(re.findall(rb'"data": "(.*?)"', sock.rest())) == {b"stored"}
    two.wait_for("Redis at .* is away")  # it refused a send, so it has to say why
    two.wait_for("Redis is back")


def test_the_log_counts_what_is_refused(server: RedisServer, pair: tuple[LiveServer, LiveServer]) -> None:
    one, _ = pair
    server.kill()
    for _ in range(4):
        request = b"POST / HTTP/1.1\r\nHost: a\r\nX-Realplexor: identifier=a\r\nContent-Length: 1\r\n\r\n1"
        senders = [Conversation(one.in_, request, end=True) for _ in range(60)]
        assert all(sender.rest().startswith(b"HTTP/1.1 503 ") for sender in senders)
    server.start()
    back = one.wait_for(r"Redis is back \(after \S+ s; met (\d+) times\)")
    assert int(back[1]) >= 240
    told = [line for line in one.log if "Redis" in line or "ERROR" in line]
    assert len(told) == 2
    assert re.match("ERROR: Redis at .* is away: ", told[0])


def test_the_log_counts_what_does_not_fit(server: RedisServer, pair: tuple[LiveServer, LiveServer]) -> None:
    one, _ = pair
    with server.client() as client:
        client.config_set("maxmemory", 1)
        for _ in range(240):
            assert send(one, "a", b"1").startswith(b"HTTP/1.1 507 ")
        client.config_set("maxmemory", 0)
    back = one.wait_for(r"Redis takes messages again \(after \S+ s; met (\d+) times\)")
    assert int(back[1]) >= 240
    assert len([line for line in one.log if "Redis" in line or "ERROR" in line]) == 2


def test_a_killed_process_takes_its_listeners_out(pair: tuple[LiveServer, LiveServer]) -> None:
    one, two = pair
    kept = poll(one, "abc"), poll(two, "abc")
    assert_online(b"abc 2\n", two)
    one.stop(signal.SIGKILL)
    begin = time.monotonic()
    while online(two) != b"abc 1\n":
        assert time.monotonic() - begin < PROCESS_TIMEOUT + HEARTBEAT_EVERY + PATIENCE
        time.sleep(0.2)
    for sock in kept:
        sock.close()


def test_a_process_that_ends_takes_its_listeners_out_at_once(pair: tuple[LiveServer, LiveServer]) -> None:
    one, two = pair
    kept = poll(one, "abc"), poll(two, "abc")
    assert_online(b"abc 2\n", two)
    one.stop(signal.SIGTERM)
    assert_online(b"abc 1\n", two)
    for sock in kept:
        sock.close()
