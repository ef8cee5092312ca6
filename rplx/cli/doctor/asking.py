"""Polls through whatever lies in between, with the moments at which head, message and end have come."""

from __future__ import annotations

import contextlib
import http.client
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from rplx.cli.unix_connection import UnixConnection
from rplx.errors import UsageError
from rplx.options.checks import address, unix_path

TIMEOUT = 10.0  # seconds for what has to come at once, such as a connection and the answer with a position
EMPTY = b" \r\n"  # the body of an answer without messages (protocol page, part 2)
_READ = 65536

Headers = list[tuple[str, str]]


class NotAsked(Exception):
    """No poll could be made there: nobody answers, or somebody who is no rplx."""


class Silent(NotAsked):
    """Nobody answers there, or not by HTTP."""


@dataclass(frozen=True)
class Place:
    """A WAIT address. `socket`: the path of a socket in place of host and port, if it is one."""

    tls: bool
    host: str
    port: int
    path: str
    socket: str = ""

    @property
    def url(self) -> str:
        if self.socket:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"

    def connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        """Returns a connection that opens with its first request; `timeout` is in seconds."""
        if self.socket:
            return UnixConnection(self.socket, timeout)
        if self.tls:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout, context=context)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def target(self, id: str, *, position: bool = False, fill: int = 0) -> str:
        """Returns the request target of a poll, which no cache has seen, `fill` characters long at least.

        With `position` the answer comes at once (protocol page, part 7.10). An empty `id` stands in a body.
        """
        begin = f"{self.path}?identifier={id}" if id else f"{self.path}?"
        words = begin + ("&position" if position else "") + f"&ncrnd={secrets.token_hex(8)}"
        return words + "0" * (fill - len(words))


def parse_url(text: str) -> Place:
    """Returns the place of `http://HOST/PATH`, `https://...`, HOST:PORT or unix:/PATH. Raises UsageError for others."""
    if (socket_path := unix_path(text)) is not None:
        if problem := address(text):
            raise UsageError(problem)
        return Place(False, "localhost", 0, "/", socket_path)
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}/")
        port = parts.port
    except ValueError as error:
        raise UsageError(f'"{text}" is not a URL: {error}') from error
    if "@" in parts.netloc:
        raise UsageError("the URL must have no USER:PASSWORD@: browsers poll no such address")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise UsageError(f'"{text}" is not the URL of a WAIT line, such as https://example.com/rpl/')
    tls = parts.scheme == "https"
    return Place(tls, parts.hostname, port or (443 if tls else 80), parts.path or "/")


def new_id() -> str:
    """Returns the name of a channel that nobody else can know."""
    return f"doctor{secrets.token_hex(12)}"


@dataclass(frozen=True)
class Answer:
    """An answer that has come whole. `begin` and `end` are times of time.time() before and after."""

    status: int
    version: int  # 10 or 11
    headers: Headers
    body: bytes
    begin: float
    end: float

    def values(self, name: str) -> list[str]:
        """Returns the values of a header, one for each line of it."""
        return [value for given, value in self.headers if given.lower() == name.lower()]

    def value(self, name: str) -> str | None:
        """Returns the values of a header joined by commas, or None if it is not there."""
        return ", ".join(found) if (found := self.values(name)) else None


def ask(
    connection: http.client.HTTPConnection,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Makes a request and returns its whole answer. Raises Silent if none comes."""
    begin = time.time()
    try:
        connection.request(method, target, body, headers or {})
        response = connection.getresponse()
        text = response.read()
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        connection.close()
        raise Silent(reason(error)) from error
    return Answer(response.status, response.version, response.getheaders(), text, begin, time.time())


def once(
    place: Place,
    target: str = "",
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer | str:
    """Returns the answer to a request on a connection of its own, or why there is none.

    Without a `target` a poll asks for its position.
    """
    connection = place.connect()
    try:
        return ask(connection, target or place.target(new_id(), position=True), method, body, headers)
    except NotAsked as error:
        return str(error)
    finally:
        connection.close()


def reason(error: Exception) -> str:
    """Returns what went wrong in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended in the middle of an answer"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


class Poll:
    """A poll that waits. A thread reads its answer, and notes the end's time.monotonic()."""

    def __init__(self, place: Place, target: str, headers: dict[str, str] | None = None) -> None:
        self.headers: Headers | None = None
        self.status = 0
        self.body = b""
        self.error: Exception | None = None
        self.begin = time.monotonic()
        self.ended: float | None = None
        self._change = threading.Condition()
        self._connection = place.connect()
        try:
            self._connection.request("GET", target, None, headers or {})
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise NotAsked(reason(error)) from error
        self._socket: socket.socket = self._connection.sock
        self._socket.settimeout(None)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            response = self._connection.getresponse()
            with self._change:
                self.status, self.headers = response.status, response.getheaders()
                self._change.notify_all()
            while part := response.read1(_READ):
                with self._change:
                    self.body += part
                    self._change.notify_all()
        except (OSError, ValueError, AttributeError, http.client.HTTPException) as error:
            # http.client raises ValueError or AttributeError if `hang_up` has closed the connection meanwhile.
            self.error = error
        with self._change:
            self.ended = time.monotonic()
            self._change.notify_all()

    def wait(self, comes: Callable[[], object], seconds: float) -> bool:
        """Returns whether `comes` is true within so many seconds; it is asked whenever something has come."""
        with self._change:
            return bool(self._change.wait_for(comes, seconds))

    def has(self, name: str) -> bool:
        """Returns whether the answer has this header, named in lower case."""
        return any(given.lower() == name for given, _ in self.headers or [])

    def hang_up(self) -> None:
        """Closes the connection, as a browser does when its tab is closed."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def offered_protocol(place: Place) -> str | None:
    """Returns what is chosen of `h2` and `http/1.1` by ALPN (RFC 7301). Raises OSError if there is no TLS."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((place.host, place.port), TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=place.host) as wrapped,
    ):
        return wrapped.selected_alpn_protocol()
