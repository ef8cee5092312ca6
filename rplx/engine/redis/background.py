"""Greenlets that work as long as the process lives."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import gevent
from gevent import get_hub

AGAIN_AFTER = 1.0  # seconds before work that failed goes on
RETRY_FIRST = 0.02  # seconds before the second try to connect; doubled each time
RETRY_MAX = 0.5  # seconds between two tries to connect


def spawn_forever(work: Callable[[], None]) -> gevent.Greenlet[..., Any]:
    """Runs `work`, which does not return, in a greenlet. After an unforeseen error it is run again.

    Before it raises, it has to put back what it has taken out of queues.
    """

    def run() -> None:
        while True:
            try:
                work()
            except Exception:
                get_hub().handle_error(work, *sys.exc_info())
                gevent.sleep(AGAIN_AFTER)

    return gevent.spawn(run)
