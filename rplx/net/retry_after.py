"""When a refused client may come back (RFC 9110, 10.2.3; protocol page, part 9.4)."""

from __future__ import annotations

import math
import random
import time

from rplx.errors import Refusal

SPREAD = 5  # seconds over which clients that are refused together come back


def retry_after(error: Refusal, ends_at: float = 0.0) -> list[tuple[str, str]]:
    """Returns the header Retry-After for a refusal that passes, and none for another one.

    Each client gets a number of its own, so that a crowd does not come back in one moment. `ends_at`: when a server
    that is ending will have ended, in monotonic seconds; 0 while it goes on.
    """
    if not error.passes:
        return []
    return [("Retry-After", str(retry_seconds(error, ends_at)))]


def retry_seconds(error: Refusal, ends_at: float = 0.0) -> int:
    """Returns the same as a number."""
    return math.ceil(_left(ends_at)) + error.retry_after + random.randint(1, SPREAD)


def retry_milliseconds(error: Refusal, ends_at: float = 0.0) -> int:
    """Returns the same for the line `retry:` of an event stream (part 10)."""
    return int((_left(ends_at) + error.retry_after + random.uniform(1, SPREAD)) * 1000)


def _left(ends_at: float) -> float:
    return max(0.0, ends_at - time.monotonic()) if ends_at else 0.0
