"""Clients that are counted by address: an IPv6 network counts once. And to which networks an address belongs."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rplx.access.gate import Logins
from rplx.access.users import Users
from rplx.addresses import KNOWN_MAX, TEXTS_MAX, Networks, canonical, network_of, one_text
from rplx.engine.grace import Grace
from rplx.errors import AccessDenied, TooManyRequests
from rplx.log import Log
from rplx.messages import Credentials
from rplx.options.table import Config, WaitOptions
from rplx.wait_line.connections import Connections
from rplx.wait_line.states import CLOSED

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def test_an_address_has_one_text_and_not_all_addresses_are_kept() -> None:
    first = one_text("".join(["192.0.2.", "1"]))
    assert one_text("".join(["192.0.2.", "1"])) is first
    for number in range(2 * TEXTS_MAX):
        assert one_text(f"2001:db8::{number:x}") == f"2001:db8::{number:x}"
    assert one_text.cache_info().currsize == TEXTS_MAX
    assert one_text("".join(["192.0.2.", "1"])) is not first


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
                client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")  # which says how it is to be refused
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


@pytest.mark.parametrize(
    ("texts", "inside", "outside"),
    [
        (["192.0.2.1"], ["192.0.2.1", "::ffff:192.0.2.1"], ["192.0.2.2", "::1", "", "unix:", "name", "192.0.2"]),
        (["10.0.0.0/8"], ["10.0.0.0", "10.255.255.255", "::FFFF:10.1.2.3"], ["11.0.0.0", "9.255.255.255"]),
        (["2001:db8::/33"], ["2001:db8:7fff::1", "2001:DB8::"], ["2001:db8:8000::", "::ffff:1.2.3.4"]),
        (["::ffff:10.0.0.0/104"], ["10.1.2.3", "::ffff:10.1.2.3"], ["11.0.0.0"]),
        (["0.0.0.0/0"], ["0.0.0.0", "255.255.255.255"], ["::1", ""]),
        (["::/0"], ["::", "fe80::1%lo"], ["1.2.3.4"]),
        (["unix"], ["", "unix:"], ["127.0.0.1", "::"]),
        (["unix", "::1", "127.0.0.1"], ["", "::1", "127.0.0.1"], ["127.0.0.2"]),
        ([], [], ["", "127.0.0.1"]),
    ],
)
def test_networks(texts: list[str], inside: list[str], outside: list[str]) -> None:
    networks = Networks(texts)
    assert bool(networks) is bool(texts)
    for _ in range(2):  # what is remembered is the same
        assert [host in networks for host in (*inside, *outside)] == [True] * len(inside) + [False] * len(outside)


@given(st.ip_addresses(), st.ip_addresses(), st.data())
def test_networks_are_those_of_the_standard_library(one: IPAddress, other: IPAddress, data: st.DataObject) -> None:
    bits = data.draw(st.integers(0, one.max_prefixlen))
    network = ipaddress.ip_network(f"{one}/{bits}", strict=False)
    assume(not any(isinstance(it, ipaddress.IPv6Address) and it.ipv4_mapped for it in (one, other)))
    assume(network.network_address != ipaddress.IPv6Address("::ffff:0:0"))
    networks = Networks([str(network)])
    assert str(one) in networks
    assert (str(other) in networks) is (other in network)


def test_what_is_remembered_of_networks_is_bounded() -> None:
    networks = Networks(["10.0.0.0/8"])
    for number in range(3 * KNOWN_MAX):
        assert f"10.0.{number >> 8}.{number & 255}" in networks
    assert len(networks._known) <= KNOWN_MAX


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:c000:201", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        *[
            (text, "")
            for text in ("", "1", "1.2.3", "1.2.3.256", "fe80::1%lo", "[::1]", "::1\0", "1.2.3.4\n", "١.2.3.4")
        ],
    ],
)
def test_how_an_address_is_written(host: str, shown: str) -> None:
    assert canonical(host) == shown
