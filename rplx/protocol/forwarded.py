"""Who a request comes from, as proxies say it in `X-Forwarded-For` and `Forwarded` (RFC 7239; part 9.6)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rplx.addresses import UNIX, Networks, canonical

HOPS_MAX = 64  # entries of a header that are looked at, from its end
SIZE_MAX = 4096  # characters of a `Forwarded` header, which cannot be read from its end; a longer one names nobody
DIFFER = "X-Forwarded-For and Forwarded name different clients, so neither counts: let the proxy remove one of them"

_SEPARATORS = " \t,;"
# One parameter of an element, and all that separates it from the next one: however many commas there are, they are one
# match. Values without quotes may have signs that the RFC has quoted, as proxies write addresses and ports so, too.
_PARAMETER = re.compile(r'([^ \t=,;"]+)=(?:"((?:[^"\\]|\\.)*)"|([^ \t,;"]*))([ \t]*(?:[,;][ \t,;]*|\Z))')
_ESCAPED = re.compile(r"\\(.)")
_PORT = re.compile(r":(?:[0-9]{1,5}|_[A-Za-z0-9._-]+)")


class Client(NamedTuple):
    """The address of a client, and what is wrong with the headers that should have named it, or ""."""

    host: str
    wrong: str = ""


def client_of(peer: str, forwarded_for: str | None, forwarded: str | None, trusted: Networks) -> Client:
    """Returns who is behind `peer`, the trusted proxy that sent a request with these headers (None: not there).

    That is, from the right, the first address that is not trusted. Where all are trusted it is the leftmost one, and
    where an entry is no address the one to its right: `peer` itself at the end. Of two headers that name different
    clients one may be what the client wrote itself, so neither counts.
    """
    if forwarded is None:
        return Client(peer if forwarded_for is None else _walk(peer, _from_end(forwarded_for), trusted))
    client = _walk(peer, nodes(forwarded)[::-1], trusted)
    if forwarded_for is not None and client != _walk(peer, _from_end(forwarded_for), trusted):
        return Client(peer, DIFFER)
    return Client(client)


def _walk(peer: str, hops: Iterable[str], trusted: Networks) -> str:
    """Returns the first of `hops` that is not trusted, else the last that is known."""
    known = peer
    for node in hops:
        if node.startswith("unix:") and UNIX in trusted:
            continue  # how nginx calls one that came to it by a UNIX socket
        host = address_of(node)
        if not host:
            return known
        known = host
        if host not in trusted:
            return host
    return known


def _from_end(value: str) -> list[str]:
    """Returns the last HOPS_MAX entries of X-Forwarded-For, the last one first. Empty ones do not count."""
    parts = value.rsplit(",", HOPS_MAX)
    if len(parts) > HOPS_MAX:
        del parts[0]
    return [part for part in map(_trimmed, reversed(parts)) if part]


def _trimmed(text: str) -> str:
    return text.strip(" \t")


def nodes(value: str) -> list[str]:
    """Returns what each of the last HOPS_MAX elements of `Forwarded` says behind `for=`, "" where it says nothing.

    Returns an empty list if the header is malformed or longer than SIZE_MAX.
    """
    if len(value) > SIZE_MAX:
        return []
    found: list[str] = []
    node = ""
    place, end = len(value) - len(value.lstrip(_SEPARATORS)), len(value)
    while place < end:
        match = _PARAMETER.match(value, place)
        if match is None:
            return []
        name, quoted, bare, behind = match.groups()
        if name.lower() == "for":
            node = bare if quoted is None else _ESCAPED.sub(r"\1", quoted)
        place = match.end()
        if "," in behind or place == end:
            found.append(node)
            node = ""
    return found[-HOPS_MAX:]


def address_of(node: str) -> str:
    """Returns the address of a node as the system writes it, "" if there is none: `unknown`, `_hidden`, or anything.

    It may have a port, an IPv6 one in brackets then: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
    """
    if node.startswith("["):
        host, bracket, port = node[1:].partition("]")
        if not bracket or ":" not in host:
            return ""
    elif node.count(":") == 1:
        host, colon, port = node.partition(":")
        port = colon + port
    else:
        host, port = node, ""
    return "" if port and not _PORT.fullmatch(port) else canonical(host)
