"""Waiting for what has to come, for no longer than it takes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import gevent

# Seconds until something that has to come is missed. Less than wait.head_timeout and wait.write_timeout (10) and
# in.timeout (20) are by default: what only they have brought about has not come.
PATIENCE = 8.0
STEP = 0.01  # seconds between two looks


def eventually(
    check: Callable[[], object],
    expected: object = True,
    timeout: float = PATIENCE,
    *,
    told: Callable[[], str] | None = None,
) -> None:
    """Asks again and again until `check` gives `expected`; the greenlets of this thread run meanwhile.

    Raises AssertionError after `timeout` seconds, with what `told` gives if it is named (such as a log).
    """
    deadline = time.monotonic() + timeout
    while (found := check()) != expected:
        if time.monotonic() > deadline:
            raise AssertionError(told() if told else f"still {found!r}, not {expected!r}")
        gevent.sleep(STEP)


def accepts(address: tuple[str, int]) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError:
        return False
    return True
