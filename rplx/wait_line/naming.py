"""Who a request's client is taken for behind proxies, told without its address (part 9.6)."""

from __future__ import annotations

from rplx.addresses import Networks
from rplx.protocol.forwarded import client_of
from rplx.wait_line.cors import Environ
from rplx.wait_line.direct import KEY

HEADER = "X-Realplexor-Client"
PEER, FORWARDED, IGNORED, UNCLEAR, ANNOUNCED = "peer", "forwarded", "ignored", "unclear", "announced"


def named_by(environ: Environ, trusted: Networks, *, announced: bool) -> str:
    """Returns how REMOTE_ADDR has been found, as a value of HEADER.

    That is PEER where no header names another, FORWARDED where a trusted proxy has named it, UNCLEAR where one names
    nobody or two, IGNORED where somebody else has sent such headers, and ANNOUNCED by a PROXY header.

    `trusted`: wait.trusted_proxies; `announced`: wait.proxy_protocol, which counts in our own server alone.
    """
    forwarded_for, forwarded = environ.get("HTTP_X_FORWARDED_FOR"), environ.get("HTTP_FORWARDED")
    if announced and KEY in environ:
        return ANNOUNCED
    if forwarded_for is None and forwarded is None:
        return PEER
    host = environ.get("REMOTE_ADDR", "")
    if trusted and client_of("", forwarded_for, forwarded, trusted).host == host:
        return FORWARDED
    return UNCLEAR if host in trusted else IGNORED
