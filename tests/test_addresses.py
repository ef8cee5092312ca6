"""Clients that are counted by address: an IPv6 network counts once."""

from __future__ import annotations

import contextlib
import socket

import pytest

from rplx.access.gate import Logins
from rplx.access.users import Users
from rplx.addresses import network_of
from rplx.engine.grace import Grace
from rplx.errors import AccessDenied, TooManyRequests
from rplx.log import Log
from rplx.messages import Credentials
from rplx.options.table import Config, WaitOptions
from rplx.wait_line.connections import Connections
from rplx.wait_line.states import CLOSED


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%lo", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
        ("unix", ""),
        ("unix:", ""),
        ("name", "name"),
    ],
)
def test_what_an_address_counts_for(host: str, network: str) -> None:
    assert network_of(host) == network


def test_a_network_has_one_share_of_the_grace_time() -> None:
    grace = Grace(2)
    for number in range(4):
        grace.add([f"x{number}"], 1.0, f"2001:db8:1:2::{number}")
    grace.add(["other"], 1.0, "2001:db8:1:3::1")
    assert grace.take_excess(10) == ["x0", "x1"]
    for id in ("x2", "x3", "other"):
        grace.remove(id)
    assert len(grace) == 0


def test_connections_of_a_network_are_counted_together() -> None:
    table = Connections(WaitOptions(max_connections_per_address=2), Log(0))
    for _ in range(2):
        with contextlib.ExitStack() as open_:
            added = []
            for host in ("2001:db8:1:2::1", "2001:db8:1:2::2", "2001:db8:1:3::1", "2001:db8:1:2::3"):
                client, served = socket.socketpair()
                open_.enter_context(client)
                added.append(table.add(served.detach(), (host, 1), socket.AF_INET6))
            assert [connection.state is CLOSED for connection in added] == [False, False, False, True]
            assert client.recv(65536).startswith(b"HTTP/1.1 503 ")
            for connection in added:
                table.close(connection)
    assert table.accepted == 0


def test_guesses_from_a_network_are_counted_together() -> None:
    logins = Logins(Users.parse("bob:{SHA}AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "users"), Config())
    for number in range(10):
        with pytest.raises(AccessDenied):
            logins.admit(f"2001:db8:1:2::{number}", Credentials("bob", "wrong"))
    with pytest.raises(TooManyRequests):
        logins.admit("2001:db8:1:2::ffff", Credentials("bob", "wrong"))
    with pytest.raises(AccessDenied):
        logins.admit("2001:db8:1:3::1", Credentials("bob", "wrong"))
