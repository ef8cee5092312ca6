"""WebSockets as the application sees them (part 11): who may open one, what it listens to from the beginning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rplx.errors import BadRequest, Ending, Forbidden, Refusal, Unavailable, UpgradeRequired
from rplx.hub.hub import Hub
from rplx.hub.members import Member
from rplx.log import Log
from rplx.net.retry_after import retry_seconds
from rplx.options.table import Config
from rplx.protocol import websocket_handshake
from rplx.protocol.identifiers import IdentifierParser, listened_to
from rplx.protocol.websocket import close_frame
from rplx.protocol.websocket_commands import close_of
from rplx.protocol.websocket_stream import WebSocketStream, websocket_stream
from rplx.wait_line.cors import Cors, Environ
from rplx.wait_line.direct import KEY, Direct
from rplx.wait_line.granting import Granting
from rplx.wait_line.hosting import Parking
from rplx.wait_line.wsgi import client_name, has_body, target_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

SWITCHING = "101 Switching Protocols"
_SENT_AHEAD = "nothing may come behind the handshake of a WebSocket before its answer"

Joined = Callable[[Any, dict[str, str | None], int], Callable[[str], None] | None]


def is_asked_for(environ: Environ) -> bool:
    """Returns whether a request asks for a WebSocket."""
    return (
        "HTTP_SEC_WEBSOCKET_KEY" in environ
        and environ["SERVER_PROTOCOL"] == "HTTP/1.1"
        and websocket_handshake.is_asked_for(
            environ["REQUEST_METHOD"], environ.get("HTTP_UPGRADE", ""), environ.get("HTTP_CONNECTION", "")
        )
    )


class Handshakes:
    """Opens WebSockets. `joined` returns what logs a listener, as for Hub.enter."""

    def __init__(
        self, hub: Hub, log: Log, cors: Cors, parking: Parking | None, joined: Joined, granting: Granting
    ) -> None:
        self._hub = hub
        self._log = log
        self._cors = cors
        self._parking = parking
        self._joined = joined
        self._granting = granting

    def configure(self, config: Config, parser: IdentifierParser) -> None:
        """Takes new options."""
        self._deflate = config.wait.websocket_deflate
        self._parser = parser

    def answer(
        self, environ: Environ, start_response: StartResponse, charset: str | None, ends_at: float
    ) -> Iterable[bytes]:
        """Answers a handshake. Raises Forbidden, BadRequest, UpgradeRequired, Unavailable.

        What is wrong with the channels of its target is told by a close frame, which a page can read. `charset`: as for
        `websocket_stream`. `ends_at`: as for `retry_after`.
        """
        if not self._cors.may_open_socket(environ):
            raise Forbidden("a page of another site may open no WebSocket, as it is not among wait.allowed_origins")
        if has_body(environ):
            raise BadRequest("the handshake of a WebSocket has no body")
        direct: Direct | None = environ.get(KEY)
        self._check_server(environ, direct)
        accepted = websocket_handshake.accept(_offer_of(environ), deflate=self._deflate)
        encoding = websocket_stream(deflate=accepted.deflate, charset=charset)
        member = None
        try:
            member, first = self._enter(environ, None if direct is None else direct.connection, encoding, ends_at)
        except Refusal as error:
            if direct is not None:
                self._log.refused(direct.connection, error.text, error.trouble)
            first = close_frame(*close_of(error, retry_seconds(error, ends_at)))
        if direct is None:
            assert self._parking is not None
            return self._parking.talk(member, first, environ, accepted.headers, start_response)
        start_response(SWITCHING, list(accepted.headers))
        direct.upgraded = True
        direct.listener = member
        if member is not None and member.alarm:
            direct.timeout = member.alarm - time.monotonic()
        direct.first = first
        return [first]

    def _check_server(self, environ: Environ, direct: Direct | None) -> None:
        """Raises BadRequest, UpgradeRequired, Unavailable where no WebSocket can be opened."""
        if direct is not None:
            if direct.sent_ahead:
                raise BadRequest(_SENT_AHEAD)
            if not direct.may_wait:
                raise BadRequest("the client's sending half has ended, so it cannot talk over a WebSocket")
            return
        if self._parking is None:
            raise Unavailable("polls wait in rplx serve alone here")
        self._parking.admit(environ)
        if not self._parking.can_talk(environ):
            raise UpgradeRequired("this server hands on no WebSocket; listen by event streams or polls")
        if self._parking.has_sent_ahead(environ):
            raise BadRequest(_SENT_AHEAD)

    def _enter(
        self, environ: Environ, connection: Any, encoding: WebSocketStream, ends_at: float
    ) -> tuple[Member, bytes]:
        """Raises BadRequest, TooLarge, InvalidGrant, Unavailable."""
        if ends_at:
            raise Ending
        target = target_of(environ)
        identifiers = self._parser.in_target(target.encode("latin-1", "replace"))
        cursors = {} if identifiers is None else listened_to(identifiers)
        admitted = self._granting.admit(environ, cursors, target)
        cursors = admitted.cursors
        joined = None if identifiers is None else self._joined(connection, cursors, identifiers.count)
        member, first = self._hub.streams.enter(
            cursors,
            connection,
            address=environ.get("REMOTE_ADDR", ""),
            encoding=encoding,
            joined=joined,
            client=client_name(environ),
        )
        # With no channel its client is yet to say what it listens to.
        return member, admitted.begin(member, first if cursors else b"")


def _offer_of(environ: Environ) -> websocket_handshake.Offer:
    return websocket_handshake.Offer(
        environ["HTTP_SEC_WEBSOCKET_KEY"],
        environ.get("HTTP_SEC_WEBSOCKET_VERSION", ""),
        environ.get("HTTP_SEC_WEBSOCKET_PROTOCOL", ""),
        environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""),
    )
