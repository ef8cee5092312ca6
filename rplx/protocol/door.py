"""Keeps browsers off the IN line, by a request's method and headers (protocol page, part 7.7)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rplx.errors import Forbidden, MethodNotAllowed
from rplx.protocol.http_request import HttpRequest

MARKER = b"x-realplexor"
_BROWSERS_OWN = frozenset((b"origin", b"sec-fetch-site"))  # Sec-Fetch-Mode is no sign: Node's fetch sends it, too
_REFERER = re.compile(rb"(?i)https?://([^/?#@]*)(?:[/?#]|\Z)")
_PORT = re.compile(rb":[0-9]*\Z")
# No name server can turn these to us, so a page of this authority came from us (RFC 6761, 6.3, for the first).
_NEVER_REBOUND = re.compile(rb"localhost|[0-9]+(?:\.[0-9]+){3}|\[[0-9a-f:.]+\]")


class Door:
    """Refuses requests of browsers.

    `hosts` are the names that a `Host` may have, without ports; none: any name. `own` are the authorities (HOST:PORT)
    at which the line itself is reached. `wait_line` is what a refusal says about where the WAIT line is.
    """

    def __init__(self, hosts: Iterable[str] = (), own: Iterable[str] = (), wait_line: str = "wait.listen") -> None:
        self._hosts = frozenset(map(_normal, hosts))
        self._own = frozenset(address.lower().encode() for address in own)
        self._wait_line = wait_line
        self.watched = _BROWSERS_OWN | {MARKER, b"referer"} | ({b"host"} if self._hosts else set())

    def check_header(self, name: bytes, value: bytes, request: HttpRequest) -> None:
        """Judges one of the `watched` headers. Raises Forbidden."""
        if name == b"host":
            if value and _host_of(value) not in self._hosts:
                raise Forbidden("this Host is not among in.hosts")
        elif name in _BROWSERS_OWN or not self._is_own(value, request.header(b"host")):
            raise Forbidden("this address is for back-ends, not for browsers")

    def _is_own(self, referer: bytes, host: bytes | None) -> bool:
        """Returns whether a Referer names this line itself, by a name under which nobody else can serve a page."""
        found = _REFERER.match(referer)
        if found is None:
            return False
        authority = found[1].lower()
        if authority in self._own:
            return True
        name = _host_of(authority)
        return authority == (host or b"").lower() and bool(name in self._hosts or _NEVER_REBOUND.fullmatch(name))

    def check_method(self, method: str, *, whole: bool) -> None:
        """Judges a method. `whole`: the body has a length. Raises MethodNotAllowed."""
        if method == "HEAD":
            raise self.listener()
        if method not in ("POST", "GET") and not (method == "PUT" and whole):
            raise MethodNotAllowed(f"{method} is not served here; send by POST")

    def listener(self) -> MethodNotAllowed:
        """Returns the refusal of a GET or HEAD of a channel. It is never a send: browsers GET whatever a page names."""
        return MethodNotAllowed(
            "send by POST, with a Content-Length and X-Realplexor: identifier=ID,ID; this is the IN line of back-ends: "
            f"listeners poll the WAIT line, {self._wait_line}"
        )


def _normal(host: str) -> bytes:
    host = host.lower().rstrip(".")
    return (f"[{host}]" if ":" in host and not host.startswith("[") else host).encode()


def _host_of(authority: bytes) -> bytes:
    return _PORT.sub(b"", authority).lower().rstrip(b".")


OPEN = Door()
