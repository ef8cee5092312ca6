"""Nothing that is made for a request is left in a reference cycle.

Only a full collection would free it, since the collector sets aside what lives: memory would grow by each request
until then.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lines.sockets import Socket
from tests.lines.wire import Wire, http, settings
from tests.live import LiveServer
from tests.redis_server import AVAILABLE, RedisServer

ROUNDS = 60

needs_redis = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")


def _garbage(server: LiveServer) -> dict[str, int]:
    server.stop()
    (line,) = [line for line in server.log if line.startswith("garbage: ")]
    found: dict[str, int] = json.loads(line.removeprefix("garbage: "))
    return {name: count for name, count in found.items() if count >= ROUNDS}


def _sends(wire: Wire) -> None:
    for n in range(ROUNDS):
        wire.send(f"a,b{n % 3}", json.dumps(n))
    post = http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=a", b"1")
    kept = wire.on_in(post * ROUNDS, end=True).rest()
    assert kept.count(b"200 OK") == ROUNDS


def _refused(wire: Wire) -> None:
    for _ in range(ROUNDS):
        assert b" 400 " in wire.ask(http("POST / HTTP/1.1\nHost: h\nX-Realplexor: identifier=a", b"{"))
        assert b" 404 " in wire.on_wait(b"GET /no HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").rest()


def _polls(wire: Wire) -> None:
    wire.send("a")
    for _ in range(ROUNDS):
        assert b"data" in wire.poll("1:a")
        listener = wire.listen("c")
        wire.send("c")
        assert listener.rest()
        wire.listen("c").close()
        kept = wire.on_wait(b"GET /?identifier=1:a HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        kept.until(b"data")
        kept.close()


def _streams(wire: Wire) -> None:
    for _ in range(ROUNDS):
        stream = wire.on_wait(b"GET /?identifier=d HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n")
        stream.until(b"event: open")
        wire.send("d")
        stream.until(b"data: {")
        stream.close()
        resumed = wire.on_wait(
            b"GET /?identifier=d HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\nLast-Event-ID: 1.0\r\n\r\n"
        )
        resumed.until(b"data: {")
        resumed.reset()


def _sockets(wire: Wire) -> None:
    for _ in range(ROUNDS):
        sock = Socket(wire, "e")
        wire.send("e")
        assert sock.frame()
        sock.say({"listen": {"f": None, "e": "1"}})
        assert sock.frame()
        sock.conversation.close()


def _commands(wire: Wire) -> None:
    for _ in range(ROUNDS):
        wire.command("STATS\n\n")
        wire.online("a")


@pytest.mark.parametrize("engine", ["memory", "sqlite", pytest.param("redis", marks=needs_redis)])
@pytest.mark.parametrize("act", [_sends, _refused, _polls, _streams, _sockets, _commands])
def test_nothing_is_left_in_cycles(act: Callable[[Wire], None], engine: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/history.db"
        if engine == "redis":
            url = stack.enter_context(RedisServer()).url
        options = () if engine == "memory" else settings(f"engine.url={url}")
        server = stack.enter_context(LiveServer(*options, program=("-m", "tests.serving.garbage")))
        act(Wire(server))
        assert _garbage(server) == {}
