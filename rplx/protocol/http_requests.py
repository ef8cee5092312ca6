"""Cuts the bytes of one connection into requests: HTTP by llhttp, or the plain text form that has no HTTP around it.

Pure: bytes in, requests out. What llhttp leaves open is checked here: sizes, versions, Host, bare line feeds.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

import httptools

from rplx.errors import BadRequest, HeadTooLarge, Refusal, TlsHandshake, TooLarge
from rplx.protocol.marker_scan import MarkerScan

_VERSIONS = ("1.1", "1.0")
# What a method is made of (RFC 9110, 5.6.2): a browser may send any. The longest that IANA lists has 17 characters.
_METHOD = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}"
# A whole first line that ends as HTTP's does is HTTP, whatever its method: what no browser may do by HTTP it may not do
# by calling it plain text either.
_REQUEST_LINE = re.compile(_METHOD + rb"[ \t][^\n]*HTTP/|[^\n]*[ \t]HTTP/[0-9]+(?:\.[0-9]+)?[ \t]*\r?\Z")
_MAY_BECOME_HTTP = re.compile(_METHOD + rb"(?:[ \t][^\n]*)?\Z")  # all that the former may begin with, and no more
_METHOD_SIZE = 34  # bytes of a line of which it tells that: what follows a method and a blank is free
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_EMPTY_LENGTH = re.compile(rb"(?im)^content-length:[ \t]*\r\n")
_WRONG_LENGTH = re.compile(rb"(?im)^content-length:[^\n]*\n")
_NEXT_REQUEST = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|PATCH|CONNECT)[ \t]|[^\n]*[ \t]HTTP/")
_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"TRACE ", b"PATCH ", b"CONNECT ")
_FRAMING = re.compile(rb"(?im)^(?:content-length|transfer-encoding):")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%~_-]+\])(?::[0-9]*)?")  # RFC 9110, 7.2
_UPGRADE = re.compile(rb"(?im)^upgrade:")
_OFTEN = {b"GET ": "GET", b"POST": "POST"}  # how nearly every request begins, and how its first line ends
_HTTP = {b" HTTP/1.1": "1.1", b" HTTP/1.0": "1.0"}
_CHECKED = frozenset((b"host", b"content-length", b"connection", b"proxy-connection", b"transfer-encoding", b"expect"))
_CHUNKED_END = b"\r\n\r\n"  # the last chunk or the trailers end so, and nothing else ends a chunked body
_HANDSHAKE = b"\x16\x03"  # how every TLS connection begins (RFC 8446, 5.1), and nothing that is meant for us
_LENGTH_DIGITS = 18  # of a Content-Length
CHUNK_OVERHEAD = 16  # bytes around each byte of a chunked body, beside head_max for extensions and trailers
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # for a client that waits for it before it sends its body


@dataclass(slots=True)  # not frozen: that triples the time of making one
class HttpRequest:
    """One whole HTTP request. Header names are in lower case; `target` is what stood in the request line."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keep_alive: bool

    def header(self, name: bytes) -> bytes | None:
        """The first header called `name` (lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class State(enum.Enum):
    """Where in a request the reader stands."""

    START = "nothing of the next request has come"
    FIRST_LINE = "its first line is not whole yet"
    TEXT = "it is plain text: `text` grows until the caller takes it, who bounds it by `text_size`"
    HEAD = "its HTTP head is not whole yet"
    BODY = "its body has a length, or is chunked"
    UNTIL_END = "its body ends where the client's sending half ends"
    CLOSED = "the last request has come; what follows is ignored"


class _Collector:
    """What llhttp's callbacks gather of one request."""

    __slots__ = ("begun", "body", "complete", "headers", "target")

    def __init__(self) -> None:
        self.begun = 0  # requests

    def on_message_begin(self) -> None:
        self.begun += 1
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: bytes | bytearray = b""
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.strip()))  # llhttp leaves the blanks behind it (RFC 9110, 5.5)

    def on_body(self, data: bytes) -> None:
        if not self.body:
            self.body = data
            return
        if type(self.body) is bytes:
            self.body = bytearray(self.body)  # a list would take 40 times as much for a body that comes byte by byte
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True


class RequestReader:
    """The requests of one connection, in the order in which they came.

    `head_max` and `body_max` bound head and body in bytes. `until_end`: a body without a length, or with an empty one,
    goes on to the end of the client's sending half, as on the IN line; else it is empty, or refused (RFC 9112, 6.3).
    `loose_length`: a length that does not fit, as something other than another request comes behind it or as it is no
    number, counts as none: old back-ends counted characters. `old_ends`: requests end as those of old listeners do: a
    POST without a length ends with the sending half, or where
    the caller has seen enough of it, and a head may end there without its blank line. `need_host`: refuse a wrong Host
    (RFC 9112, 3.2); without one, as old clients write it, an HTTP/1.1 request ends its connection as in HTTP/1.0. A
    reader in State.START holds nothing of its connection and may serve another. `options` are the names of the options
    that bound head and body, which a refusal tells.
    """

    __slots__ = (
        "_body_option",
        "_buffer",
        "_collector",
        "_framing",
        "_head_count",
        "_head_option",
        "_held",
        "_host",
        "_keep_alive",
        "_line_open",
        "_looked",
        "_parser",
        "_remaining",
        "_scan",
        "_version",
        "body_max",
        "error",
        "expects_continue",
        "head_max",
        "head_size",
        "judged",
        "loose_length",
        "need_host",
        "old_ends",
        "state",
        "until_end",
    )

    def __init__(
        self,
        head_max: int,
        body_max: int,
        *,
        until_end: bool = False,
        old_ends: bool = False,
        need_host: bool = True,
        loose_length: bool = False,
        options: tuple[str, str] = ("wait.head_max", "wait.body_max"),
    ) -> None:
        self._head_option, self._body_option = options
        self.head_max = head_max
        self.body_max = body_max
        self.until_end = until_end
        self.old_ends = old_ends
        self.loose_length = loose_length
        self.need_host = need_host
        self.state = State.START
        self._line_open = False  # whether the first line of plain text goes on
        self._buffer = bytearray()  # what is not whole yet: a line, a head, plain text
        self._looked = 0  # bytes of it in which a head does not end: no byte is looked at again with each that follows
        self._scan: MarkerScan | None = None  # of the buffer, once somebody has asked
        self._held = b""  # what may be the beginning of a chunked body's end
        self._remaining: int | None = None  # bytes of the body still to come; None: it is chunked
        self._version = ""
        self._host = b""  # the last that was found right
        self._keep_alive = False
        self._framing = 0  # bytes of a chunked body, with what is around its data
        self._head_count = 0  # headers that stood in the head; those behind them are trailers
        self.expects_continue = False  # whether the client waits for CONTINUE; who sends it sets this back
        self.judged = False  # whether the caller has looked at this head: its body may come byte by byte
        self.error: Refusal | None = None
        self.head_size = 0  # bytes of the last head
        self._renew()

    @property
    def text(self) -> bytes:
        """What has come of a request that is not whole yet, up to its body: a copy."""
        return bytes(self._buffer)

    @property
    def text_size(self) -> int:
        return len(self._buffer)

    @property
    def is_post(self) -> bool:
        """Whether that begins like a POST."""
        return self._buffer.startswith(b"POST ")

    def has_marker(self, word: str) -> bool:
        """Whether that holds a whole marker (protocol page, part 1); in State.UNTIL_END, whether the body does."""
        if self._scan is None:
            self._scan = MarkerScan(word)
        return self._scan.is_complete(self._collector.body if self.state is State.UNTIL_END else self._buffer)

    def _renew(self) -> None:
        self._collector = _Collector()
        self._parser = httptools.HttpRequestParser(self._collector)

    def feed(self, data: bytes) -> list[HttpRequest]:
        """The requests that are whole now.

        One that is refused is found in `error` (BadRequest, HeadTooLarge, TooLarge; TlsHandshake, which is to be closed
        without an answer), behind those that came before it; it ends the connection.
        """
        requests: list[HttpRequest] = []
        if self.state is State.START and self._feed_whole(data, requests):
            return requests
        rest = data
        try:
            while rest:
                rest = self._step(rest, requests)
        except Refusal as error:
            self.error = error
            self.state = State.CLOSED
        return requests

    def _feed_whole(self, data: bytes, requests: list[HttpRequest]) -> bool:
        """What nearly every request is: it came whole, alone, and is not chunked. False if `data` is anything else."""
        line_end = data.find(b"\r\n")
        head_end = data.find(b"\r\n\r\n", line_end) + 4
        method = _OFTEN.get(data[:4])
        version = _HTTP.get(data[line_end - 9 : line_end])  # llhttp takes RTSP/1.0 and ICE/1.0 as well
        if method is None or version is None or not 4 <= head_end <= self.head_max:
            return False
        collector = self._collector
        collector.begun = 0
        try:
            self._parser.feed_data(data)
            if collector.begun == 1 and collector.complete:
                framed = self._check_head(version)
                if not self._is_open(method, framed) and head_end + (self._remaining or 0) == len(data):
                    self.head_size = head_end
                    requests.append(self._take(method))
                    return True
        except (Refusal, httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass  # the slow way says what is wrong, or takes what the parser alone does not
        self._renew()
        return False

    def reset(self) -> None:
        """Behind a request that ended its connection: ready for another connection."""
        self.state = State.START
        self._forget()
        self._renew()  # llhttp reads nothing behind a request that asked to close

    def end(self) -> HttpRequest | None:
        """The client's sending half has ended: the request that ends with it, or None.

        Errors: BadRequest if a request was cut short.
        """
        state, self.state = self.state, State.CLOSED
        if state is State.UNTIL_END:
            return self._take()
        if state is State.HEAD and self.old_ends:
            return self._end_head()
        if state in (State.HEAD, State.BODY):
            raise BadRequest("the request was cut short")
        if state is State.FIRST_LINE:
            self.state = State.TEXT
        elif state is State.TEXT:
            self.state = state
        return None

    def _end_head(self) -> HttpRequest:
        """The sending half has ended before a head's blank line; its whole lines count. Errors: BadRequest."""
        requests: list[HttpRequest] = []
        self._looked = 0
        self._head(self._buffer[: self._buffer.rindex(b"\n") + 1] + b"\r\n", requests)
        if not requests and self.state is State.BODY:
            raise BadRequest("the request was cut short")
        request = requests[0] if requests else self._take()
        request.keep_alive = False
        self.state = State.CLOSED
        return request

    def _step(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        """One step on; gives what is left of `data`."""
        state = self.state
        if state is State.START:
            return self._start(data.lstrip(b"\r\n"), requests)
        if state is State.FIRST_LINE:
            self._buffer += data
            return self._first_line(self._buffer, len(data), requests)
        if state is State.HEAD:
            self._buffer += data
            return self._head(self._buffer, requests)
        if state is State.BODY:
            return self._body(data, requests)
        if state is State.TEXT:
            return self._more_text(data, requests)
        if state is State.UNTIL_END:
            self._collector.on_body(data)
            if len(self._collector.body) > self.body_max:
                raise TooLarge(f"body longer than {self.body_max} bytes ({self._body_option})")
        return b""

    def _start(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        return self._first_line(data, len(data), requests) if data else b""

    def _first_line(self, buffer: bytes | bytearray, new: int, requests: list[HttpRequest]) -> bytes:
        """`buffer` holds what has come of the first line, and its last `new` bytes have not been looked at."""
        size = line_end = buffer.find(b"\n", len(buffer) - new)
        if line_end < 0:
            size = len(buffer)
        may_become_http = _MAY_BECOME_HTTP.match(buffer, 0, min(size, _METHOD_SIZE))
        if size > self.head_max and may_become_http:  # whether its end has come or not
            raise HeadTooLarge(f"request head longer than {self.head_max} bytes ({self._head_option})")
        if line_end < 0 and may_become_http:
            self._keep(buffer, State.FIRST_LINE)
            return b""
        if line_end >= 0 and _REQUEST_LINE.match(buffer, 0, size):
            self._looked = max(0, size - 1)
            return self._head(buffer, requests)
        self._keep(buffer, State.TEXT)
        self._line_open = line_end < 0
        self._check_text()
        return b""

    def _keep(self, buffer: bytes | bytearray, state: State) -> None:
        self.state = state
        if buffer is not self._buffer:
            self._buffer = bytearray(buffer)

    def _check_text(self) -> None:
        """Errors: TlsHandshake."""
        if self._buffer.startswith(_HANDSHAKE):
            raise TlsHandshake

    def _more_text(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        """Plain text goes on, unless the end of its first line shows that it is none. Errors: TlsHandshake."""
        buffer = self._buffer
        before = len(buffer)
        buffer += data
        self._check_text()
        if not self._line_open or b"\n" not in data:
            return b""
        self._line_open = False
        line_end = buffer.index(b"\n", before)
        if not _REQUEST_LINE.match(buffer, 0, line_end):
            return b""
        self._looked = max(0, line_end - 1)
        return self._head(buffer, requests)

    def _forget(self) -> None:
        self._buffer.clear()
        self._looked = 0
        self._held = b""
        self._scan = None

    def _head(self, buffer: bytes | bytearray, requests: list[HttpRequest]) -> bytes:
        end = self._head_end(buffer)
        if (end or len(buffer)) > self.head_max:
            raise HeadTooLarge(f"request head longer than {self.head_max} bytes ({self._head_option})")
        if not end:
            self._keep(buffer, State.HEAD)
            return b""
        self.head_size = end
        head, rest = bytes(buffer[:end]), bytes(buffer[end:])
        self._forget()
        if head.count(b"\n") != head.count(b"\r\n"):
            head = _BARE_LINE_FEED.sub(b"\r\n", head)
        framed = self._parse_head(head)
        if self._collector.complete and self._is_open(self._parser.get_method().decode("ascii"), framed):
            self.state = State.UNTIL_END
            self._keep_alive = False
            return rest
        if self._collector.complete:
            return self._complete(rest, requests)
        self.state = State.BODY
        self._head_count = len(self._collector.headers)
        self._framing = 0
        return rest

    def _is_open(self, method: str, framed: bool) -> bool:
        """Whether a body ends where the sending half ends."""
        return not framed and (self.until_end or (self.old_ends and method == "POST"))

    def _head_end(self, buffer: bytes | bytearray) -> int:
        """Where the head in `buffer` ends, behind its blank line; 0 if that has not come."""
        end = buffer.find(b"\n\r\n", self._looked) + 3
        bare = buffer.find(b"\n\n", self._looked, end if end > 2 else len(buffer)) + 2
        self._looked = max(0, len(buffer) - 2)
        if bare > 1:
            return bare
        return end if end > 2 else 0

    def _parse_head(self, head: bytes) -> bool:
        """Feeds a whole head; True if it gives a length to the body."""
        try:
            self._parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # An upgrade may be ignored (RFC 9110, 7.8).
            self._renew()
            if head.startswith(b"CONNECT"):
                raise BadRequest("CONNECT is not served here") from None
            return self._parse_head(_UPGRADE.sub(b"x-upgrade:", head))
        except httptools.HttpParserError as error:
            self._renew()
            text = str(error)
            no_number = self.loose_length and "character in Content-Length" in text
            if no_number or (self.until_end and "Empty Content-Length" in text):
                head = (_WRONG_LENGTH if no_number else _EMPTY_LENGTH).sub(b"", head, 1)
                if _FRAMING.search(head):
                    raise BadRequest("an empty or wrong Content-Length beside another length") from None
                return self._parse_head(head)
            raise BadRequest(f"malformed HTTP request: {error}") from None
        return self._check_head(self._parser.get_http_version())

    def _check_head(self, version: str) -> bool:
        """Whether it gives a length to the body. Errors: BadRequest, TooLarge."""
        self._version = version
        if version not in _VERSIONS:
            raise BadRequest(f"HTTP/{version} is not spoken here")
        hosts = 0
        self._remaining = None
        self._keep_alive = version == "1.1"
        self.expects_continue = False
        self.judged = False
        framed = False
        for name, value in self._collector.headers:
            if name not in _CHECKED:
                continue
            if name == b"host":
                hosts += 1
                if self.need_host and value != self._host:
                    if not _HOST.fullmatch(value):
                        raise BadRequest("the Host header is not HOST or HOST:PORT")
                    self._host = value
            elif name == b"content-length":
                framed = True
                digits = value.strip(b" \t").lstrip(b"0") or b"0"
                if len(digits) > _LENGTH_DIGITS:
                    raise TooLarge(f"body longer than {self.body_max} bytes ({self._body_option})")
                self._remaining = int(digits)
                if self._remaining > self.body_max:
                    raise TooLarge(f"body longer than {self.body_max} bytes ({self._body_option})")
            elif name == b"connection" or name == b"proxy-connection":  # llhttp takes both for the same
                if b"close" in value.lower():
                    self._keep_alive = False
            elif name == b"transfer-encoding":
                framed = True
                if version == "1.0":
                    raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
                if value.strip(b" \t").lower() != b"chunked":
                    raise BadRequest("the only Transfer-Encoding here is chunked")
            elif name == b"expect" and version == "1.1":
                self.expects_continue = value.lower() == b"100-continue"
        if hosts > 1:
            raise BadRequest("a request has one Host header")
        if not hosts and self.need_host:
            self._keep_alive = False
        return framed

    def _body(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        collector = self._collector
        self.expects_continue = False
        data, self._held = self._held + data, b""
        while not collector.complete:
            part, data = self._next_part(data)
            if not part:
                self._held = data
                return b""
            try:
                self._parser.feed_data(part)
            except httptools.HttpParserError as error:
                self._renew()
                raise BadRequest(f"malformed HTTP body: {error}") from None
            if len(collector.body) > self.body_max:
                raise TooLarge(f"body longer than {self.body_max} bytes ({self._body_option})")
            self._framing += len(part)
            if self._framing > self.head_max + len(collector.body) * (1 + CHUNK_OVERHEAD):
                raise HeadTooLarge(
                    f"chunk extensions or trailers longer than {self.head_max} bytes ({self._head_option})"
                )
        del collector.headers[self._head_count :]  # a trailer is no header: nothing here asks for one (RFC 9110, 6.5.1)
        return self._complete(data, requests)

    def _complete(self, rest: bytes, requests: list[HttpRequest]) -> bytes:
        """A request is whole, if what lies behind it can be another."""
        if self.loose_length and self._remaining is not None and not may_be_next(rest):
            self.state = State.UNTIL_END
            self._keep_alive = False
            return rest
        requests.append(self._take())
        if self.state is State.START:
            return rest
        self._held = rest
        return b""

    def _next_part(self, data: bytes) -> tuple[bytes, bytes]:
        """What of `data` llhttp may have now, and the rest: it would go on into the next request, unseen by our limits.

        A chunked body ends at CR LF CR LF and nowhere else, so that is where it is cut; a beginning of it is held back.
        """
        if self._remaining is not None:
            part, rest = data[: self._remaining], data[self._remaining :]
            self._remaining -= len(part)
            return part, rest
        end = data.find(_CHUNKED_END)
        if end >= 0:
            return data[: end + 4], data[end + 4 :]
        for held in (3, 2, 1):
            if data.endswith(_CHUNKED_END[:held]):
                return data[:-held], data[-held:]
        return data, b""

    def take_behind(self) -> bytes:
        """What has come behind the last request, up to a first line that is not whole; it is forgotten here."""
        data = self.text if self.state is State.FIRST_LINE else self._held
        self._forget()
        if self.state is State.FIRST_LINE:
            self.state = State.START
        return data

    @property
    def body_size(self) -> int:
        """Bytes of the body that have come."""
        return len(self._collector.body)

    def head(self) -> HttpRequest:
        """In State.UNTIL_END: the request as its head describes it, without its body."""
        return self._request(self._parser.get_method().decode("ascii"), b"")

    def so_far(self) -> HttpRequest:
        """In State.UNTIL_END: the request with what has come of its body."""
        return self._request(self._parser.get_method().decode("ascii"), bytes(self._collector.body))

    def _request(self, method: str, body: bytes) -> HttpRequest:
        collector = self._collector
        return HttpRequest(method, collector.target, self._version, collector.headers, body, self._keep_alive)

    def _take(self, method: str = "") -> HttpRequest:
        self.expects_continue = False
        request = self._request(method or self._parser.get_method().decode("ascii"), bytes(self._collector.body))
        self.state = State.START if self._keep_alive else State.CLOSED
        return request


def may_be_next(data: bytes) -> bool:
    """Whether this is nothing but blank lines, or may be the beginning of a request."""
    data = data.lstrip(b"\r\n")
    return not data or is_next(data) or any(method.startswith(data) for method in _METHODS)


def is_next(data: bytes) -> bool:
    """Whether this is the beginning of a request, behind blank lines."""
    return bool(_NEXT_REQUEST.match(data.lstrip(b"\r\n")))
