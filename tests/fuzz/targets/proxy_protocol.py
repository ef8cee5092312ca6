"""The PROXY protocol: in whatever pieces a header comes and whatever is behind it, it says the same."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from rplx.protocol.proxy_protocol import LENGTH_MAX, Source
from tests.fuzz.inputs import plain, repeated
from tests.protocol.test_proxy_protocol import HEADERS, SIGNATURE, WRONG, bytewise, found

SIZE = 16384  # what the WAIT line reads at once
BYTEWISE_MAX = 512  # bytes that are fed one by one
LONGEST = 16 + LENGTH_MAX


def seeds() -> Iterator[bytes]:
    for data in (*[case[0] for case in HEADERS], *[case[0] for case in WRONG]):
        yield plain(data[:600])
    for data in (SIGNATURE, b"PROXY ", b" ", b"\r"):
        yield repeated(data)


def check(data: bytes) -> None:
    whole = found(data)
    assert whole is not None or len(data) < LONGEST
    if isinstance(whole, Source):
        assert whole.size <= min(len(data), LONGEST)
        assert not whole.host or ip_address(whole.host)
        assert found(data[: whole.size]) == whole
        assert found(data[: whole.size - 1]) is None
    if whole is not None:
        assert found(data + b"\r\n") == whole
    short = data[:BYTEWISE_MAX]
    if (first := bytewise(short)[0]) is not None:
        assert first == whole
