"""Sockets that outlive the server, as systemd hands them over (part 9.7): a restart refuses nobody."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.net import inherited
from rplx.net.listening import drop_attempts
from tests.lines.wire import Wire, http
from tests.redis_server import AVAILABLE, RedisServer
from tests.serving.handing_over import PATIENCE, Systemd, restarted
from tests.waiting import eventually

NAMES = ("--wait", "fd:wait", "--in", "fd:in")
KEEPS = ("--set", "history.max_messages=10000", "--set", "in.check_json=false")

needs_redis = pytest.mark.skipif(not AVAILABLE, reason="redis-server is not installed")


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    made = Systemd("wait", "in")
    yield made
    made.close()


@pytest.mark.parametrize("supervised", [False, True])
def test_a_restart_with_memory_refuses_nobody(systemd: Systemd, supervised: bool) -> None:
    options = ("--set", "server.max_mem_mb=4000") if supervised else ()
    traffic, _ = restarted(systemd, *NAMES, *options, *KEEPS)
    assert not traffic.failed
    assert len(traffic.acknowledged) > 40
    # All that the last server has acknowledged, however late a busy machine has a listener come back.
    assert all(len(got) >= 40 and set(got.values()) == {1} for got in traffic.got)


@needs_redis
@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_with_redis_loses_nothing(systemd: Systemd, workers: int) -> None:
    with RedisServer() as redis:
        options = ("--set", f"engine.url={redis.url}", "--set", f"server.workers={workers}", *KEEPS)
        traffic, _ = restarted(systemd, *NAMES, *options)
    assert not traffic.failed
    assert all(set(got) == traffic.acknowledged and set(got.values()) == {1} for got in traffic.got)


def test_a_restart_with_a_file_loses_nothing(systemd: Systemd, tmp_path: Path) -> None:
    traffic, _ = restarted(systemd, *NAMES, "--set", f"engine.url=sqlite:///{tmp_path}/history.db", *KEEPS)
    assert not traffic.failed
    assert all(set(got) == traffic.acknowledged and set(got.values()) == {1} for got in traffic.got)


def test_sockets_that_outlive_the_process_are_not_waited_for(systemd: Systemd) -> None:
    """At the end a server waits for who has begun to connect to a socket that is closed for good."""
    kept = [sock for held in systemd.sockets for sock in inherited.take(str(held.fileno()))]
    assert drop_attempts(kept) is False
    with socket.create_server(("127.0.0.1", 0)) as own:
        assert drop_attempts([*kept, own]) is True
    for sock in kept:
        assert socket.create_connection(sock.getsockname(), PATIENCE)
        sock.close()


@pytest.mark.parametrize("names", [NAMES, ("--wait", "fd:3", "--in", "fd:4")])
def test_polls_are_answered_and_those_that_come_wait_for_the_next(systemd: Systemd, names: tuple[str, ...]) -> None:
    get = http("GET /?identifier=a HTTP/1.1\nHost: h")
    with systemd.start(*names, "--set", "server.drain=60") as server:
        wire = Wire(server)
        waits = wire.on_wait(get)
        eventually(lambda: wire.online("a"), "a 1\n")
        assert server.stop(signal.SIGTERM) == 0
        assert waits.answer()[1] == b" \r\n"
    late, sent = wire.on_wait(get), wire.on_in(http("POST /?identifier=b HTTP/1.0", b"1"))
    with systemd.start(*names) as server:
        assert b" 200 OK\r\n" in sent.rest()
        eventually(lambda: wire.online("a"), "a 1\n")
        wire.send("a", '"heard"')
        assert b'"heard"' in late.answer()[1]


def test_several_sockets_of_one_name(systemd: Systemd) -> None:
    with systemd.start("--wait", "fd:both", "--in", "127.0.0.1:0", names="both:both") as server:
        for name in ("wait", "in"):
            wire = Wire(server)
            wire.wait = systemd.address(name)
            wire.send("5:a", '"heard"')
            assert b'"heard"' in wire.poll("1:a")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("fd:none", "this process was started with no socket of that name (LISTEN_FDNAMES)"),
        ("fd:999", "descriptor 999: Bad file descriptor"),
    ],
)
def test_what_is_not_there(address: str, problem: str) -> None:
    line = [sys.executable, "-m", "rplx", "serve", "--wait", address, "--in", "127.0.0.1:0"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 2
    assert f"cannot listen on {address}: {problem}" in done.stderr
