"""What comes in on the WAIT line: bytes are read and cut into requests, which wait for the application."""

from __future__ import annotations

import _socket
import time
from collections import deque
from collections.abc import Callable

from rplx.errors import BadRequest, HeadTooLarge, LengthRequired, Refusal, RequestTimeout, TlsHandshake
from rplx.log import Log
from rplx.net.listening import has_unread
from rplx.options.table import Config
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.proxy_protocol import BadHeader
from rplx.protocol.replies import CONTINUE
from rplx.protocol.request_reader import RequestReader
from rplx.protocol.request_reader import State as ReaderState
from rplx.wait_line.connection import Connection, Waiting
from rplx.wait_line.connections import Connections
from rplx.wait_line.states import ENDED, QUEUED, QUIET, READING, UNREAD, WORKING

READ_SIZE = 16384  # bytes read at once
READ_TURN = 4  # times that a connection is read before others have their turn
PIPELINE_MAX = 16  # requests that a client may send ahead on one connection; past it the connection ends

_DONT_WAIT = _socket.MSG_DONTWAIT
_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL

_START, _CLOSED = ReaderState.START, ReaderState.CLOSED


class Reading:
    """Reads connections. `requests` are those that are whole, each with its connection.

    `later` are connections that are read behind others. `soon` is called when there is one, or a request that no
    reading has brought: it has the loop look at both in its next turn.
    """

    def __init__(self, config: Config, log: Log, connections: Connections, soon: Callable[[], None]) -> None:
        self._log = log
        self._connections = connections
        self._clients = connections.clients
        self._awaited = self._clients.awaited
        self._soon = soon
        self.requests: deque[Waiting] = deque()
        self.later: deque[Connection] = deque()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes new options. What is under way keeps its deadline."""
        options = self._options = config.wait
        self._parser = IdentifierParser(config.pages.identifier, options.max_ids, options.id_max)
        self._body_max = max(options.body_max, options.maxlen)
        self._spare: RequestReader | None = None  # holds nothing of any connection, and nobody else has it

    def _new_reader(self) -> RequestReader:
        return RequestReader(self._options.head_max, self._body_max, old_ends=True)

    def read(self, connection: Connection) -> None:
        """Reads what has come, for a turn. What is not whole yet is waited for."""
        sock = connection.sock
        for _ in range(READ_TURN):
            try:
                data = sock.recv(READ_SIZE, _DONT_WAIT)
            except BlockingIOError:
                if connection.inbound is UNREAD:
                    connection.inbound = QUIET
                self._await_more(connection)
                return
            except OSError:
                self._connections.close(connection)
                return
            if self._log.connections and data:
                self._log.connection(connection, f"read {len(data)} bytes")
            try:
                if not data:
                    self._end(connection)
                elif self._awaited and connection in self._awaited:
                    self._feed_behind_header(connection, data)
                else:
                    self._feed(connection, data)
            except Refusal as error:
                self._give_up(connection, error)
            if connection.state is not READING:
                return
            if len(data) < READ_SIZE:
                if connection.inbound is not UNREAD:
                    self._await_more(connection)
                    return
                connection.inbound = QUIET  # the end of the client's sending half came with the data
        self._start_clock(connection)
        self.read_later(connection)

    def read_later(self, connection: Connection) -> None:
        """Has the connection read again when others have had their turn."""
        connection.turn = QUEUED
        self.later.append(connection)
        self._soon()

    def _await_more(self, connection: Connection) -> None:
        self._start_clock(connection)
        self._connections.watch(connection)

    def _start_clock(self, connection: Connection) -> None:
        if not connection.deadline:
            connection.deadline = time.monotonic() + self._options.head_timeout

    def time_is_up(self, connection: Connection) -> None:
        """No whole request has come in time: a half one is refused, unless it is plain text."""
        reader = connection.reader
        if connection in self._awaited:
            self._close_without_header(connection, f"no PROXY header within {self._options.head_timeout:g} s")
        elif reader is None or reader.state is ReaderState.TEXT:
            self._connections.close(connection)
        elif reader.state is ReaderState.UNTIL_END:
            self._connections.refuse(connection, LengthRequired("a POST needs a Content-Length"))
        else:
            text = f"no whole request within {self._options.head_timeout:g} s"
            self._connections.refuse(connection, RequestTimeout(text))

    def _give_up(self, connection: Connection, error: Refusal) -> None:
        """Ends a connection that sent what is no request: plain text without a word, HTTP with a refusal (part 7.3)."""
        reader = connection.reader
        if isinstance(error, TlsHandshake):
            self._log.counted("WAIT: TLS", f"WAIT: {connection.host}: {error.text}")
            self._connections.close(connection)
        elif reader is not None and reader.state is ReaderState.TEXT:
            self._log.connection_error(connection, error.text)
            self._connections.close(connection)
        else:
            self._connections.refuse(connection, error)

    def answered(self, connection: Connection, linger: bool) -> None:
        """Goes on behind an answer that has been sent: to the next request on a kept connection, else to its end.

        `linger`: the client may still send, and gets time to read its answer.
        """
        connection.listener = connection.event = None
        connection.sent = 0
        if connection.keep_alive:
            if self._clients.active:
                self._clients.end(connection)
            connection.state = READING
            connection.head = b""
            connection.deadline = time.monotonic() + self._options.keepalive_timeout
            ahead = self._connections.ahead.pop(connection, None)
            if ahead:
                self._take_ahead(connection, ahead)
            else:
                if connection.reader is not None:
                    self._resume(connection, connection.reader)
                if connection.inbound is not QUIET and connection.state is READING:
                    self.read_later(connection)
        elif linger or has_unread(connection.fd):
            self._connections.linger(connection)
        else:
            self._connections.close(connection)

    def _take_ahead(self, connection: Connection, ahead: list[HttpRequest]) -> None:
        """The client has sent further requests ahead: the first of them is next."""
        connection.state = WORKING
        self.requests.append((connection, ahead.pop(0)))
        if ahead:
            self._connections.ahead[connection] = ahead
        self._soon()

    def _resume(self, connection: Connection, reader: RequestReader) -> None:
        """The next request has begun, so it is that which has to come whole in time."""
        if reader.error is not None:
            self._give_up(connection, reader.error)
            return
        connection.deadline = time.monotonic() + self._options.head_timeout
        if reader.expects_continue:
            self._send_continue(connection, reader)

    def _feed_behind_header(self, connection: Connection, data: bytes) -> None:
        """Takes what came of a PROXY header, and hands what lies behind it to `_feed` (part 9.6). Raises Refusal."""
        try:
            data, has_room = self._clients.take_header(connection, data)
        except BadHeader as error:
            self._close_without_header(connection, str(error))
            return
        if not has_room:
            self._connections.refuse_one_more(connection)
        elif data:
            self._feed(connection, data)

    def _close_without_header(self, connection: Connection, text: str) -> None:
        self._log.counted("WAIT: PROXY", f"WAIT: {connection.host}: closed, {text} (wait.proxy_protocol)")
        self._connections.close(connection)

    def _feed(self, connection: Connection, data: bytes) -> None:
        """Hands what came to the connection's reader, and takes from it what is whole. Raises Refusal.

        The reader is the connection's own from the first byte on, and is given back only when it is seen to hold
        nothing: whatever goes wrong in between, no other connection gets it.
        """
        reader = connection.reader
        fresh = reader is None
        if reader is None:
            reader, self._spare = self._spare or self._new_reader(), None
            connection.reader = reader
        requests = reader.feed(data)
        if requests:
            self._take_requests(connection, reader, requests)
        state = reader.state
        if reader.error is not None:
            if not requests:  # else those before the wrong one are answered first
                raise reader.error
        elif state is _START or state is _CLOSED:
            connection.reader = None
            if fresh:
                self._give_back(reader)
        elif not requests:
            if fresh:
                connection.deadline = time.monotonic() + self._options.head_timeout
            self._judge_partial(connection, reader)
            if reader.expects_continue:
                self._send_continue(connection, reader)

    def _give_back(self, reader: RequestReader) -> None:
        """Keeps a reader that its connection has no more use for, as each poll needs one and making one takes time."""
        if reader.state is _CLOSED:
            reader.reset()
        self._spare = reader

    def _take_requests(self, connection: Connection, reader: RequestReader, requests: list[HttpRequest]) -> None:
        """Takes what is whole: the first is next, the others wait their turn. Raises BadRequest, HeadTooLarge."""
        if len(requests) == 1:
            if reader.head_size > self._options.maxlen and reader.state is not ReaderState.BODY:
                self._judge_whole(requests[0], reader.head_size)  # in State.BODY the size is that of the next request
        else:
            if len(requests) > PIPELINE_MAX:
                raise BadRequest(f"more than {PIPELINE_MAX} requests sent ahead")
            self._connections.ahead[connection] = requests[1:]
        connection.state = WORKING
        self.requests.append((connection, requests[0]))

    def _send_continue(self, connection: Connection, reader: RequestReader) -> None:
        """Answers a client that asks before it sends its body: curl waits a second for this (RFC 9110, 10.1.1)."""
        reader.continue_sent()
        try:
            if connection.sock.send(CONTINUE, _SEND) == len(CONTINUE):
                return
        except OSError:
            pass
        self._connections.close(connection)  # it does not read what it asked for

    def _judge_partial(self, connection: Connection, reader: RequestReader) -> None:
        """Takes plain text that is complete. Raises HeadTooLarge if what has no marker is too long (part 2.5)."""
        if reader.state is ReaderState.UNTIL_END:
            in_target = not reader.judged and self._parser.is_in_target(reader.head().target)
            reader.mark_judged()  # the target is looked at once, whatever pieces the body comes in
            if in_target or reader.has_marker(self._parser.word):
                self._take_last(connection, reader)
            return
        is_text = reader.state is ReaderState.TEXT
        too_long = reader.text_size > self._options.maxlen
        if not is_text and (not too_long or reader.is_post):
            return
        if reader.has_marker(self._parser.word):
            if is_text:
                self._take_text(connection, reader.text)
        elif too_long:
            raise HeadTooLarge(f"overflow (received {reader.text_size} bytes total)")

    def _take_last(self, connection: Connection, reader: RequestReader) -> None:
        """Takes the request that ends here, or where the client's sending half has ended. Raises BadRequest."""
        request = reader.end()
        connection.reader = None
        if request is None:
            self._connections.close(connection)
            return
        connection.state = WORKING
        self.requests.append((connection, request))

    def _judge_whole(self, request: HttpRequest, size: int) -> None:
        """Raises HeadTooLarge for a request with a head of `size` bytes, which is too long unless it has a marker."""
        if request.method != "POST" and not self._parser.is_in_target(request.target):
            raise HeadTooLarge(f"overflow (received {size} bytes total)")

    def _take_text(self, connection: Connection, text: bytes) -> None:
        connection.reader = None
        connection.state = WORKING
        self.requests.append((connection, text))

    def _end(self, connection: Connection) -> None:
        """Takes the end of the client's sending half. It may end a request, but that does not wait for a message."""
        reader = connection.reader
        if reader is None:
            self._connections.close(connection)
            return
        connection.inbound = ENDED
        if reader.state is ReaderState.FIRST_LINE or reader.state is ReaderState.TEXT:
            self._take_text(connection, reader.text)
        else:
            self._take_last(connection, reader)
