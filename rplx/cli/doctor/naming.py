"""Whether rplx knows who a client is: what /health says of it, also to one who claims to be another (part 9.6)."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.cli.doctor.asking import Answer, Place, once
from rplx.cli.doctor.findings import Finding, note, untested, well, wrong

HEADER = "X-Realplexor-Client"
SOMEBODY = "192.0.2.77"  # an address that nobody has (RFC 5737)
_ALL_ARE_ONE = "so all users count as one address, in the log and for limits by address"


def check(place: Place, programs: list[str], *, here: bool) -> Iterator[Finding]:
    """Yields who clients are taken for. `programs` were recognised on the way; `here`: the URL is this machine's."""
    answer = _health(place)
    if isinstance(answer, str) or answer.status == 404:
        yield untested(
            "health", "/health below the URL is not that of rplx, so no load balancer can ask it through here"
        )
        return
    if answer.status != 200:
        yield wrong("health", f"answers {answer.status}: {answer.body[:200].decode('utf-8', 'replace').strip()}")
        return
    yield well("health", "/health below the URL answers, for load balancers to ask")
    found = answer.value(HEADER)
    is_direct = here and not programs
    if found == "announced":
        yield well("client", "a PROXY header names each client (wait.proxy_protocol)")
    elif found == "ignored":
        text = "X-Forwarded-For or Forwarded names each client, but rplx does not trust who writes it"
        yield note("trusted proxies", f"{text}, {_ALL_ARE_ONE}")
    elif found == "unclear":
        text = "what is in between is trusted, but names nobody, or two clients by X-Forwarded-For and Forwarded"
        yield wrong("client", f"{text}, {_ALL_ARE_ONE}")
    elif found == "forwarded":
        yield well("client", "what is in between is trusted, and names each client")
        yield from _undone(place)
    elif found != "peer":
        yield untested("client", f"the answer of /health has no {HEADER}, as of an older version")
    elif not is_direct and _claims(place, {"X-Forwarded-For": SOMEBODY}) == "forwarded":
        text = "a browser that writes X-Forwarded-For itself is taken at its word, as what is in between hands it on"
        yield wrong("client", f"{text}: anybody can pass for any address")
    elif programs:
        yield note("client", f"no header names clients, {_ALL_ARE_ONE}")
    else:
        yield well("client", "is whoever connects to rplx: right where nothing is in between, else it is the proxy")


def _undone(place: Place) -> Iterator[Finding]:
    """Yields what a client can do to how it is named, if anything."""
    if _claims(place, {"Forwarded": f"for={SOMEBODY}"}) == "unclear":
        text = "a browser that sends Forwarded undoes how it is named, as what is in between hands that on"
        yield wrong("client", f"{text}: it counts as the proxy")


def _claims(place: Place, headers: dict[str, str]) -> str | None:
    """Returns who one is taken for that sends these headers."""
    answer = _health(place, headers)
    return answer.value(HEADER) if isinstance(answer, Answer) else None


def _health(place: Place, headers: dict[str, str] | None = None) -> Answer | str:
    return once(place, f"{place.path.rstrip('/')}/health", headers=headers)
