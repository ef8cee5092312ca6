"""The WAIT line as a WSGI application (PEP 3333; protocol page, part 2).

The same application runs in the standalone server, in gunicorn's gevent workers and behind any gevent WSGI server.
Our own server parks listeners itself and says so by a `Direct`; under all others a `Parking` is where polls wait.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from rplx.access.listening import Listening
from rplx.addresses import Networks
from rplx.errors import (
    BadRequest,
    EmptyIdentifier,
    Ending,
    Forbidden,
    ForeignOrigin,
    InvalidGrant,
    MethodNotAllowed,
    NotFound,
    Refusal,
    Unavailable,
)
from rplx.hub import log_lines
from rplx.hub.hub import Entered, Hub
from rplx.log import Log
from rplx.messages import Identifiers
from rplx.options.table import NEVER, Config
from rplx.protocol.identifiers import IdentifierParser, listened_to
from rplx.protocol.long_poll import AS_IT_CAME, PREFIX, LongPoll, json_of
from rplx.wait_line import event_streams, handshakes
from rplx.wait_line.cors import Cors, Environ, Headers
from rplx.wait_line.direct import KEY, Direct
from rplx.wait_line.granting import Admitted, Granting, headers_of, listed
from rplx.wait_line.hosting import Parking
from rplx.wait_line.naming import HEADER, named_by
from rplx.wait_line.pages import Pages
from rplx.wait_line.wsgi import (
    AT_ONCE,
    NO_SNIFF,
    body_of,
    check_reader,
    client_name,
    healthy,
    is_text,
    keeps_alive,
    read_body,
    refuse,
    target_of,
    values_in_target,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

HEALTH = "/health"  # the path that says whether polls are served
PROBES = ("GET", "HEAD", "OPTIONS")  # methods with which it is asked

OLD_NO_STORE = "no-store, no-cache, must-revalidate"  # as old clients have always seen it (part 2.1)

_COMMAND = re.compile(rb"(?i)\s*(?:ONLINE|WATCH|STATS)\b")
_POSITION = re.compile(r"[?&]position(?:=1)?(?:&|$)")
_PART = re.compile(r"[?&](shared|websocket)(?:=1)?(?:&|$)")
_JSON = re.compile(r"[?&]json(?:=1)?(?:&|$)")
_TIMEOUT = re.compile(r"timeout=(\d{1,9}(?:\.\d{1,9})?)(?:&|$)")  # a pattern that begins with a text is found faster
_TIMEOUT_MIN = 1.0  # seconds; a shorter time is not what a client can mean that waits


class Application:
    """The WSGI callable."""

    def __init__(
        self,
        hub: Hub,
        config: Config,
        log: Log,
        parking: Parking | None = None,
        in_line: str = "in.listen",
        listening: Listening | None = None,
    ) -> None:
        """Without `parking` polls can wait in our own server alone. `in_line` says where those go who send.

        `listening`: who may listen, everybody without it.
        """
        self.hub = hub
        self.log = log
        self.cors = Cors(config.wait, log)
        self._granting = Granting(listening or Listening(Config(), {}), log)
        self._handshakes = handshakes.Handshakes(hub, log, self.cors, parking, self._joined, self._granting)
        self._parking = parking
        self._in_line = in_line
        self._may_hold_text = False  # messages that are no JSON
        self.drains_until = 0.0  # monotonic seconds at which the process has ended; 0: it does not end
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes new options; polls that are parked keep theirs."""
        wait = config.wait
        self.config = config
        self.parser = IdentifierParser(config.pages.identifier, wait.max_ids, wait.id_max)
        self.pages = Pages(config)
        self._handshakes.configure(config, self.parser)
        self.body_max = max(wait.body_max, wait.maxlen)
        self.timeout = wait.timeout or NEVER
        self._page_ids = (config.pages.iframe_id, config.pages.script_id)
        self._trusted = Networks(wait.trusted_proxies)
        self._granting.configure(config)
        self.cors.configure(wait, grants=self._granting.listening.active)
        self._may_hold_text |= not config.in_.check_json  # what was stored without the check may be due for long
        self._stream_charset = wait.charset if self._may_hold_text else None  # None: all messages are JSON
        self._position = ""  # of the last poll, and its headers in HTTP/1.1 and in older versions
        self._at_position: Headers = []
        self._old_at_position: Headers = []
        self._no_store: Headers = [
            ("Cache-Control", OLD_NO_STORE),
            ("Expires", "Mon, 26 Jul 1997 05:00:00 GMT"),
            ("Content-Type", f"text/javascript; charset={wait.charset}"),
        ]

    def begin_to_drain(self, seconds: float) -> None:
        """Takes note that the server ends in `seconds`: from now on polls that would wait are refused (part 9.5)."""
        self.drains_until = time.monotonic() + seconds

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            method = environ["REQUEST_METHOD"]
            if environ["PATH_INFO"] == HEALTH and method in PROBES:
                return self._probe(environ, start_response)
            if method == "OPTIONS":
                return self._options(environ, start_response)
            if method not in ("GET", "POST", "HEAD"):
                raise MethodNotAllowed(f"{method} is not served here; use GET or POST")
            if handshakes.is_asked_for(environ):
                return self._handshakes.answer(environ, start_response, self._stream_charset, self.drains_until)
            identifiers, body = self._identifiers(environ)
            cursors = listened_to(identifiers)
            first = next(iter(cursors), None)
            if first is None:
                raise self._empty()
            if first in self._page_ids:
                return self._page(first, environ, start_response)
            if method == "HEAD":
                raise MethodNotAllowed("HEAD is not served here; use GET or POST")
            admitted = None
            if self._granting.concerns(environ):
                admitted = self._admit(environ, cursors, body)
                cursors = admitted.cursors
            if event_streams.is_asked_for(environ):
                return self._stream(cursors, identifiers.count, environ, start_response, admitted)
            return self._poll(cursors, identifiers.count, environ, start_response, admitted)
        except Refusal as error:
            return self._refuse(error, environ, start_response)

    # -- what is asked for

    def _identifiers(self, environ: Environ) -> tuple[Identifiers, bytes]:
        """Returns the marker of a request, and its body as far as that was read."""
        direct: Direct | None = environ.get(KEY)
        if direct is not None and direct.text is not None:
            return self.parser.in_text(direct.text, complete=True) or Identifiers({}), b""
        target = target_of(environ).encode("latin-1", "replace")
        identifiers = self.parser.in_target(target)
        body = b""
        if identifiers is None and environ["REQUEST_METHOD"] == "POST":
            body = read_body(environ, self.body_max)
            identifiers = self.parser.in_data(body)
        if identifiers is None:
            if "HTTP_X_REALPLEXOR" in environ or _COMMAND.match(body):
                raise BadRequest(
                    f"this is the WAIT line of listeners: send, and ask by commands, on the IN line, {self._in_line}"
                )
            if environ.get("PATH_INFO", "/") not in ("", "/"):
                raise NotFound("nothing is served at this path")
            raise self._empty()
        return identifiers, body

    def _admit(self, environ: Environ, cursors: dict[str, str | None], body: bytes) -> Admitted:
        """Returns what may be listened to of `cursors`. Raises InvalidGrant, ChannelsRefused, and as `read_body`."""
        if not body and environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_LENGTH"):
            body = read_body(environ, self.body_max)  # the marker stands in the target
        try:
            return self._granting.poll(environ, cursors, target_of(environ), body)
        except InvalidGrant as error:
            error.position = self.hub.draw_position()
            raise

    def _empty(self) -> EmptyIdentifier:
        pages = self.config.pages
        return EmptyIdentifier(pages.identifier, pages.script_id)

    # -- answers

    def _poll(
        self,
        cursors: dict[str, str | None],
        count: int,
        environ: Environ,
        start_response: StartResponse,
        admitted: Admitted | None,
    ) -> Iterable[bytes]:
        check_reader(environ)
        direct: Direct | None = environ.get(KEY)
        wait = self._may_wait(environ)
        if wait and "position" in environ["QUERY_STRING"] and _POSITION.search(target_of(environ)):
            wait = False
        refused = wait and self._is_refused(environ)
        wait = wait and not refused
        connection = None if direct is None else direct.connection
        joined = self._joined(connection, cursors, count)
        address = environ.get("REMOTE_ADDR", "")
        encoding = self._encoding(environ) if self._may_hold_text else AS_IT_CAME
        client = client_name(environ)
        entered = self.hub.enter(
            cursors, connection, wait=wait, address=address, encoding=encoding, joined=joined, client=client
        )
        if refused and not entered.body:
            raise Ending
        headers = self._poll_headers(environ, entered)
        if admitted is not None and not is_text(environ):
            headers = [*headers, *admitted.headers]
        listener = entered.listener
        if listener is None:
            if keeps_alive(environ):
                headers = [*headers, ("Content-Length", str(len(PREFIX) + len(entered.body)))]
            start_response("200 OK", headers)
            return [PREFIX, entered.body]  # a long one is shared by many, and not copied
        timeout = self._timeout(environ) if "timeout=" in environ["QUERY_STRING"] else self.timeout
        if admitted is not None and (seconds := admitted.seconds) is not None:
            timeout = min(timeout, seconds)
        if direct is not None:
            start_response("200 OK", headers)
            direct.listener = listener
            direct.timeout = timeout
            return []
        assert self._parking is not None
        kept = keeps_alive(environ)
        return self._parking.park(listener, environ, headers, start_response, kept=kept, timeout=timeout)

    def _stream(
        self,
        cursors: dict[str, str | None],
        count: int,
        environ: Environ,
        start_response: StartResponse,
        admitted: Admitted | None,
    ) -> Iterable[bytes]:
        check_reader(environ)
        direct: Direct | None = environ.get(KEY)
        wait = self._may_wait(environ)
        if self.drains_until:
            raise Ending
        joined = self._joined(None if direct is None else direct.connection, cursors, count)
        client = client_name(environ) if wait else ""
        member, first = event_streams.enter(self.hub, cursors, environ, self._stream_charset, joined, client)
        headers = event_streams.headers(environ, self.cors)
        if admitted is not None:
            first = admitted.begin(member, first)
            headers += admitted.headers
        if direct is None:
            assert self._parking is not None
            return self._parking.stay(member, first, environ, headers, start_response)
        start_response("200 OK", headers)
        if not wait:
            return event_streams.ended(member, first, self.hub)
        direct.listener = member
        direct.first = first
        if member.alarm:
            direct.timeout = member.alarm - time.monotonic()
        return []

    def _timeout(self, environ: Environ) -> float:
        """Returns the seconds that a poll waits at most which may ask for fewer than the others (part 9.1)."""
        for asked in values_in_target(_TIMEOUT, environ):
            if float(asked) >= _TIMEOUT_MIN:
                return min(float(asked), self.timeout)
        return self.timeout

    def _is_refused(self, environ: Environ) -> bool:
        """Returns whether a poll is refused unless something is due to it, as the server ends.

        Old clients know no such refusal: they send HTTP/1.0 or plain text, and our server has them wait for a moment.
        """
        return bool(self.drains_until) and environ.get("SERVER_PROTOCOL") == "HTTP/1.1"

    def _may_wait(self, environ: Environ) -> bool:
        """Returns whether this listener may wait. Raises Unavailable if none can here."""
        direct: Direct | None = environ.get(KEY)
        if direct is not None:
            return direct.may_wait
        if self._parking is None:
            raise Unavailable("polls wait in rplx serve alone here")
        self._parking.admit(environ)
        return True

    def _joined(self, connection: Any, cursors: dict[str, str | None], count: int) -> Callable[[str], None] | None:
        """Returns what logs a listener once its position is known, None where connections are not logged."""
        if not self.log.connections or connection is None:
            return None
        return partial(self._registered, connection, cursors, count)

    def _registered(self, connection: Any, cursors: dict[str, str | None], count: int, position: str) -> None:
        connection.name = log_lines.name_of(cursors, count, position)
        self.log.connection(connection, f"{connection.name} registered")

    def _encoding(self, environ: Environ) -> LongPoll:
        """Returns how the answer is written: as JSON where the client asks for that (part 7.5)."""
        if "json" not in environ["QUERY_STRING"] or not _JSON.search(target_of(environ)):
            return AS_IT_CAME
        return json_of(self.config.wait.charset)

    def _poll_headers(self, environ: Environ, entered: Entered) -> Headers:
        """Returns a list that nobody may change: by the same list the server knows that polls have the same head."""
        if is_text(environ):
            return self._no_store
        if entered.position != self._position:
            self._position = entered.position
            added = (NO_SNIFF, ("X-Realplexor-Cursor", entered.position))
            self._old_at_position = [*self._no_store, *added]
            self._at_position = [
                ("Cache-Control", f"{OLD_NO_STORE}, no-transform"),
                *self._no_store[1:],
                *added,
                AT_ONCE,
            ]
        headers = self._at_position if environ["SERVER_PROTOCOL"] == "HTTP/1.1" else self._old_at_position
        if entered.gaps:
            headers = [*headers, ("X-Realplexor-Gap", listed(entered.gaps))]
        if self.cors.concerns(environ):
            headers = headers + self.cors.headers(environ)
        if "HTTP_ORIGIN" in environ:
            self.cors.report(environ, headers)
        return headers

    def _options(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers a browser's preflight, or a load balancer's probe (part 9.5)."""
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" not in environ:
            headers = [("Allow", "GET, POST, OPTIONS"), ("Content-Type", "text/plain"), ("Content-Length", "0")]
            start_response("200 OK", headers)
            return [b""]
        start_response("204 No Content", self.cors.preflight(environ))
        return []

    def _probe(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Says whether polls are served here (part 9.5). Nothing is touched, and nothing is logged."""
        try:
            self._may_wait(environ)
            if self.drains_until:
                raise Ending
            if problem := self.hub.problem:
                raise Unavailable(problem)
        except Unavailable as error:
            return refuse(error, environ, start_response, (), self.drains_until)
        told = named_by(environ, self._trusted, announced=self.config.wait.proxy_protocol)
        return healthy(environ, start_response, [(HEADER, told)])

    def _page(self, id: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        kind = "IFRAME" if id == self.config.pages.iframe_id else "SCRIPT"
        direct: Direct | None = environ.get(KEY)
        if self.log.connections and direct is not None:
            self.log.connection(direct.connection, f"{kind} marker received, sending content")
        if kind == "SCRIPT" and (part := _PART.search(target_of(environ))):
            kind = part[1].upper()
        try:
            page = self.pages.get(kind)
        except OSError as error:
            self.log.error(f"cannot read the {kind} page: {error}")
            raise NotFound(f"the {kind} page cannot be read") from None
        headers = page.freshness(environ)
        if not is_text(environ):
            headers.append(NO_SNIFF)
            if kind == "IFRAME":
                headers.append(("Origin-Agent-Cluster", "?0"))  # else document.domain cannot be set in today's browsers
            if self.cors.concerns(environ):
                headers += self.cors.headers(environ)
        if page.is_known(environ):
            start_response("304 Not Modified", headers)
            return []
        headers = [("Content-Type", f"{page.content_type}; charset={self.config.wait.charset}"), *headers]
        if keeps_alive(environ) or environ["REQUEST_METHOD"] == "HEAD":
            # Without it a server in front would give HEAD the length of the body that it sees, which is 0.
            headers.append(("Content-Length", str(len(page.content))))
        start_response("200 OK", headers)
        return body_of(environ, page.content)

    def _refuse(self, error: Refusal, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        direct: Direct | None = environ.get(KEY)
        if direct is not None:
            self.log.refused(direct.connection, error.text, error.trouble)
        if isinstance(error, Forbidden) and not isinstance(error, ForeignOrigin) and not self.log.connections:
            self.log.counted("WAIT: 403", f"WAIT: {environ.get('REMOTE_ADDR')}: refused, {error.text}")
        if error.passes and event_streams.is_asked_for(environ):
            return event_streams.refuse(error, environ, start_response, self.cors, self.drains_until)
        # Without them a page of another origin would be told "Failed to fetch" and never why.
        added = self.cors.headers(environ) if self.cors.concerns(environ) else ()
        return refuse(error, environ, start_response, [*added, *headers_of(error)], self.drains_until)
