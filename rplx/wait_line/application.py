"""The WAIT line as a WSGI application (PEP 3333; protocol page, part 2).

The same application runs in the standalone server, in gunicorn's gevent workers and behind any gevent WSGI server.
A server that puts `rplx.connection` into the environ (wait_server) finds a listener that has to wait there, too, as
`rplx.listener`: it parks it and sends its answer, behind replies.PREFIX.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from rplx.engine.factory import is_shared
from rplx.errors import (
    BadRequest,
    EmptyIdentifier,
    Forbidden,
    ForeignOrigin,
    LengthRequired,
    MethodNotAllowed,
    NotFound,
    Refusal,
    TooLarge,
)
from rplx.hosts.waiting_room import Poll, WaitingRoom, check_server
from rplx.hub.hub import Entered, Hub
from rplx.log import Log
from rplx.messages import Identifiers
from rplx.options.table import NEVER, Config
from rplx.protocol.identifiers import IdentifierParser, listened_to
from rplx.protocol.replies import PREFIX
from rplx.wait_line.cors import AllowedOrigins, is_of_one_site
from rplx.wait_line.pages import Pages

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Environ = dict[str, Any]
Headers = list[tuple[str, str]]

ORIGINS_NAMED = 100  # origins that the log names; further ones are counted
ORIGIN_SHOWN = 200  # characters of one

_COMMAND = re.compile(rb"(?i)\s*(?:ONLINE|WATCH|STATS)\b")
_POSITION = re.compile(r"[?&]position(?:=1)?(?:&|$)")
_JSON = re.compile(r"[?&]json(?:=1)?(?:&|$)")
_EXPOSED = ("Access-Control-Expose-Headers", "X-Realplexor-Cursor, X-Realplexor-Gap")
_NO_SNIFF = ("X-Content-Type-Options", "nosniff")
_PREFLIGHT_AGE = "86400"  # seconds that a browser may remember a preflight's answer; they cap it at 2 to 24 hours


class Application:
    """The WSGI callable. `configure` may be called again with new options.

    `room` is where polls wait under a server that is not ours; made at the first such poll if there is none yet.
    """

    def __init__(self, hub: Hub, config: Config, log: Log, room: WaitingRoom | None = None) -> None:
        self.hub = hub
        self.log = log
        self._room = room
        self.in_line = "in.listen"  # where who sends to this line finds the other
        self._named_origins: set[str] = set()
        self._may_hold_text = False  # messages that are no JSON
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes new options; polls that are parked keep theirs."""
        wait = config.wait
        self.config = config
        self.parser = IdentifierParser(config.pages.identifier, wait.max_ids, wait.id_max)
        self.pages = Pages(config)
        self.body_max = max(wait.body_max, wait.maxlen)
        self.timeout = wait.timeout or NEVER
        self._page_ids = (config.pages.iframe_id, config.pages.script_id)
        self._origins = AllowedOrigins(wait.allowed_origins)
        self._same_site = wait.same_site
        self._may_hold_text |= not config.in_.check_json  # what was stored without the check may be due for long
        self._position = ""  # of the last poll,
        self._at_position: Headers = []  # and its headers
        self._no_store: Headers = [
            ("Cache-Control", "no-store, no-cache, must-revalidate"),
            ("Expires", "Mon, 26 Jul 1997 05:00:00 GMT"),
            ("Content-Type", f"text/javascript; charset={wait.charset}"),
        ]

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            method = environ["REQUEST_METHOD"]
            if method == "OPTIONS":
                return self._preflight(environ, start_response)
            if method not in ("GET", "POST", "HEAD"):
                raise MethodNotAllowed(f"{method} is not served here; use GET or POST")
            identifiers = self._identifiers(environ)
            cursors = listened_to(identifiers)
            first = next(iter(cursors), None)
            if first is None:
                raise self._empty()
            if first in self._page_ids:
                return self._page(first, environ, start_response)
            if method == "HEAD":
                raise MethodNotAllowed("HEAD is not served here; use GET or POST")
            return self._poll(cursors, identifiers.count, environ, start_response)
        except Refusal as error:
            return self._refuse(error, environ, start_response)

    # -- what is asked for

    def _identifiers(self, environ: Environ) -> Identifiers:
        text: bytes | None = environ.get("rplx.text")
        if text is not None:
            return self.parser.in_text(text, complete=True) or Identifiers({})
        target = _target(environ).encode("latin-1", "replace")
        identifiers = self.parser.in_target(target)
        body = b""
        if identifiers is None and environ["REQUEST_METHOD"] == "POST":
            body = self._body(environ)
            identifiers = self.parser.in_data(body)
        if identifiers is None:
            if "HTTP_X_REALPLEXOR" in environ or _COMMAND.match(body):
                raise BadRequest(
                    f"this is the WAIT line of listeners: send, and ask by commands, on the IN line, {self.in_line}"
                )
            if environ.get("PATH_INFO", "/") not in ("", "/"):
                raise NotFound("nothing is served at this path")
            raise self._empty()
        return identifiers

    def _empty(self) -> EmptyIdentifier:
        pages = self.config.pages
        return EmptyIdentifier(pages.identifier, pages.script_id)

    def _body(self, environ: Environ) -> bytes:
        """The whole body of a POST. Errors: LengthRequired, TooLarge, BadRequest if it was cut short."""
        given = environ.get("CONTENT_LENGTH")
        if not given:
            if environ.get("wsgi.input_terminated"):
                body = _read(environ, self.body_max + 1)
                if body:
                    if len(body) > self.body_max:
                        raise TooLarge(f"body longer than {self.body_max} bytes (wait.body_max)")
                    return body
            raise LengthRequired("a POST needs a Content-Length")
        length = int(given) if given.isascii() and given.isdigit() else -1
        if length < 0:
            raise BadRequest("Content-Length is not a number")
        if length > self.body_max:
            raise TooLarge(f"body longer than {self.body_max} bytes (wait.body_max)")
        body = _read(environ, length)
        if len(body) < length:
            raise BadRequest("the request was cut short")
        return body

    # -- answers

    def _poll(
        self, cursors: dict[str, str | None], count: int, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environ.get("HTTP_SEC_FETCH_MODE") == "no-cors" and environ.get("HTTP_SEC_FETCH_SITE") != "same-origin":
            # A foreign page's script, image or opaque fetch: it may read nothing, so not even when something came.
            raise Forbidden("a page of another site may poll by CORS alone, and only where wait.allowed_origins has it")
        connection = environ.get("rplx.connection")
        wait = "rplx.no_wait" not in environ
        if "position" in environ["QUERY_STRING"] and _POSITION.search(_target(environ)):
            wait = False
        if connection is None:
            room = self._waiting_room(environ)
            wait = wait and room.open
        joined = None
        if self.log.connections and connection is not None:
            joined = partial(self._registered, connection, cursors, count)
        address = environ.get("REMOTE_ADDR", "")
        charset = self._charset_of_json(environ) if self._may_hold_text else ""
        entered = self.hub.enter(cursors, connection, wait=wait, address=address, charset=charset, joined=joined)
        headers = self._poll_headers(environ, entered)
        listener = entered.listener
        if listener is None:
            if _keeps_alive(environ):
                headers = [*headers, ("Content-Length", str(len(PREFIX) + len(entered.body)))]
            start_response("200 OK", headers)
            return [PREFIX, entered.body]  # a long one is shared by many, and not copied
        if connection is not None:
            start_response("200 OK", headers)
            environ["rplx.listener"] = listener
            return []
        kept = _keeps_alive(environ)
        return Poll(room, listener, environ, headers, start_response, kept=kept, timeout=self.timeout)

    def _registered(self, connection: Any, cursors: dict[str, str | None], count: int, position: str) -> None:
        connection.name = _name(cursors, count, position)
        self.log.connection(connection, f"{connection.name} registered")

    def _charset_of_json(self, environ: Environ) -> str:
        """What messages that are no JSON are taken for, if the client needs an answer that is; else ""."""
        if "json" not in environ["QUERY_STRING"] or not _JSON.search(_target(environ)):
            return ""
        return self.config.wait.charset

    def _waiting_room(self, environ: Environ) -> WaitingRoom:
        """Errors: Unavailable if polls cannot wait in this server."""
        check_server(environ, shared_engine=is_shared(self.config))
        if self._room is None:
            self._room = WaitingRoom(self.hub)
        self._room.check_thread()
        return self._room

    def _poll_headers(self, environ: Environ, entered: Entered) -> Headers:
        """Not to be changed: by getting the same list the server knows that polls have the same head."""
        if "rplx.text" in environ:
            return self._no_store
        if entered.position != self._position:
            self._position = entered.position
            self._at_position = [*self._no_store, _NO_SNIFF, ("X-Realplexor-Cursor", entered.position)]
        headers = self._at_position
        if entered.gaps:
            headers = [*headers, ("X-Realplexor-Gap", ",".join(entered.gaps))]
        if self._has_cors(environ):
            headers = headers + self._cors(environ)
        if "HTTP_ORIGIN" in environ:
            self._check_origin(environ, headers)
        return headers

    def _check_origin(self, environ: Environ, headers: Headers) -> None:
        """Tells the operator of pages that may read nothing: they themselves are told by their browser alone."""
        origin = environ["HTTP_ORIGIN"][:ORIGIN_SHOWN]
        if not origin or any(name == "Access-Control-Allow-Origin" for name, _ in headers):
            return
        if environ.get("HTTP_SEC_FETCH_SITE") == "same-origin" or origin.endswith("://" + environ.get("HTTP_HOST", "")):
            return
        if origin in self._named_origins:
            return
        if len(self._named_origins) < ORIGINS_NAMED:
            self._named_origins.add(origin)
            self.log.message(f"WAIT: pages of {origin} can read nothing here, as it is not among wait.allowed_origins")
            return
        text = f"WAIT: pages of origins that are not among wait.allowed_origins ask for polls, {origin} for one"
        self.log.counted("WAIT: origins", text)

    def _has_cors(self, environ: Environ) -> bool:
        return bool(self._origins) or (self._same_site and "HTTP_ORIGIN" in environ)

    def _cors(self, environ: Environ) -> Headers:
        """What lets a page of another origin read the answer (Fetch standard, 3.2)."""
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin in self._origins:
            return [
                ("Vary", "Origin"),
                ("Access-Control-Allow-Origin", origin),
                ("Access-Control-Allow-Credentials", "true"),
                _EXPOSED,
            ]
        if self._origins.everybody:
            return [("Access-Control-Allow-Origin", "*"), _EXPOSED]
        if self._same_site and origin is not None:
            host, told = environ.get("HTTP_HOST", ""), environ.get("HTTP_SEC_FETCH_SITE")
            if is_of_one_site(origin, host, told):
                return [("Vary", "Origin"), ("Access-Control-Allow-Origin", origin), _EXPOSED]
        return [("Vary", "Origin")]

    def _preflight(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            raise MethodNotAllowed("OPTIONS is served for preflights alone; use GET or POST")
        headers = self._cors(environ)
        if not any(name == "Access-Control-Allow-Origin" for name, _ in headers):
            if "HTTP_ORIGIN" in environ:
                self._check_origin(environ, headers)
            raise ForeignOrigin
        headers += [
            ("Access-Control-Allow-Methods", "GET, POST"),
            ("Access-Control-Allow-Headers", "Content-Type"),
            ("Access-Control-Max-Age", _PREFLIGHT_AGE),
            ("Content-Length", "0"),
        ]
        start_response("204 No Content", headers[:-1])
        return []

    def _page(self, id: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        kind = "IFRAME" if id == self.config.pages.iframe_id else "SCRIPT"
        connection = environ.get("rplx.connection")
        if self.log.connections and connection is not None:
            self.log.connection(connection, f"{kind} marker received, sending content")
        try:
            page = self.pages.get(kind)
        except OSError as error:
            self.log.error(f"cannot read the {kind} page: {error}")
            raise NotFound(f"the {kind} page cannot be read") from None
        headers: Headers = [
            ("Content-Type", f"{page.content_type}; charset={self.config.wait.charset}"),
            ("Last-Modified", page.last_modified),
            ("Expires", "Wed, 08 Jul 2037 22:53:52 GMT"),
            ("Cache-Control", "public"),
        ]
        if "rplx.text" not in environ:
            headers.append(_NO_SNIFF)
            if kind == "IFRAME":
                headers.append(("Origin-Agent-Cluster", "?0"))  # else document.domain cannot be set in today's browsers
            if self._has_cors(environ):
                headers += self._cors(environ)
        if environ.get("HTTP_IF_MODIFIED_SINCE") == page.last_modified:
            start_response("304 Not Modified", headers[1:])
            return []
        if _keeps_alive(environ):
            headers.append(("Content-Length", str(len(page.content))))
        start_response("200 OK", headers)
        return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [page.content]

    def _refuse(self, error: Refusal, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        connection = environ.get("rplx.connection")
        if connection is not None:
            self.log.refused(connection, error.text, error.trouble)
        if isinstance(error, Forbidden) and not isinstance(error, ForeignOrigin) and not self.log.connections:
            self.log.counted("WAIT: 403", f"WAIT: {environ.get('REMOTE_ADDR')}: refused, {error.text}")
        # Without them a page of another origin would be told "Failed to fetch" and never why.
        return refuse(error, environ, start_response, self._cors(environ) if self._has_cors(environ) else ())


def refuse(
    error: Refusal, environ: Environ, start_response: StartResponse, added: Iterable[tuple[str, str]] = ()
) -> Iterable[bytes]:
    """The answer to a request that is not carried out (part 7.3), with `added` headers."""
    text = f"{error.text}{error.hint}\n".encode()
    headers: Headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    headers += [_NO_SNIFF, *added]
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", "GET, POST"))
    start_response(f"{error.status} {error.reason}", headers)
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [text]


def _read(environ: Environ, count: int) -> bytes:
    """`count` bytes of the body, fewer at its end. Errors: BadRequest if the server in front makes no sense of it."""
    try:
        data: bytes = environ["wsgi.input"].read(count)
    except OSError:  # how gevent.pywsgi tells of an end that came too early and of wrong chunks
        raise BadRequest("the request was cut short") from None
    return data


def _target(environ: Environ) -> str:
    """The request target as it came: RAW_URI is what gunicorn calls it, REQUEST_URI others."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is not None:
        return str(raw)
    return f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}?{environ.get('QUERY_STRING', '')}"


def _keeps_alive(environ: Environ) -> bool:
    """Whether the client keeps its connection, so gets its answer in one piece (part 7.2)."""
    known = environ.get("rplx.keep_alive")
    if known is not None:
        return bool(known)
    return environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "close" not in environ.get("HTTP_CONNECTION", "").lower()


def _name(cursors: dict[str, str | None], count: int, position: str) -> str:
    """What the log calls a listener (part 4): its first id, and how many more were named, double ones too."""
    id, cursor = next(iter(cursors.items()))
    more = f",(and {count - 1} more)" if count > 1 else ""
    return f"[{cursor or position}:{id}{more}]"
