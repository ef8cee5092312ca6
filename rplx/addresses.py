"""The client that an address stands for, where clients are counted by address."""

from __future__ import annotations

import _socket

UNIX = "unix"  # stands for a peer that came by a UNIX socket, which has no address
_MAPPED = bytes(10) + b"\xff\xff"  # what an IPv4 address in an IPv6 one begins with (RFC 4291, 2.5.5.2)
_NETWORK = 8  # bytes of an IPv6 address that name the network; its owner chooses the others (RFC 4291, 2.5.1)


def network_of(host: str) -> str:
    """Returns the client that an address counts for: an IPv6 address is its /64, as one client has all of that.

    An IPv4 address is itself, also where it is written as an IPv6 one (::ffff:192.0.2.1). A UNIX peer has none, and is
    "", which no limit counts. Anything else stays as it is.
    """
    if ":" not in host:
        return "" if host == UNIX else host
    try:
        packed = _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return "" if host.startswith(UNIX) else host
    if packed.startswith(_MAPPED):
        return _socket.inet_ntop(_socket.AF_INET, packed[len(_MAPPED) :])
    return _socket.inet_ntop(_socket.AF_INET6, packed[:_NETWORK] + bytes(16 - _NETWORK)) + "/64"
