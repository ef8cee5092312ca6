"""Accepts connections from a listening socket, many at once, and pauses when descriptors have run out."""

from __future__ import annotations

import time
from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from typing import Any

from gevent import get_hub

from rplx.log import Log

BATCH = 256  # connections accepted at once
PAUSE = 0.2  # seconds without accepting when descriptors have run out
_OUT_OF_DESCRIPTORS = frozenset((EMFILE, ENFILE, ENOBUFS, ENOMEM))

Opened = Callable[[list[tuple[int, Any]], int], None]


class Acceptor:
    """Hands `opened` the new descriptors with their addresses, and their address family."""

    def __init__(self, listening: Any, opened: Opened, log: Log) -> None:
        self._opened = opened
        self._log = log
        self._accept_one = listening._accept  # gives a bare descriptor: half the time of socket.accept
        self._family: int = listening.family
        self._stopped = False
        self._told = 0.0
        loop = get_hub().loop
        self._watcher = loop.io(listening.fileno(), 1)
        self._pause = loop.timer(PAUSE)
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
                if error.errno in _OUT_OF_DESCRIPTORS:
                    self._wait_for_descriptors(error)
                    break
        if accepted:
            self._opened(accepted, self._family)

    def _wait_for_descriptors(self, error: OSError) -> None:
        # The socket stays readable: without a pause this would spin.
        self._watcher.stop()
        self._pause.start(self._resume)
        now = time.monotonic()
        if now - self._told >= 1:
            self._told = now
            self._log.error(f"cannot accept: {error.strerror}; raise the limit of open files (ulimit -n)")

    def _resume(self) -> None:
        if not self._stopped:
            self._watcher.start(self._accept)
