"""Every server gives an answer that is JSON to those who ask for one, where messages are not checked (part 7.5)."""

from __future__ import annotations

import pytest

from tests.hosts.conftest import STARTS
from tests.hosts.http import Client, ask, eventually, get, messages, online, send
from tests.hosts.servers import HOOKS, Server, gunicorn, pywsgi, rplx_serve

OPTIONS = {"RPLX_IN_CHECK_JSON": "false"}


def start(kind: str) -> Server:
    if kind == "gunicorn":
        return gunicorn(*HOOKS, options=OPTIONS)
    return rplx_serve(OPTIONS) if kind == "rplx" else pywsgi(OPTIONS)


@pytest.mark.parametrize("kind", STARTS)
def test_to_who_waits_and_from_history(kind: str) -> None:
    with start(kind) as server:
        clients = [Client(server.wait, get(f"/?identifier=1:a{flag}", "Connection: close")) for flag in ("&json", "")]
        eventually(lambda: online(server.in_).get("a") == 2)
        send(server.in_, "5:a", b"alert(1)")
        assert messages(clients[0].read().body) == ["alert(1)"]
        assert b'"data": alert(1)\n' in clients[1].read().body
        assert messages(ask(server.wait, get("/?identifier=1:a&json")).body) == ["alert(1)"]
        assert b'"data": alert(1)\n' in ask(server.wait, get("/?identifier=1:a")).body
