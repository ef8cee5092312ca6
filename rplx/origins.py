"""Whether the page that polls belongs to the site that the WAIT line serves."""

from __future__ import annotations

import ipaddress
import re

_ORIGIN = re.compile(r"https?://([^/:?#@\[\]]+|\[[0-9a-f:.]+\])(?::\d+)?")
_HOST = re.compile(r"([^/:?#@\[\]]+|\[[0-9a-fA-F:.]+\])(?::\d*)?")


def is_of_one_site(origin: str, host: str, told: str | None) -> bool:
    """Whether a page of `origin` is of the site of `host` (the headers Origin and Host). `told`: Sec-Fetch-Site.

    A browser that says so is believed: it knows where registries end (Fetch Metadata, 2.3), and no page can change the
    header. It says nothing over plain HTTP; then the same name, a parent of it or a name below it counts. Who holds a
    parent could take the name itself, and who holds a name gives out those below. Siblings are not of one site by their
    names alone, as a.co.uk and b.co.uk are not; but a page of www.X counts as one of X.
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
    return _is_below(theirs, ours) or _is_below(ours, theirs) or _is_below(ours, theirs.removeprefix("www."))


def _is_below(name: str, parent: str) -> bool:
    return bool(parent) and name.endswith("." + parent)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
