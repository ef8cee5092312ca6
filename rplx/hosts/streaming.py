"""Event streams under WSGI servers that are not ours (protocol page, part 10).

Each stream's greenlet is woken when a message comes, reads on from history, and hands its server what it has read: the
server alone writes, and takes the next piece when the last is on its way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rplx.errors import Refusal, Unavailable
from rplx.hosts.client_sockets import Environ, client_socket, closer_of, is_pywsgi
from rplx.hub.hub import Hub
from rplx.hub.members import Member, has_expired, until_alarm, warning, why_ended
from rplx.net.retry_after import retry_milliseconds

Headers = list[tuple[str, str]]
StartResponse = Callable[[str, Headers], Any]


class Room(Protocol):
    """Where streams wait, under the same rules as polls: WaitingRoom."""

    hub: Hub
    open: bool
    heartbeat: int

    def wait(self, listener: Member, seconds: float, connection: Any, drains: bool) -> bool:
        """Returns False if the client has hung up or the room is closed, else when there is something to do."""


class Stream:
    """The body of a stream: an iterable with `close`, so that its listener leaves even if nothing iterates."""

    def __init__(
        self,
        room: Room,
        member: Member,
        first: bytes,
        environ: Environ,
        headers: Headers,
        start_response: StartResponse,
    ) -> None:
        self._room = room
        self._member = member
        self._connection = client_socket(environ)
        if is_pywsgi(environ) and environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
            headers = [*headers, ("Connection", "close")]  # else such a client would wait for the end
        self._steps = self._events(first, headers, start_response)

    def __iter__(self) -> Iterator[bytes]:
        steps: Iterator[bytes] = self._steps
        return steps

    def close(self) -> None:
        """Takes the listener out of the hub. The server calls it when it is done with this stream (PEP 3333)."""
        self._steps.close()
        self._room.hub.leave(self._member)

    def _events(self, first: bytes, headers: Headers, start_response: StartResponse) -> Any:
        streams, member = self._room.hub.streams, self._member
        error: Refusal | None = None
        try:
            start_response("200 OK", headers)
            yield first
            while self._room.open and not has_expired(member):
                if member.answer is None:
                    seconds = until_alarm(member, self._room.heartbeat)
                    if not self._room.wait(member, seconds, self._connection, drains=False):
                        break
                    if member.answer is None:
                        if has_expired(member):
                            break
                        progress = member.channel_set.progress
                        yield warning(member) or member.encoding.heartbeat(progress.common, progress.named)
                        continue
                while piece := streams.read_on(member):
                    yield piece
                if not streams.settle(member):
                    self._room.hub.turns.pause()
        except Unavailable as found:
            error = found  # its client comes back, and reads on then
        finally:
            streams.leave(member)
        force_close = closer_of(start_response)
        if force_close is not None:  # a kept connection would hold up the end of its worker
            force_close()
        error = error or why_ended(member)
        yield member.encoding.bye(error, retry_milliseconds(error))
