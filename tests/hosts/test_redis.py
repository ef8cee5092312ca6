"""gunicorn with several workers that share a Redis."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, LISTENING_AT, Server, gunicorn, gunicorn_command
from tests.hosts.test_middleware import BOTTLE, IMPORTS, say
from tests.redis_server import AVAILABLE, RedisServer

WORKERS = 4

pytestmark = pytest.mark.skipif(not AVAILABLE and not os.environ.get("CI"), reason="needs redis-server")


@pytest.fixture(scope="module")
def redis() -> Iterator[str]:
    """The URL of a Redis of our own."""
    server = RedisServer()
    yield server.url
    server.stop()


def booted(child: Server) -> Server:
    eventually(lambda: sum("Booting worker" in line for line in child.log) == WORKERS, timeout=120)
    time.sleep(0.5)
    return child


@pytest.fixture(scope="module")
def site(redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("site")
    (folder / "site_under_test.py").write_text(IMPORTS + BOTTLE)
    command = gunicorn_command(*HOOKS, "-w", str(WORKERS), application="site_under_test:app")
    options = {"RPLX_ENGINE_URL": redis, "RPLX_PRESENCE_OFFLINE_TIMEOUT": "1"}
    with booted(Server(command, options, wait=LISTENING_AT, cwd=folder)) as child:
        yield child
    assert not [line for line in child.log if "Traceback" in line or "Error" in line], "\n".join(child.log)


def test_every_worker_hears_what_one_publishes(site: Server, prefix: str) -> None:
    clients = [Client(site.wait, get(f"/rpl?identifier={prefix}a", "Connection: close")) for _ in range(40)]
    for client in clients:
        client.read_until(b" \r\n")
    eventually(lambda: online(site.in_).get(f"{prefix}a") == len(clients))
    cursor = say(site, f"{prefix}a", "to all")[f"{prefix}a"]
    assert all(messages(client.read().body) == ["to all"] for client in clients)
    assert re.fullmatch(r"\d+\.\d+", cursor)


def test_history_is_everywhere(site: Server, prefix: str) -> None:
    for number in range(5):
        send(site.in_, f"{prefix}a", b"%d" % number)
    for _ in range(12):
        assert messages(ask(site.wait, get(f"/rpl?identifier=1:{prefix}a")).body) == [0, 1, 2, 3, 4]


def test_a_hang_up_is_seen_everywhere(site: Server, prefix: str) -> None:
    clients = [Client(site.wait, get(f"/rpl?identifier={prefix}a")) for _ in range(12)]
    eventually(lambda: online(site.in_).get(f"{prefix}a") == len(clients))
    for client in clients[:6]:
        client.close()
    eventually(lambda: online(site.in_).get(f"{prefix}a") == 6)


def test_the_application_alone_without_hooks(redis: str, prefix: str) -> None:
    options = {"RPLX_ENGINE_URL": redis, "RPLX_SERVER_DRAIN": "0.5"}
    with booted(gunicorn("-k", "gevent", "-w", str(WORKERS), options=options, in_=None)) as server:
        clients = [Client(server.wait, get(f"/?identifier={prefix}a", "Connection: close")) for _ in range(12)]
        for client in clients:
            assert client.read_until(b" \r\n").startswith(b"HTTP/1.1 200 OK")
