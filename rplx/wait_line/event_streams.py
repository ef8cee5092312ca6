"""Event streams as the application sees them (part 10): who asks for one, from where it resumes, how it is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote

from rplx.errors import Ending, Refusal
from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.net.retry_after import retry_milliseconds
from rplx.protocol.event_stream import RETRY, EventStream, Mark, event_stream, parse_mark, refused
from rplx.wait_line.cors import Cors, Environ, Headers
from rplx.wait_line.direct import KEY, Direct
from rplx.wait_line.wsgi import UNTOUCHED, is_text, keeps_alive, target_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

TYPE = "text/event-stream"

_STREAM = re.compile(r"[?&]stream(?:=1)?(?:&|$)")
_LAST_ID = re.compile(r"[?&](?:last_event_id|lastEventId)=([^&#]*)")
_ACCEPTS = re.compile(r"(?:^|,)\s*text/event-stream\s*(?:;(?!\s*q=0(?:\.0*)?\s*(?:,|$))|,|$)", re.IGNORECASE)

_NOTHING = Mark(None, {})


def is_asked_for(environ: Environ) -> bool:
    """Returns whether a request asks for an event stream, by its Accept header or by `stream` in its target."""
    accepted = environ.get("HTTP_ACCEPT")
    if accepted is not None and "event-stream" in accepted.lower() and _ACCEPTS.search(accepted):
        return True
    if "stream" not in environ["QUERY_STRING"] or is_text(environ):
        return False
    return _STREAM.search(target_of(environ)) is not None


def last_mark(environ: Environ) -> Mark | None:
    """Returns from where a client resumes, an empty mark if it does not, and None if nobody can tell."""
    text = environ.get("HTTP_LAST_EVENT_ID")
    if not text and "vent" in environ["QUERY_STRING"]:
        found = _LAST_ID.search(target_of(environ))
        text = unquote(found[1]) if found else ""
    return parse_mark(text) if text else _NOTHING


def enter(
    hub: Hub,
    cursors: dict[str, str | None],
    environ: Environ,
    charset: str | None,
    joined: Callable[[str], None] | None,
    client: str,
) -> tuple[Member, bytes]:
    """Begins the stream that a request asks for; returns it and what is to be written first. Raises Unavailable.

    `charset`: as for `event_stream`. `joined`, `client`: as for Hub.enter.
    """
    direct: Direct | None = environ.get(KEY)
    mark = last_mark(environ)
    common, named = mark or _NOTHING
    if common is not None:
        cursors = dict.fromkeys(cursors)
    if named:
        cursors = {id: named.get(id, cursor) for id, cursor in cursors.items()}
    return hub.streams.enter(
        cursors,
        None if direct is None else direct.connection,
        address=environ.get("REMOTE_ADDR", ""),
        encoding=_encoding(environ, charset),
        common=common,
        lost=mark is None,
        joined=joined,
        client=client,
    )


def _encoding(environ: Environ, charset: str | None) -> EventStream:
    return event_stream(chunked=_is_chunked(environ), charset=charset)


def _is_chunked(environ: Environ) -> bool:
    """Returns whether our own server writes chunks. Others make them of what they are given."""
    return KEY in environ and keeps_alive(environ)


def headers(environ: Environ, cors: Cors) -> Headers:
    """Returns the headers of a stream."""
    found = _headers(environ, cors)
    if _is_chunked(environ):
        found.append(("Transfer-Encoding", "chunked"))
    return found


def _headers(environ: Environ, cors: Cors) -> Headers:
    found: Headers = [("Content-Type", TYPE), *UNTOUCHED]
    if cors.concerns(environ):
        found += cors.headers(environ)
    if "HTTP_ORIGIN" in environ:
        cors.report(environ, found)
    return found


def refuse(
    error: Refusal, environ: Environ, start_response: StartResponse, cors: Cors, ends_at: float
) -> Iterable[bytes]:
    """Returns the body of a stream that is refused for now: EventSource ends for good at any status but 200.

    `ends_at`: as for `retry_after`.
    """
    body = refused(error.text, retry_milliseconds(error, ends_at))
    start_response("200 OK", [*_headers(environ, cors), ("Content-Length", str(len(body)))])
    return [body]


def ended(member: Member, first: bytes, hub: Hub) -> list[bytes]:
    """Returns the body of a stream that does not wait: what is due now, and the end."""
    pieces: list[bytes] = [first]
    try:
        while member.progress is not None and (piece := hub.streams.read_on(member)):
            pieces.append(piece)
    finally:
        hub.streams.leave(member)
    return [*pieces, member.encoding.bye(Ending(), RETRY)]
