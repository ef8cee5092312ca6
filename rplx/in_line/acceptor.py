"""Takes back-ends' connections for the IN line."""

from __future__ import annotations

import _socket
import select
from collections.abc import Callable
from typing import Any

from gevent import monkey
from gevent.server import StreamServer

from rplx.in_line.pool import ReusingPool
from rplx.log import Log
from rplx.net.accepting import PAUSE, is_shortage

ACCEPT_MAX = 256  # connections accepted at once
SEEK_AGAIN = 0.1  # seconds until a place is sought again, where all that are taken are in use
LONG_TURN = 0.001  # seconds of a turn of the loop after which so many are accepted, and not one


class Acceptor(StreamServer):
    """A StreamServer whose handler gets bare sockets, and that pauses when descriptors have run out."""

    def __init__(
        self,
        listening: Any,
        handle: Callable[..., Any],
        pool: ReusingPool,
        log: Log,
        *,
        make_room: Callable[[], bool],
    ) -> None:
        """`make_room` is called when somebody comes to a full pool; it gives whether a place will soon be free."""
        self._turn = 0.0
        self._ended = False
        super().__init__(listening, handle, spawn=pool)
        self._is_full = pool.full
        self._make_room = make_room
        self._again: Any = self.loop.timer(SEEK_AGAIN)
        self._comers = monkey.get_original("select", "poll")()  # gevent takes it away where it patches
        self._comers.register(listening.fileno(), select.POLLIN)
        self.full: Callable[[], bool] = self._seek_room  # the constructor has put the pool's there
        self._serve = handle
        self._spawn_greenlet = pool.spawn
        self._log = log
        self._accept_one = listening._accept  # gives a bare descriptor
        self._family: int = listening.family  # gevent makes an enum of it at each look

    def end(self) -> None:
        """Accepts no more."""
        self._ended = True
        self._again.stop()
        self.stop_accepting()

    def _start_accepting_if_started(self, _event: object = None) -> None:
        if not self._ended and self.started:
            self.start_accepting()

    def _seek_room(self) -> bool:
        """Whether the pool is full, where somebody comes; then a place for them is sought until there is one."""
        if self._ended or not self._is_full():
            return False
        if not self._comers.poll(0) or not self._make_room():  # gevent also asks before it knows that somebody comes
            self._again.start(self._seek_room)
        return True

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
                timer.start(self._start_accepting_if_started)
                self._timer = timer  # which stop_accepting stops
            return None
        return _socket.socket(self._family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0, fd), address

    def do_handle(self, sock: _socket.socket, address: Any) -> None:
        self._spawn_greenlet(self._serve, sock, address)  # which closes it: two calls less than by gevent's own way
