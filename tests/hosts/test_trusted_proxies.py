"""Under every server a trusted proxy's headers name the client, for its share of presence in grace (part 9.6)."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import STARTS
from tests.hosts.http import Client, eventually, get, online
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

SHARE = 10
OPTIONS = {
    "RPLX_PRESENCE_OFFLINE_TIMEOUT": "300",
    "RPLX_PRESENCE_MAX_IN_GRACE_PER_ADDRESS": str(SHARE),
    "RPLX_WAIT_TRUSTED_PROXIES": "127.0.0.1",
}


def start(kind: str) -> Server:
    if kind == "gunicorn":
        return gunicorn(*HOOKS, options=OPTIONS)
    return rplx_serve(OPTIONS) if kind == "rplx" else pywsgi(OPTIONS)


def leave(server: Server, name: str, count: int, header: str, source: str = "127.0.0.1") -> None:
    """Polls `count` channels that begin with `name`, and has the answer at once."""
    ids = ",".join(f"{name}{number:02}" for number in range(count))
    Client(server.wait, get(f"/?identifier={ids}&position", header, "Connection: close"), source=source).rest()


@pytest.mark.parametrize("kind", STARTS)
def test_each_client_has_its_own_share(kind: str) -> None:
    with start(kind) as server:
        leave(server, "a", SHARE, "X-Forwarded-For: 198.51.100.1, 203.0.113.1")
        leave(server, "b", SHARE, 'Forwarded: for="[2001:db8::1]:80"')
        leave(server, "c", SHARE, "X-Forwarded-For: unknown")
        for number in range(4):  # one client, whatever it writes itself
            leave(server, f"d{number}", SHARE, f"X-Forwarded-For: 198.51.100.{number}, 203.0.113.2")
        for number in range(4):  # nobody trusts this one
            leave(server, f"e{number}", SHARE, f"X-Forwarded-For: 198.51.100.{number}", "127.0.0.2")
        eventually(lambda: len(online(server.in_)) <= 5 * SHARE)
        assert "".join(sorted(id[0] for id in online(server.in_))) == "".join(name * SHARE for name in "abcde")
        assert {id[:2] for id in online(server.in_) if id[0] in "de"} == {"d3", "e3"}
