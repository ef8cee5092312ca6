"""Accepts back-ends' connections on the IN line."""

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
from rplx.net.listening import accepting

ACCEPT_MAX = 256  # connections accepted at once
SEEK_AGAIN = 0.1  # seconds until room is made again, where no connection could be spared
LONG_TURN = 0.001  # seconds of a turn of the loop behind which ACCEPT_MAX are accepted instead of one


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
        """`handle` is called with each socket and its address, in a greenlet of `pool`.

        `make_room` is called when a client connects while the pool is full. It returns whether a place is soon free.
        """
        self._turn = 0.0
        self._ended = False
        super().__init__(listening, handle, spawn=pool)
        self._is_full = pool.full
        self._make_room = make_room
        self._again: Any = self.loop.timer(SEEK_AGAIN)
        self._pending = monkey.get_original("select", "poll")()  # monkey-patching removes it from `select`
        self._pending.register(listening.fileno(), select.POLLIN)
        self.full: Callable[[], bool] = self._seek_room  # in place of the pool's, which gevent's constructor sets
        self._serve = handle
        self._spawn_greenlet = pool.spawn
        self._log = log
        self._accept_one = accepting(listening)
        self._family: int = listening.family  # kept, since gevent makes an enum of it at each access

    def end(self) -> None:
        """Stops accepting for good."""
        self._ended = True
        self._again.stop()
        self.stop_accepting()

    def _start_accepting_if_started(self, _event: object = None) -> None:
        if not self._ended and self.started:
            self.start_accepting()

    def _seek_room(self) -> bool:
        """Returns whether the pool is full. If so, and a client is waiting, room is made until there is some."""
        if self._ended or not self._is_full():
            return False
        if not self._pending.poll(0) or not self._make_room():  # gevent also asks when no client is waiting
            self._again.start(self._seek_room)
        return True

    @property
    def max_accept(self) -> int:  # type: ignore[override]
        """Connections accepted in this turn of the loop.

        Usually one, which has its answer before the next is accepted; where turns are long, as others have much to do,
        all that wait.
        """
        turn, self._turn = self._turn, self.loop.now()
        return 1 if self._turn - turn < LONG_TURN else ACCEPT_MAX

    def do_read(self) -> Any:
        """Returns an accepted socket with its address, None if there is none."""
        try:
            fd, address = self._accept_one()
        except BlockingIOError:
            return None
        except OSError as error:  # ECONNABORTED and the like are that client's own affair
            if is_shortage(error, self._log):  # gevent would print a traceback each time
                self.stop_accepting()
                timer: Any = self.loop.timer(PAUSE)
                timer.start(self._start_accepting_if_started)
                self._timer = timer  # stop_accepting stops the one that it finds here
            return None
        return _socket.socket(self._family, _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK, 0, fd), address

    def do_handle(self, sock: _socket.socket, address: Any) -> None:
        """Serves a connection without gevent's own wrapper: the handler closes the socket itself."""
        self._spawn_greenlet(self._serve, sock, address)
