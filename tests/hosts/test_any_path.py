"""What polls have that go through any path (protocol page, part 9), in each server that the WAIT line runs in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

OPTIONS = {"RPLX_WAIT_TIMEOUT": "600"}
STARTS = {
    "rplx": lambda: rplx_serve(OPTIONS),
    "gunicorn": lambda: gunicorn(*HOOKS, options=OPTIONS),
    "pywsgi": lambda: pywsgi(OPTIONS),
}


@pytest.fixture(scope="module", params=STARTS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with STARTS[request.param]() as child:
        yield child


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_poll_ends_when_it_asks_to(server: Server, prefix: str, version: str) -> None:
    answer = ask(server.wait, get(f"/?identifier={prefix}a&timeout=1", version=version))
    assert (answer.status, answer.body) == ("200 OK", b" \r\n")


def test_others_go_on(server: Server, prefix: str) -> None:
    client = Client(server.wait, get(f"/?identifier={prefix}a&timeout=0.5"))
    eventually(lambda: online(server.in_).get(f"{prefix}a") == 1)
    assert ask(server.wait, get(f"/?identifier={prefix}b&timeout=1")).body == b" \r\n"
    assert not client.pending
    send(server.in_, f"{prefix}a", b"1")
    assert messages(client.read().body) == [1]
