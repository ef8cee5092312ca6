"""One request and its answer through httpx, for asyncio and trio, with the errors of the client that blocks."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import ssl
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import anyio
import httpx

from rplx.client.connection import BODY_MAX, HEAD_MAX, REUSE_WITHIN, UNIX, Address, Answer, Deadline
from rplx.client.errors import (
    BrokenResponse,
    ConnectionFailed,
    ConnectionLost,
    InvalidArgument,
    RealplexorError,
    Timeout,
)
from rplx.client.requests import Request

# httpx has one error for an answer that is none and for one that was cut.
_CUT = ("disconnected", "closed connection")


def new_transport(address: Address) -> httpx.AsyncHTTPTransport:
    """Returns what has one connection to there at a time, and keeps it.

    It connects straight, without what the environment says of proxies and certificates.
    """
    return httpx.AsyncHTTPTransport(
        verify=address.tls or False,  # without TLS nothing is verified, and no certificates are loaded
        trust_env=False,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=REUSE_WITHIN),
        uds=address.host.removeprefix(UNIX) if address.is_unix else None,
        socket_options=None if address.is_unix else [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
    )


class Exchange:
    """One request, and its answer as it comes.

    `is_kept`: it went over a connection that had carried others; `is_written`: all of it went out; `asked_at`: when it
    went out, by the monotonic clock, infinite until then. A method that is cancelled or fails closes the connection.
    """

    def __init__(
        self,
        transport: httpx.AsyncHTTPTransport,
        address: Address,
        request: Request,
        *,
        whole: Deadline | None = None,
        connecting: float | None = None,
        answering: float | None = None,
    ) -> None:
        """`whole`: the end of all of it. Without it: `connecting`, seconds until the request goes out, and `answering`,
        from then on.
        """
        self._transport = transport
        self._address = address
        self._request = request
        self._whole = whole
        self._connecting = connecting
        self._answering = answering
        self._scope = anyio.CancelScope()
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._is_read = False
        self.is_kept = True
        self.is_written = False
        self.asked_at = math.inf

    async def answer(self) -> Answer:
        """Returns the whole answer. Raises ConnectionFailed, ConnectionLost, Timeout, BrokenResponse."""
        with self._limited():
            return await self._whole_answer(await self._head())
        raise self._late()

    async def begin(self) -> Answer:
        """Returns the answer; one with status 200 without the body, which `read_some` gives. Raises as `answer`."""
        with self._limited():
            head = await self._head()
            return head if head.status == 200 else await self._whole_answer(head)
        raise self._late()

    async def read_some(self, deadline: Deadline) -> bytes:
        """Returns what comes next of the body, b"" at its end, also where it was cut. Raises Timeout."""
        try:
            left = deadline.left()
        except TimeoutError as error:
            raise Timeout(f"{self._address}: reading: not done within {deadline}", unknown=True) from error
        with anyio.move_on_after(left):
            try:
                return await self._piece()
            except (ConnectionLost, BrokenResponse):
                return b""
        raise Timeout(f"{self._address}: reading: not done within {deadline}", unknown=True)

    async def aclose(self) -> None:
        """Ends the answer. The connection is kept if all of it was read, else closed."""
        pieces, self._pieces = self._pieces, None
        response, self._response = self._response, None
        if response is None or pieces is None:
            return
        if not self._is_read:
            # Without a connection it comes to its end, where it would be left to the garbage collector else.
            await response.extensions["network_stream"].aclose()
            with contextlib.suppress(httpx.TransportError):
                async for _ in pieces:
                    pass
        await response.aclose()

    def _limited(self) -> anyio.CancelScope:
        self._limit(self._whole or Deadline(self._connecting))
        return self._scope

    def _limit(self, deadline: Deadline) -> None:
        self._deadline = deadline
        try:
            left = deadline.left()
        except TimeoutError:
            left = 0.0
        self._scope.deadline = anyio.current_time() + (math.inf if left is None else left)

    def _late(self) -> Timeout:
        doing = "no connection" if math.isinf(self.asked_at) else "waiting for the answer: not done"
        return Timeout(f"{self._address}: {doing} within {self._deadline}", unknown=self.is_written)

    async def _head(self) -> Answer:
        scheme = "http" if self._address.tls is None else "https"
        try:
            request = httpx.Request(
                self._request.method,
                f"{scheme}://{self._address.host_header}{self._request.target}",
                headers=list(self._request.headers),
                stream=httpx.ByteStream(self._request.body),
                extensions={"trace": self._trace},
            )
        except httpx.InvalidURL as error:
            raise InvalidArgument(f"{self._address}: {error}") from error
        try:
            response = await self._transport.handle_async_request(request)
        except httpx.TransportError as error:
            raise self._error(error) from error
        self._response = response
        self._pieces = aiter(cast(httpx.AsyncByteStream, response.stream))
        reason = response.extensions["reason_phrase"].decode("latin-1").strip()
        try:
            return Answer(response.status_code, reason, self._headers(response), b"", closes=False)
        except BrokenResponse:
            await self.aclose()
            raise

    def _headers(self, response: httpx.Response) -> dict[str, str]:
        """Returns the headers. Raises BrokenResponse for another HTTP, and for what is too long to be read."""
        headers = response.headers
        version = response.extensions["http_version"]
        if not version.startswith(b"HTTP/1."):
            raise BrokenResponse(f"{self._address}: non-HTTP response received: {version.decode('latin-1')}")
        if sum(len(name) + len(value) + len(": ") for name, value in headers.raw) > HEAD_MAX:
            raise BrokenResponse(f"{self._address}: the answer's head is longer than {HEAD_MAX} bytes")
        if int(headers.get("content-length", "0")) > BODY_MAX:
            raise BrokenResponse(f"{self._address}: an answer of more than {BODY_MAX} bytes")
        return dict(headers)

    async def _whole_answer(self, head: Answer) -> Answer:
        body = bytearray()
        try:
            while piece := await self._piece():
                body += piece
                if len(body) > BODY_MAX:
                    raise BrokenResponse(f"{self._address}: an answer of more than {BODY_MAX} bytes")
        finally:
            await self.aclose()
        return Answer(head.status, head.reason, head.headers, bytes(body), closes=False)

    async def _piece(self) -> bytes:
        """Returns what comes next of the body, b"" at its end. Raises ConnectionLost, BrokenResponse."""
        assert self._pieces is not None
        try:
            async for piece in self._pieces:
                if piece:
                    return piece
        except httpx.TransportError as error:
            raise self._error(error) from error
        self._is_read = True
        return b""

    async def _trace(self, event: str, info: dict[str, Any]) -> None:
        """Takes note of what httpx does (its extension "trace")."""
        if event.startswith("connection.connect_"):
            self.is_kept = False
        elif event == "http11.send_request_headers.started":
            self.asked_at = time.monotonic()
            if self._whole is None:
                self._limit(Deadline(self._answering))
        elif event == "http11.send_request_body.complete":
            self.is_written = True

    def _error(self, error: httpx.TransportError) -> RealplexorError:
        if isinstance(error, httpx.ConnectError) or math.isinf(self.asked_at):
            return ConnectionFailed(f"{self._address}: {_reason(error)}")
        is_cut = any(word in str(error) for word in _CUT)
        if isinstance(error, httpx.ProtocolError) and not is_cut:
            return BrokenResponse(f"{self._address}: non-HTTP response received: {error}")
        doing = "waiting for the answer" if self.is_written else "sending"
        reason = "connection closed by the server" if is_cut else _reason(error)
        return ConnectionLost(f"{self._address}: {doing}: {reason}", unknown=self.is_written)


def _reason(error: BaseException) -> str:
    """Returns what the system says of an error, or else what httpx does."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.errno:
            # asyncio and trio have words of their own for what the system says.
            is_system = not isinstance(cause, (socket.gaierror, ssl.SSLError))
            return os.strerror(cause.errno) if is_system else cause.strerror or str(cause)
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
