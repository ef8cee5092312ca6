"""What comes in on the WAIT line: bytes are read and cut into requests, which wait for the application."""

from __future__ import annotations

import _socket
import time
from collections import deque

from rplx.errors import BadRequest, HeadTooLarge, Refusal, TlsHandshake
from rplx.log import Log
from rplx.options.table import Config
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.replies import CONTINUE
from rplx.protocol.request_reader import RequestReader, State
from rplx.wait_line.connection import READING, WORKING, Connection
from rplx.wait_line.connections import Connections

READ_SIZE = 16384  # bytes read at once
READ_TURN = 4  # times that a connection is read before others have their turn
PIPELINE_MAX = 16  # requests that a client may send ahead on one connection; past it the connection ends

_DONT_WAIT = _socket.MSG_DONTWAIT
_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class Requests(Connections):
    """Reads connections. `requests` are those that are whole, each with its connection; `bytes` are plain text."""

    def __init__(self, config: Config, log: Log) -> None:
        super().__init__(config.wait, log)
        self.requests: deque[tuple[Connection, HttpRequest | bytes]] = deque()
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes new options; what is parked keeps its deadline."""
        options = self.options = config.wait
        self.count_addresses()
        self._parser = IdentifierParser(config.pages.identifier, options.max_ids, options.id_max)
        self._body_max = max(options.body_max, options.maxlen)
        self._spare: RequestReader | None = None  # holds nothing of any connection, and nobody else has it

    def _new_reader(self) -> RequestReader:
        return RequestReader(self.options.head_max, self._body_max, old_ends=True)

    def read(self, connection: Connection) -> None:
        """Reads what has come, for a turn; what is not whole yet is waited for."""
        sock = connection.sock
        for _ in range(READ_TURN):
            try:
                data = sock.recv(READ_SIZE, _DONT_WAIT)
            except BlockingIOError:
                self._await_more(connection)
                return
            except OSError:
                self.close(connection)
                return
            if self.log.connections and data:
                self.log.connection(connection, f"read {len(data)} bytes")
            try:
                if data:
                    self._feed(connection, data)
                else:
                    self._end(connection)
            except Refusal as error:
                self.give_up(connection, error)
            if connection.state != READING:
                return
            if len(data) < READ_SIZE:
                if not connection.readable:
                    self._await_more(connection)
                    return
                connection.readable = False  # the end of the client's sending half came with the data
        self._start_clock(connection)
        self.read_later(connection)

    def read_later(self, connection: Connection) -> None:
        """Has the connection read again when others have had their turn."""
        raise NotImplementedError

    def _await_more(self, connection: Connection) -> None:
        self._start_clock(connection)
        self.watch(connection)

    def _start_clock(self, connection: Connection) -> None:
        if not connection.deadline:
            connection.deadline = time.monotonic() + self.options.head_timeout

    def give_up(self, connection: Connection, error: Refusal) -> None:
        """Ends a connection that sent what is no request: plain text without a word, HTTP with a refusal (part 7.3)."""
        reader = connection.reader
        if isinstance(error, TlsHandshake):
            self.log.counted("WAIT: TLS", f"WAIT: {connection.host}: {error.text}")
            self.close(connection)
        elif reader is not None and reader.state is State.TEXT:
            self.log.connection_error(connection, error.text)
            self.close(connection)
        else:
            self.refuse(connection, error)

    def _feed(self, connection: Connection, data: bytes) -> None:
        """Errors: Refusal.

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
        if reader.error is not None:
            if not requests:
                raise reader.error
            return  # those before the wrong one are answered first
        state = reader.state
        if state is State.START or state is State.CLOSED:
            connection.reader = None
            if fresh:
                self._give_back(reader)
            return
        if requests:
            return
        if fresh:
            connection.deadline = time.monotonic() + self.options.head_timeout
        self._judge_partial(connection, reader)
        if reader.expects_continue:
            self.go_on(connection, reader)

    def _give_back(self, reader: RequestReader) -> None:
        """Keeps a reader that its connection has no more use for. Making one takes 0.5 µs, each poll needs one."""
        if reader.state is State.CLOSED:
            reader.reset()
        self._spare = reader

    def _take_requests(self, connection: Connection, reader: RequestReader, requests: list[HttpRequest]) -> None:
        """What came whole: the first is next, the others wait their turn. Errors: BadRequest, HeadTooLarge."""
        if len(requests) == 1:
            if reader.head_size > self.options.maxlen and reader.state is not State.BODY:  # else it is the next one's
                self._judge_whole(requests[0], reader.head_size)
        else:
            if len(requests) > PIPELINE_MAX:
                raise BadRequest(f"more than {PIPELINE_MAX} requests sent ahead")
            self.ahead[connection] = requests[1:]
        connection.state = WORKING
        self.requests.append((connection, requests[0]))

    def go_on(self, connection: Connection, reader: RequestReader) -> None:
        """For a client that asks before it sends its body: curl waits a second for this (RFC 9110, 10.1.1)."""
        reader.continue_sent()
        try:
            if connection.sock.send(CONTINUE, _SEND) == len(CONTINUE):
                return
        except OSError:
            pass
        self.close(connection)  # it does not read what it asked for

    def _judge_partial(self, connection: Connection, reader: RequestReader) -> None:
        """Plain text may be complete; what has no marker may be too long (part 2.5). Errors: HeadTooLarge."""
        if reader.state is State.UNTIL_END:
            in_target = not reader.judged and self._parser.is_in_target(reader.head().target)
            reader.mark_judged()  # the target is looked at once, whatever pieces the body comes in
            if in_target or reader.has_marker(self._parser.word):
                self._take_last(connection, reader)
            return
        is_text = reader.state is State.TEXT
        too_long = reader.text_size > self.options.maxlen
        if not is_text and (not too_long or reader.is_post):
            return
        if reader.has_marker(self._parser.word):
            if is_text:
                self._take_text(connection, reader.text)
        elif too_long:
            raise HeadTooLarge(f"overflow (received {reader.text_size} bytes total)")

    def _take_last(self, connection: Connection, reader: RequestReader) -> None:
        """The request that ends here, or where the client's sending half has ended. Errors: BadRequest."""
        request = reader.end()
        connection.reader = None
        if request is None:
            self.close(connection)
            return
        connection.state = WORKING
        self.requests.append((connection, request))

    def _judge_whole(self, request: HttpRequest, size: int) -> None:
        """The same for a request whose head of `size` bytes came whole. Errors: HeadTooLarge."""
        if request.method != "POST" and not self._parser.is_in_target(request.target):
            raise HeadTooLarge(f"overflow (received {size} bytes total)")

    def _take_text(self, connection: Connection, text: bytes) -> None:
        connection.reader = None
        connection.state = WORKING
        self.requests.append((connection, text))

    def _end(self, connection: Connection) -> None:
        """The client's sending half has ended. It may have ended a plain text request; a listener it is no more."""
        reader = connection.reader
        if reader is None:
            self.close(connection)
            return
        connection.half_closed = True
        if reader.state is State.FIRST_LINE or reader.state is State.TEXT:
            self._take_text(connection, reader.text)
        else:
            self._take_last(connection, reader)
