"""Polls and streams under WSGI servers that are not ours: gunicorn's gevent workers, gevent.pywsgi and their like.

Such a server gives each connection a greenlet and writes what the application yields. It does not look at the socket
while a poll waits; the waiting room does, so that a hang-up is noticed at once.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gevent
from gevent import get_hub, getcurrent
from gevent.hub import Hub as GeventHub
from gevent.monkey import get_original

from rplx.errors import Unavailable
from rplx.hosts.client_sockets import Environ, client_socket, closer_of, has_sent_ahead, is_pywsgi
from rplx.hosts.streaming import Stream
from rplx.hosts.talking import can_talk, talk
from rplx.hub.hub import Hub, PollTimeout
from rplx.hub.members import Member
from rplx.hub.sets import Listener
from rplx.protocol.long_poll import PREFIX
from rplx.wait_line.draining import DRAIN_POLL
from rplx.wait_line.socket_commands import SocketCommands
from rplx.wait_line.wsgi import has_body

Headers = list[tuple[str, str]]
StartResponse = Callable[..., Any]

_HANG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_EVENTS_AT_ONCE = 256  # hang-ups that are read from the kernel in one call
_DRAIN_STEP = 0.01  # seconds; shorter pauses between two answers are left out

_make_epoll = get_original("select", "epoll")  # gevent's monkey patching takes it away
_thread_id = get_original("_thread", "get_ident")


def check_server(environ: Environ, *, shared_engine: bool) -> None:
    """Raises Unavailable, with what to use instead, if polls cannot wait in the server that made `environ`.

    `shared_engine`: history is kept outside this process, so that several processes may serve it.
    """
    if not _in_gevent():
        raise Unavailable(
            "a poll would hold a whole thread or process of this server, as its connections are no gevent greenlets;"
            " use gunicorn -k gevent, gevent.pywsgi or rplx serve"
        )
    if environ.get("wsgi.multiprocess") and not shared_engine:
        raise Unavailable(
            "several processes serve polls here, and each would keep messages of its own;"
            " set RPLX_ENGINE_URL=redis://HOST:PORT/0, or use one process (gunicorn -w 1)"
        )


def _in_gevent() -> bool:
    """Returns whether this runs in a greenlet that gevent's loop resumes, unlike the first greenlet of a thread."""
    greenlet = getcurrent().parent
    while greenlet is not None:
        if isinstance(greenlet, GeventHub):
            return True
        greenlet = greenlet.parent
    return False


class WaitingRoom:
    """The polls that wait under another server, a `Parking`. One to a Hub; it belongs to the thread that made it."""

    def __init__(self, hub: Hub, commands: SocketCommands, *, shared_engine: bool, heartbeat: int) -> None:
        """`shared_engine`: as `check_server`. `heartbeat`: seconds that a stream may be quiet."""
        self.heartbeat = heartbeat
        self.commands = commands
        self.hub = hub
        self._shared_engine = shared_engine
        self.open = True  # once closed, polls wait for a moment only
        self._loop: Any = get_hub().loop
        self._thread = _thread_id()
        self._waiting: dict[Listener | Member, Any] = {}  # and the greenlet of each
        self._watched: dict[int, _Watched] = {}  # by descriptor
        # One epoll of our own under one watcher: level-triggered watchers would spin on a request sent ahead.
        self._epoll = _make_epoll()
        self._watcher = self._loop.io(self._epoll.fileno(), 1, ref=False)  # of itself it keeps no program running
        self._watcher.start(self._look)
        hub.named.attach(self._end_soon)

    def admit(self, environ: Environ) -> None:
        """Raises Unavailable as `check_server` does, and in any thread but the one whose loop wakes the listeners."""
        check_server(environ, shared_engine=self._shared_engine)
        if _thread_id() != self._thread:
            raise Unavailable("this server runs loops in several threads; rplx needs all polls of a process in one")

    def park(
        self,
        listener: Listener,
        environ: Environ,
        headers: Headers,
        start_response: StartResponse,
        *,
        kept: bool,
        timeout: float,
    ) -> Poll:
        """Returns the body of a poll that waits here for `timeout` seconds at most; see Parking."""
        timeout = timeout if self.open else min(timeout, DRAIN_POLL)
        return Poll(self, listener, environ, headers, start_response, kept=kept, timeout=timeout)

    def stay(
        self, member: Member, first: bytes, environ: Environ, headers: Headers, start_response: StartResponse
    ) -> Stream:
        """Returns the body of a stream; see Parking."""
        return Stream(self, member, first, environ, headers, start_response)

    def can_talk(self, environ: Environ) -> bool:
        """Returns whether there can be WebSockets; see Parking."""
        return can_talk(environ)

    def has_sent_ahead(self, environ: Environ) -> bool:
        """Returns whether something has come behind a request; see Parking."""
        return has_sent_ahead(environ)

    def talk(
        self,
        member: Member | None,
        first: bytes,
        environ: Environ,
        headers: Iterable[tuple[str, str]],
        start_response: StartResponse,
    ) -> Any:
        """Talks over a WebSocket until it ends; see Parking."""
        return talk(self, member, first, environ, headers, start_response)

    def is_superseded(self, listener: Listener | Member) -> bool:
        """Returns whether a newer one of the same client waits (part 9.9)."""
        return bool(listener.client) and self.hub.named.has_newer(listener)

    def wait(
        self, listener: Listener | Member, seconds: float, connection: Any, drains: bool, reads: bool = False
    ) -> bool:
        """Returns when the listener has its answer, `seconds` are over, the client hangs up or the room is closed.

        False for the last two. `connection`: the client's socket, or None. `drains`: whether bytes that it still sends
        are thrown away; `reads`: whether it returns, with False, when there are some.
        """
        if self.is_superseded(listener):
            return False
        deadline = time.monotonic() + seconds
        fd = self._watch(connection, listener, drains or reads, reads)
        self._waiting[listener] = getcurrent()
        try:
            while listener.answer is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                listener.channel_set.event.wait(left)
            return True
        except PollTimeout:
            return False
        finally:
            del self._waiting[listener]
            self._unwatch(fd)

    def close(self, seconds: float) -> None:
        """Answers the waiting polls with an empty body, spread over `seconds`. Later ones wait for a moment only."""
        self.open = False
        begin = time.monotonic()
        waiting = list(self._waiting)
        for number, listener in enumerate(waiting):
            pause = begin + seconds * number / len(waiting) - time.monotonic()
            if pause > _DRAIN_STEP:
                gevent.sleep(pause)
            self._end_soon(listener)

    def _end_soon(self, listener: Listener | Member) -> None:
        """Answers a poll with an empty body in the loop's next turn, if it still waits then."""
        self._loop.run_callback(self._end, listener)

    def _end(self, listener: Listener | Member) -> None:
        """Ends a poll. Runs in the loop: a greenlet that threw into another one would not be resumed."""
        greenlet = self._waiting.get(listener)
        if greenlet is not None:
            greenlet.throw(PollTimeout)

    # -- hang-ups

    def _watch(self, connection: Any, listener: Listener | Member, drains: bool, reads: bool) -> int:
        """Begins to watch a socket for hang-ups; returns its descriptor, or -1 if it cannot be watched."""
        try:
            fd: int = connection.fileno()
            self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLET | (select.EPOLLIN if drains else 0))
        except (AttributeError, OSError, ValueError):
            return -1
        self._watched[fd] = _Watched(listener, reads)
        return fd

    def _unwatch(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            try:
                self._epoll.unregister(fd)
            except OSError:  # closed already, so no longer watched
                pass

    def _look(self) -> None:
        """Ends the polls whose clients have hung up."""
        for fd, events in self._epoll.poll(0, _EVENTS_AT_ONCE):
            watched = self._watched.get(fd)
            if watched is not None and (events & _HANG_UP or watched.reads or _ended(fd)):
                self._end(watched.listener)


class _Watched:
    """A waiting poll or stream, and whether it reads its client's bytes itself."""

    __slots__ = ("listener", "reads")

    def __init__(self, listener: Listener | Member, reads: bool) -> None:
        self.listener = listener
        self.reads = reads


def _ended(fd: int) -> bool:
    """Drops what came, as unread bytes would turn our close into a reset; returns whether the client has ended."""
    try:
        return not os.read(fd, 65536)
    except BlockingIOError:
        return False
    except OSError:
        return True


class Poll:
    """The body of a waiting poll: an iterable with `close`, so that its listener leaves even if nothing iterates.

    `kept`: the connection is kept, so the answer comes in one piece with its Content-Length; else its head is sent at
    once (protocol page, part 7.2).
    """

    def __init__(
        self,
        room: WaitingRoom,
        listener: Listener,
        environ: Environ,
        headers: Headers,
        start_response: StartResponse,
        *,
        kept: bool,
        timeout: float,
    ) -> None:
        self._room = room
        self._listener = listener
        self._connection = client_socket(environ)
        self._drains = not kept and not has_body(environ) and not hasattr(self._connection, "cipher")
        self._timeout = timeout
        self._environ = environ
        if not kept and is_pywsgi(environ):
            headers = [*headers, ("Connection", "close")]  # else an HTTP/1.0 client would wait for the end
        self._steps = self._answer(headers, start_response, kept)

    def __iter__(self) -> Iterator[bytes]:
        steps: Iterator[bytes] = self._steps
        return steps

    def close(self) -> None:
        """Takes the listener out of the hub. The server calls it when it is done with this poll (PEP 3333)."""
        self._steps.close()
        self._room.hub.leave(self._listener)

    def _answer(self, headers: Headers, start_response: StartResponse, kept: bool) -> Any:
        try:
            if not kept:
                start_response("200 OK", headers)
                yield PREFIX
            self._room.wait(self._listener, self._timeout, self._connection, self._drains)
        finally:
            self._room.hub.leave(self._listener)
        body = self._listener.answer or b""
        if kept:
            body = PREFIX + body
            if not self._room.open:
                start_response = closing(self._environ, start_response)
            start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        if body:
            yield body


def closing(environ: Environ, start_response: StartResponse) -> StartResponse:
    """Returns a `start_response` behind whose answer the server closes the connection.

    A kept one would hold up the end of its worker.
    """
    force_close = closer_of(start_response)

    def start(status: str, headers: Headers, *more: Any) -> Any:
        if force_close is not None:
            force_close()
        elif is_pywsgi(environ) and ("Connection", "close") not in headers:
            headers = [*headers, ("Connection", "close")]
        return start_response(status, headers, *more)

    return start
