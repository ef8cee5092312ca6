"""The PROXY protocol, versions 1 and 2: a proxy says at a connection's beginning who it is from (part 9.6).

As HAProxy's proxy-protocol.txt has it: a line of text (2.1), or binary (2.2).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rplx.addresses import canonical

LINE_MAX = 107  # bytes of a version 1 header, its line end among them
LENGTH_MAX = 4096  # bytes behind the first sixteen of a version 2 header: addresses, and what else the proxy tells
PORT_MAX = 65535

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FIXED = 16  # bytes of a version 2 header before its addresses
_WORD = b"PROXY "
_LINE = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?")
_LOCAL, _PROXY = 0, 1  # commands
_ADDRESS_SIZES = {1: 4, 2: 16}  # bytes of an address, by its family (AF_INET, AF_INET6)
_FAMILY_MAX, _TRANSPORT_MAX = 3, 2  # AF_UNIX, DGRAM
_STREAM = 1
_UNIX_SIZE = 216  # bytes of two addresses of UNIX sockets


class Source(NamedTuple):
    """What a header says: `size` bytes long, from `host` and `port`. `host` is "" if the connection's peer counts."""

    size: int
    host: str = ""
    port: int = 0


class BadHeader(ValueError):
    """What a connection begins with is no PROXY header."""


def source_of(data: bytes) -> Source | None:
    """Returns the PROXY header with which `data`, all that has come so far, begins; None if more has to come.

    Raises BadHeader as soon as it can be none.
    """
    if data.startswith(_SIGNATURE[:1]) or not data:
        return _binary(data)
    return _text(data)


def _text(data: bytes) -> Source | None:
    if not data.startswith(_WORD[: len(data)]):
        raise BadHeader("no PROXY header")
    end = data.find(b"\n", 0, LINE_MAX)
    if end < 0:
        if len(data) >= LINE_MAX:
            raise BadHeader(f"a PROXY line of more than {LINE_MAX} bytes")
        return None
    if data[end - 1 : end] != b"\r":
        raise BadHeader("a malformed PROXY line")
    return _of_line(data[: end - 1], end + 1)


def _of_line(line: bytes, size: int) -> Source:
    if _UNKNOWN.fullmatch(line):
        return Source(size)
    match = _LINE.fullmatch(line)
    if match is None:
        raise BadHeader("a malformed PROXY line")
    is_six = match[1] == b"TCP6"
    hosts = match[2].decode(), match[3].decode()
    port = int(match[4])
    if any((":" in host) is not is_six or not canonical(host) for host in hosts):
        raise BadHeader("a malformed address in a PROXY line")
    if max(port, int(match[5])) > PORT_MAX:
        raise BadHeader("a malformed port in a PROXY line")
    return Source(size, canonical(hosts[0]), port)


def _binary(data: bytes) -> Source | None:
    if not data.startswith(_SIGNATURE[: len(data)]):
        raise BadHeader("no PROXY header")
    if len(data) < _FIXED:
        return None
    version, command = data[12] >> 4, data[12] & 15
    family, transport = data[13] >> 4, data[13] & 15
    length = int.from_bytes(data[14:16], "big")
    if version != 2 or command > _PROXY:
        raise BadHeader("a PROXY header of an unknown version or command")
    if command == _PROXY and (family > _FAMILY_MAX or transport > _TRANSPORT_MAX):  # of a LOCAL one they do not count
        raise BadHeader("a PROXY header of an unknown family or transport")
    if length > LENGTH_MAX:
        raise BadHeader(f"a PROXY header of more than {LENGTH_MAX} bytes")
    return _of_addresses(data, _FIXED + length, command, family, transport)


def _of_addresses(data: bytes, size: int, command: int, family: int, transport: int) -> Source | None:
    width = _ADDRESS_SIZES.get(family, 0)
    needed = 2 * width + 4 if width else _UNIX_SIZE if family else 0
    if command == _PROXY and _FIXED + needed > size:
        raise BadHeader("a PROXY header too short for its addresses")
    if len(data) < size:
        return None
    if command == _LOCAL or not width or transport != _STREAM:
        return Source(size)
    port = int.from_bytes(data[_FIXED + 2 * width : _FIXED + 2 * width + 2], "big")
    return Source(size, _shown(data[_FIXED : _FIXED + width]), port)


def _shown(address: bytes) -> str:
    """Returns an address of 4 or 16 bytes as the system writes it."""
    if len(address) == 4:
        return ".".join(map(str, address))
    return canonical(":".join([f"{address[i]:02x}{address[i + 1]:02x}" for i in range(0, 16, 2)]))
