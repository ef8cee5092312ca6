"""What polls have that go through any path (protocol page, part 9), in our own server."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from tests import redis_server
from tests.lines.wire import CLOSED, Wire, blocks, http, settings
from tests.live import LiveServer
from tests.waiting import eventually

OPTIONS = settings("wait.timeout=600", "log.connections=true")
PROGRAM = ("-m", "tests.swift")


def target(text: str, version: str = "1.1") -> bytes:
    return http(f"GET {text} HTTP/{version}\nHost: h")


class TestTimeout:
    """Part 9.1: `timeout=SECONDS` in a poll's target."""

    @pytest.mark.parametrize(
        "asked",
        [
            "/?identifier=~a&timeout=1",
            "/?timeout=1.5&identifier=~a",
            "/?7?timeout=x&timeout=1&identifier=~a&n=2",
            "/?mytimeout=30&timeout=0&timeout=1&identifier=~a",
        ],
    )
    def test_the_poll_ends_then_and_its_connection_goes_on(self, wire: Wire, prefix: str, asked: str) -> None:
        listener = wire.on_wait(target(asked.replace("~", prefix)))
        assert listener.waits(0.5)
        head, body = listener.answer()
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b" \r\n"
        wire.send(f"5:{prefix}a", "1")
        listener.send(target(f"/?identifier=1:{prefix}a&timeout=1"))
        assert listener.answer()[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))
        wire.server.wait_for(rf"WAIT: {listener.peer}: DEBUG: \[[\d.]+:{prefix}a\] timeout$")

    def test_one_that_has_its_head_already_and_a_post(self, wire: Wire, prefix: str) -> None:
        closed = wire.on_wait(target(f"/?identifier={prefix}a&timeout=1", "1.0"))
        posted = wire.on_wait(http("POST /?timeout=1 HTTP/1.1\nHost: h", f"identifier={prefix}a\n".encode()))
        assert closed.rest().endswith(b"\r\n\r\n \r\n")
        assert posted.answer()[1] == b" \r\n"

    def test_what_is_no_number_from_1_on_is_ignored(self, wire: Wire, prefix: str) -> None:
        values = ["", "x", "0", "0.5", "-1", "1e0", "1s", "+1", "1,2", "01x", "%31", "1" * 20]
        listeners = {value: wire.on_wait(target(f"/?identifier={prefix}a&timeout={value}")) for value in values}
        assert wire.on_wait(target(f"/?identifier={prefix}b&timeout=1")).answer()[1] == b" \r\n"
        assert {value: listener.waits(0.03) for value, listener in listeners.items()} == dict.fromkeys(values, True)

    def test_another_name_and_another_place_are_no_timeout(self, wire: Wire, prefix: str) -> None:
        listeners = [
            wire.on_wait(target(f"/?identifier={prefix}a&mytimeout=1")),
            wire.on_wait(http(f"GET /?identifier={prefix}a HTTP/1.1\nHost: h\nReferer: http://h/?timeout=1")),
            wire.on_wait(http("POST / HTTP/1.1\nHost: h", f"identifier={prefix}a&timeout=1\n".encode())),
            wire.on_wait(f"identifier={prefix}a&timeout=1\n".encode()),
        ]
        assert listeners[3].exactly(len(CLOSED)) == CLOSED
        assert wire.on_wait(target(f"/?identifier={prefix}b&timeout=1")).answer()[1] == b" \r\n"
        assert all(listener.waits(0.3) for listener in listeners)


HEALTHY = (
    b"HTTP/1.1 200 OK\r\n{}Content-Type: text/plain\r\nContent-Length: 3\r\n"
    b"X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n"
    b"X-Realplexor-Client: peer\r\n\r\n"
)
UNHEALTHY = re.compile(
    rb"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: \d+\r\n"
    rb"X-Content-Type-Options: nosniff\r\nCache-Control: no-store, no-transform\r\nX-Accel-Buffering: no\r\n"
    rb"Retry-After: (\d+)\r\n\r\n(.*)",
    re.DOTALL,
)
PROBES = {
    "GET": target("/health"),
    "HEAD": target("/health").replace(b"GET", b"HEAD"),
    "OPTIONS": target("/health").replace(b"GET", b"OPTIONS"),
    "HTTP/1.0 without Host": b"GET /health HTTP/1.0\r\n\r\n",
    "OPTIONS, HTTP/1.0": b"OPTIONS /health HTTP/1.0\r\n\r\n",
    "behind the path": target("/health?x=1"),
    "with a marker": target("/health?identifier=quiet_probe"),
    "with the script's marker": target("/health?identifier=SCRIPT"),
    "absolute": target("http://h/health"),
    "close": http("GET /health HTTP/1.1\nHost: h\nConnection: close"),
}


def health(wire: Wire) -> bytes:
    return wire.on_wait(http("GET /health HTTP/1.1\nHost: h\nConnection: close")).rest()


def reason(answer: bytes) -> bytes:
    """Why a server is not healthy; b"" if it is."""
    if answer.endswith(b"\r\n\r\nok\n"):
        return b""
    match = UNHEALTHY.fullmatch(answer)
    assert match, answer
    return match[2]


class TestHealth:
    """Part 9.5."""

    @pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
    def test_a_server_that_serves(self, wire: Wire, probe: bytes) -> None:
        asked = wire.on_wait(probe)
        asked.end()
        answer = asked.rest()
        closes = b" HTTP/1.0\r\n" in probe or b"close" in probe
        body = b"" if probe.startswith(b"HEAD") else b"ok\n"
        assert answer == HEALTHY.replace(b"{}", b"Connection: close\r\n" if closes else b"") + body
        assert wire.online("quiet") == ""

    def test_a_poll_by_post_goes_on(self, wire: Wire, prefix: str) -> None:
        wire.send(f"5:{prefix}a", "1")
        answer = wire.on_wait(http("POST /health HTTP/1.1\nHost: h", f"identifier=1:{prefix}a".encode())).answer()
        assert answer[1] == b" \r\n" + blocks(({f"{prefix}a": "5"}, "1"))

    def test_nothing_is_logged(self) -> None:
        """Neither of a probe nor of a connection without a word, however it ends."""
        with LiveServer("--set", "log.verbosity=2") as server:
            wire = Wire(server)
            before = len(server.log)
            for probe in PROBES.values():
                wire.on_wait(probe, end=True).rest()
            wire.on_wait(end=True).rest()
            wire.on_wait().reset()
            wire.on_wait(target("/health")).reset()
            wire.on_wait(target("/?identifier=a&position")).answer()
            server.stop()
            lines = server.log[before:]
        assert [line for line in lines if not re.search("SIG|ounters|exit|ended", line)] == []

    def test_options_of_a_load_balancer(self, wire: Wire) -> None:
        for request in (b"OPTIONS / HTTP/1.0\r\n\r\n", http("OPTIONS / HTTP/1.1\nHost: h\nConnection: close")):
            answer = wire.on_wait(request).rest()
            assert answer == (
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nAllow: GET, POST, OPTIONS\r\n"
                b"Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n"
            )

    def test_a_server_that_ends(self, tmp_path: Path) -> None:
        file = tmp_path / "rplx.toml"
        file.write_text("server.drain = 60\n")
        with LiveServer("--config", str(file)) as server:
            wire = Wire(server)
            waiting = [wire.on_wait(target("/?identifier=a")) for _ in range(3)]
            eventually(lambda: wire.online("a"), "a 3\n")
            assert reason(health(wire)) == b""
            server.process.send_signal(signal.SIGTERM)
            assert waiting[0].answer()[1] == b" \r\n"
            answers = [health(wire) for _ in range(12)]
            assert {reason(answer) for answer in answers} == {
                b"the server ends; come back when it has been started again\n"
            }
            later = [retry_after(answer) for answer in answers]
            assert len(set(later)) > 1, "each client has a time of its own"
            assert all(45 <= seconds <= 66 for seconds in later), "they come back when the server has ended"
            server.process.kill()

    @pytest.mark.skipif(not redis_server.AVAILABLE and not os.environ.get("CI"), reason="needs redis-server")
    def test_redis_away(self) -> None:
        with redis_server.RedisServer() as redis, LiveServer("--set", f"engine.url={redis.url}") as server:
            wire = Wire(server)
            eventually(lambda: reason(health(wire)), b"")
            redis.kill()
            eventually(lambda: reason(health(wire)), b"Redis does not answer\n")
            redis.start()
            eventually(lambda: reason(health(wire)), b"")


def retry_after(answer: bytes) -> int:
    match = re.search(rb"\r\nRetry-After: (\d+)\r\n", answer)
    assert match, answer
    return int(match[1])


class TestRetryAfter:
    """Part 9.4."""

    def test_connections_that_are_too_many(self) -> None:
        with LiveServer(*settings("wait.max_connections=1")) as server:
            wire = Wire(server)
            kept = wire.on_wait(target("/?identifier=a&position"))
            kept.answer()
            times = [retry_after(wire.on_wait(target("/?identifier=a")).rest()) for _ in range(20)]
            assert set(times) <= {1, 2, 3, 4, 5}
            assert len(set(times)) > 1

    def test_other_refusals_have_none(self, wire: Wire) -> None:
        assert b"Retry-After" not in wire.on_wait(target("/")).answer()[0]
        assert b"Retry-After" not in wire.on_in(http("POST / HTTP/1.1\nHost: h", b"1")).answer()[0]


class TestHead:
    """Part 9.3."""

    @pytest.mark.parametrize("count", [7, 8, 500])
    def test_the_list_of_gaps_is_bounded(self, wire: Wire, count: int) -> None:
        ids = [f"{number:03}".ljust(128, "g") for number in range(count)]
        body = b"identifier=" + ",".join([f"1:{id}" for id in ids]).encode()
        head = wire.on_wait(http("POST /?position HTTP/1.1\nHost: h", body)).answer()[0]
        match = re.search(rb"\r\nX-Realplexor-Gap: ([^\r]*)\r\n", head)
        assert match
        assert match[1] == (",".join(ids).encode() if count * 129 - 1 <= 1024 else b"*")

    def test_all_answers_are_handed_on_as_they_are(self, wire: Wire, prefix: str) -> None:
        for request in ("GET /", "GET /nowhere", f"PUT /?identifier={prefix}a", "GET /health"):
            head = wire.on_wait(http(f"{request} HTTP/1.1\nHost: h")).answer()[0]
            assert re.search(rb"\r\nCache-Control: [^\r]*no-store[^\r]*no-transform\r\n", head), head
            assert b"\r\nX-Accel-Buffering: no\r\n" in head
