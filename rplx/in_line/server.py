"""The IN line: a StreamServer on gevent with a pool of greenlets, one for each back-end's connection (part 3)."""

from __future__ import annotations

import _socket
import time
from collections.abc import Iterable, Sequence
from typing import Any

import gevent

from rplx.access.gate import GUESTS_HINT, GUESTS_REFUSED, Logins
from rplx.access.users import Users
from rplx.errors import AccessDenied, BadRequest, Refusal, TlsHandshake, TooLarge
from rplx.hub.hub import Hub
from rplx.in_line import loose_lengths as in_loose
from rplx.in_line.acceptor import Acceptor
from rplx.in_line.commands import Executor
from rplx.in_line.connection import Connection
from rplx.in_line.pool import ReusingPool
from rplx.log import Log
from rplx.messages import Command, Identifiers, Send
from rplx.net.lingering import Lingering
from rplx.net.listening import show_address
from rplx.options.table import Config
from rplx.protocol import commands, replies
from rplx.protocol.door import Door
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.replies import CONTINUE
from rplx.protocol.request_reader import RequestReader, State

ANSWERS_MAX = 65536  # bytes of answers to requests that came together after which they are sent; one may be longer
DRAIN_STEP = 0.02  # seconds between two looks at what is left when the server ends
IDLE_FROM = 1.0  # seconds without a byte after which a connection's place may be given to another, if all are taken
EARLY_COMMAND_MAX = 16384  # bytes of a plain text command that is carried out before its connection half-closes


class InServer:
    """Serves back-ends on bound and listening sockets. `start` after construction, then `stop`."""

    def __init__(
        self,
        hub: Hub,
        config: Config,
        users: Users,
        log: Log,
        *,
        wait_line: str = "where the application is served",
    ) -> None:
        """`wait_line` says where listeners go who are lost here."""
        self._hub = hub
        self.log = log
        self.pool = ReusingPool(config.in_.max_connections)
        self._servers: list[Acceptor] = []
        self._connections: set[Connection] = set()
        self._lingering = Lingering()
        self._turns = hub.turns
        self.draining = False  # connections end with their answers
        self._stopping = False
        self._wait_line = wait_line
        self._own: set[str] = set()  # the addresses at which it listens
        self._logins = Logins(users, config)
        self._executor = Executor(hub, config.in_, self._logins, log)
        self.configure(config, users)

    def configure(self, config: Config, users: Users) -> None:
        """Takes new options and users; they count from the next request on."""
        self.options = config.in_
        self.parser = IdentifierParser(config.pages.identifier, config.in_.max_ids, config.wait.id_max, "in.max_ids")
        self._logins.configure(users, config)
        self._executor.options = config.in_
        self._door = Door(config.in_.hosts, self._own, self._wait_line)

    def start(self, sockets: Iterable[Any]) -> None:
        sockets = list(sockets)
        self._own.update(map(show_address, sockets))
        self._door = Door(self.options.hosts, self._own, self._wait_line)
        for listening in sockets:
            server = Acceptor(listening, self._serve, self.pool, self.log, make_room=self._make_room)
            server.start()
            self._servers.append(server)

    def stop_accepting(self) -> None:
        for server in self._servers:
            server.end()

    def begin_to_drain(self) -> None:
        """Has each connection end with its next answer from now on; goes on to accept."""
        self.draining = True

    def drain(self, timeout: float) -> None:
        """Ends the connections of now when their requests are done, within `timeout` seconds; goes on to accept."""
        self.begin_to_drain()
        for connection in self._connections:
            connection.end_if_idle()
        left = set(self._connections)
        deadline = time.monotonic() + timeout
        while left & self._connections and time.monotonic() < deadline:
            gevent.sleep(DRAIN_STEP)
        self._lingering.wait()

    def stop(self, timeout: float) -> None:
        """Lets the requests under way end, for `timeout` seconds at most; connections without one end at once."""
        self.stop_accepting()
        self._stopping = True
        for connection in self._connections:
            connection.end_if_idle()
        self.pool.dismiss()
        self.pool.join(timeout)
        self.pool.kill(block=False)

    def _make_room(self) -> bool:
        """Gives up the place of one that is idle for one who comes; False if nobody has been idle for long enough."""
        if any(connection.given_up for connection in self._connections):
            return True  # it is about to end: one place for one who comes
        ripe = time.monotonic() - IDLE_FROM
        idle = [connection for connection in self._connections if 0 < connection.idle_since < ripe]
        for connection in sorted(idle, key=Connection.claim):
            if not connection.given_up and connection.give_up():
                text = "IN: all in.max_connections are taken: an idle one is closed for one who comes"
                self.log.counted("IN: given up", text)
                return True
        return False

    # -- one connection

    def _serve(self, sock: _socket.socket, address: Any) -> None:
        connection = Connection(sock, address, self.options.timeout)
        log = self.log
        if log.connections:
            log.connection(connection, "connection opened")
        self._connections.add(connection)
        try:
            self._talk(connection)
        except TimeoutError:
            if connection.is_between_requests():
                log.connection(connection, "timeout")  # how every kept connection ends that is no longer needed
            else:
                log.connection_error(connection, "timeout")
        except OSError as error:
            log.connection(connection, f"connection lost: {error.strerror}")
        finally:
            self._connections.discard(connection)
            if connection.lingers:
                self._lingering.add(sock)
            else:
                sock.close()
            if log.connections:
                self._hub.quiet.wait()  # the lines of a delivery stand before the end of the connection that caused it
                log.connection(connection, "connection closed")

    def _talk(self, connection: Connection) -> None:
        """Requests and answers until either side has had enough. Errors: OSError, TimeoutError."""
        maxlen = self.options.maxlen
        reader = connection.reader = RequestReader(
            maxlen, maxlen, until_end=True, need_host=False, loose_length=True, options=("in.maxlen", "in.maxlen")
        )
        log = self.log
        while not (self._stopping and reader.state is State.START):
            data = connection.receive()
            if log.connections and data:
                log.connection(connection, f"read {len(data)} bytes")
            try:
                if not data:
                    self._end(connection, reader)
                    return
                if connection.asked and not data.strip(b"\r\n"):
                    return  # a blank line behind a command: its client reads to the end
                if not self._answer_all(connection, reader.feed(data), data):
                    return
                if reader.error is not None:
                    raise reader.error
                if log.connections and not connection.parsed:
                    self._log_list_so_far(connection, reader)
                if reader.state is State.TEXT:
                    if self._talk_text(connection, reader):
                        return
                elif reader.state in (State.BODY, State.UNTIL_END):
                    if not reader.judged:
                        self._judge_head(connection, reader)
                    if reader.state is State.UNTIL_END and self._talk_open_body(connection, reader):
                        return
                self._turns.rest()  # also where the next bytes are always there
            except TlsHandshake as error:
                log.counted("IN: TLS", f"IN: {connection.host}: {error.text}")
                return
            except Refusal as error:
                self._log_refusal(connection, error)
                # Plain text has no refusals but those of a login (parts 3 and 7.3).
                if reader.state is not State.TEXT or isinstance(error, AccessDenied):
                    connection.send_last(replies.refusal(error))
                return

    def _end(self, connection: Connection, reader: RequestReader) -> None:
        """The sending half has ended, and with it perhaps a request. Errors: Refusal."""
        request = reader.end()
        if request is not None:
            connection.send(self._send_but_last(connection, self._answer(connection, request)[0]))
        elif reader.state is State.TEXT:
            self._limit(reader)
            if self.log.connections:
                self._log_list(connection, commands.list_so_far(None, reader.text + b"\n", self.parser))
            self._answer_text(connection, commands.command_of_text(reader.text, self.parser))

    def _log_list_so_far(self, connection: Connection, reader: RequestReader) -> None:
        """Tells of the list as soon as it is complete (part 4)."""
        if reader.state is State.TEXT and reader.text_size <= EARLY_COMMAND_MAX:
            self._log_list(connection, commands.list_so_far(None, reader.text, self.parser))
        elif reader.state in (State.BODY, State.UNTIL_END) and not reader.judged:
            self._log_list(connection, commands.list_so_far(reader.head(), b"", self.parser))

    def _log_list(self, connection: Connection, identifiers: Identifiers | None) -> None:
        if connection.parsed or identifiers is None:
            return
        connection.parsed = True
        credentials, limiters = identifiers.credentials, identifiers.limiters
        limits = f"; limiters are ({', '.join(limiters)})" if limiters else ""
        login = f'; login is "{credentials.login}"' if credentials else ""
        self.log.connection(connection, f"parsed IDs{limits}{login}")
        self._turns.rest()  # a list may be as long as a request, and is read again when the request is carried out

    def _log_refusal(self, connection: Connection, error: Refusal) -> None:
        if isinstance(error, commands.EmptyBody):  # ignored, so it is no error
            self.log.connection(connection, commands.EMPTY_BODY)
        else:
            if error.text == GUESTS_REFUSED and not self.log.connections:
                # Not in the answer, which old clients compare (part 3).
                self.log.counted("IN: guests", f"IN: {connection.host}: {GUESTS_HINT}")
            self.log.refused(connection, error.text, error.trouble)

    def _talk_text(self, connection: Connection, reader: RequestReader) -> bool:
        """A plain text request has grown; True if it was a whole command. Errors: Refusal."""
        self._limit(reader)
        early = reader.text_size <= EARLY_COMMAND_MAX
        command = commands.early_command(reader.text, self.parser) if early else None
        if command is None:
            return False
        self._answer_text(connection, command)
        return True

    def _judge_head(self, connection: Connection, reader: RequestReader) -> None:
        """Looks at the head of a request, once, in whatever pieces its body comes in. Errors: Refusal."""
        reader.mark_judged()
        head = reader.head()
        connection.identifiers = None
        if reader.state is State.UNTIL_END or head.method != "POST":
            has_length = reader.state is State.BODY
            connection.identifiers = commands.check_head(head, self.parser, self._door, has_length=has_length)
        if reader.expects_continue:  # curl waits a second for it before a longer body (RFC 9110, 10.1.1)
            reader.continue_sent()
            connection.send(CONTINUE)

    def _talk_open_body(self, connection: Connection, reader: RequestReader) -> bool:
        """A body without a length has grown; True if it was a whole command. Errors: Refusal."""
        if reader.body_size > EARLY_COMMAND_MAX:
            return False
        command = commands.early_command_behind(connection.identifiers, reader.so_far().body, self.parser)
        if command is None:
            return False
        answer = replies.answer(self._executor.execute(connection, command), keep_alive=False)
        connection.send_last(self._send_but_last(connection, answer))
        return True

    def _limit(self, reader: RequestReader) -> None:
        """Errors: TooLarge."""
        if reader.text_size > self.options.maxlen:
            raise TooLarge(f"overflow (received {reader.text_size} bytes total)")

    def _answer_text(self, connection: Connection, command: Command) -> None:
        """Plain text: a send is silent, a command has its answer. Errors: Refusal."""
        text = self._executor.execute(connection, command)
        if not isinstance(command, Send):
            connection.send(self._send_but_last(connection, replies.answer(text, keep_alive=False)))

    def _answer_all(self, connection: Connection, requests: list[HttpRequest], data: bytes) -> bool:
        """Answers requests in their order; False if the connection ends with one, and nothing behind it is done.

        `data` is what came last, with the end of the last of them.
        """
        answers = b""
        for request in requests:
            answer, keep_alive = self._answer(
                connection, request, data if request is requests[-1] else b"", len(requests)
            )
            if len(answer) > 1:
                connection.send(answers)
                answers = self._send_but_last(connection, answer)
            else:
                answers = answers + answer[0] if answers else answer[0]
            if not keep_alive:
                connection.send_last(answers)
                return False
            connection.served = True
            self._turns.rest()
            if len(answers) >= ANSWERS_MAX:
                connection.send(answers)
                answers = b""
        connection.send(answers)
        return True

    def _answer(
        self, connection: Connection, request: HttpRequest, data: bytes = b"", count: int = 0
    ) -> tuple[Sequence[bytes], bool]:
        """The answer to an HTTP request, one of `count`, in parts, and whether the connection is kept."""
        if self.log.connections:
            self._log_list(connection, commands.list_of(request, self.parser))
            connection.parsed = False  # the next request has a list of its own
        try:
            command, text = self._carry_out(connection, request, count)
            keep_alive = request.keep_alive and not self.draining
            connection.asked = not isinstance(command, Send)
            if connection.asked and commands.ends_in_old_form(request, data):
                keep_alive = False
            return replies.answer(text, keep_alive=keep_alive), keep_alive
        except Refusal as error:
            self._log_refusal(connection, error)
            keep_alive = request.keep_alive and not self.draining and not error.closes
            return (replies.refusal(error, keep_alive=keep_alive),), keep_alive

    def _send_but_last(self, connection: Connection, parts: Sequence[bytes]) -> bytes:
        """Sends a long answer in turns; gives its last part. Errors: OSError, TimeoutError."""
        for part in parts[:-1]:
            connection.send(part)
            self._turns.rest()  # also where the client takes it as fast as it is sent
        return parts[-1]

    def _carry_out(
        self, connection: Connection, request: HttpRequest, count: int
    ) -> tuple[Command, bytes | list[bytes]]:
        """Carries out a request; where it makes no sense as it is, its length may be too small. Errors: Refusal."""
        try:
            command = commands.command_of_http(request, self.parser, self._door)
            is_open = in_loose.is_open_command(request, command)
            if not is_open or count != 1 or not in_loose.may_go_on(connection, request):
                return command, self._executor.execute(connection, command)
            in_loose.read_on(connection, request, self.parser, self.options.maxlen)
        except BadRequest:
            if count != 1 or not in_loose.may_go_on(connection, request):
                raise
            if not in_loose.read_on(connection, request, self.parser, self.options.maxlen):
                raise
        command = commands.command_of_http(request, self.parser, self._door)
        return command, self._executor.execute(connection, command)
