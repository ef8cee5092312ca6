"""The class and method names of the old Python module, for scripts that use them (protocol page, part 6).

Requests go out as the old module sent them: a connection each, half-closed behind the request, read to its end, within
limits of bytes and time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from rplx.client import answers
from rplx.client.connection import UNIX, Address, Deadline
from rplx.client.errors import BrokenResponse, InvalidArgument
from rplx.client.names import (
    Cursor,
    Ids,
    Names,
    Prefixes,
    checked_marker_word,
    checked_old_id,
    checked_position,
    cursors_by_id,
    encode,
    is_cursor,
)

TLS_PORT = 443


class Dklab_Realplexor_Exception(Exception):
    """Every error of Dklab_Realplexor, with the texts of the old module."""


class Dklab_Realplexor:
    """The old client. `rplx.client.Realplexor` does the same with receipts, kept connections and typed errors.

    Every method raises Dklab_Realplexor_Exception, and nothing else.
    """

    timeout = 5.0  # seconds for connecting, and for each wait for bytes
    call_timeout = 60.0  # seconds for one whole call
    answer_max = 64 * 1024 * 1024  # bytes of an answer: ONLINE of a million ids fits

    def __init__(
        self, host: str, port: int | str, namespace: str | None = None, identifier: str = "identifier"
    ) -> None:
        """`host`, `port`: the IN line (TLS on port 443), or unix:/PATH and any port. `namespace` is put before each id.

        `identifier`: the word before `=` in the marker (part 1).
        """
        self._namespace = namespace
        try:
            self._identifier = checked_marker_word(identifier)
            self._names = Names.of(namespace, None, None)
            tls = int(port) == TLS_PORT and not str(host).startswith(UNIX)
            self._address = Address.of(host, int(port), tls)
        except (ValueError, TypeError) as error:
            raise Dklab_Realplexor_Exception(str(error)) from error

    def logon(self, login: str, password: str) -> None:
        """Puts `LOGIN_` before the namespace, and the login with its password into requests, from now on."""
        try:
            self._names = Names.of(self._namespace, login, password)
        except InvalidArgument as error:
            raise Dklab_Realplexor_Exception(str(error)) from error

    def send(
        self,
        idsAndCursors: str | int | Mapping[str, Cursor | None] | Iterable[str | int],
        data: Any,
        showOnlyForIds: Ids | None = None,
    ) -> None:
        """Sends `data` as JSON to an id, a list of ids or a mapping id -> cursor, limited to `showOnlyForIds`.

        Without an id nothing is sent. An id whose cursor is a number that cannot be written as a cursor (-5, 1e3) is
        left out silently, as the old module did.
        """
        try:
            items = self._names.items(cursors_by_id(without_odd_cursors(idsAndCursors), checked_old_id))
            limiters = self._names.limiters(cursors_by_id(showOnlyForIds, checked_old_id)) if showOnlyForIds else ""
            body = encode(data)
        except InvalidArgument as error:
            raise Dklab_Realplexor_Exception(str(error)) from error
        if items and (answer := self._request(items + limiters, body)):
            _checked(answer)

    def cmdOnline(self, prefixes: Prefixes = None) -> list[str]:
        """Returns the online ids, all or those that start with one of the prefixes."""
        return list(self.cmdOnlineWithCounters(prefixes))

    def cmdOnlineWithCounters(self, prefixes: Prefixes = None) -> dict[str, int]:
        """Returns the online ids, each with the number of connections that listen to it."""
        try:
            counts = answers.online(self._command("ONLINE", *self._names.prefixes(prefixes, checked_old_id)))
        except (InvalidArgument, BrokenResponse) as error:
            raise Dklab_Realplexor_Exception(str(error)) from error
        return {self._names.short(id): count for id, count in counts.items()}

    def cmdWatch(self, fromPos: str | int | None, prefixes: Prefixes = None) -> list[dict[str, str]]:
        """Returns changes after a position, each as `{"event": ..., "pos": ..., "id": ...}`, oldest first."""
        try:
            arguments = [checked_position(fromPos), *self._names.prefixes(prefixes, checked_old_id)]
            events = answers.watch(self._command("WATCH", *arguments))
        except (InvalidArgument, BrokenResponse) as error:
            raise Dklab_Realplexor_Exception(str(error)) from error
        return [{"event": event.event, "pos": event.pos, "id": self._names.short(event.id)} for event in events]

    def _command(self, *words: str) -> bytes:
        return _checked(self._request("", " ".join(words).encode() + b"\n"))

    def _request(self, items: str, body: bytes) -> bytes:
        """Returns all that the server answers, which is nothing for a send to an old server."""
        head = (
            f"POST / HTTP/1.1\r\nHost: {self._address.host_header}\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n"
            f"X-Realplexor: {self._identifier}={self._names.credentials}{items}\r\n\r\n"
        )
        try:
            return self._exchange(head.encode() + body)
        except BrokenResponse as error:
            raise Dklab_Realplexor_Exception(str(error)) from error
        except OSError as error:
            text = error.strerror or str(error) or "timed out"
            raise Dklab_Realplexor_Exception(f"Error #{error.errno or 0}: {text}") from error

    def _exchange(self, request: bytes) -> bytes:
        """Returns all that comes back. Raises OSError, and BrokenResponse for an answer past the limit."""
        address, tls = self._address, self._address.tls
        deadline = Deadline(self.call_timeout)
        with address.connect(self.timeout) as plain:
            connection = tls.wrap_socket(plain, server_hostname=address.host) if tls else plain
            with connection:
                connection.settimeout(deadline.left())
                connection.sendall(request)
                if not tls:
                    connection.shutdown(socket.SHUT_WR)
                received = bytearray()
                while data := self._receive(connection, deadline):
                    received += data
                    if len(received) > self.answer_max:
                        raise BrokenResponse(f"Answer is longer than {self.answer_max} bytes")
        return bytes(received)

    def _receive(self, connection: socket.socket, deadline: Deadline) -> bytes:
        left = deadline.left()
        connection.settimeout(self.timeout if left is None else min(left, self.timeout))
        return connection.recv(65_536)


def without_odd_cursors(ids: Any) -> Any:
    """Returns the ids without those whose cursor is a number that cannot be written as a cursor."""
    if not isinstance(ids, Mapping):
        return ids
    return {id: cursor for id, cursor in ids.items() if not _is_number(cursor) or is_cursor(cursor)}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return False
    try:
        float(value)
    except (ValueError, OverflowError):
        return isinstance(value, int)
    return True


def _checked(answer: bytes) -> bytes:
    """Returns the body of an answer. Raises Dklab_Realplexor_Exception unless it is whole and successful."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("utf-8", "replace").split("\r\n")
    version, _, status = status_line.partition(" ")
    if not separator or not version.startswith("HTTP/"):
        raise Dklab_Realplexor_Exception("Non-HTTP response received: " + answer.decode("utf-8", "replace"))
    if not status.startswith("200"):
        raise Dklab_Realplexor_Exception(f"Request failed: {status}\n{body.decode('utf-8', 'replace')}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length")
    if length is None:
        raise Dklab_Realplexor_Exception("No Content-Length header in response headers: " + "\n".join(lines))
    if length != str(len(body)):
        raise Dklab_Realplexor_Exception(
            f"Response length ({len(body)}) is different than specified in Content-Length header ({length}): "
            "possibly broken response"
        )
    return body
