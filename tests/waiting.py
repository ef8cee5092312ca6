"""Waiting for what has to come, for no longer than it takes."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import gevent

# Seconds until something that has to come is missed: long, as a busy machine takes its time. The servers of most tests
# have longer timeouts (LiveServer): what only those have brought about has not come.
PATIENCE = 60.0
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


def at_best(action: Callable[[], object], tries: int = 10) -> None:
    """Does `action` until it succeeds, once of so many tries: for what fails if the machine stalls in the midst of it.

    Raises what the last try raised, AssertionError or OSError.
    """
    for _ in range(tries - 1):
        try:
            action()
        except (AssertionError, OSError):
            continue
        return
    action()


def once_below(seconds: float, measure: Callable[[], float], tries: int = 20) -> None:
    """Calls `measure` until it gives less than `seconds`, once of so many tries: a busy machine may delay any one.

    Raises AssertionError if it gives more each time.
    """
    took: list[float] = []
    while not took or took[-1] >= seconds:
        assert len(took) < tries, f"not within {seconds} s: {took}"
        took.append(measure())


def takes_less(seconds: float, action: Callable[[], object], tries: int = 20) -> None:
    """Does `action` until it takes less than `seconds`, once of so many tries. Raises AssertionError as once_below."""

    def measure() -> float:
        begin = time.monotonic()
        action()
        return time.monotonic() - begin

    once_below(seconds, measure, tries)


def accepts(address: tuple[str, int]) -> bool:
    """Whether a server listens there."""
    try:
        socket.create_connection(address, timeout=120).close()
    except OSError:
        return False
    return True
