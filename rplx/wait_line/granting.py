"""What a request says of who asks, and which of its channels are refused (protocol page, part 12)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from rplx.access.grants import seconds_left
from rplx.access.listening import Access, Listening
from rplx.errors import ChannelsRefused, Forbidden, InvalidGrant, Refusal
from rplx.hub.members import Member, warning
from rplx.log import Log
from rplx.options.table import Config
from rplx.wait_line.cors import Environ, Headers

MAY_LISTEN = "rplx.may_listen"  # in an environ: the function of an application that says who may listen
HEADER_MAX = 1024  # bytes of a header's value, as a proxy's buffer has to hold the whole head

MayListen = Callable[[Environ, list[str]], Iterable[str]]
Cursors = dict[str, str | None]

_IN_BODY = re.compile(rb"(?:^|[\n&])grant=([^\r\n&]*)")
_IN_TARGET = re.compile(r"[?&]grant=([^&#]*)")
_BEARER = re.compile(r"bearer(?:\s+|$)", re.IGNORECASE)  # RFC 6750, 2.1


@dataclass(slots=True)
class Admitted:
    """With what access a request listens, to which channels, and which are refused."""

    access: Access
    cursors: Cursors
    refused: list[str]

    @property
    def seconds(self) -> float | None:
        """For how long it may listen, None if there is no end."""
        return seconds_left(self.access.ends, time.time())

    @property
    def headers(self) -> Headers:
        """The headers that tell the client of it."""
        found: Headers = []
        if self.refused:
            found.append(("X-Realplexor-Refused", listed(self.refused)))
        if self.access.ends is not None:
            found.append(("X-Realplexor-Grant-TTL", str(max(0, int(self.access.ends - time.time())))))
        return found

    def begin(self, member: Member, first: bytes) -> bytes:
        """Has a stream end with its grant; returns what is written first, behind `first`, which is what it begins with.

        Nothing is added where there is nothing to tell.
        """
        member.access = self.access
        member.ends_in(self.seconds, time.monotonic())
        if self.refused:
            first += member.encoding.refused(self.refused)
        return first + warning(member)


class Granting:
    """Finds the grants of requests, and asks the rules. `listening` has those, and remembers grants."""

    def __init__(self, listening: Listening, log: Log) -> None:
        self.listening = listening
        self._log = log

    def configure(self, config: Config) -> None:
        """Takes new options."""
        options = config.grants
        self._in_url = options.in_url
        self._remember = options.remember
        self._cookie = re.compile(rf"(?:^|;)\s*{re.escape(options.cookie)}=([^;]*)") if options.cookie else None

    def concerns(self, environ: Environ) -> bool:
        """Returns whether it matters who asks."""
        return self.listening.active or MAY_LISTEN in environ

    def admit(self, environ: Environ, cursors: Cursors, target: str, body: bytes = b"") -> Admitted:
        """Returns what a request may listen to of `cursors`. Raises InvalidGrant."""
        access = self._access(environ, target, body, cursors)
        refused = access.closed(cursors)
        if refused:
            closed = set(refused)
            cursors = {id: cursor for id, cursor in cursors.items() if id not in closed}
        return Admitted(access, cursors, refused)

    def poll(self, environ: Environ, cursors: Cursors, target: str, body: bytes) -> Admitted:
        """Returns the same for a poll or a stream, which has to listen to something. Raises ChannelsRefused, too."""
        admitted = self.admit(environ, cursors, target, body)
        if not admitted.cursors:
            raise ChannelsRefused(listed(admitted.refused))
        return admitted

    def _access(self, environ: Environ, target: str, body: bytes, ids: Iterable[str]) -> Access:
        ask: MayListen | None = environ.get(MAY_LISTEN)
        if ask is not None:
            return _Asked(ask, environ, ids, self._remember, self._log)
        token = self._token(environ, body, target) if self.listening.active else None
        return self.listening.access(token, time.time())

    def _token(self, environ: Environ, body: bytes, target: str) -> str | None:
        """Returns the grant that a request brings, None if it brings none; the first place that has one counts."""
        header: str | None = environ.get("HTTP_AUTHORIZATION")
        if header is not None and (scheme := _BEARER.match(header)):
            return header[scheme.end() :].strip()
        if body and (in_body := _IN_BODY.search(body)):
            return in_body[1].decode("latin-1")
        if self._in_url and (in_target := _IN_TARGET.search(target)):
            return unquote(in_target[1])
        if self._cookie is not None and (in_cookie := self._cookie.search(environ.get("HTTP_COOKIE", ""))):
            return in_cookie[1].strip().strip('"')
        return None


class _Asked:
    """The Access of an application that says itself who may listen; it is asked about channels that come later, too."""

    def __init__(self, ask: MayListen, environ: Environ, ids: Iterable[str], seconds: float, log: Log) -> None:
        self._ask = ask
        self._environ = environ
        self._log = log
        self._known: dict[str, bool] = {}
        self.closed(ids)
        self.ends: float | None = time.time() + seconds

    def closed(self, ids: Iterable[str]) -> list[str]:
        ids = list(ids)
        asked = [id for id in ids if id not in self._known]
        if asked:
            allowed = self._allowed(asked)
            self._known.update({id: id in allowed for id in asked})
        return [id for id in ids if not self._known[id]]

    def _allowed(self, ids: list[str]) -> set[str]:
        try:
            return set(self._ask(self._environ, list(ids)))
        except Exception as error:  # the application's function may raise anything; then nothing is opened
            self._log.error(f"{type(error).__name__} in may_listen: {error}")
            return set()

    def renewed(self, token: str, now: float) -> Any:
        raise Forbidden("no grants are taken here: the application says who may listen")


def listed(ids: list[str]) -> str:
    """Returns ids as a header has them, "*" for all if that would be long (part 9.3)."""
    text = ",".join(ids)
    return text if len(text) <= HEADER_MAX else "*"


def headers_of(error: Refusal) -> Headers:
    """Returns the headers that tell the client of a refusal more, where it is about grants."""
    if isinstance(error, InvalidGrant):
        return [("WWW-Authenticate", 'Bearer error="invalid_token"'), ("X-Realplexor-Cursor", error.position)]
    return [("X-Realplexor-Refused", error.ids)] if isinstance(error, ChannelsRefused) else []
