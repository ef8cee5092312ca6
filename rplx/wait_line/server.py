"""The standalone WAIT line: a lean WSGI server on gevent, built for connections that wait.

One greenlet a connection that waits. Work is done in phases over a batch of ready connections (accept all, read all,
parse and call the application for all, send all, watch all, park all), so that each phase's code stays in the cache.
It serves applications that answer with a list, or leave a listener in the request's `Direct`.
"""

from __future__ import annotations

import _socket
import contextlib
import select
import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import GreenletExit, greenlet

from rplx.errors import LengthRequired, Refusal, RequestTimeout, Unavailable
from rplx.hub.hub import Hub, PollTimeout
from rplx.hub.sets import Listener
from rplx.log import Log
from rplx.net.accepting import BATCH, Acceptor
from rplx.net.listening import unsent
from rplx.options.table import NEVER, Config
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.long_poll import PREFIX
from rplx.protocol.request_reader import RequestReader, State
from rplx.wait_line.backlog import HUNG_UP_MAX, Backlog
from rplx.wait_line.connection import (
    COMES_BACK,
    FINISHING,
    PARKED,
    QUEUED,
    READING,
    WORKING,
    ClientGone,
    Connection,
)
from rplx.wait_line.connections import GROWTH
from rplx.wait_line.direct import Direct
from rplx.wait_line.draining import DRAIN_POLL, Draining
from rplx.wait_line.environ import Response, environ_of
from rplx.wait_line.unsent import Unsent, left_of

LONG = 4096  # bytes of an answer that is sent from where it is, not copied behind its head
BUSY_BATCH = 16  # connections to a phase while a message is on its way to a crowd
LOOK = 4096  # events looked at, at once, for those who do not belong to the crowd
SWEEP_EVERY = 1.0  # seconds between two looks at the deadlines
HUNG_UP_TEXT = f"busy: {HUNG_UP_MAX} long polls wait already whose clients' sending halves have ended"

_DONT_WAIT = _socket.MSG_DONTWAIT
_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
_SEND_LAST = _SEND | _socket.MSG_MORE  # close() behind it sends data and FIN in one segment: 33 -> 23 µs a delivery
_RESET = select.EPOLLHUP | select.EPOLLERR
_HANG_UP = select.EPOLLRDHUP | _RESET

Life = Generator[None, None, None]  # what a connection's greenlet runs

to_hub = get_hub().switch


class WaitServer(Draining):
    """Serves `application` on listening sockets. One to a process; `start` after construction, then `stop`.

    It looks at the deadlines every `sweep_every` seconds.
    """

    def __init__(
        self,
        application: Callable[..., Iterable[bytes]],
        hub: Hub,
        config: Config,
        log: Log,
        *,
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        super().__init__(config, log)
        self.application = application
        self._hub = hub
        hub.attach(self.send)
        self._gevent_hub = get_hub()
        # What goes out now, what parks, and whether to linger.
        self._answers: list[tuple[Connection, bytes, bytes, Listener | None, bool]] = []
        self._last_head = b""  # polls that come together have the same head, from the same headers
        self._last_headers: list[tuple[str, str]] = []
        self._last_kept = False
        self._last_body = self._last_tail = b""
        self._coming_back: deque[Connection] = (
            deque()
        )  # they are read behind all others: a crowd's next polls, long ones
        self._turn = self.loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns
        self.held = Unsent()
        self._turns = hub.turns
        self._next_requests = self.loop.timer(0.0)
        self.backlog = Backlog(self._refuse_hung_up, self.close)
        self._more_come = False  # whether more wait to be accepted
        self._seen: deque[tuple[Connection | None, int]] = deque()  # events that are to be looked at
        self._swept = 0  # descriptors that a look at the deadlines is through with, 0 when none is under way
        self._next_swept = self.loop.timer(0.0)
        self._unsent: dict[Connection, int] = {}  # bytes that the client had not taken, of those that are FINISHING
        self._idle_workers: list[greenlet] = []
        self._in_batch = False
        self._sweeper = self.loop.timer(sweep_every, sweep_every)

    def start(self, sockets: Iterable[Any]) -> None:
        """Begins to accept from `sockets`, which are bound and listening."""
        for listening in sockets:
            self.acceptors.append(Acceptor(listening, self.opened, self.log))
        self._epoll_watcher = self.loop.io(self.epoll.fileno(), 1)
        self._epoll_watcher.start(self._on_events)
        self._sweeper.start(self._sweep)

    # -- phase: accept

    def opened(self, accepted: list[tuple[int, Any]], family: int) -> None:
        """Takes newly accepted descriptors with their addresses, and reads what they sent."""
        self._more_come = len(accepted) == BATCH
        self._work([self.add(fd, address, family) for fd, address in accepted])

    # -- phases: read and parse, call the application

    def _work(self, batch: Iterable[Connection]) -> None:
        """Reads, parses, calls the application, sends and parks, each for the whole batch."""
        for connection in batch:
            if connection.state == READING:
                self.read(connection)
        if self.backlog.waiting:
            self.backlog.put_off(self.requests)  # they have a turn of their own, behind this one
        else:
            self._run_workers()

    def _run_workers(self) -> None:
        self._in_batch = True
        idle = self._idle_workers
        requests, backlog = self.requests, self.backlog
        more_come, self._more_come = self._more_come, False
        if backlog.waiting:
            self._turns.renew()  # reading may have taken all of it
        while requests or backlog.waiting:
            began = self._take_from_backlog() if backlog.waiting else 0.0
            # Comes back with nothing left to do, or because the application blocked: then another worker goes on.
            (idle.pop() if idle else greenlet(self._worker, self._gevent_hub)).switch()
            if began:
                backlog.charge(time.monotonic() - began)
            if not requests and not backlog.waiting:
                break
            # Others have their turn before the next ones, and long ones wait for who comes and may ask for little.
            if self._turns.is_over() or (more_come and backlog.waiting and not backlog.has_short()):
                backlog.put_off(requests)
                self._next_requests.start(self._run_workers)
                break
        self._in_batch = False
        if self._answers:
            self._flush()

    def _take_from_backlog(self) -> float:
        """Puts the next of those that had to wait where a worker finds it; gives the time."""
        self.backlog.put_off(self.requests)
        waiting = self.backlog.next()
        if waiting is not None:
            self.requests.append(waiting)
        return time.monotonic()

    def _worker(self) -> None:
        """A greenlet that calls the application for one request after another."""
        requests = self.requests
        response = Response()
        current = getcurrent()
        while True:
            while requests:
                connection, request = requests.popleft()
                self._call(connection, request, response)
                if self._turns.is_over():
                    break
            if not self._in_batch:
                self.loop.run_callback(self._flush)  # resumed on its own: the application had blocked
            self._idle_workers.append(current)
            to_hub()

    def _call(self, connection: Connection, request: HttpRequest | bytes, response: Response) -> None:
        text = request if isinstance(request, bytes) else None
        keep_alive = not isinstance(request, bytes) and request.keep_alive and not self.draining
        connection.keep_alive = keep_alive
        direct = Direct(connection, keep_alive, text, may_wait=not connection.half_closed)
        environ = environ_of(connection, request, direct)
        try:
            body = self.application(environ, response.start)
        except Exception as error:
            self.log.error(f"{type(error).__name__} in the application: {error}")
            response.start("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", "15")])
            body = [b"internal error\n"]
        listener = direct.listener
        if response.headers is not self._last_headers or keep_alive is not self._last_kept:
            self._last_headers, self._last_kept = response.headers, keep_alive
            self._last_head = response.head(keep_alive)
        head = self._last_head
        linger = False
        tail = b""
        if listener is None:
            silent = (
                text is not None and not response.is_success()
            )  # plain text has no refusals: the connection is closed
            if isinstance(body, list) and len(body) > 1 and len(body[-1]) > LONG:
                tail = body.pop()
            out = b"" if silent else b"%b\r\n%b" % (head, b"".join(body))
            linger = not silent and not connection.half_closed
        elif keep_alive:
            connection.head = head
            out = b""
        else:
            connection.head = None
            out = b"%b\r\n%b" % (head, PREFIX)
        self._answers.append((connection, out, tail, listener, linger))

    def _refuse_hung_up(self, connection: Connection, request: HttpRequest | bytes) -> None:
        """Too many long requests wait whose clients seem to have gone: this one is not carried out (part 7.13)."""
        if not self.log.connections:
            self.log.counted("WAIT: hung up", f"WAIT: {connection.host}: refused, {HUNG_UP_TEXT}")
        if isinstance(request, bytes):
            self.close(connection)
        else:
            self.refuse(connection, Unavailable(HUNG_UP_TEXT))

    # -- phases: send, watch, park

    def _flush(self) -> None:
        """In the hub: only C calls that do not block, and the parking."""
        answers = self._answers
        self._answers = []
        failed: list[Connection] = []
        short: dict[Connection, int] = {}  # what the socket did not take whole, and how much it took
        for connection, out, tail, listener, _ in answers:
            if not out:
                continue
            try:
                sent = connection.sock.sendmsg((out, tail), (), _SEND) if tail else connection.sock.send(out, _SEND)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent = -1
            if sent == len(out) + len(tail):
                continue
            if sent < 0 or listener is not None:  # a fresh connection that does not take a head is gone
                failed.append(connection)
            else:
                short[connection] = sent
        for connection, _, _, _, _ in answers:
            if not connection.watched:
                self.watch(connection)
        deadline = time.monotonic() + (DRAIN_POLL if self.draining else self.options.timeout or NEVER)
        for connection, out, tail, listener, linger in answers:
            if listener is not None:
                self._park(connection, listener, deadline)
                if self.draining:
                    self.late.append(connection)
                if connection.state == PARKED:
                    if connection in failed:
                        connection.greenlet.throw(ClientGone)
                    elif connection.readable:
                        self._look_at_parked(connection)
            elif connection in failed:
                self.close(connection)
            elif connection in short:
                self._run(connection, self._rest(connection, (out, tail), short[connection], linger))
            else:
                self._answered(connection, linger)

    def _park(self, connection: Connection, listener: Listener, deadline: float) -> None:
        connection.state = PARKED
        connection.deadline = deadline
        connection.listener = listener
        running = connection.greenlet
        if running is None:
            self._run(connection, self._wait(connection))
        elif listener.answer is None:  # it waits already: making one and waking it takes an eighth of a kept cycle
            connection.event = listener.channel_set.event
            connection.event.rawlink(running.switch)
        else:
            running.switch()

    def _run(self, connection: Connection, life: Life) -> None:
        # The frames live in the generator: a greenlet that starts in a Python function maps 16 KB for its life. It ends
        # by itself, where dropping it half done would cost an exception; the default of next() lets no StopIteration
        # reach the hub.
        before, connection.greenlet = connection.greenlet, greenlet(next, self._gevent_hub)
        connection.greenlet.switch(life, None)
        if before is not None:
            before.switch()  # it finds that it is no longer the connection's, and ends

    # -- delivery

    def send(self, listeners: Collection[Listener], body: bytes, *, crowd: bool) -> bool:
        """Sends one answer to all `listeners` in a pass; True if there is nothing left to do for their greenlets.

        34,000 -> 44,000 deliveries a second against letting each greenlet send. What a socket does not take whole is
        left to its greenlet, and that of a connection which ends with its answer has to end.
        """
        length = len(body)
        if body is not self._last_body:  # one of many sets that get the same
            self._last_body, self._last_tail = body, _framed(body)
        tail = self._last_tail
        finish = not self.log.connections  # else each greenlet ends its own, behind the lines that the log has first
        done = 0
        for listener in listeners:
            connection = listener.connection
            if connection is None or connection.listener is not listener or connection.state != PARKED:
                continue  # its time was up meanwhile: it has taken the message along, and may be back already
            head = connection.head
            try:
                if head is None:
                    sent = connection.sock.send(body, _SEND_LAST)
                    if sent == length and finish:
                        connection.greenlet = None
                        self.close(connection)
                        continue
                else:
                    sent = connection.sock.send(head + tail, _SEND)
                    if crowd:
                        connection.turn = COMES_BACK
                    if sent == len(head) + len(tail) and finish:
                        self._answered(connection, False)
                        done += 1
                        continue
                connection.sent = sent
            except OSError:  # full, or gone: its greenlet finds out which
                pass
        return done == len(listeners)

    def _wait(self, connection: Connection) -> Life:
        """What a connection's greenlet runs: it waits for what `send` could not do.

        While it waits it makes C calls only: a greenlet maps 16 KB for its life with its first Python call, and
        Event.wait() runs Python code (8.1 KB a listener against 3.1). So it ends with the first poll that it has to
        answer itself. An Event may wake it in vain, for others that have waited there.
        """
        me = getcurrent()
        try:
            while connection.greenlet is me:
                # No variable for the listener: it would live on in here when it has been answered.
                if connection.listener is not None:
                    if connection.listener.answer is not None:
                        break
                    if connection.event is not connection.listener.channel_set.event:  # it comes, or its set was split
                        connection.event = connection.listener.channel_set.event
                        connection.event.rawlink(me.switch)
                to_hub()
            else:
                return
        except (PollTimeout, GreenletExit) as error:
            if connection.greenlet is not me:
                return
            if connection.event is not None:
                connection.event.unlink(me.switch)
            if connection.listener is not None:
                self._hub.leave(connection.listener)
            if isinstance(error, GreenletExit):
                self.close(connection)
                return
        self._finish(connection)
        return
        yield  # makes this a generator

    def _finish(self, connection: Connection) -> None:
        """Sends what is left of a parked poll's answer, in the connection's own greenlet."""
        assert connection.listener is not None
        answer = connection.listener.answer or b""
        head = connection.head
        try:
            if head is None:
                self._write(connection, (answer,), connection.sent, _SEND_LAST)
            else:
                self._write(connection, (head + _frame(answer), answer), connection.sent, _SEND)
            connection.greenlet = None
            self._answered(connection, False)
        except (GreenletExit, OSError):
            self.close(connection)

    def _rest(self, connection: Connection, pieces: tuple[bytes, ...], sent: int, linger: bool) -> Life:
        """Writes what the socket did not take of an answer that was there at once."""
        try:
            self._write(connection, pieces, sent, _SEND)
            connection.greenlet = None
            self._answered(connection, linger)
        except (GreenletExit, OSError):
            self.close(connection)
        yield

    def _write(self, connection: Connection, pieces: tuple[bytes, ...], sent: int, flags: int) -> None:
        """Sends what is left of an answer, as long as the client takes some every `write_timeout` seconds.

        The last piece may be shared with others, and is never copied. Errors: OSError, ClientGone.
        """
        sock = connection.sock
        left = left_of(pieces, sent)
        if left:
            with contextlib.suppress(BlockingIOError):
                sent += sock.sendmsg(left, (), flags)
                left = left_of(pieces, sent)
        if not left:
            return
        connection.state = FINISHING
        self._await_progress(connection)
        self._hold(connection, pieces[-1])
        writable = self.loop.io(connection.fd, 2)
        current = getcurrent()
        try:
            while left:
                writable.start(current.switch)
                try:
                    to_hub()
                finally:
                    writable.stop()
                with contextlib.suppress(BlockingIOError):  # woken in vain, by an Event that it has waited for before
                    sent += sock.sendmsg(left, (), flags)
                    left = left_of(pieces, sent)
                    self._await_progress(connection)
        finally:
            writable.close()
            self._unsent.pop(connection, None)
            self.held.remove(connection)

    def _hold(self, connection: Connection, answer: bytes) -> None:
        """An answer waits for its listener; past `unsent_max` in all, those that have waited longest are given up."""
        held = self.held
        held.add(connection, answer)
        while held.size > self.options.unsent_max:
            slowest = held.longest()
            held.remove(slowest)
            self.log.counted(
                "wait.unsent_max", "WAIT: a slow reader was dropped: more than wait.unsent_max bytes of answers wait"
            )
            self.loop.run_callback(self._give_up, slowest)

    def _give_up(self, connection: Connection) -> None:
        if connection.state == FINISHING:
            connection.greenlet.throw(ClientGone)

    def _await_progress(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self.options.write_timeout
        self._unsent[connection] = unsent(connection.fd)

    def _look_at_progress(self, connection: Connection) -> None:
        """The time to write is over, but a slow client may read for longer before its socket takes more."""
        if unsent(connection.fd) < self._unsent[connection]:
            self._await_progress(connection)
            return
        text = "dropped, as it read nothing of its answer for wait.write_timeout"
        self.log.counted("wait.write_timeout", f"WAIT: {connection.host}: {text} ({self.options.write_timeout:g} s)")
        connection.greenlet.throw(ClientGone)

    def _answered(self, connection: Connection, linger: bool) -> None:
        """The answer is out: on to the next request, or to the end."""
        connection.listener = connection.event = None
        connection.sent = 0
        if connection.keep_alive:
            connection.state = READING
            connection.head = None
            connection.deadline = time.monotonic() + self.options.keepalive_timeout
            ahead = self.ahead.pop(connection, None)
            if ahead:
                connection.state = WORKING
                self.requests.append((connection, ahead.pop(0)))
                if ahead:
                    self.ahead[connection] = ahead
                self.loop.run_callback(self._run_workers)
                return
            reader = connection.reader
            if reader is not None:  # the next request has begun, so it is that which has to come whole
                if reader.error is not None:
                    self.give_up(connection, reader.error)
                    return
                connection.deadline = time.monotonic() + self.options.head_timeout
                if reader.expects_continue:
                    self.go_on(connection, reader)
            if connection.readable:
                connection.readable = False
                self.loop.run_callback(self._work, (connection,))
        elif linger:
            self.linger(connection)
        else:
            self.close(connection)

    # -- events and time

    def _on_events(self) -> None:
        quiet = self._hub.quiet.is_set()
        batch = []
        seen = self._seen
        if not seen:  # else those of the last turn, which was over before they were looked at
            by_descriptor = self.by_descriptor
            seen.extend([(by_descriptor[fd], events) for fd, events in self.epoll.poll(0, BATCH if quiet else LOOK)])
        while seen:
            connection, events = seen.popleft()
            if connection is None:
                continue
            state = connection.state
            if state == READING:
                # Edge-triggered: a hang-up that came with a request is not told again once that is parked.
                if connection.turn == QUEUED:
                    connection.readable |= bool(events & _HANG_UP)
                    continue
                connection.readable = bool(events & _HANG_UP)
                if connection.turn == COMES_BACK and (self._coming_back or not quiet):
                    connection.turn = QUEUED
                    self._coming_back.append(connection)
                else:
                    connection.turn = 0
                    batch.append(connection)
            elif state == PARKED:
                if events & _RESET:
                    connection.greenlet.throw(ClientGone)
                elif events & select.EPOLLRDHUP:
                    self._hung_up(connection)
                else:
                    self._look_at_parked(connection)
                if self._turns.is_over():
                    break
            else:
                connection.readable = True
        # While a message is on its way, those who come back for the next one do not hold it up for long.
        room = (BATCH if quiet else BUSY_BATCH) - len(batch)
        while room > 0 and self._coming_back:
            connection = self._coming_back.popleft()
            connection.turn = 0
            batch.append(connection)
            room -= 1
        if batch:
            self._work(batch)
        if self._coming_back or seen:
            self._turn.start(self._on_events)

    def read_later(self, connection: Connection) -> None:
        connection.turn = QUEUED
        self._coming_back.append(connection)
        self._turn.start(self._on_events)

    def _look_at_parked(self, connection: Connection) -> None:
        """A parked client sent something. On a kept connection it is the next request, and stays where it is."""
        connection.readable = True
        try:
            if connection.keep_alive:
                size = len(connection.sock.recv(self.options.extra_max + 1, _DONT_WAIT | _socket.MSG_PEEK))
                connection.extra = size
            else:
                # Unread bytes would turn close() into a reset, and the answer would be lost whole.
                size = len(connection.sock.recv(65536, _DONT_WAIT))
                connection.extra += size
        except BlockingIOError:
            return
        except OSError:
            connection.greenlet.throw(ClientGone)
            return
        if not size:
            self._hung_up(connection)
        elif connection.extra > self.options.extra_max:
            connection.greenlet.throw(ClientGone)

    def _hung_up(self, connection: Connection) -> None:
        """A parked client's sending half has ended. It may still read, so it gets the end of its answer."""
        connection.keep_alive = False
        connection.greenlet.throw(PollTimeout)

    def _too_late(self, reader: RequestReader) -> Refusal:
        if reader.state is State.UNTIL_END:
            return LengthRequired("a POST needs a Content-Length")
        return RequestTimeout(f"no whole request within {self.options.head_timeout:g} s")

    def _sweep(self) -> None:
        """All deadlines: one look a second over all connections, no timer for each."""
        if not self._swept:  # else the last look still goes on
            self._sweep_on()

    def _sweep_on(self) -> None:
        """Looks at the next connections until this turn is over."""
        now = time.monotonic()
        by_descriptor = self.by_descriptor
        for fd in range(self._swept, len(by_descriptor)):
            connection = by_descriptor[fd]
            if connection is not None and connection.deadline and connection.deadline <= now:
                self._time_is_up(connection)
            elif fd % GROWTH:
                continue
            if self._turns.is_over():
                self._swept = fd + 1
                self._next_swept.start(self._sweep_on)
                return
        self._swept = 0

    def _time_is_up(self, connection: Connection) -> None:
        state = connection.state
        if state == PARKED:
            connection.deadline = 0.0
            if self.log.connections:
                self.log.connection(connection, f"{connection.name} timeout")
            connection.greenlet.throw(PollTimeout)
        elif state == FINISHING:
            self._look_at_progress(connection)
        elif state == READING and connection.reader is not None and connection.reader.state is not State.TEXT:
            self.refuse(connection, self._too_late(connection.reader))
        elif state == READING:
            self.close(connection)


def _frame(answer: bytes) -> bytes:
    """What stands between the head of a kept poll's answer and its blocks."""
    return b"Content-Length: %d\r\n\r\n%b" % (len(PREFIX) + len(answer), PREFIX)


def _framed(answer: bytes) -> bytes:
    """What follows the head of a kept poll's answer."""
    return _frame(answer) + answer
