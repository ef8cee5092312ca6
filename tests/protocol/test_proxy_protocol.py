"""The PROXY protocol: what a header says is the same in whatever pieces it comes, and whatever comes behind it."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rplx.protocol.proxy_protocol import LENGTH_MAX, LINE_MAX, BadHeader, Source, source_of

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
SIX, OTHER_SIX = "2001:db8::1", "fd00::2"


def binary(kind: int, family: int, block: bytes) -> bytes:
    """`kind`: version and command, `family`: family and transport, each a byte of version 2."""
    return SIGNATURE + bytes([kind, family]) + len(block).to_bytes(2, "big") + block


def pair(source: str, destination: str, port: int = 4711) -> bytes:
    """Addresses as version 2 has them, the destination's port 8088."""
    packed = [ipaddress.ip_address(text).packed for text in (source, destination)]
    return b"".join(packed) + port.to_bytes(2, "big") + (8088).to_bytes(2, "big")


FOUR_BLOCK, SIX_BLOCK = pair("203.0.113.7", "192.0.2.1"), pair(SIX, OTHER_SIX)
LONGEST = b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(LINE_MAX - 2, b"x") + b"\r\n"

# A header, and the client that it names.
HEADERS = [
    (b"PROXY TCP4 203.0.113.7 192.0.2.1 4711 8088\r\n", "203.0.113.7", 4711),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255", 65535),
    (b"PROXY TCP6 2001:DB8:0::1 fd00::2 0 8088\r\n", SIX, 0),
    (b"PROXY TCP6 ::ffff:203.0.113.7 ::ffff:192.0.2.1 4711 8088\r\n", "203.0.113.7", 4711),
    (b"PROXY UNKNOWN\r\n", "", 0),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "", 0),
    (LONGEST, "", 0),
    (binary(0x21, 0x11, FOUR_BLOCK), "203.0.113.7", 4711),
    (binary(0x21, 0x21, SIX_BLOCK), SIX, 4711),
    (binary(0x21, 0x21, pair("::ffff:203.0.113.7", "::")), "203.0.113.7", 4711),
    (binary(0x21, 0x11, FOUR_BLOCK + b"\x03\0\x04abcd"), "203.0.113.7", 4711),  # CRC32C, which nobody has to check
    (binary(0x21, 0x11, FOUR_BLOCK.ljust(LENGTH_MAX, b"\0")), "203.0.113.7", 4711),
    (binary(0x20, 0x00, b""), "", 0),  # LOCAL, as health checks have it
    (binary(0x20, 0x11, FOUR_BLOCK), "", 0),
    (binary(0x20, 0xFF, b"x"), "", 0),
    (binary(0x21, 0x00, b""), "", 0),
    (binary(0x21, 0x00, b"what is behind"), "", 0),
    (binary(0x21, 0x31, bytes(216)), "", 0),
    (binary(0x21, 0x12, FOUR_BLOCK), "", 0),  # datagrams
]
# What is no header, and what is said of it.
WRONG = [
    (b"GET / HTTP/1.1\r\n", "no PROXY header"),
    (b"PROXX", "no PROXY header"),
    (b"proxy TCP4 ", "no PROXY header"),
    (b"identifier=a\n", "no PROXY header"),
    (b"\r\n\r\nGET", "no PROXY header"),
    (b"\x16\x03\x01", "no PROXY header"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", "malformed PROXY line"),
    (b"PROXY \r\n", "malformed PROXY line"),
    (b"PROXY\t", "no PROXY header"),
    (b"PROXY UNKNOWNx\r\n", "malformed PROXY line"),
    (b"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n", "malformed PROXY line"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "malformed PROXY line"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n", "malformed PROXY line"),
    (b"PROXY TCP4  1.2.3.4 5.6.7.8 1 2\r\n", "malformed PROXY line"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n", "malformed PROXY line"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\0\r\n", "malformed PROXY line"),
    (b"PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n", "malformed address"),
    (b"PROXY TCP4 ::1 ::1 1 2\r\n", "malformed address"),
    (b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n", "malformed address"),
    (b"PROXY TCP6 :: : 1 2\r\n", "malformed address"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "malformed port"),
    (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n", "malformed port"),
    (b"PROXY UNKNOWN".ljust(LINE_MAX, b" "), f"more than {LINE_MAX} bytes"),
    (LONGEST.replace(b"\r\n", b"x\r\n"), f"more than {LINE_MAX} bytes"),
    (binary(0x11, 0x11, FOUR_BLOCK), "unknown version"),
    (binary(0x31, 0x11, FOUR_BLOCK), "unknown version"),
    (binary(0x22, 0x11, FOUR_BLOCK), "unknown version or command"),
    (binary(0x21, 0x41, FOUR_BLOCK), "unknown family"),
    (binary(0x21, 0x13, FOUR_BLOCK), "unknown family or transport"),
    (binary(0x21, 0x11, FOUR_BLOCK[:-1]), "too short"),
    (binary(0x21, 0x21, SIX_BLOCK[:-1]), "too short"),
    (binary(0x21, 0x31, bytes(215)), "too short"),
    (binary(0x21, 0x11, bytes(LENGTH_MAX + 1))[:16], f"more than {LENGTH_MAX} bytes"),
    (binary(0x20, 0x00, bytes(65535))[:16], f"more than {LENGTH_MAX} bytes"),
]
BEHIND = [b"", b"\n", b"GET /?identifier=a HTTP/1.1\r\n\r\n", HEADERS[0][0], bytes(5000)]


def found(data: bytes) -> Source | str | None:
    try:
        return source_of(data)
    except BadHeader as error:
        return str(error)


def bytewise(data: bytes) -> tuple[Source | str | None, int]:
    """What is found when so many of the bytes have come, and none before said anything."""
    for size in range(len(data) + 1):
        result = found(data[:size])
        if result is not None:
            return result, size
    return None, len(data)


@pytest.mark.parametrize(("header", "host", "port"), HEADERS)
def test_a_header(header: bytes, host: str, port: int) -> None:
    expected = Source(len(header), host, port)
    assert bytewise(header) == (expected, len(header))
    for behind in BEHIND:
        assert found(header + behind) == expected


@pytest.mark.parametrize(("data", "text"), WRONG)
def test_what_is_none(data: bytes, text: str) -> None:
    result, size = bytewise(data)
    assert isinstance(result, str)
    assert text in result
    for behind in BEHIND:
        assert found(data + behind) == result
    assert found(data[:size] + b"\r\n") == result


@given(
    st.one_of(
        st.binary(max_size=40),
        st.binary(max_size=60).map(b"PROXY ".__add__),
        st.builds(
            lambda first, length, block: SIGNATURE + first + length.to_bytes(2, "big") + block,
            st.binary(min_size=2, max_size=2),
            st.integers(0, 60),
            st.binary(max_size=80),
        ),
    ),
    st.binary(max_size=40),
)
def test_pieces_and_what_is_behind_change_nothing(data: bytes, behind: bytes) -> None:
    result, size = bytewise(data)
    if result is not None:
        assert found(data) == result
        assert found(data + behind) == result
        assert found(data[:size] + behind) == result


@given(st.ip_addresses(), st.integers(0, 65535))
def test_both_versions_say_the_same(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> None:
    word, family = ("TCP4", 0x11) if address.version == 4 else ("TCP6", 0x21)
    line = found(f"PROXY {word} {address} {address} {port} 8088\r\n".encode())
    block = found(binary(0x21, family, pair(str(address), str(address), port)))
    assert isinstance(line, Source)
    assert isinstance(block, Source)
    assert line[1:] == block[1:]
    assert line.port == port
