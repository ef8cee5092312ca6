"""One HTTP/1.1 connection to a line of the server (RFC 9112): kept from request to request, with pipelining."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from rplx.client.errors import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    Refused,
    Timeout,
    shown,
)

HEAD_MAX = 65_536  # bytes of an answer's head
BODY_MAX = 256 * 1024 * 1024  # bytes of an answer's body: the STATS of a million channels fit
REUSE_WITHIN = 15.0  # seconds: an idle connection is used again only well before the server's in.timeout (20 s)
UNIX = "unix:"  # what a host begins with that is the path of a socket
UNIX_PATH_MAX = 107  # bytes of such a path (unix(7))
RETRY_AFTER_MAX = 300.0  # seconds: the most that a server may have a client wait by Retry-After
_RECV = 65_536


class Deadline:
    """The end of a call that may take `seconds` in all; None: for ever. It began at `since`, or begins now."""

    def __init__(self, seconds: float | None, since: float | None = None) -> None:
        """`since`: a time of the monotonic clock."""
        self._seconds = seconds
        self._end = None if seconds is None else (time.monotonic() if since is None else since) + seconds

    def __str__(self) -> str:
        return "the system's limit" if self._seconds is None else f"{self._seconds:g} s"

    def left(self) -> float | None:
        """Returns the seconds that are left, as a socket's timeout. Raises TimeoutError if none is."""
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _is_ipv6(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except OSError:
        return False
    return True


def _checked_path(host: str, *, tls: bool) -> str:
    """Returns unix:/PATH. Raises InvalidArgument unless a socket can be there (part 9.7)."""
    path = host.removeprefix(UNIX)
    if not path.startswith("/") or "\0" in path or len(os.fsencode(path)) > UNIX_PATH_MAX:
        wanted = f"unix:/PATH must be an absolute path of {UNIX_PATH_MAX} bytes at most"
        raise InvalidArgument(f'{wanted}, "{shown(host)}" given')
    if tls:
        raise InvalidArgument(f"{shown(host)}: there is no TLS on such sockets")
    return host


@dataclass(frozen=True, slots=True)
class Address:
    """Where a line listens. `tls` is the context to speak TLS with, or None. A host unix:/PATH has port 0."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None

    @classmethod
    def of(cls, host: str, port: int, tls: bool | ssl.SSLContext) -> Address:
        """Returns the address. Raises InvalidArgument for a host or port that nothing can listen on."""
        if isinstance(host, str) and host.startswith(UNIX):
            return cls(_checked_path(host, tls=bool(tls)), 0)
        wrong = f'Host must be a name or an IP address, "{shown(str(host))}" given'
        try:
            host.encode("idna")
        except (UnicodeError, AttributeError) as error:
            raise InvalidArgument(wrong) from error
        if not host or not host.isprintable() or set(host) & set(" /@"):
            raise InvalidArgument(wrong)
        if ":" in host and not _is_ipv6(host):
            text = f"{wrong}; the port is an argument of its own"
            raise InvalidArgument(f'{text}, as in ("127.0.0.1", 10010), and IPv6 has no brackets, as in ("::1", 10010)')
        if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
            raise InvalidArgument(f'Port must be 1 to 65535, "{shown(str(port))}" given')
        return cls(host, port, ssl.create_default_context() if tls is True else tls or None)

    def __str__(self) -> str:
        if self.is_unix:
            return self.host
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_unix(self) -> bool:
        """Whether this is the path of a socket."""
        return not self.port

    def connect(self, timeout: float | None) -> socket.socket:
        """Returns a socket that is connected to it. Raises OSError, UnicodeError."""
        if not self.is_unix:
            return socket.create_connection((self.host, self.port), timeout)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(self.host.removeprefix(UNIX))
        except BaseException:
            sock.close()
            raise
        return sock

    @property
    def host_header(self) -> str:
        if self.is_unix:
            return "localhost"
        return str(self).encode("idna").decode() if not self.host.isascii() else str(self)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case. `closes`: the server takes no further request on this connection."""

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    closes: bool

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    @property
    def retry_after(self) -> float:
        """The seconds that a 429 or 503 asks to wait for, RETRY_AFTER_MAX at most; else 0 (RFC 9110, 10.2.3)."""
        if self.status not in (429, 503):
            return 0.0
        given = self.headers.get("retry-after", "")
        if given.isascii() and given.isdigit():
            return float(min(int(given[:9]), RETRY_AFTER_MAX))
        try:
            seconds = parsedate_to_datetime(given).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
        return max(0.0, min(seconds, RETRY_AFTER_MAX))

    def refusal(self) -> Refused:
        """Returns what this answer says, if it is a refusal."""
        return Refused(self.status, self.reason, self.text.strip(), self.retry_after)


class Connection:
    """A connection that is open once it is made. All errors name the address."""

    def __init__(self, address: Address, deadline: Deadline) -> None:
        """Connects, with the TLS handshake if there is one. Raises ConnectionFailed, Timeout."""
        self.address = address
        self._used = time.monotonic()
        self._buffer = bytearray()
        self._is_chunked = False  # of the body that is being read in pieces, and the bytes that are left of its piece
        self._left: int | None = None  # None: it goes on to the end of the connection
        try:
            self._socket = address.connect(deadline.left())
        except TimeoutError as error:
            raise Timeout(f"{address}: no connection within {deadline}", unknown=False) from error
        except (OSError, UnicodeError) as error:
            raise ConnectionFailed(f"{address}: {_text(error)}") from error
        try:
            if not address.is_unix:
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if address.tls is not None:
                self._socket.settimeout(deadline.left())
                self._socket = address.tls.wrap_socket(self._socket, server_hostname=address.host)
        except TimeoutError as error:
            self.close()
            raise Timeout(f"{address}: no TLS handshake within {deadline}", unknown=False) from error
        except (OSError, ValueError) as error:
            self.close()
            raise ConnectionFailed(f"{address}: {_text(error)}") from error
        except BaseException:
            self.close()
            raise

    def usable(self) -> bool:
        """Returns whether a kept connection may carry another request: not idle too long, open, nothing unread."""
        if self._buffer or time.monotonic() - self._used > REUSE_WITHIN:
            return False
        try:
            self._socket.settimeout(0.0)
            self._socket.recv(1)  # the end of the stream, or bytes without a request: both make it useless
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        return False

    def ask(self, request: bytes, deadline: Deadline) -> Answer:
        """Writes one request and returns its answer. Raises ConnectionLost, Timeout, BrokenResponse.

        If the write fails, an answer that the server gave before it stopped reading (such as 413) is still returned.
        A ConnectionLost without an answer has `unknown` False: the server never had the whole request.
        """
        try:
            self.write(request, deadline)
        except ConnectionLost:
            with contextlib.suppress(ConnectionLost, Timeout, BrokenResponse):
                return self.read_answer(deadline)
            raise
        return self.read_answer(deadline)

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Writes all of `data`. Raises ConnectionLost, Timeout."""
        with self._errors("sending", deadline, unknown=False):
            self._socket.settimeout(deadline.left())
            self._socket.sendall(data)

    def read_answer(self, deadline: Deadline) -> Answer:
        """Returns the next answer, in the order of the requests; skips interim answers (1xx).

        Raises ConnectionLost, Timeout, BrokenResponse.
        """
        with self._errors("waiting for the answer", deadline, unknown=True):
            version, status, reason, headers = self._head(deadline)
            body, ended = self._body(headers, deadline, empty=status in (204, 304))
        self._used = time.monotonic()
        tokens = headers.get("connection", "").lower()
        closes = ended or "close" in tokens or (version == "1.0" and "keep-alive" not in tokens)
        return Answer(status, reason, headers, body, closes)

    def begin(self, request: bytes, deadline: Deadline) -> Answer:
        """Writes a request and returns its answer; one with status 200 without the body, which `read_some` gives.

        Raises ConnectionLost, Timeout, BrokenResponse.
        """
        self.write(request, deadline)
        with self._errors("waiting for the answer", deadline, unknown=True):
            _, status, reason, headers = self._head(deadline)
            body = b"" if status == 200 else self._body(headers, deadline, empty=status in (204, 304))[0]
            self._is_chunked = "chunked" in headers.get("transfer-encoding", "").lower()
            length = headers.get("content-length")
            self._left = 0 if self._is_chunked else None if length is None else self._size(length, 10)
        return Answer(status, reason, headers, body, closes=True)

    def read_some(self, deadline: Deadline) -> bytes:
        """Returns what comes next of the body of `begin`, b"" at its end, also where it was cut.

        Raises ConnectionLost, Timeout, BrokenResponse.
        """
        with self._errors("reading", deadline, unknown=True):
            try:
                if self._left == 0 and self._is_chunked:
                    # The line before a size ends the chunk before.
                    line = self._line(deadline) or self._line(deadline)
                    self._left = self._size(line.partition(b";")[0].decode("latin-1"), 16)
                    self._is_chunked = self._left > 0
                if self._left == 0:
                    return b""
                if not self._buffer:
                    self._fill(deadline)
            except EOFError:
                return b""
        data = self._take(len(self._buffer) if self._left is None else min(self._left, len(self._buffer)))
        if self._left is not None:
            self._left -= len(data)
        return data

    def abort(self) -> None:
        """Ends the connection, so that a read that waits in another thread fails."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()

    @contextlib.contextmanager
    def _errors(self, doing: str, deadline: Deadline, *, unknown: bool) -> Iterator[None]:
        """Turns errors of the socket into the client's, which say what was being done."""
        try:
            yield
        except TimeoutError as error:
            raise Timeout(f"{self.address}: {doing}: not done within {deadline}", unknown=unknown) from error
        except EOFError as error:
            raise ConnectionLost(
                f"{self.address}: {doing}: connection closed by the server", unknown=unknown
            ) from error
        except OSError as error:
            raise ConnectionLost(f"{self.address}: {doing}: {_text(error)}", unknown=unknown) from error

    def _fill(self, deadline: Deadline) -> None:
        self._socket.settimeout(deadline.left())
        data = self._socket.recv(_RECV)
        if not data:
            raise EOFError
        self._buffer += data

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _line(self, deadline: Deadline) -> bytes:
        start = 0
        while (end := self._buffer.find(b"\n", start)) < 0:
            start = len(self._buffer)
            if start > HEAD_MAX:
                raise BrokenResponse(f"{self.address}: a line of the answer's head is longer than {HEAD_MAX} bytes")
            self._fill(deadline)
        return self._take(end + 1).rstrip(b"\r\n")

    def _head(self, deadline: Deadline) -> tuple[str, int, str, dict[str, str]]:
        """Returns version, status, reason and headers of the next answer that is no interim one."""
        while True:
            version, status, reason = _status(self.address, self._line(deadline))
            headers = self._headers(deadline)
            if status >= 200:
                return version, status, reason, headers

    def _headers(self, deadline: Deadline) -> dict[str, str]:
        headers: dict[str, str] = {}
        size = 0
        while line := self._line(deadline):
            size += len(line)
            if size > HEAD_MAX:
                raise BrokenResponse(f"{self.address}: the answer's head is longer than {HEAD_MAX} bytes")
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        return headers

    def _body(self, headers: dict[str, str], deadline: Deadline, *, empty: bool) -> tuple[bytes, bool]:
        """Returns the body, and whether it ended with the stream (RFC 9112, section 6.3)."""
        if empty:
            return b"", False
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks(deadline), False
        length = headers.get("content-length")
        if length is None:
            return self._rest(deadline), True
        return self._exactly(self._size(length, 10), deadline), False

    def _size(self, text: str, base: int) -> int:
        try:
            size = int(text, base)
        except ValueError as error:
            raise BrokenResponse(f"{self.address}: {text[:50]!r} is no length") from error
        if not 0 <= size <= BODY_MAX:
            raise BrokenResponse(f"{self.address}: an answer of {size} bytes; at most {BODY_MAX} are read")
        return size

    def _exactly(self, size: int, deadline: Deadline) -> bytes:
        while len(self._buffer) < size:
            self._fill(deadline)
        return self._take(size)

    def _rest(self, deadline: Deadline) -> bytes:
        with contextlib.suppress(EOFError):
            while len(self._buffer) <= BODY_MAX:
                self._fill(deadline)
            raise BrokenResponse(f"{self.address}: an answer of more than {BODY_MAX} bytes")
        return self._take(len(self._buffer))

    def _chunks(self, deadline: Deadline) -> bytes:
        body = bytearray()
        while size := self._size(self._line(deadline).partition(b";")[0].decode("latin-1"), 16):
            body += self._exactly(size, deadline)
            self._line(deadline)
            self._size(str(len(body)), 10)
        self._headers(deadline)
        return bytes(body)


def _status(address: Address, line: bytes) -> tuple[str, int, str]:
    """Returns the HTTP version, status and reason of a status line. Raises BrokenResponse."""
    version, _, rest = line.decode("latin-1").partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (status.isascii() and status.isdigit() and len(status) == 3):
        raise BrokenResponse(f"{address}: non-HTTP response received: {line[:200].decode('utf-8', 'replace')}")
    return version.removeprefix("HTTP/"), int(status), reason.strip()


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
