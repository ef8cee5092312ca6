"""Questions to answers that come at once: HTTP versions, kept connections, headers, CORS, caches, the clock."""

from __future__ import annotations

from collections.abc import Iterator

from rplx.cli.doctor.asking import EMPTY, Answer, NotAsked, Place, ask, new_id, offered_protocol, once
from rplx.cli.doctor.findings import Finding, note, untested, well, wrong

CLOCK_MAX = 2.0  # seconds by which the clocks may differ
LONG = 1700  # characters: from here on the JavaScript clients ask by POST
_COMPRESSED = "gzip, deflate, br, zstd"  # as browsers offer
_EXPIRED = ("0", "-1")  # what a proxy may make of a date long past
# What rplx answers (protocol page, parts 2 and 7.4), and what HTTP itself needs on the way.
_OURS = frozenset(
    [
        "cache-control",
        "expires",
        "content-type",
        "content-length",
        "x-content-type-options",
        "x-realplexor-cursor",
        "x-realplexor-gap",
        "x-accel-buffering",
        "vary",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-encoding",
    ]
)


def first(place: Place) -> Answer:
    """Returns the answer to a poll that asks for its position. Raises NotAsked if nobody answers as rplx does."""
    connection = place.connect()
    try:
        answer = ask(connection, place.target(new_id(), position=True))
    finally:
        connection.close()
    if 300 <= answer.status < 400:
        raise NotAsked(f"redirects to {answer.value('Location')}: ask there")
    text = answer.body[:200].decode("utf-8", "replace").strip()
    if answer.status != 200:
        raise NotAsked(f"answers {answer.status}: {text}{_unheard(answer)}")
    if answer.body != EMPTY:
        raise NotAsked(f"is no WAIT line of rplx: it answers {text!r}")
    return answer


def _unheard(answer: Answer) -> str:
    """Returns what may be meant by an answer of a proxy that has none of the server behind it."""
    if answer.status not in (502, 503, 504) or "retry-after" in {name.lower() for name, _ in answer.headers}:
        return ""
    hint = "; what is in between has no answer of rplx: is rplx running, and does it, by wait.proxy_protocol, expect"
    return f"{hint} a PROXY header (HAProxy: send-proxy-v2) that is not sent?"


def check(place: Place, answer: Answer, origin: str | None) -> Iterator[Finding]:
    """Yields all that needs no back-end. `answer` is what `first` returned; `origin` None leaves out CORS."""
    yield _version(answer)
    yield from _http2(place)
    yield from _kept(place)
    yield _upstream(answer)
    yield from _headers(answer)
    yield _compression(place)
    yield _cache(place)
    yield _long(place)
    yield _post(place)
    yield from _cors(place, origin)
    yield _clock(answer)


def _version(answer: Answer) -> Finding:
    if answer.version < 11:
        return wrong("HTTP", "answers are HTTP/1.0, so no connection of a browser is kept")
    return well("HTTP", "answers are HTTP/1.1")


def _http2(place: Place) -> Iterator[Finding]:
    limit = "browsers open six connections to a host at most, so that a seventh tab waits for one of the six to close"
    if not place.tls:
        yield untested("HTTP/2", f"no TLS, without which browsers speak none: {limit}")
        return
    try:
        protocol = offered_protocol(place)
    except OSError as error:
        yield untested("HTTP/2", str(error))
        return
    if protocol == "h2":
        yield well("HTTP/2", "is offered, so the tabs of a browser share one connection")
    else:
        yield note("HTTP/2", f"is not offered: {limit}")


def _kept(place: Place) -> Iterator[Finding]:
    connection = place.connect()
    try:
        ask(connection, place.target(new_id(), position=True))
        kept = connection.sock is not None
        if kept:
            ask(connection, place.target(new_id(), position=True))
    except NotAsked:
        kept = False
    finally:
        connection.close()
    if kept:
        yield well("keep-alive", "a browser's connection is kept from one poll to the next")
    else:
        yield note(
            "keep-alive", "a browser's connection ends with each answer, so that each poll begins with a new one"
        )


def _upstream(answer: Answer) -> Finding:
    # To a kept connection rplx answers in one piece, with a length; to others it sends the head first, without one.
    if answer.value("Content-Length") or answer.value("Content-Encoding"):
        return well("upstream", "what is in between keeps its connections to rplx, or there is nothing in between")
    return note("upstream", "what is in between opens a new connection to rplx for each poll")


def _headers(answer: Answer) -> Iterator[Finding]:
    lost = []
    if "no-store" not in (answer.value("Cache-Control") or ""):
        lost.append("Cache-Control: no-store")
    expires = answer.value("Expires")
    if expires is None or (expires not in _EXPIRED and "1997" not in expires and "1970" not in expires):
        lost.append("Expires, long past")
    if not (answer.value("Content-Type") or "").startswith("text/javascript"):
        lost.append("Content-Type: text/javascript")
    lost += [name for name in ("X-Content-Type-Options", "X-Realplexor-Cursor") if answer.value(name) is None]
    if lost:
        yield wrong("headers", f"lost or changed on the way: {'; '.join(lost)}")
    else:
        yield well("headers", "all headers that rplx sends arrive")
    added = [
        f"{name}: {value}"
        for name, value in answer.headers
        if name.lower() not in _OURS and not name.lower().startswith("access-control-")
    ]
    if added:
        yield well("headers added", "; ".join(added))


def _compression(place: Place) -> Finding:
    answer = once(place, headers={"Accept-Encoding": _COMPRESSED})
    if isinstance(answer, Answer) and (encoding := answer.value("Content-Encoding")):
        return wrong("compression", f"answers are compressed on the way ({encoding}), which holds back what has come")
    return well("compression", "an answer without messages is not compressed")


def _cache(place: Place) -> Finding:
    target = place.target(new_id(), position=True)
    found = []
    for _ in range(2):
        answer = once(place, target=target)
        if isinstance(answer, str):
            return untested("cache", answer)
        found.append(answer)
    age = found[1].value("Age")
    cursors = {answer.value("X-Realplexor-Cursor") for answer in found}
    if (len(cursors) == 1 and None not in cursors) or (age and age.isdigit() and int(age) > 0):
        return wrong("cache", "the same poll got the same answer twice: a cache answers in place of rplx")
    return well("cache", "no cache answers in place of rplx")


def _long(place: Place) -> Finding:
    answer = once(place, target=place.target(new_id(), position=True, fill=LONG))
    if isinstance(answer, str) or answer.status != 200:
        return wrong("long requests", f"a request of {LONG} characters does not pass: {_shown(answer)}")
    return well("long requests", f"a request of {LONG} characters passes")


def _post(place: Place) -> Finding:
    body = f"identifier={new_id()}\n".encode()
    answer = once(place, target=place.target("", position=True), method="POST", body=body)
    if isinstance(answer, str) or answer.status != 200 or answer.body != EMPTY:
        return wrong("POST", f"polls by POST, as for long lists of channels, do not pass: {_shown(answer)}")
    return well("POST", "polls by POST, as for long lists of channels, pass")


def _cors(place: Place, origin: str | None) -> Iterator[Finding]:
    if origin is None:
        yield untested("CORS", "say --origin https://example.com if pages of another origin poll here")
        return
    answer = once(place, headers={"Origin": origin})
    if isinstance(answer, str):
        yield untested("CORS", answer)
        return
    if trouble := _unreadable(answer, origin):
        yield wrong("CORS", f"pages of {origin} cannot read answers: {trouble}")
        return
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = once(place, method="OPTIONS", headers=asked)
    if isinstance(preflight, str) or preflight.status // 100 != 2 or _not_allowed(preflight, origin):
        yield wrong("CORS", f"the preflight of a page of {origin} is refused: {_shown(preflight)}")
    else:
        yield well("CORS", f"pages of {origin} may poll")


def _unreadable(answer: Answer, origin: str) -> str:
    """Returns why a page of this origin could not read the answer, or an empty string if it can."""
    if trouble := _not_allowed(answer, origin):
        return trouble
    if "x-realplexor-cursor" not in (answer.value("Access-Control-Expose-Headers") or "").lower():
        return "Access-Control-Expose-Headers does not name X-Realplexor-Cursor"
    return ""


def _not_allowed(answer: Answer, origin: str) -> str:
    allowed = answer.values("Access-Control-Allow-Origin")
    if not allowed:
        return "no Access-Control-Allow-Origin: the origin is not among wait.allowed_origins, or the header is lost"
    if len(allowed) > 1:
        return f"Access-Control-Allow-Origin stands there {len(allowed)} times, which browsers refuse"
    if allowed[0] not in (origin, "*"):
        return f"Access-Control-Allow-Origin is {allowed[0]}"
    return ""


def _clock(answer: Answer) -> Finding:
    cursor = answer.value("X-Realplexor-Cursor")
    try:
        theirs = float(cursor or "")
    except ValueError:
        return untested("clock", "the answer has no X-Realplexor-Cursor")
    difference = theirs - min(max(theirs, answer.begin), answer.end)  # 0 where it lies between asking and answer
    if abs(difference) <= CLOCK_MAX:
        return well("clock", f"the server's agrees with this machine's to {CLOCK_MAX:g} s")
    text = f"the server's is {abs(difference):.1f} s {'ahead of' if difference > 0 else 'behind'} this machine's"
    return note(
        "clock", f"{text}; cursors that a back-end takes from its own clock would miss messages or see them twice"
    )


def _shown(answer: Answer | str) -> str:
    if isinstance(answer, str):
        return answer
    text = answer.body[:80].decode("utf-8", "replace").strip()
    return f"{answer.status} {text}".strip()
