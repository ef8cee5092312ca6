"""Greenlets that do their work as long as the process lives."""

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
    """Runs `work`, which does not return; an error that nobody foresaw is shown, and the work goes on.

    What it has taken up by then it has to have put back.
    """

    def run() -> None:
        while True:
            try:
                work()
            except Exception:
                get_hub().handle_error(work, *sys.exc_info())
                gevent.sleep(AGAIN_AFTER)

    return gevent.spawn(run)
