"""Which pages may poll across origins: those that wait.allowed_origins names, and those of the same site."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

_ORIGIN = re.compile(r"https?://([^/:?#@\[\]]+|\[[0-9a-f:.]+\])(?::\d+)?")
_HOST = re.compile(r"([^/:?#@\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d*)?")
_NAMES = re.compile(r"[a-z0-9_.-]+")  # as browsers write them: in lower case, names of other alphabets as xn--


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
