"""Who is at the other end of connections, also behind proxies (part 9.6), and how many connections each address has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from rplx.addresses import Networks, network_of, one_text
from rplx.log import Log
from rplx.options.table import WaitOptions
from rplx.protocol.forwarded import client_of
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.proxy_protocol import source_of


class Connected(Protocol):
    """A connection: whose it is, and from which port."""

    host: str
    port: int


class Clients:
    """Names the client as a connection's `host`, and counts connections where one address may have so many only.

    A connection counts for its peer, or whom its PROXY header names. One of a trusted proxy carries the requests of
    many: it counts for a client, and has its address as `host`, while a request of that client is under way.

    `active`: whether connections have to be told of here. `awaited`: those whose PROXY header is not whole yet, with
    what has come of it.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.active = False
        self.awaited: dict[Connected, bytes] = {}
        self._proxies: dict[Connected, str] = {}  # the peers of those that serve a client behind them
        self._counted: dict[Connected, str] = {}  # what each counts for
        self._by_address: dict[str, int] = {}

    def configure(self, options: WaitOptions, connections: Iterable[Connected]) -> None:
        """Takes new options, and counts the `connections` that are open anew. Requests under way keep their client."""
        self._limit = options.max_connections_per_address
        self._has_headers = options.proxy_protocol
        self._trusted = Networks(options.trusted_proxies)
        self._named_by = Networks(() if options.proxy_protocol else options.trusted_proxies)
        self.active = self.active or bool(self._limit or self._has_headers or self._trusted)
        self._counted.clear()
        self._by_address.clear()
        for connection in connections:
            if connection not in self.awaited and (connection in self._proxies or not self._is_shared(connection)):
                self._count(connection)

    def _is_shared(self, connection: Connected) -> bool:
        """Returns whether a trusted proxy is at the other end, which names the client with each request."""
        return connection.host in self._named_by

    # -- connections

    def may_connect(self, connection: Connected) -> bool:
        """Returns whether a new connection may be served at all: with PROXY headers trusted proxies alone, if any."""
        return not (self._has_headers and self._trusted) or connection.host in self._trusted

    def opened(self, connection: Connected) -> bool:
        """Takes a new connection. Returns whether there is room for one more of its address."""
        if self._has_headers:
            self.awaited[connection] = b""
            return True
        return self._is_shared(connection) or self._count(connection)

    def take_header(self, connection: Connected, data: bytes) -> tuple[bytes, bool]:
        """Takes what has come of an awaited connection.

        Returns what lies behind its PROXY header, and whether there is room for one more of the address that it names.
        Raises BadHeader.
        """
        data = self.awaited[connection] + data
        source = source_of(data)
        if source is None:
            self.awaited[connection] = data
            return b"", True
        del self.awaited[connection]
        if source.host:
            connection.host, connection.port = one_text(source.host), source.port
        return data[source.size :], self._count(connection)

    def closed(self, connection: Connected) -> None:
        """Forgets a connection."""
        self.awaited.pop(connection, None)
        self._proxies.pop(connection, None)
        self._discount(connection)

    # -- requests

    def begin(self, connection: Connected, request: HttpRequest | bytes) -> bool:
        """Names the client of a request that is about to be carried out.

        Returns whether there is room for one more of the client's address.
        """
        peer = connection.host
        if connection in self._proxies or peer not in self._named_by:
            return True
        self._proxies[connection] = peer
        if not isinstance(request, bytes):
            connection.host = one_text(self._client_of(peer, request))
        return self._count(connection)

    def _client_of(self, peer: str, request: HttpRequest) -> str:
        forwarded_for, forwarded = _joined(request, b"x-forwarded-for"), _joined(request, b"forwarded")
        found = client_of(peer, forwarded_for, forwarded, self._named_by)
        if found.wrong:
            self._log.counted("WAIT: forwarded", f"WAIT: {peer}: {found.wrong}")
        return found.host

    def end(self, connection: Connected) -> None:
        """Takes note that a request of a connection that goes on has been answered."""
        peer = self._proxies.pop(connection, None)
        if peer is not None:
            connection.host = peer
            self._discount(connection)
            if not self._is_shared(connection):  # since a reload
                self._count(connection)

    # -- counts

    def _count(self, connection: Connected) -> bool:
        """Counts a connection for its address, if it has one. Returns whether there was room for it."""
        if not self._limit:
            return True
        address = network_of(connection.host)
        if not address:
            return True
        self._counted[connection] = address
        count = self._by_address[address] = self._by_address.get(address, 0) + 1
        return count <= self._limit

    def _discount(self, connection: Connected) -> None:
        address = self._counted.pop(connection, None)
        if address is not None:
            left = self._by_address.pop(address) - 1
            if left:
                self._by_address[address] = left


def _joined(request: HttpRequest, name: bytes) -> str | None:
    """Returns all values of a header as one list (RFC 9110, 5.3), or None if there is none."""
    found = [value.decode("latin-1") for key, value in request.headers if key == name]
    return ", ".join(found) if found else None
