"""WebSockets with Redis, behind proxies, with limits by address, and with the operator's hook."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lines.sockets import Socket, request
from tests.lines.wire import Conversation, Wire, http, settings
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer
from tests.waiting import eventually

needs_redis = pytest.mark.skipif(not AVAILABLE and not os.environ.get("CI"), reason="needs redis-server")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = RedisServer()
    yield server
    server.stop()


@needs_redis
def test_two_servers_that_share_a_redis(redis: RedisServer) -> None:
    options = settings(f"engine.url={redis.url}")
    with LiveServer(*options) as one, LiveServer(*options) as other:
        here, there = Wire(one), Wire(other)
        a, b = "shared_a", "shared_b"
        socket = Socket(here, a)
        there.send(a, "1")
        assert socket.message() == 1
        there.send(b, "2")
        socket.say({"listen": {b: "0"}})
        socket.heard()
        assert socket.message() == 2
        for number in range(20):
            (here if number % 2 else there).send(a if number % 3 else b, str(number))
        found = [socket.heard() for _ in range(20)]
        assert sorted(value["data"] for value in found) == list(range(20))
        for id in (a, b):  # within a channel in order
            numbers = [value["data"] for value in found if id in value["ids"]]
            assert numbers == sorted(numbers)
        eventually(lambda: there.online("shared_"), f"{a} 1\n{b} 1\n")
        socket.say({"stop": [a]})
        eventually(lambda: there.online("shared_"), f"{a} 0\n{b} 1\n")


@needs_redis
def test_a_redis_that_goes_away_and_comes_back(redis: RedisServer) -> None:
    """As with polls: who listens waits on, and hears what is sent when it is back."""
    with LiveServer(*settings(f"engine.url={redis.url}")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a")
        redis.kill()
        eventually(lambda: b"503" in wire.on_wait(b"GET /health HTTP/1.0\r\n\r\n").rest())
        socket.say({"listen": {"b": None}})
        socket.open()
        redis.start()
        eventually(lambda: b"200 OK" in wire.on_wait(b"GET /health HTTP/1.0\r\n\r\n").rest())
        for id in ("a", "b"):
            wire.send(id, json.dumps(id))
        found: list[str] = []
        while len(found) < 2:
            heard = socket.heard()
            if "data" in heard:
                found.append(heard["data"])
        assert sorted(found) == ["a", "b"]


@needs_redis
@pytest.mark.parametrize("stays", [True, False])
def test_channels_that_are_changed_while_redis_hangs(redis: RedisServer, stays: bool) -> None:
    """Whatever comes of it, nobody is counted twice, and nobody who has left."""
    with LiveServer(*settings(f"engine.url={redis.url}")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a,c")
        wire.send("b", "1")
        eventually(lambda: wire.online(""), "a 1\nc 1\n")
        redis.pause()
        socket.say({"listen": {"b": "5"}, "stop": ["a"]})  # whether there is a gap, Redis alone knows
        if stays:
            socket.open()
        else:
            socket.conversation.reset()
        redis.resume()
        if stays:
            eventually(lambda: wire.online(""), "a 0\nb 1\nc 1\n")
            socket.conversation.close()
        eventually(lambda: {line[-1] for line in wire.online("").splitlines()}, {"0"})
        again = Socket(wire, "a,b,c")
        eventually(lambda: wire.online(""), "a 1\nb 1\nc 1\n")
        again.conversation.close()


def test_limits_by_address_behind_a_proxy() -> None:
    with LiveServer(*settings("wait.trusted_proxies=127.0.0.1", "wait.max_connections_per_address=1")) as server:
        wire = Wire(server)
        first, other = [Socket(wire, "a", f"X-Forwarded-For: 203.0.113.{number}") for number in (7, 8)]
        refused = wire.on_wait(request("/?identifier=a", "X-Forwarded-For: 203.0.113.7")).answer()[0]
        assert refused.startswith(b"HTTP/1.1 503 ")
        first.conversation.close()
        eventually(lambda: wire.online("a"), "a 1\n")
        Socket(wire, "a", "X-Forwarded-For: 203.0.113.7")
        other.conversation.close()


def test_too_many_connections() -> None:
    with LiveServer(*settings("wait.max_connections=1")) as server:
        wire = Wire(server)
        socket = Socket(wire, "a")
        assert wire.on_wait(request("/")).until(b"\r\n\r\n").startswith(b"HTTP/1.1 503 ")
        wire.send("a", "1")
        assert socket.message() == 1


HOOK = """
def check(channel, ids, cursor, data):
    return b"secret" not in data or "staff" in ids
"""


def test_what_the_operator_hides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hooks_of_a_test.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with LiveServer(*settings("hooks.check_visibility=hooks_of_a_test:check")) as server:
        wire = Wire(server)
        socket, staff = Socket(wire, "a"), Socket(wire, "a,staff")
        for message in ('"secret 1"', '"2"'):
            wire.send("a", message)
        assert socket.message() == "2"
        assert [staff.message(), staff.message()] == ["secret 1", "2"]
        socket.say({"listen": {"staff": None}})
        socket.open()
        wire.send("a", '"secret 3"')
        assert socket.message() == "secret 3"
        socket.say({"stop": ["staff"]})
        eventually(lambda: "staff 1\n" in wire.online("staff"))
        for message in ('"secret 4"', '"5"'):
            wire.send("a", message)
        assert socket.message() == "5"


def test_a_newer_one_of_the_same_client_ends_the_older_one() -> None:
    with LiveServer() as server:
        wire = Wire(server)
        name = "a_client_of_this_test"
        older = Socket(wire, f"a&client={name}")
        newer = Socket(wire, f"a&client={name}")
        assert older.closed()[0] == 4200
        newer.say({"listen": {"b": None}})
        newer.open()
        wire.send("b", "1")
        assert newer.message() == 1
        newest = Socket(wire, f"b&client={name}")
        assert newer.closed()[0] == 4200
        wire.send("b", "2")
        assert newest.message() == 2
        assert wire.online("b") == "b 1\n"


@pytest.mark.parametrize("is_socket", [False, True])
def test_a_newer_one_ends_one_that_is_behind(*, is_socket: bool) -> None:
    """What it has begun to write is finished, and the rest of history is the newer one's."""
    with LiveServer() as server:
        wire = Wire(server)
        for number in range(20):
            wire.send(f"{number + 2}:a", json.dumps("x" * 190_000))
        target = "/?identifier=1:a&client=a_client_of_this_test"
        asked = request(target) if is_socket else http(f"GET {target}&stream HTTP/1.1\nHost: h")
        older = Conversation(server.wait, asked, receive_buffer=4096)
        eventually(lambda: wire.online("a"), "a 1\n")
        newer = Socket(wire, "a&client=a_client_of_this_test")
        assert older.rest().count(b'"ids"') < 20
        eventually(lambda: wire.online("a"), "a 1\n")
        wire.send("a", "1")
        assert newer.message() == 1
