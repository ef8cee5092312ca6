"""When a listener polls again, and how long its polls ask to wait (protocol page, part 9: 1, 2 and 4)."""

from __future__ import annotations

import logging
import random
import time

from rplx.client.errors import BrokenResponse, ConnectionFailed, ConnectionLost, RealplexorError, Refused, Timeout

RETRY_FIRST = 0.1  # seconds before the first retry; doubled each time
RETRY_MAX = 30.0  # seconds before any retry
WARN_AT = 2  # failures in a row that are worth a warning: one may be a restart
WAITED = 5.0  # seconds: a poll that ended sooner has not waited
CUTS_TO_LEARN = 3  # polls that waited and were cut, in a row, that show what the path allows
LEARNED_FOR = 3600.0  # seconds until it is tried whether the path allows more
SECONDS_MIN = 1.0  # the shortest wait that the server knows

_CUT_STATUSES = {408, 502, 504, *range(520, 525)}  # by which proxies end a poll that has waited for long
_PASSING_STATUSES = {408, 429, 500, 502, 503, 504, *range(520, 525)}

_log = logging.getLogger("rplx.client")


def is_passing(error: RealplexorError) -> bool:
    """Returns whether the same request may be answered a little later."""
    if isinstance(error, Refused):
        return error.status in _PASSING_STATUSES
    return isinstance(error, (ConnectionFailed, ConnectionLost, Timeout, BrokenResponse))


def retry_after(error: object) -> float:
    """Returns the seconds that the server asked to wait for, or 0."""
    return error.retry_after if isinstance(error, Refused) else 0.0


class Retry:
    """The wait after failures in a row: doubled each time, with jitter, so that not all clients come back at once.

    It is never shorter than what the server asked for by Retry-After (part 9.4).
    """

    def __init__(self) -> None:
        self._failures = 0
        self._after = 0.0

    @property
    def delay(self) -> float:
        """Seconds to wait before the next try; 0 after a success."""
        if not self._failures:
            return self._after
        longest = min(RETRY_MAX, RETRY_FIRST * 2.0 ** min(self._failures - 1, 16))
        return max(self._after, longest * random.uniform(0.5, 1.0))

    def succeeded(self, after: float = 0.0) -> None:
        """Forgets the failures. `after`: seconds that the server asked to wait for all the same."""
        self._failures = 0
        self._after = after

    def failed(self, reason: object) -> None:
        self._failures += 1
        self._after = retry_after(reason)
        _log.log(logging.WARNING if self._failures == WARN_AT else logging.INFO, "%s; trying again", reason)


class Waits:
    """How long polls ask to wait, on a path that may cut them sooner (part 9.2)."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: what polls ask for; 0 leaves it to the server."""
        self._asked = seconds
        self._cuts = 0
        self._learned = seconds
        self._relearns = 0.0  # when the path is to be tried anew

    def seconds(self, now: float | None = None) -> float:
        """Returns what the next poll asks for, in seconds; 0: it leaves it to the server."""
        now = time.monotonic() if now is None else now
        return self._learned if now < self._relearns else self._asked

    def ended(self) -> None:
        """A poll that waited came to its end."""
        self._cuts = 0

    def failed(self, error: RealplexorError, waited: float, now: float | None = None) -> bool:
        """Takes a poll that failed after `waited` seconds. Returns whether it had waited, and so is no bounce.

        After each three in a row that something on the path has cut, polls ask for half of what it allowed.
        """
        if waited <= WAITED:
            return False
        _log.info("%s, after a wait of %.0f s; polling again", error, waited)
        if not retry_after(error) and _is_cut(error):
            self._cuts += 1
            if self._cuts % CUTS_TO_LEARN == 0:
                half = max(SECONDS_MIN, float(waited // 2))
                self._learned = min(half, self._asked or half)
                self._relearns = (time.monotonic() if now is None else now) + LEARNED_FOR
        return True


def _is_cut(error: RealplexorError) -> bool:
    """Returns whether something on the path may have ended a poll, not the client itself."""
    if isinstance(error, Refused):
        return error.status in _CUT_STATUSES
    return isinstance(error, (ConnectionLost, BrokenResponse))
