"""`rplx` as ever, but it tells how long its loop was held: the CPU time of the longest turn since it was last asked.

CPU time, so that a busy machine does not matter. Prints `held: HOST:PORT`; who connects there gets seconds as text.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Any

import gevent

from rplx.cli.command import main as rplx

WAKE_EVERY = 0.05  # seconds; less than who asks waits behind the last answer


class Watch:
    """Looks at the time whenever the loop has looked at its sockets."""

    def __init__(self) -> None:
        loop: Any = gevent.get_hub().loop
        self.longest = 0.0
        self._began = time.thread_time()
        self._check = loop.check()
        self._check.start(self._turn)
        # A turn ends where the next begins: one that nothing followed would count in what is measured next.
        self._waking = loop.timer(WAKE_EVERY, repeat=WAKE_EVERY)
        self._waking.start(lambda: None)

    def _turn(self) -> None:
        now = time.thread_time()
        self.longest = max(self.longest, now - self._began)
        self._began = now

    def tell(self, listening: socket.socket) -> None:
        while True:
            asking, _ = listening.accept()
            with asking:
                longest, self.longest = self.longest, 0.0  # before the answer: what is measured next begins with it
                asking.sendall(b"%.6f" % longest)


def main() -> int:
    watch = Watch()
    listening = socket.create_server(("127.0.0.1", 0))
    print("held: %s:%d" % listening.getsockname(), flush=True)
    threading.Thread(target=watch.tell, args=(listening,), daemon=True).start()
    status: Any = rplx(sys.argv[1:])
    return int(status or 0)


if __name__ == "__main__":
    sys.exit(main())
