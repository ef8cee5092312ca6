"""What the application asks of a server that is not ours: where polls wait, streams stay and WebSockets talk."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from rplx.hub.members import Member
from rplx.hub.sets import Listener
from rplx.wait_line.cors import Environ, Headers

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


class Parking(Protocol):
    """Where polls wait under a server that is not ours."""

    def admit(self, environ: Environ) -> None:
        """Raises Unavailable if no poll can wait in the server that made `environ`."""

    def park(
        self,
        listener: Listener,
        environ: Environ,
        headers: Headers,
        start_response: StartResponse,
        *,
        kept: bool,
        timeout: float,
    ) -> Iterable[bytes]:
        """Returns the body of a poll, which waits for its listener's answer for `timeout` seconds at most.

        `kept`: the answer comes in one piece with its length, else the head at once (part 7.2).
        """

    def stay(
        self, member: Member, first: bytes, environ: Environ, headers: Headers, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Returns the body of a stream, which begins with `first` (part 10)."""

    def can_talk(self, environ: Environ) -> bool:
        """Returns whether WebSockets can be served in the server that made `environ`."""

    def has_sent_ahead(self, environ: Environ) -> bool:
        """Returns whether the client of a handshake has sent something behind it."""

    def talk(
        self,
        member: Member | None,
        first: bytes,
        environ: Environ,
        headers: Iterable[tuple[str, str]],
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        """Answers a handshake with `headers` and `first`, and talks until the WebSocket of `member` ends (part 11).

        Without a member it ends with `first`.
        """
