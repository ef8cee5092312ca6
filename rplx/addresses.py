"""The client that an address stands for, where clients are counted by address; and networks of addresses."""

from __future__ import annotations

import _socket
from collections.abc import Iterable
from functools import lru_cache

UNIX = "unix"  # stands for a peer that came by a UNIX socket, which has no address
KNOWN_MAX = 4096  # addresses of which it is remembered whether they belong to networks

TEXTS_MAX = 1024  # addresses that have one text for all their connections

_MAPPED = bytes(10) + b"\xff\xff"  # what an IPv4 address in an IPv6 one begins with (RFC 4291, 2.5.5.2)
_FAMILIES = {4: _socket.AF_INET, 16: _socket.AF_INET6}  # by the bytes of their addresses
_NETWORK = 8  # bytes of an IPv6 address that name the network; its owner chooses the others (RFC 4291, 2.5.1)


@lru_cache(maxsize=TEXTS_MAX)
def one_text(host: str) -> str:
    """Returns an equal text, the same object for all connections of an address: behind a proxy all have the same.

    This holds for the last TEXTS_MAX addresses. sys.intern would keep each address of the world for ever (Python 3.12).
    """
    return host


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


def canonical(host: str) -> str:
    """Returns an address as the system writes it, an IPv4 one without IPv6 around it; "" if `host` is no address."""
    whole = _packed(host)
    return "" if whole is None else _socket.inet_ntop(_FAMILIES[len(whole)], whole)


def _packed(host: str) -> bytes | None:
    """Returns the 4 bytes of an IPv4 address, also of one within an IPv6 address, or the 16 of an IPv6 one."""
    try:
        if ":" not in host:
            return _socket.inet_pton(_socket.AF_INET, host)
        whole = _socket.inet_pton(_socket.AF_INET6, host)
    except (OSError, ValueError):  # ValueError: a NUL, or letters that are no ASCII
        return None
    return whole[len(_MAPPED) :] if whole.startswith(_MAPPED) else whole


class Networks:
    """Networks to which an address may belong. UNIX among them stands for all who come by a UNIX socket."""

    def __init__(self, texts: Iterable[str]) -> None:
        """`texts`: addresses, networks such as 10.0.0.0/8 (RFC 4632, 3.1), and UNIX. Raises ValueError."""
        texts = frozenset(texts)
        self._unix = UNIX in texts
        self._networks = frozenset(map(_parsed, texts - {UNIX}))
        self._known: dict[str, bool] = {}  # the same proxies come again and again

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def __contains__(self, host: str) -> bool:
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[host] = self._has(host)
        return known

    def _has(self, host: str) -> bool:
        if host in ("", UNIX) or host.startswith("unix:"):
            return self._unix
        whole = _packed(host.partition("%")[0])
        if whole is None:
            return False
        number = int.from_bytes(whole, "big")
        return any(size == len(whole) and number >> shift == wanted for size, wanted, shift in self._networks)


def _parsed(text: str) -> tuple[int, int, int]:
    """Returns a network: the bytes of its addresses, its bits as a number, and how many bits an address has behind.

    Raises ValueError.
    """
    host, slash, bits = text.partition("/")
    whole = _packed(host)
    if whole is None:
        raise ValueError(f'"{text}" is no network')
    shift = (128 if ":" in host else 32) - int(bits) if slash else 0  # an IPv4 one may be written as IPv6
    return len(whole), int.from_bytes(whole, "big") >> shift, shift
