"""X-Forwarded-For and Forwarded: whatever a client writes, what a trusted proxy writes behind it is what counts."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from rplx.addresses import Networks
from rplx.protocol.forwarded import HOPS_MAX, Client, client_of, nodes
from tests.fuzz.inputs import plain, repeated
from tests.protocol.test_forwarded import ELEMENTS, LISTS, PEER

SIZE = 16384  # wait.head_max
TRUSTED = Networks(["10.0.0.0/8", "fd00::/8", "unix"])
HOST = "203.0.113.7"


def seeds() -> Iterator[bytes]:
    for value, _ in (*LISTS, *ELEMENTS):
        yield plain(value.encode("latin-1", "replace"))
    for value in (" ", ",", ";", '"', "\\", "10.0.0.1,", "for=10.0.0.1,", 'for="\\"', "for=x ", "for=;"):
        yield repeated(value.encode())


def check(data: bytes) -> None:
    value = data.decode("latin-1")
    assert len(nodes(value)) <= HOPS_MAX
    for found in (client_of(PEER, value, None, TRUSTED), client_of(PEER, None, value, TRUSTED)):
        assert ip_address(found.host)
    assert client_of(PEER, f"{value}, {HOST}, 10.0.0.2", None, TRUSTED) == Client(HOST)
    assert client_of(PEER, f"{HOST}, 10.0.0.2", value, TRUSTED).host in (HOST, PEER)
    assert client_of(PEER, None, f"{value}, for={HOST}", TRUSTED).host in (HOST, PEER)
