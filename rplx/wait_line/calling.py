"""The application's turn on the WAIT line: it is called for one request after another, for a turn of the loop.

A worker is a greenlet that calls it. There is one, and one more whenever the application blocks in a call.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gevent import get_hub, getcurrent
from greenlet import greenlet

from rplx.errors import Unavailable
from rplx.hub.turns import Turns
from rplx.log import Log
from rplx.protocol.long_poll import PREFIX
from rplx.wait_line.backlog import HUNG_UP_MAX, Backlog
from rplx.wait_line.connection import NOTHING_CAME, Answer, Connection, Request, Waiting
from rplx.wait_line.connections import Connections
from rplx.wait_line.direct import Direct
from rplx.wait_line.draining import Draining
from rplx.wait_line.environ import Response, environ_of
from rplx.wait_line.states import ENDED

LONG = 4096  # bytes of an answer that is sent from where it is, not copied behind its head
HUNG_UP_TEXT = f"busy: {HUNG_UP_MAX} long polls wait already whose clients' sending halves have ended"

WsgiApplication = Callable[..., Iterable[bytes]]


class Calling:
    """Calls `application` for `requests`, and hands what it has answered together to `send`."""

    def __init__(
        self,
        application: WsgiApplication,
        log: Log,
        turns: Turns,
        connections: Connections,
        draining: Draining,
        requests: deque[Waiting],
        send: Callable[[list[Answer]], None],
    ) -> None:
        self._application = application
        self._log = log
        self._turns = turns
        self._connections = connections
        self._requests = requests
        self._send = send
        self._answers: list[Answer] = []
        self._draining = draining
        self._backlog = Backlog(self._refuse_hung_up, connections.close)
        self._gevent_hub = get_hub()
        self._loop: Any = self._gevent_hub.loop
        self._next = self._loop.timer(0.0)  # a timer, not a callback: sockets are looked at between two turns
        self._idle_workers: list[greenlet] = []
        self._in_batch = False
        self._more_come = False
        self._last_head = b""  # polls that come together have the same head, from the same headers
        self._last_headers: list[tuple[str, str]] = []
        self._last_kept = False

    def expect(self, more_come: bool) -> None:
        """Says whether more connections wait to be accepted: long requests wait for those, which may ask for little."""
        self._more_come = more_come

    def take(self) -> None:
        """Carries out the requests that were read, or puts them off if others wait already."""
        if self._backlog.waiting:
            self._backlog.put_off(self._requests)  # they have a turn of their own, behind this one
        else:
            self._run()

    def _run(self) -> None:
        """Calls the application until nothing waits or the turn is over, then sends what it has answered."""
        requests, backlog = self._requests, self._backlog
        more_come, self._more_come = self._more_come, False
        self._in_batch = True
        if backlog.waiting:
            self._turns.renew()  # reading may have taken all of it
        while requests or backlog.waiting:
            if backlog.waiting:
                self._work_off(backlog)
            else:
                self._work()
            if self._turns.is_over() or (more_come and backlog.waiting and not backlog.has_short()):
                break
        self._in_batch = False
        if requests or backlog.waiting:  # others have their turn first
            backlog.put_off(requests)
            self._next.start(self._run)
        if self._answers:
            self._flush()

    def _flush(self) -> None:
        answers, self._answers = self._answers, []
        self._send(answers)

    def _work_off(self, backlog: Backlog) -> None:
        """Carries out the next request of the backlog, in which those that have come meanwhile have their place."""
        backlog.put_off(self._requests)
        waiting = backlog.next()
        if waiting is not None:
            self._requests.append(waiting)
            began = time.monotonic()
            self._work()
            backlog.charge(time.monotonic() - began)

    def _work(self) -> None:
        """Comes back with nothing left to do, or because the application blocked: then another worker goes on."""
        idle = self._idle_workers
        (idle.pop() if idle else greenlet(self._worker, self._gevent_hub)).switch()

    def _worker(self) -> None:
        """What a worker runs."""
        requests = self._requests
        response = Response()
        current = getcurrent()
        while True:
            while requests:
                connection, request = requests.popleft()
                self._call(connection, request, response)
                if self._turns.is_over():
                    break
            if not self._in_batch:
                self._loop.run_callback(self._flush)  # resumed on its own: the application had blocked
            self._idle_workers.append(current)
            self._gevent_hub.switch()

    def _call(self, connection: Connection, request: Request, response: Response) -> None:
        """Calls the application for one request."""
        if self._connections.clients.active and not self._connections.clients.begin(connection, request):
            self._connections.refuse_one_more(connection, request)
            return
        text = request if isinstance(request, bytes) else None
        keep_alive = not isinstance(request, bytes) and request.keep_alive and not self._draining.begun
        connection.keep_alive = keep_alive
        sent_ahead = connection.reader is not None or connection in self._connections.ahead
        direct = Direct(connection, keep_alive, text, connection.inbound is not ENDED, sent_ahead)
        environ = environ_of(connection, request, direct)
        try:
            body = self._application(environ, response.start)
        except Exception as error:
            self._log.error(f"{type(error).__name__} in the application: {error}")
            response.start("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", "15")])
            body = [b"internal error\n"]
        kept = keep_alive or direct.upgraded
        if response.headers is not self._last_headers or kept is not self._last_kept:
            self._last_headers, self._last_kept = response.headers, kept
            self._last_head = response.head(kept)
        head = self._last_head
        listener = direct.listener
        if direct.upgraded:
            connection.keep_alive = False
            connection.inbox = NOTHING_CAME
        if listener is None:
            # Plain text has no refusals: the connection is closed.
            silent = text is not None and not response.is_success()
            self._answer(connection, head, body, silent=silent)
        else:
            if direct.first or direct.upgraded:
                connection.head = b""
                out = b"%b\r\n%b" % (head, direct.first)
            else:
                connection.head = head if keep_alive else b""
                out = b"" if keep_alive else b"%b\r\n%b" % (head, PREFIX)
            self._answers.append((connection, out, b"", listener, direct.timeout, False))

    def _answer(self, connection: Connection, head: bytes, body: Iterable[bytes], *, silent: bool) -> None:
        """Has `body` sent behind `head`, or nothing if `silent`."""
        if silent:
            self._answers.append((connection, b"", b"", None, 0.0, False))
            return
        tail = b""
        if isinstance(body, list) and len(body) > 1 and len(body[-1]) > LONG:
            tail = body.pop()
        out = b"%b\r\n%b" % (head, b"".join(body))
        self._answers.append((connection, out, tail, None, 0.0, connection.inbound is not ENDED))

    def _refuse_hung_up(self, connection: Connection, request: Request) -> None:
        """Refuses a long request, as too many wait whose clients seem to have gone (part 7.13)."""
        self._connections.clients.begin(connection, request)  # so that the log names the client
        if not self._log.connections:
            self._log.counted("WAIT: hung up", f"WAIT: {connection.host}: refused, {HUNG_UP_TEXT}")
        if isinstance(request, bytes):
            self._connections.close(connection)
        else:
            self._connections.refuse(connection, Unavailable(HUNG_UP_TEXT))
