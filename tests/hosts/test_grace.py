"""Every server hands on whose listener left, so that no address has more than its share of presence in grace."""

from __future__ import annotations

import socket

import pytest

from tests.hosts.conftest import STARTS
from tests.hosts.http import eventually, get, online
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

OPTIONS = {"RPLX_PRESENCE_OFFLINE_TIMEOUT": "300", "RPLX_PRESENCE_MAX_IN_GRACE_PER_ADDRESS": "10"}
IDS = [f"x{number:02}" for number in range(40)]


def start(kind: str) -> Server:
    if kind == "gunicorn":
        return gunicorn(*HOOKS, options=OPTIONS)
    return rplx_serve(OPTIONS) if kind == "rplx" else pywsgi(OPTIONS)


def poll(server: Server, target: str, source: str) -> socket.socket:
    sock = socket.create_connection(server.wait, timeout=120, source_address=(source, 0))
    sock.sendall(get(target, "Connection: close"))
    return sock


@pytest.mark.parametrize("kind", STARTS)
def test_one_address_has_no_more_than_its_share(kind: str) -> None:
    with start(kind) as server:
        for id in ("h1", "h2"):
            with poll(server, f"/?identifier={id}&position", "127.0.0.1") as sock:
                assert sock.recv(65536)
        with poll(server, f"/?identifier={','.join(IDS)}", "127.0.0.2"):
            eventually(lambda: len(online(server.in_)) == 42)
        eventually(lambda: len(online(server.in_)) <= 12)
        assert sorted(online(server.in_)) == ["h1", "h2", *IDS[30:]]
