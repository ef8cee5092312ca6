"""Accepts connections from a listening socket, many at once, and pauses when descriptors have run out.

The last few descriptors are left to the back-ends: with browsers alone at the limit nothing could be sent any more.
"""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Callable, Sequence
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

import gevent
from gevent import get_hub

from rplx.log import Log
from rplx.net.listening import accepting, drop_attempts

BATCH = 256  # connections accepted at once
PAUSE = 0.2  # seconds without accepting when descriptors have run out
LAST_COMERS = 0.2  # seconds in which connections that have begun come to be accepted when a server ends
RESERVE = 32  # descriptors that are left to back-ends, or an eighth where there are few
_OUT_OF_DESCRIPTORS = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))

Opened = Callable[[list[tuple[int, Any]], int], None]


def is_shortage(error: OSError, log: Log) -> bool:
    """Returns whether a connection could not be accepted because descriptors have run out; then the log says so."""
    if error.errno not in _OUT_OF_DESCRIPTORS:
        return False
    log.rarely(f"ERROR: cannot accept: {error.strerror}; raise the limit of open files (ulimit -n)")
    return True


def browsers_end() -> int:
    """Returns the first descriptor that no browser gets. The lowest free one is given, so those below are in use."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit - min(RESERVE, limit // 8)


def accept_last(sockets: Sequence[socket.socket]) -> None:
    """Waits until connections that have begun are accepted, by whoever accepts from these listening sockets.

    To be called before the sockets are closed for good, which would reset those connections. Nobody new can connect
    meanwhile. Returns at once where the system has no means for it.
    """
    if drop_attempts(sockets):
        gevent.sleep(LAST_COMERS)


class Acceptor:
    """Hands `opened` the new descriptors with their addresses, and their address family."""

    def __init__(self, listening: Any, opened: Opened, log: Log) -> None:
        self._opened = opened
        self._log = log
        self._accept_one = accepting(listening)
        self._family: int = listening.family
        self._stopped = False
        self._end = browsers_end()
        loop = get_hub().loop
        self._fd: int = listening.fileno()
        self._watcher = loop.io(self._fd, 1)
        self._pause = loop.timer(PAUSE, PAUSE)
        self._watcher.start(self._accept)

    def stop(self) -> None:
        self._stopped = True
        self._watcher.stop()
        self._pause.stop()

    def _accept(self) -> None:
        accepted = []
        accept = self._accept_one
        end = self._end
        for _ in range(BATCH):
            try:
                connection = accept()
                accepted.append(connection)
                if connection[0] >= end - 1:
                    self._wait_for_descriptors()
                    break
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
        if self._is_short():
            return
        self._pause.stop()
        if not self._stopped:
            self._watcher.start(self._accept)

    def _is_short(self) -> bool:
        try:
            lowest = os.dup(self._fd)
        except OSError as error:
            return is_shortage(error, self._log)
        os.close(lowest)
        return lowest >= self._end and is_shortage(OSError(EMFILE, os.strerror(EMFILE)), self._log)
