"""Which pages may read answers: those of wait.allowed_origins and of the same site, by CORS (Fetch standard, 3.2)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from rplx.errors import ForeignOrigin
from rplx.log import Log
from rplx.options.table import WaitOptions

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

ORIGINS_NAMED = 100  # origins that the log names; further ones are counted
ORIGIN_SHOWN = 200  # characters of one

_EXPOSED = ("Access-Control-Expose-Headers", "X-Realplexor-Cursor, X-Realplexor-Gap, Retry-After")
_EXPOSED_WITH_GRANTS = (_EXPOSED[0], f"{_EXPOSED[1]}, X-Realplexor-Refused, X-Realplexor-Grant-TTL, WWW-Authenticate")
_PREFLIGHT_AGE = "86400"  # seconds that a browser may remember a preflight's answer; they cap it at 2 to 24 hours

_ORIGIN = re.compile(r"https?://([^/:?#@\[\]]+|\[[0-9a-f:.]+\])(?::\d+)?")
_HOST = re.compile(r"([^/:?#@\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d*)?")
_NAMES = re.compile(r"[a-z0-9_.-]+")  # as browsers write them: in lower case, names of other alphabets as xn--


class Cors:
    """The headers by which a browser lets a page read an answer, and the log lines about pages that may read none."""

    def __init__(self, options: WaitOptions, log: Log) -> None:
        self._log = log
        self._named: set[str] = set()
        self.configure(options)

    def configure(self, options: WaitOptions, *, grants: bool = False) -> None:
        """Takes new options. `grants`: requests may bring some, and their answers say more."""
        self._origins = AllowedOrigins(options.allowed_origins)
        self._exposed = _EXPOSED_WITH_GRANTS if grants else _EXPOSED
        self._allowed_headers = (
            "Content-Type, Last-Event-ID, Authorization" if grants else "Content-Type, Last-Event-ID"
        )
        self._same_site = options.same_site

    def concerns(self, environ: Environ) -> bool:
        """Whether the answer to this request depends on the origin of its page."""
        return bool(self._origins) or (self._same_site and "HTTP_ORIGIN" in environ)

    def headers(self, environ: Environ) -> Headers:
        """Returns what an answer needs beside its own headers, `Vary` at least."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin in self._origins:
            return [
                ("Vary", "Origin"),
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Allow-Credentials", "true"),
                self._exposed,
            ]
        if self._origins.everybody:
            return [("Access-Control-Allow-Origin", "*"), self._exposed]
        if self._same_site and origin is not None:
            host, told = environ.get("HTTP_HOST", ""), environ.get("HTTP_SEC_FETCH_SITE")
            if is_of_one_site(origin, host, told):
                return [("Vary", "Origin"), ("Access-Control-Allow-Origin", origin), self._exposed]
        return [("Vary", "Origin")]

    def may_open_socket(self, environ: Environ) -> bool:
        """Returns whether who asks may open a WebSocket, which CORS does not cover, and reports a page that may not.

        A page of this very host may, and what is no page, as browsers alone send an Origin.
        """
        origin = environ.get("HTTP_ORIGIN")
        if origin is None or _is_own(origin, environ):
            return True
        headers = self.headers(environ)
        self.report(environ, headers)
        return _allows(headers)

    def preflight(self, environ: Environ) -> Headers:
        """Returns the headers of the answer to a preflight. Raises ForeignOrigin if the page may not poll."""
        headers = self.headers(environ)
        if not _allows(headers):
            if "HTTP_ORIGIN" in environ:
                self.report(environ, headers)
            raise ForeignOrigin
        return [
            *headers,
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", self._allowed_headers),
            ("Access-Control-Max-Age", _PREFLIGHT_AGE),
        ]

    def report(self, environ: Environ, headers: Headers) -> None:
        """Tells the operator of a page that may read nothing: the page itself is told by its browser alone."""
        origin = environ["HTTP_ORIGIN"][:ORIGIN_SHOWN]
        if not origin or _allows(headers):
            return
        if _is_own(origin, environ):
            return
        if origin in self._named:
            return
        if len(self._named) < ORIGINS_NAMED:
            self._named.add(origin)
            self._log.message(f"WAIT: pages of {origin} can read nothing here, as it is not among wait.allowed_origins")
            return
        text = f"WAIT: pages of origins that are not among wait.allowed_origins ask for polls, {origin} for one"
        self._log.counted("WAIT: origins", text)


def _is_own(origin: str, environ: Environ) -> bool:
    """Returns whether a page of `origin` is of the host that it asks, behind whatever scheme.

    A browser that says so itself is believed: no page can change that header.
    """
    if environ.get("HTTP_SEC_FETCH_SITE") == "same-origin":
        return True
    _, colon, host = origin.lower().partition("://")
    return bool(colon) and host == environ.get("HTTP_HOST", "").lower() != ""


def _allows(headers: Headers) -> bool:
    return any(name == "Access-Control-Allow-Origin" for name, _ in headers)


class AllowedOrigins:
    """What wait.allowed_origins names. `everybody`: it has a `*`.

    In `scheme://*.example.com` the star stands for one name or more: any name below, but not example.com itself.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self._exact = frozenset(origins)
        self.everybody = "*" in self._exact
        wild = [text.split("*", 1) for text in self._exact if "://*." in text]
        self._below = tuple([(before, behind) for before, behind in wild])

    def __bool__(self) -> bool:
        return bool(self._exact)

    def __contains__(self, origin: str | None) -> bool:
        """Whether this very origin is named, by itself or by a pattern."""
        if origin in self._exact:
            return True
        if origin is None or not self._below:
            return False
        return any(
            origin.startswith(before)
            and origin.endswith(behind)
            and _NAMES.fullmatch(origin, len(before), len(origin) - len(behind))
            for before, behind in self._below
        )


def is_of_one_site(origin: str, host: str, told: str | None) -> bool:
    """Whether a page of `origin` is of the site of `host` (the headers Origin and Host). `told`: Sec-Fetch-Site.

    A browser that says so is believed: it knows where registries end (Fetch Metadata, 2.3), and no page can change the
    header. It says nothing over plain HTTP; then the same name, a parent of it or a name below it counts. Who holds a
    parent could take the name itself, and who holds a name gives out those below. Siblings are not of one site by their
    names alone, as a.co.uk and b.co.uk are not; but a page of www.X counts as one of X, unless X looks like a
    registry.
    """
    if told in ("same-origin", "same-site"):
        return True
    page, own = _ORIGIN.fullmatch(origin), _HOST.fullmatch(host)
    if told == "cross-site" or page is None or own is None:
        return False
    theirs, ours = page[1].lower().rstrip("."), own[1].lower().rstrip(".")
    if theirs == ours:
        return True
    if _is_address(theirs) or _is_address(ours):
        return False
    if _is_below(theirs, ours) or _is_below(ours, theirs):
        return True
    bare = theirs.removeprefix("www.")
    return theirs != bare and _is_below(ours, bare) and not _may_be_registry(bare)


def _may_be_registry(name: str) -> bool:
    """Whether strangers may hold names below this one, as below com or co.uk: then www.NAME is one of them."""
    labels = name.split(".")
    return len(labels) == 1 or (len(labels) == 2 and len(labels[0]) <= 3 and len(labels[1]) == 2)


def _is_below(name: str, parent: str) -> bool:
    return bool(parent) and name.endswith("." + parent)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
