"""Cuts the bytes of one connection into requests: HTTP by llhttp, or the plain text form that has no HTTP around it.

Pure: bytes in, requests out. A reader is a machine of a few states, `State`. What comes moves it on:

state       what comes                                                          state after it
START       blank lines                                                         START
START       a first line that is not whole and may become HTTP's                FIRST_LINE
  and       any other line, or the beginning of one                             TEXT
FIRST_LINE  the whole first line of an HTTP request                             HEAD, and on as from there
TEXT        the end of a first line that turns out to be HTTP's                 HEAD, and on as from there
            anything else                                                       TEXT: the caller takes the text
HEAD        a part of the head                                                  HEAD
            its blank line, where a body with a length or in chunks follows     BODY
            its blank line, where the body goes on to the end (see `until_end`) UNTIL_END
            its blank line, where there is no body                              the request is whole, see below
BODY        a part of the body                                                  BODY
            its last byte                                                       the request is whole, see below
UNTIL_END   more of the body                                                    UNTIL_END
CLOSED      anything                                                            CLOSED: it is ignored

A whole request leads to START if its connection is kept, so that the next one may follow, else to CLOSED. With
`loose_length`, one whose length does not fit leads to UNTIL_END instead. Whatever is refused leads to CLOSED.

The end of the client's sending half (`end`) leads from FIRST_LINE and TEXT to TEXT, as the text is whole then, and from
all others to CLOSED: from UNTIL_END with a whole request; from HEAD with one where `old_ends` is set, else with a
refusal; from BODY with a refusal.
"""

from __future__ import annotations

import enum

import httptools

from rplx.errors import BadRequest, HeadTooLarge, Refusal, TlsHandshake
from rplx.protocol.first_lines import is_http, may_be_next, may_become_http
from rplx.protocol.head_bytes import end_of_head, upgrades, with_line_ends, without_length, without_upgrade
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.incoming_request import IncomingRequest
from rplx.protocol.marker_scan import MarkerScan

_USUAL_METHODS = {b"GET ": "GET", b"POST": "POST"}  # how nearly every request begins,
_USUAL_VERSIONS = {b" HTTP/1.1": "1.1", b" HTTP/1.0": "1.0"}  # and how its first line ends
_HANDSHAKE = b"\x16\x03"  # how every TLS connection begins (RFC 8446, 5.1), and nothing that is meant for us


class State(enum.Enum):
    """Where in a request the reader stands; the table is at the top of this module."""

    START = "nothing of the next request has come"
    FIRST_LINE = "its first line is not whole yet"
    TEXT = "it is plain text: `text` grows until the caller takes it, who bounds it by `text_size`"
    HEAD = "its HTTP head is not whole yet"
    BODY = "its body has a length, or is chunked"
    UNTIL_END = "its body ends where the client's sending half ends"
    CLOSED = "the last request has come; what follows is ignored"


class RequestReader:
    """Reads the requests of one connection, in the order in which they come.

    `head_max`, `body_max`: bytes of head and body; `options`: the names of the options that set them, for refusals.
    `until_end`: a body without a length, or with an empty one, goes on to the end of the client's sending half, as on
    the IN line; else it is empty, or refused (RFC 9112, 6.3).
    `old_ends`: requests end as those of old listeners do: a POST without a length ends with the sending half, or where
    the caller has seen enough of it, and a head may end there without its blank line.
    `need_host`: a wrong Host is refused (RFC 9112, 3.2); an HTTP/1.1 request without one, as old clients write it, ends
    its connection as in HTTP/1.0.
    `loose_length`: a length is ignored if it is no number, or if something other than another request comes behind
    the body: old back-ends counted characters.

    A reader in State.START holds nothing of its connection and may serve another.
    """

    __slots__ = (
        "_behind",
        "_buffer",
        "_head_max",
        "_head_option",
        "_incoming",
        "_line_open",
        "_llhttp",
        "_looked",
        "_loose_length",
        "_old_ends",
        "_scan",
        "error",
        "head_size",
        "judged",
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
        self._head_max = head_max
        self._head_option = options[0]
        self.until_end = until_end
        self._old_ends = old_ends
        self._loose_length = loose_length
        self.state = State.START
        self._line_open = False  # whether the first line of plain text goes on
        self._buffer = bytearray()  # what is not whole yet: a line, a head, plain text
        self._looked = 0  # bytes of the buffer that are known not to hold a head's end, and are not searched again
        self._scan: MarkerScan | None = None  # of the buffer, once somebody has asked
        self._behind = b""  # what has come behind the last request of its connection
        self.judged = False  # whether the caller has looked at this head: its body may come byte by byte
        self.error: Refusal | None = None
        self.head_size = 0  # bytes of the last head
        self._incoming = IncomingRequest(head_max, body_max, options, need_host=need_host)
        self._llhttp = httptools.HttpRequestParser(self._incoming)

    @property
    def text(self) -> bytes:
        """A copy of what has come of a request that is not whole yet, up to its body."""
        return bytes(self._buffer)

    @property
    def text_size(self) -> int:
        """The size of `text` in bytes."""
        return len(self._buffer)

    @property
    def is_post(self) -> bool:
        """Whether `text` begins like a POST."""
        return self._buffer.startswith(b"POST ")

    def has_marker(self, word: str) -> bool:
        """Returns whether `text`, or the body in State.UNTIL_END, holds a whole marker (parts 1 and 9.8)."""
        if self._scan is None:
            self._scan = MarkerScan(word, http=self.state is not State.TEXT)
        return self._scan.is_complete(self._incoming.body if self.state is State.UNTIL_END else self._buffer)

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for "100 Continue" before it sends its body (RFC 9110, 10.1.1)."""
        return self._incoming.expects_continue

    def continue_sent(self) -> None:
        """Tells that the client has been answered "100 Continue"."""
        self._incoming.expects_continue = False

    def mark_judged(self) -> None:
        """Sets `judged` until the next head: its caller has looked at this one."""
        self.judged = True

    @property
    def body_size(self) -> int:
        """Bytes of the body that have come."""
        return len(self._incoming.body)

    def head(self) -> HttpRequest:
        """Returns the request as its head describes it, without its body; in State.BODY and State.UNTIL_END."""
        return self._incoming.request(self._method(), b"")

    def so_far(self) -> HttpRequest:
        """Returns the request with what has come of its body; in State.BODY and State.UNTIL_END."""
        return self._incoming.request(self._method(), bytes(self._incoming.body))

    def feed(self, data: bytes) -> list[HttpRequest]:
        """Takes what has come, and returns the requests that are whole now.

        One that is refused ends the connection. Its refusal is found in `error`: BadRequest, HeadTooLarge, TooLarge, or
        TlsHandshake, which is to be closed without an answer. The requests before it are returned.
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
        """Takes `data` if it is what nearly every request is, whole, alone and not chunked; else returns False."""
        line_end = data.find(b"\r\n")
        head_end = data.find(b"\r\n\r\n", line_end) + 4
        method = _USUAL_METHODS.get(data[:4])
        version = _USUAL_VERSIONS.get(data[line_end - 9 : line_end])  # llhttp takes RTSP/1.0 and ICE/1.0 as well
        if method is None or version is None or not 4 <= head_end <= self._head_max:
            return False
        incoming = self._incoming
        incoming.begun = 0
        try:
            self._llhttp.feed_data(data)
            if incoming.begun == 1 and incoming.complete:
                incoming.check_head(version)
                if not self._is_open(method) and head_end + (incoming.remaining or 0) == len(data):
                    self.head_size = head_end
                    requests.append(self._take(method))
                    return True
        except (Refusal, httptools.HttpParserError, httptools.HttpParserUpgrade):
            pass  # the slow way says what is wrong, or takes what the parser alone does not
        self._renew()
        return False

    def reset(self) -> None:
        """Makes a reader whose last request ended its connection ready for another connection."""
        self.state = State.START
        self._forget()
        self._incoming.forget()
        self._renew()  # llhttp reads nothing behind a request that asked to close

    def _renew(self) -> None:
        self._llhttp = httptools.HttpRequestParser(self._incoming)

    def take_behind(self) -> bytes:
        """Returns and forgets what has come behind the last request, up to a first line that is not whole."""
        data = self.text if self.state is State.FIRST_LINE else self._behind
        self._forget()
        if self.state is State.FIRST_LINE:
            self.state = State.START
        return data

    def end(self) -> HttpRequest | None:
        """Takes the end of the client's sending half, and returns the request that ends with it, or None.

        Raises BadRequest if a request was cut short.
        """
        state, self.state = self.state, State.CLOSED
        if state is State.UNTIL_END:
            return self._take(self._method())
        if state is State.HEAD and self._old_ends:
            return self._end_head()
        if state in (State.HEAD, State.BODY):
            raise BadRequest("the request was cut short")
        if state in (State.FIRST_LINE, State.TEXT):
            self.state = State.TEXT
        return None

    def _end_head(self) -> HttpRequest:
        """Returns the request of a head that ends without its blank line; whole lines count. Raises BadRequest."""
        requests: list[HttpRequest] = []
        self._looked = 0
        self._head(self._buffer[: self._buffer.rindex(b"\n") + 1] + b"\r\n", requests)
        if not requests and self.state is State.BODY:
            raise BadRequest("the request was cut short")
        request = requests[0] if requests else self._take(self._method())
        request.keep_alive = False
        self.state = State.CLOSED
        return request

    def _step(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        """Takes one step, and returns what is left of `data`."""
        state = self.state
        if state is State.START:
            data = data.lstrip(b"\r\n")
            return self._first_line(data, len(data), requests) if data else b""
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
            self._incoming.on_body(data)
            self._incoming.check_body()
        return b""

    def _first_line(self, buffer: bytes | bytearray, new: int, requests: list[HttpRequest]) -> bytes:
        """`buffer` holds what has come of the first line, and its last `new` bytes have not been looked at."""
        line_end = buffer.find(b"\n", len(buffer) - new)
        size = len(buffer) if line_end < 0 else line_end
        maybe = may_become_http(buffer, size)
        if maybe and size > self._head_max:  # whether its end has come or not
            raise self._head_too_large()
        if maybe and line_end < 0:
            self._keep(buffer, State.FIRST_LINE)
            return b""
        if line_end >= 0 and is_http(buffer, size):
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
        """Raises TlsHandshake."""
        if self._buffer.startswith(_HANDSHAKE):
            raise TlsHandshake

    def _more_text(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        """Plain text goes on, unless the end of its first line shows that it is HTTP. Raises TlsHandshake."""
        buffer = self._buffer
        before = len(buffer)
        buffer += data
        self._check_text()
        if not self._line_open or b"\n" not in data:
            return b""
        self._line_open = False
        line_end = buffer.index(b"\n", before)
        if not is_http(buffer, line_end):
            return b""
        self._looked = max(0, line_end - 1)
        return self._head(buffer, requests)

    def _forget(self) -> None:
        self._buffer.clear()
        self._looked = 0
        self._behind = b""
        self._scan = None

    def _head(self, buffer: bytes | bytearray, requests: list[HttpRequest]) -> bytes:
        end = end_of_head(buffer, self._looked)
        self._looked = max(0, len(buffer) - 2)
        if (end or len(buffer)) > self._head_max:
            raise self._head_too_large()
        if not end:
            self._keep(buffer, State.HEAD)
            return b""
        self.head_size = end
        head, rest = bytes(buffer[:end]), bytes(buffer[end:])
        self._forget()
        self._parse_head(with_line_ends(head))
        self.judged = False
        if self._incoming.complete and self._is_open(self._method()):
            return self._leave_open(rest)
        if self._incoming.complete:
            return self._complete(rest, requests)
        self.state = State.BODY
        self._incoming.begin_body()
        return rest

    def _head_too_large(self) -> HeadTooLarge:
        return HeadTooLarge(f"request head longer than {self._head_max} bytes ({self._head_option})")

    def _is_open(self, method: str) -> bool:
        """Returns whether the body ends where the sending half ends."""
        return not self._incoming.framed and (self.until_end or (self._old_ends and method == "POST"))

    def _leave_open(self, rest: bytes) -> bytes:
        """Takes the body as one that goes on to the end of the sending half."""
        self.state = State.UNTIL_END
        self._incoming.keep_alive = False
        return rest

    def _parse_head(self, head: bytes) -> None:
        """Has llhttp and the rules judge a whole head. Raises BadRequest, TooLarge."""
        try:
            self._llhttp.feed_data(head)
        except httptools.HttpParserUpgrade:
            self._renew()
            self._parse_head(without_upgrade(head))
            self._incoming.headers += upgrades(head)  # whoever may take one judges the request's Upgrade, as it came
        except httptools.HttpParserError as error:
            self._renew()
            self._parse_head(without_length(head, str(error), empty=self.until_end, wrong=self._loose_length))
        else:
            self._incoming.check_head(self._llhttp.get_http_version())

    def _body(self, data: bytes, requests: list[HttpRequest]) -> bytes:
        try:
            rest = self._incoming.feed_body(self._llhttp.feed_data, data)
        except httptools.HttpParserError as error:
            self._renew()
            raise BadRequest(f"malformed HTTP body: {error}") from None
        return b"" if rest is None else self._complete(rest, requests)

    def _complete(self, rest: bytes, requests: list[HttpRequest]) -> bytes:
        """Takes a request whose length says that it is whole, if what lies behind it can be another."""
        if self._loose_length and self._incoming.remaining is not None and not may_be_next(rest):
            return self._leave_open(rest)
        requests.append(self._take(self._method()))
        if self.state is State.START:
            return rest
        self._behind = rest
        return b""

    def _method(self) -> str:
        method: str = self._llhttp.get_method().decode("ascii")
        return method

    def _take(self, method: str) -> HttpRequest:
        incoming = self._incoming
        incoming.expects_continue = False
        self.state = State.START if incoming.keep_alive else State.CLOSED
        return incoming.request(method, bytes(incoming.body))
