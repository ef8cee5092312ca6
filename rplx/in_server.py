"""The IN line: a StreamServer on gevent with a pool of greenlets, one for each back-end's connection (part 3)."""

from __future__ import annotations

import _socket
import contextlib
import ipaddress
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakValueDictionary

from gevent import get_hub
from gevent.lock import BoundedSemaphore
from gevent.server import StreamServer
from gevent.socket import wait_read, wait_write

from rplx.acceptor import PAUSE, is_shortage
from rplx.errors import AccessDenied, MethodNotAllowed, Refusal, TooLarge, TooManyRequests
from rplx.hub import Hub
from rplx.in_pool import ReusingPool
from rplx.lingering import Lingering
from rplx.log import Log
from rplx.messages import Command, Credentials, Online, Send, Stats, Watch
from rplx.options import InOptions
from rplx.protocol import commands, replies
from rplx.protocol.http_requests import CONTINUE, HttpRequest, RequestReader, State
from rplx.protocol.identifiers import IdentifierParser
from rplx.users import Users

READ_SIZE = 65536  # bytes read at once
ACCEPT_MAX = 256  # connections accepted at once
LONG_TURN = 0.001  # seconds of a turn of the loop after which so many are accepted, and not one
EARLY_COMMAND_MAX = 16384  # bytes of a plain text command that is carried out before its connection half-closes
FAILURE_WINDOW = 60.0  # seconds over which failed logins of an address are counted
FAILURE_ADDRESSES_MAX = 10_000  # addresses whose failures are remembered


_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL


class _Connection:
    """A back-end's connection: its socket, read and written by its greenlet, which waits only where it must.

    The bare socket and a watcher when it would block: gevent's own socket object took 60 µs of the 200 of a send.
    """

    __slots__ = ("_sock", "_timeout", "host", "lingers", "port", "reader")
    line = "IN"

    def __init__(self, sock: _socket.socket, address: Any, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self.host: str = address[0]
        self.port: int = address[1]
        self.reader: RequestReader | None = None
        self.lingers = False  # whether its client may still send when it ends

    @property
    def peer(self) -> str:
        """HOST:PORT, for the log."""
        return f"{self.host}:{self.port}"

    def receive(self) -> bytes:
        """What has come, empty at the end of the client's sending half. Errors: OSError, TimeoutError."""
        while True:
            try:
                return self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT)
            except BlockingIOError:
                wait_read(self._sock.fileno(), self._timeout, TimeoutError())

    def send(self, data: bytes, flags: int = _SEND) -> None:
        """Sends all of `data`. Errors: OSError, TimeoutError."""
        while data:
            try:
                data = data[self._sock.send(data, flags) :]
            except BlockingIOError:
                wait_write(self._sock.fileno(), self._timeout, TimeoutError())

    def end_if_idle(self) -> None:
        """Between two requests, makes the next thing received the end; one that has come is answered before it."""
        if self.reader is None or self.reader.state is State.START:
            with contextlib.suppress(OSError):
                self._sock.shutdown(_socket.SHUT_RD)

    def send_last(self, data: bytes) -> None:
        """Sends all of `data`, so that it goes out together with the end: a fifth of a send's time saved.

        `lingers` tells how to end: by closing where the client has ended its half, as Realplexor's clients do behind a
        send; else unread bytes would turn the end into a reset. Errors: OSError, TimeoutError.
        """
        try:
            self.lingers = bool(self._sock.recv(READ_SIZE, _socket.MSG_DONTWAIT))
        except BlockingIOError:
            self.lingers = True
        self.send(data, _SEND | _socket.MSG_MORE)


class _Acceptor(StreamServer):
    """A StreamServer whose handler gets bare sockets, and that pauses when descriptors have run out."""

    def __init__(self, listening: Any, handle: Callable[..., Any], pool: ReusingPool, log: Log) -> None:
        self._turn = 0.0
        super().__init__(listening, handle, spawn=pool)
        self._serve = handle
        self._spawn_greenlet = pool.spawn
        self._log = log
        self._accept_one = listening._accept  # gives a bare descriptor
        self._family: int = listening.family  # gevent makes an enum of it at each look

    @property
    def max_accept(self) -> int:  # type: ignore[override]
        """Connections taken in this turn of the loop.

        One: it has its answer before the next is taken (plain sends 0.81 -> 0.89 of the floor's). But where turns are
        long, as others have much to do, all that have come.
        """
        turn, self._turn = self._turn, self.loop.now()
        return 1 if self._turn - turn < LONG_TURN else ACCEPT_MAX

    def do_read(self) -> Any:
        try:
            fd, address = self._accept_one()
        except BlockingIOError:
            return None
        except OSError as error:  # ECONNABORTED and the like are that client's own affair
            if is_shortage(error, self._log):  # gevent itself would print a traceback for each try
                self.stop_accepting()
                timer: Any = self.loop.timer(PAUSE)
                timer.start(self._start_accepting_if_started)  # type: ignore[attr-defined]
                self._timer = timer  # which stop_accepting stops
            return None
        return _socket.socket(self._family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0, fd), address

    def do_handle(self, sock: _socket.socket, address: Any) -> None:
        self._spawn_greenlet(self._serve, sock, address)  # which closes it: two calls less than by gevent's own way


class InServer:
    """Serves back-ends on bound and listening sockets. `start` after construction, then `stop`."""

    def __init__(self, hub: Hub, options: InOptions, parser: IdentifierParser, users: Users, log: Log) -> None:
        self._hub = hub
        self.log = log
        self.pool = ReusingPool(options.max_connections)
        self._servers: list[_Acceptor] = []
        self._connections: set[_Connection] = set()
        self._lingering = Lingering()
        self._stopping = False
        self._failures: dict[str, deque[float]] = {}
        self._verifying: WeakValueDictionary[str, BoundedSemaphore] = WeakValueDictionary()  # by address
        self.max_failures = 0
        self.configure(options, parser, users)

    def configure(self, options: InOptions, parser: IdentifierParser, users: Users) -> None:
        """Takes new options and users; they count from the next request on."""
        self.options = options
        self.parser = parser
        self.users = users

    def start(self, sockets: Iterable[Any]) -> None:
        for listening in sockets:
            server = _Acceptor(listening, self._serve, self.pool, self.log)
            server.start()
            self._servers.append(server)

    def stop_accepting(self) -> None:
        for server in self._servers:
            server.stop_accepting()

    def stop(self, timeout: float) -> None:
        """Lets the requests under way end, for `timeout` seconds at most; connections without one end at once."""
        self.stop_accepting()
        self._stopping = True
        for connection in self._connections:
            connection.end_if_idle()
        self.pool.dismiss()
        self.pool.join(timeout)
        self.pool.kill(block=False)
        self._lingering.wait()

    # -- one connection

    def _serve(self, sock: _socket.socket, address: Any) -> None:
        connection = _Connection(sock, address, self.options.timeout)
        log = self.log
        if log.connections:
            log.connection(connection, "connection opened")
        self._connections.add(connection)
        try:
            self._talk(connection)
        except TimeoutError:
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

    def _talk(self, connection: _Connection) -> None:
        """Requests and answers until either side has had enough. Errors: OSError, TimeoutError."""
        maxlen = self.options.maxlen
        reader = connection.reader = RequestReader(maxlen, maxlen, until_end=True, need_host=False)
        log = self.log
        while not (self._stopping and reader.state is State.START):
            data = connection.receive()
            if log.connections:
                log.connection(connection, f"read {len(data)} bytes")
            try:
                if not data:
                    self._end(connection, reader)
                    return
                if not self._answer_all(connection, reader.feed(data)):
                    return
                if reader.error is not None:
                    raise reader.error
                if reader.state is State.TEXT:
                    if self._talk_text(connection, reader.text):
                        return
                elif reader.state is State.UNTIL_END:
                    self._check_open_body(reader.head())
                elif reader.expects_continue:  # curl waits a second for it before a longer body (RFC 9110, 10.1.1)
                    reader.expects_continue = False
                    connection.send(CONTINUE)
            except Refusal as error:
                log.connection_error(connection, error.text)
                # Plain text has no refusals but those of a login (parts 3 and 7.3).
                if reader.state is not State.TEXT or isinstance(error, AccessDenied):
                    connection.send_last(replies.refusal(error))
                return

    def _end(self, connection: _Connection, reader: RequestReader) -> None:
        """The sending half has ended, and with it perhaps a request. Errors: Refusal."""
        request = reader.end()
        if request is not None:
            connection.send(self._answer(connection, request)[0])
        elif reader.state is State.TEXT:
            text = self._limited(reader.text)
            self._answer_text(connection, commands.command_of_text(text, self.parser))

    def _talk_text(self, connection: _Connection, text: bytes) -> bool:
        """A plain text request has grown; True if it was a whole command. Errors: Refusal."""
        self._limited(text)
        command = commands.early_command(text, self.parser) if len(text) <= EARLY_COMMAND_MAX else None
        if command is None:
            return False
        self._answer_text(connection, command)
        return True

    def _limited(self, text: bytes) -> bytes:
        if len(text) > self.options.maxlen:
            raise TooLarge(f"overflow (received {len(text)} bytes total)")
        return text

    def _answer_text(self, connection: _Connection, command: Command) -> None:
        """Plain text: a send is silent, a command has its answer. Errors: Refusal."""
        text = self._execute(connection, command)
        if not isinstance(command, Send):
            connection.send(replies.answer(text, keep_alive=False))

    def _check_open_body(self, request: HttpRequest) -> None:
        """An HTTP request whose body goes on to the end of the sending half. Errors: Refusal."""
        if commands.marker_of_head(request, self.parser) is None and request.method in ("GET", "HEAD"):
            raise MethodNotAllowed("send by POST, with a Content-Length and X-Realplexor: identifier=ID,ID")

    def _answer_all(self, connection: _Connection, requests: list[HttpRequest]) -> bool:
        """Answers requests in their order; False if the connection ends with one, and nothing behind it is done."""
        answers = []
        for request in requests:
            answer, keep_alive = self._answer(connection, request)
            answers.append(answer)
            if not keep_alive:
                connection.send_last(b"".join(answers))
                return False
        connection.send(b"".join(answers))
        return True

    def _answer(self, connection: _Connection, request: HttpRequest) -> tuple[bytes, bool]:
        """The answer to an HTTP request, and whether the connection is kept."""
        try:
            text = self._execute(connection, commands.command_of_http(request, self.parser))
            return replies.answer(text, keep_alive=request.keep_alive), request.keep_alive
        except Refusal as error:
            self.log.connection_error(connection, error.text)
            keep_alive = request.keep_alive and not error.closes
            return replies.refusal(error, keep_alive=keep_alive), keep_alive

    # -- commands

    def _execute(self, connection: _Connection, command: Command) -> bytes:
        """Carries a command out; gives the text of its answer. Errors: Refusal."""
        if isinstance(command, Send):
            return self._send(connection, command)
        credentials = command.credentials
        self._admit(connection, credentials)
        login = credentials.login if credentials else None
        if isinstance(command, Online):
            self._received(connection, "ONLINE", command.prefixes)
            prefixes = self._owned(login, command.prefixes)
            if prefixes is None:
                return b""
            online = self._hub.engine.online(prefixes)
            if len(online) > self.options.max_online:
                raise TooLarge(f"more than {self.options.max_online} ids are online; ask for those of a prefix")
            self.log.connection(connection, f"sending {len(online)} online identifiers")
            return replies.online(online)
        if isinstance(command, Watch):
            return self._watch(connection, command, login)
        assert isinstance(command, Stats)
        self._received(connection, "STATS", ())
        self.log.connection(connection, "sending stats")
        return b"" if login else replies.stats(self._hub.stats())

    def _send(self, connection: _Connection, command: Send) -> bytes:
        identifiers = command.identifiers
        credentials = identifiers.credentials
        self._admit(connection, credentials)
        log = self.log
        if log.connections:
            limits = f"; limiters are ({', '.join(identifiers.limiters)})" if identifiers.limiters else ""
            login = f'; login is "{credentials.login}"' if credentials else ""
            log.connection(connection, f"parsed IDs{limits}{login}")
        if self.options.check_json:
            commands.check_json(command.data)
        if credentials is not None:
            for id in [id for id in identifiers.cursors if not self.users.owns(credentials.login, id)]:
                log.connection(connection, f"skipping not owned [{id}] for login {credentials.login}")
                del identifiers.cursors[id]
            if not identifiers.cursors:
                return b""
        if log.connections:
            log.connection(connection, f"added data for [{','.join(identifiers.cursors)}]")
        return replies.receipt(self._hub.publish(command))

    def _watch(self, connection: _Connection, command: Watch, login: str | None) -> bytes:
        arguments = () if command.position is None else (command.position, *command.prefixes)
        self._received(connection, "WATCH", arguments)
        engine = self._hub.engine
        newest = engine.position()
        position = _whole(command.position)
        if not position or position > newest:
            self.log.connection(connection, "sending 1 events")
            return replies.fake_event(newest)
        prefixes = self._owned(login, command.prefixes)
        if prefixes is None:
            return b""
        events = engine.events(position, prefixes)
        self.log.connection(connection, f"sending {len(events)} events")
        return replies.events(events)

    def _received(self, connection: _Connection, name: str, arguments: Iterable[str]) -> None:
        if self.log.connections:
            self.log.connection(connection, f"received aux command: {' '.join([name, *arguments])}")

    def _owned(self, login: str | None, prefixes: tuple[str, ...]) -> tuple[str, ...] | None:
        """The prefixes that the login may ask about; None if it may ask about none of them."""
        if login is None:
            return prefixes
        return tuple([prefix for prefix in prefixes if self.users.owns(login, prefix)]) or None

    # -- who may

    def _admit(self, connection: _Connection, credentials: Credentials | None) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        if credentials is None:
            if not self.users.guests_allowed:
                raise AccessDenied("access denied for guest user")
            if not self.users.has_file and self.options.guests_loopback_only and not is_loopback(connection.host):
                raise AccessDenied("access denied for guest user")
            return
        if self.users.remembers(credentials.login, credentials.password):
            return
        # One at a time from each address: a thousand guesses at once would all come before the first has failed.
        turn = self._verifying.setdefault(connection.host, BoundedSemaphore())
        with turn:
            self._verify(connection.host, credentials)

    def _verify(self, host: str, credentials: Credentials) -> None:
        """Errors: AccessDenied, TooManyRequests."""
        users = self.users
        if users.remembers(credentials.login, credentials.password):  # the one before us has just found out
            return
        now = time.monotonic()
        failures = self._failures.get(host)
        if failures is not None and self.max_failures:
            while failures and failures[0] + FAILURE_WINDOW < now:
                failures.popleft()
            if len(failures) >= self.max_failures:
                raise TooManyRequests("too many failed logins from this address; wait a minute")
        # A hash is slow by design: in a thread it holds up nobody else.
        denied = get_hub().threadpool.apply(_denial, (users, credentials))
        if denied is not None:
            if self.max_failures:
                if len(self._failures) >= FAILURE_ADDRESSES_MAX:
                    self._failures.pop(next(iter(self._failures)))
                self._failures.setdefault(host, deque(maxlen=self.max_failures)).append(now)
            raise denied


def _denial(users: Users, credentials: Credentials) -> AccessDenied | None:
    """Not raised: gevent's threads print the traceback of what is raised in them."""
    try:
        users.verify(credentials.login, credentials.password)
    except AccessDenied as error:
        return error
    return None


def _whole(text: str | None) -> int | None:
    """A position's number; None if it is not one."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    return int(text)


def is_loopback(host: str) -> bool:
    """Whether an address is the machine's own."""
    if host.startswith("127."):
        return True
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return True  # a Unix socket's
