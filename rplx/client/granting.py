"""The grant with which a listener asks, and when it asks for the next one (protocol page, part 12)."""

from __future__ import annotations

import inspect
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable

from rplx.client.errors import ConnectionFailed, InvalidArgument, RealplexorError, Refused
from rplx.client.grants import contents
from rplx.client.requests import Headers

Source = str | Callable[[], str | Awaitable[str | None] | None]

AHEAD_MIN, AHEAD_MAX = 10.0, 25.0  # seconds before its end, drawn, at which another is asked for: not all ask at once
AGAIN_AFTER = 5.0  # seconds until a grant is asked for again that could not be had while the present one counts
UNAUTHORIZED = 401  # what a request is answered whose grant does not count

_TOKEN = re.compile(r"[!-~]+")
_log = logging.getLogger("rplx.client")


class Grants:
    """The present grant of one listener, from a `source`: a token, or a function that returns one, or awaits it.

    A function that returns None or an empty text says that there is none any more: the listener ends with Refused. What
    it raises ends the listener, too, but for OSError, as of a network that is away: then it is asked again.
    """

    def __init__(self, source: Source) -> None:
        """Raises InvalidArgument."""
        if not callable(source):
            _checked(source)
        self._source = source
        self._token = ""
        self._ends = 0.0  # by the monotonic clock
        self._due = 0.0

    @property
    def headers(self) -> Headers:
        """What a request with this grant has beside its own headers."""
        return (("Authorization", f"Bearer {self._token}"),)

    def until_due(self, now: float | None = None) -> float:
        """Returns the seconds until the next grant should be asked for, 0 when it is time."""
        return max(0.0, self._due - (time.monotonic() if now is None else now))

    def ends_in(self, seconds: float, now: float | None = None) -> None:
        """Takes note of what the server says: the grant counts for so many seconds more."""
        now = time.monotonic() if now is None else now
        self._ends = now + seconds
        if callable(self._source):
            self._due = self._ends - min(seconds / 2, random.uniform(AHEAD_MIN, AHEAD_MAX))

    async def ready(self) -> None:
        """Sees to it that there is a grant, a new one if that is due. Raises Refused, ConnectionFailed."""
        if not self._token or (callable(self._source) and not self.until_due()):
            await self.renewed()

    async def renewed(self) -> bool:
        """Asks for a new grant. Returns whether there is one. Raises Refused, ConnectionFailed.

        If it cannot be had, the present one goes on as long as it counts.
        """
        if not callable(self._source) and self._token:
            return False
        try:
            token = await self._asked()
        except RealplexorError as error:
            now = time.monotonic()
            if now >= self._ends:
                raise
            _log.info("%s; asking for another grant in %.0f s", error, AGAIN_AFTER)
            self._due = min(self._ends, now + AGAIN_AFTER)
            return False
        self._token = token
        self._ends = self._due = math.inf
        if (seconds := _lifetime(token)) is not None:
            self.ends_in(seconds)
        return True

    async def renewed_after(self, error: Refused) -> bool:
        """Takes note that the server does not take this grant. Returns whether there is a new one."""
        if error.status != UNAUTHORIZED:
            return False
        self._ends = self._due = 0.0
        return await self.renewed()

    async def _asked(self) -> str:
        if not callable(self._source):
            return _checked(self._source)
        try:
            given = self._source()
            token = await given if inspect.isawaitable(given) else given
        except RealplexorError:
            raise
        except OSError as error:
            raise ConnectionFailed(f"no grant: {error or type(error).__name__}") from error
        if not token:
            raise Refused(UNAUTHORIZED, "Unauthorized", "there is no grant any more")
        return _checked(token)


def _checked(token: object) -> str:
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise InvalidArgument(f"A grant must be a text without white space, not {type(token).__name__}")
    return token


def _lifetime(token: str) -> float | None:
    """Returns for how many seconds a grant that was just made counts, None if it does not say so."""
    try:
        claims = contents(token)[1]
        seconds = float(claims["exp"]) - float(claims["iat"])
    except (InvalidArgument, KeyError, TypeError, ValueError):
        return None
    return seconds if 0 < seconds < math.inf else None
