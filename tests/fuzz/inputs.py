"""What the fuzzer's bytes mean: the first says whether the rest is taken as it is, or repeated up to the bound."""

from __future__ import annotations

import time
from collections.abc import Callable

SLOWEST = 0.010  # seconds of processor time that any input may take
TRIES = 4  # the best of so many counts: the machine may be busy
REPEATED = 0xF0  # a first byte from here on: one input in sixteen is a long one


class TooSlow(AssertionError):
    """An input within the bound of its size took more than SLOWEST."""


def plain(data: bytes) -> bytes:
    """The fuzzer's bytes for an input that is `data`."""
    return b"\0" + data


def repeated(data: bytes) -> bytes:
    """The fuzzer's bytes for an input that is `data` again and again."""
    return b"\xff" + data


def meant(data: bytes, size: int) -> bytes:
    """The input that the fuzzer's bytes stand for, of `size` bytes at most: long ones show what is not linear."""
    kind, rest = data[:1], data[1:]
    if kind >= bytes([REPEATED]) and rest:
        rest *= size // len(rest) + 1
    return rest[:size]


def spent(check: Callable[[bytes], None], data: bytes, slowest: float) -> float:
    """Seconds of processor time, which are taken again if they are more than `slowest`. Errors: what `check` raises."""
    least = float("inf")
    for _ in range(TRIES):
        begin = time.thread_time()
        check(data)
        least = min(least, time.thread_time() - begin)
        if least <= slowest:
            break
    return least


def timed(check: Callable[[bytes], None], data: bytes, slowest: float) -> None:
    """Errors: what `check` raises, TooSlow."""
    seconds = spent(check, data, slowest)
    if seconds > slowest:
        raise TooSlow(f"{seconds * 1000:.1f} ms for {len(data)} bytes that begin with {data[:200]!r}")
