"""Accepts connections from a listening socket, many at once, and pauses when descriptors have run out."""

from __future__ import annotations

from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

from gevent import get_hub

from rplx.log import Log

BATCH = 256  # connections accepted at once
PAUSE = 0.2  # seconds without accepting when descriptors have run out
_OUT_OF_DESCRIPTORS = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))

Opened = Callable[[list[tuple[int, Any]], int], None]


def is_shortage(error: OSError, log: Log) -> bool:
    """Whether a connection could not be accepted because descriptors have run out; then the log says so."""
    if error.errno not in _OUT_OF_DESCRIPTORS:
        return False
    log.rarely(f"ERROR: cannot accept: {error.strerror}; raise the limit of open files (ulimit -n)")
    return True


class Acceptor:
    """Hands `opened` the new descriptors with their addresses, and their address family."""

    def __init__(self, listening: Any, opened: Opened, log: Log) -> None:
        self._opened = opened
        self._log = log
        self._accept_one = listening._accept  # gives a bare descriptor: half the time of socket.accept
        self._family: int = listening.family
        self._stopped = False
        loop = get_hub().loop
        self._watcher = loop.io(listening.fileno(), 1)
        self._pause = loop.timer(PAUSE, PAUSE)
        self._watcher.start(self._accept)

    def stop(self) -> None:
        self._stopped = True
        self._watcher.stop()
        self._pause.stop()

    def _accept(self) -> None:
        accepted = []
        accept = self._accept_one
        for _ in range(BATCH):
            try:
                accepted.append(accept())
            except BlockingIOError:
                break
            except OSError as error:  # ECONNABORTED and the like are that client's own affair
                if is_shortage(error, self._log):
                    self._wait_for_descriptors()
                    break
        if accepted:
            self._opened(accepted, self._family)

    def _wait_for_descriptors(self) -> None:
        # The socket stays readable: without a pause this would spin.
        self._watcher.stop()
        self._pause.again(self._resume)  # libev's start() would go on where the last pause ended: at once

    def _resume(self) -> None:
        self._pause.stop()
        if not self._stopped:
            self._watcher.start(self._accept)
