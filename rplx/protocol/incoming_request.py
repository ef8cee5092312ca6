"""The HTTP request that is coming in: what llhttp reports of it, and the rules that llhttp leaves open.

These are the version, Host, Content-Length and Transfer-Encoding of its head, and the bounds of its body.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rplx.errors import BadRequest, HeadTooLarge, TooLarge
from rplx.protocol.http_request import HttpRequest

_VERSIONS = ("1.1", "1.0")
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Za-z:.%~_-]+\])(?::[0-9]*)?")  # RFC 9110, 7.2
_CHECKED = frozenset((b"host", b"content-length", b"connection", b"proxy-connection", b"transfer-encoding", b"expect"))
_LENGTH_DIGITS = 18  # of a Content-Length
_CHUNKED_END = b"\r\n\r\n"  # ends the last chunk or the trailers, and so every chunked body; stands nowhere else in one
_CHUNK_OVERHEAD = 16  # bytes that may stand around each byte of a chunked body, beside `head_max` in all


class IncomingRequest:
    """The callbacks of llhttp, and the checks of what they bring. It serves one request after another.

    `head_max` and `body_max` are bytes, `options` the names of the options that set them. `need_host`: a wrong Host is
    refused, and a request without one ends its connection.
    """

    __slots__ = (
        "_body_max",
        "_framing",
        "_head_count",
        "_head_max",
        "_held",
        "_host",
        "_need_host",
        "_options",
        "begun",
        "body",
        "complete",
        "expects_continue",
        "framed",
        "headers",
        "keep_alive",
        "remaining",
        "target",
        "version",
    )

    def __init__(self, head_max: int, body_max: int, options: tuple[str, str], *, need_host: bool) -> None:
        self._head_max = head_max
        self._body_max = body_max
        self._options = options
        self._need_host = need_host
        self._host = b""  # the last that was found right
        self._head_count = 0  # headers that stood in the head; those behind them are trailers
        self._held = b""  # what may be the beginning of a chunked body's end
        self._framing = 0  # bytes of a chunked body, with what is around its data
        self.begun = 0  # requests that have begun since somebody set this to 0
        self.complete = False
        self.version = ""
        self.keep_alive = False
        self.expects_continue = False  # whether the client waits for "100 Continue" before it sends the body
        self.framed = False  # whether the head gives a length to the body, or says that it is chunked
        self.remaining: int | None = None  # bytes of the body still to come; None: there is no length
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body: bytes | bytearray = b""

    def forget(self) -> None:
        """Drops what has come of a request."""
        self.target = self.body = b""
        self.headers = []

    # -- called by llhttp

    def on_message_begin(self) -> None:
        self.begun += 1
        self.target = b""
        self.headers = []
        self.body = b""
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
            self.body = bytearray(self.body)  # a list of pieces would take far more memory for single bytes
        self.body += data

    def on_message_complete(self) -> None:
        self.complete = True

    # -- the head

    def check_head(self, version: str) -> None:
        """Judges a whole head, and takes from it how the body ends. Raises BadRequest, TooLarge."""
        if version not in _VERSIONS:
            raise BadRequest(f"HTTP/{version} is not spoken here")
        self.version = version
        self.keep_alive = version == "1.1"
        self.remaining = None
        self.framed = self.expects_continue = False
        hosts = 0
        for name, value in self.headers:
            if name not in _CHECKED:
                continue
            if name == b"host":
                hosts += 1
                if self._need_host and value != self._host:
                    if not _HOST.fullmatch(value):
                        raise BadRequest("the Host header is not HOST or HOST:PORT")
                    self._host = value
            elif name == b"content-length":
                self._take_length(value)
            elif name == b"connection" or name == b"proxy-connection":  # llhttp takes both for the same
                if b"close" in value.lower():
                    self.keep_alive = False
            elif name == b"transfer-encoding":
                self._take_encoding(value)
            elif version == "1.1":
                self.expects_continue = value.lower() == b"100-continue"
        if hosts > 1:
            raise BadRequest("a request has one Host header")
        if not hosts and self._need_host:
            self.keep_alive = False

    def _take_length(self, value: bytes) -> None:
        """Raises TooLarge."""
        self.framed = True
        digits = value.strip(b" \t").lstrip(b"0") or b"0"
        if len(digits) > _LENGTH_DIGITS:
            raise self._too_large()
        self.remaining = int(digits)
        if self.remaining > self._body_max:
            raise self._too_large()

    def _take_encoding(self, value: bytes) -> None:
        """Raises BadRequest."""
        self.framed = True
        if self.version == "1.0":
            raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
        if value.strip(b" \t").lower() != b"chunked":
            raise BadRequest("the only Transfer-Encoding here is chunked")

    # -- the body

    def begin_body(self) -> None:
        """Prepares for the body that follows a head which is whole and right."""
        self._head_count = len(self.headers)
        self._framing = 0
        self._held = b""

    def feed_body(self, feed: Callable[[bytes], None], data: bytes) -> bytes | None:
        """Gives llhttp, by `feed`, what `data` has of the body; returns what lies behind it, None if more is to come.

        Raises HeadTooLarge, TooLarge, and what `feed` raises.
        """
        self.expects_continue = False
        data, self._held = self._held + data, b""
        while not self.complete:
            part, data = self._next_part(data)
            if not part:
                self._held = data
                return None
            feed(part)
            self._check_part(len(part))
        del self.headers[self._head_count :]  # trailers are no headers: nothing here asks for one (RFC 9110, 6.5.1)
        return data

    def _next_part(self, data: bytes) -> tuple[bytes, bytes]:
        """Parts `data` into what llhttp may have now and the rest.

        llhttp would go on into the next request, unseen by our limits. A chunked body ends at CR LF CR LF and nowhere
        else, so that is where it is cut; what may be the beginning of that is held back.
        """
        if self.remaining is not None:
            part, rest = data[: self.remaining], data[self.remaining :]
            self.remaining -= len(part)
            return part, rest
        end = data.find(_CHUNKED_END)
        if end >= 0:
            return data[: end + 4], data[end + 4 :]
        for held in (3, 2, 1):
            if data.endswith(_CHUNKED_END[:held]):
                return data[:-held], data[-held:]
        return data, b""

    def _check_part(self, size: int) -> None:
        """Judges a body of which llhttp has had `size` bytes more. Raises HeadTooLarge, TooLarge."""
        self.check_body()
        self._framing += size
        if self._framing > self._head_max + len(self.body) * (1 + _CHUNK_OVERHEAD):
            option = self._options[0]
            raise HeadTooLarge(f"chunk extensions or trailers longer than {self._head_max} bytes ({option})")

    def check_body(self) -> None:
        """Raises TooLarge if more of a body has come than `body_max`."""
        if len(self.body) > self._body_max:
            raise self._too_large()

    def _too_large(self) -> TooLarge:
        return TooLarge(f"body longer than {self._body_max} bytes ({self._options[1]})")

    def request(self, method: str, body: bytes) -> HttpRequest:
        """Returns what has come, with this method and body."""
        return HttpRequest(method, self.target, self.version, self.headers, body, self.keep_alive)
