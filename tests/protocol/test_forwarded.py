"""X-Forwarded-For and Forwarded: whom they name, and that nothing in them does harm."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.addresses import Networks
from rplx.protocol.forwarded import DIFFER, HOPS_MAX, SIZE_MAX, Client, address_of, client_of, nodes

TRUSTED = Networks(["10.0.0.0/8", "fd00::/8", "unix"])
PEER = "10.0.0.1"

# What X-Forwarded-For says, and who it is.
LISTS = [
    ("203.0.113.7", "203.0.113.7"),
    ("198.51.100.1, 203.0.113.7", "203.0.113.7"),  # what stands before may be the client's own
    ("198.51.100.1,203.0.113.7,10.2.3.4", "203.0.113.7"),
    ("\t203.0.113.7 ,, , 10.2.3.4 ", "203.0.113.7"),
    ("203.0.113.7:4711, 10.2.3.4:80", "203.0.113.7"),
    ("2001:DB8::1", "2001:db8::1"),
    ("[2001:db8::1]", "2001:db8::1"),
    ("[2001:db8::1]:4711, [fd00::1]:1", "2001:db8::1"),
    ("::ffff:203.0.113.7, ::ffff:10.0.0.2", "203.0.113.7"),
    ("203.0.113.7, unix:, 10.0.0.2", "203.0.113.7"),
    ("10.1.1.1, 10.2.2.2", "10.1.1.1"),  # all are trusted
    ("203.0.113.7, unknown, 10.2.2.2", "10.2.2.2"),
    ("203.0.113.7, _hidden", PEER),
    ("203.0.113.7, name.example", PEER),
    ("203.0.113.7, [10.0.0.2]", PEER),
    ("203.0.113.7, [::1", PEER),
    ("203.0.113.7, 10.0.0.2:http", PEER),
    ("203.0.113.7, 10.0.0.2:", PEER),
    ("203.0.113.7, fe80::1%eth0", PEER),
    ("203.0.113.7, 1.2.3.4\0", PEER),
    ("203.0.113.7, \u0661.2.3.4", PEER),
    ("203.0.113.7 10.0.0.2", PEER),
    ("", PEER),
    (" , ,", PEER),
]
# What Forwarded says, and who it is.
ELEMENTS = [
    ("for=203.0.113.7", "203.0.113.7"),
    ('For="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
    ("for=203.0.113.7;proto=http;by=10.0.0.2", "203.0.113.7"),
    ("for=198.51.100.1, for=203.0.113.7", "203.0.113.7"),
    ('for=203.0.113.7;host="a,b;for=198.51.100.1", FOR=10.0.0.2', "203.0.113.7"),
    (r'for=203.0.113.7;host="a\",for=198.51.100.1"', "203.0.113.7"),
    (r'for="203.0.113\.7"', "203.0.113.7"),
    ('for="203.0.113.7:80" , , for=10.0.0.2 ,', "203.0.113.7"),
    ("for=203.0.113.7:80;;proto=http", "203.0.113.7"),
    ("proto=https ; for=203.0.113.7", "203.0.113.7"),
    ('for=203.0.113.7, for="unix:"', "203.0.113.7"),
    ("for=203.0.113.7, for=unknown", PEER),
    ("for=203.0.113.7, for=_SEVKISEK", PEER),
    ("for=203.0.113.7, for=10.0.0.2:_port", "203.0.113.7"),
    ("for=203.0.113.7, proto=http", PEER),
    ("for=203.0.113.7, for=", PEER),
    ('for=203.0.113.7, for="10.0.0.2', PEER),
    ('for=203.0.113.7, for=""', PEER),
    ("for=203.0.113.7 for=10.0.0.2", PEER),
    ("203.0.113.7", PEER),
    ('for=203.0.113.7, "', PEER),
    ("=203.0.113.7", PEER),
    ("", PEER),
    (";", PEER),
]


@pytest.mark.parametrize(("value", "host"), LISTS)
def test_x_forwarded_for(value: str, host: str) -> None:
    assert client_of(PEER, value, None, TRUSTED) == Client(host)


@pytest.mark.parametrize(("value", "host"), ELEMENTS)
def test_forwarded(value: str, host: str) -> None:
    assert client_of(PEER, None, value, TRUSTED) == Client(host)


def test_neither() -> None:
    assert client_of(PEER, None, None, TRUSTED) == Client(PEER)


def test_a_unix_hop_counts_where_it_is_trusted() -> None:
    assert client_of(PEER, "203.0.113.7, unix:", None, Networks([PEER])) == Client(PEER)


def test_both_count_if_they_agree() -> None:
    """Most proxies write one of them and hand on the other as the client wrote it."""
    assert client_of(PEER, "203.0.113.7", "for=203.0.113.7", TRUSTED) == Client("203.0.113.7")
    for forged in ("for=198.51.100.1", "for=unknown", "", '"'):
        assert client_of(PEER, "203.0.113.7", forged, TRUSTED) == Client(PEER, DIFFER)
    assert client_of(PEER, "198.51.100.1", "for=203.0.113.7", TRUSTED) == Client(PEER, DIFFER)


class TestLongOnes:
    def test_the_last_of_a_thousand_count(self) -> None:
        assert (
            client_of(PEER, ", ".join(["198.51.100.1"] * 1000 + ["203.0.113.7"]), None, TRUSTED).host == "203.0.113.7"
        )
        forwarded = ", ".join(["for=198.51.100.1"] * 200 + ["for=203.0.113.7"])
        assert client_of(PEER, None, forwarded, TRUSTED).host == "203.0.113.7"

    def test_no_more_hops_are_looked_at(self) -> None:
        trusted = ["10.9.9.9"] * (HOPS_MAX - 1)
        for before, host in (([], "203.0.113.7"), (["10.8.8.8"], "10.8.8.8")):
            hops = ["203.0.113.7", *before, *trusted]
            assert client_of(PEER, ",".join(hops), None, TRUSTED).host == host
            assert client_of(PEER, None, ",".join(f"for={hop}" for hop in hops), TRUSTED).host == host

    def test_a_forwarded_that_is_too_long_names_nobody(self) -> None:
        value = "for=203.0.113.7;x=".ljust(SIZE_MAX, "x")
        assert nodes(value) == ["203.0.113.7"]
        assert nodes(value + "x") == []


addresses = st.ip_addresses()
NODES = st.builds(
    lambda address, port: (f"[{address}]" if address.version == 6 else str(address)) + port,
    addresses,
    st.one_of(st.just(""), st.integers(0, 65535).map(":{}".format), st.just(":_x")),
)


def plain(text: str) -> str:
    address = ip_address(text)
    return str(address.ipv4_mapped or address) if isinstance(address, IPv6Address) else text


@given(addresses)
def test_an_address_is_found_in_all_its_forms(address: IPv4Address | IPv6Address) -> None:
    shown = address_of(str(address))
    assert plain(shown) == plain(str(address))
    forms = [f"[{address}]", f"[{address.exploded}]:80", address.exploded.upper()] if address.version == 6 else []
    assert {address_of(form) for form in [shown, *forms]} == {shown}


@given(st.lists(NODES, min_size=1, max_size=8))
def test_both_headers_say_the_same(hops: list[str]) -> None:
    listed = client_of(PEER, ", ".join(hops), None, TRUSTED)
    assert client_of(PEER, None, ", ".join(f'for="{hop}";proto=http' for hop in hops), TRUSTED) == listed
    assert client_of(PEER, ",".join(hops), ",".join(f'by=_x;for="{hop}"' for hop in hops), TRUSTED) == listed
    assert listed.host in map(address_of, hops)


@given(st.text(max_size=60) | st.text('for=,;"\\ 1.:[]', max_size=60), st.just("203.0.113.7"))
def test_what_a_client_writes_before_its_address_is_nothing(forged: str, host: str) -> None:
    assert client_of(PEER, f"{forged}, {host}", None, TRUSTED) == Client(host)
    assert client_of(PEER, None, f"{forged}, for={host}", TRUSTED).host in (host, PEER)


@given(st.text() | st.text('for=,;"\\ 1.:[]'), st.text() | st.none())
def test_the_client_is_always_an_address(forwarded: str, forwarded_for: str | None) -> None:
    for found in (client_of(PEER, forwarded_for, forwarded, TRUSTED), client_of(PEER, forwarded, None, TRUSTED)):
        ip_address(found.host)
