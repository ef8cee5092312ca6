"""Old back-ends on IN whose Content-Length is too small: what comes behind it is part of the body (protocol page, 7.1).

They write all that they have, in as many packets as it takes, half-close, and read the answer.
"""

from __future__ import annotations

from dataclasses import replace

from rplx.errors import TooLarge
from rplx.in_line.connection import Connection
from rplx.messages import Command, Identifiers, Send
from rplx.protocol import commands
from rplx.protocol.first_lines import is_next, may_be_next
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.request_reader import RequestReader, State

GRACE = 0.25  # seconds in which more may come of a body that is whole by its length


def may_go_on(reader: RequestReader, request: HttpRequest) -> bool:
    """Returns whether more may come of a request that its length has ended, and nothing says that another follows."""
    if reader.state not in (State.START, State.FIRST_LINE, State.CLOSED):
        return False
    if request.header(b"content-length") is None:
        return False
    return b"keep-alive" not in (request.header(b"connection") or b"").lower()


def is_open_command(request: HttpRequest, command: Command) -> bool:
    """Returns whether the line of a command has no end, so that its argument may go on."""
    return not isinstance(command, Send) and b"\n" not in request.body


def read_on(
    connection: Connection,
    reader: RequestReader,
    request: HttpRequest,
    parser: IdentifierParser,
    maxlen: int,
    *,
    asks: bool,
) -> HttpRequest | None:
    """Returns the request with all that comes up to the end of the sending half, or of a command, in its body.

    Returns None if nothing comes. The beginning of another request is put back, to be received. `asks`: the request is
    a command, so that a blank line behind it is its end, and its client reads the answer to the connection's.

    Raises OSError, TimeoutError, TooLarge.
    """
    identifiers = commands.marker_of_head(request, parser)
    came = reader.take_behind()
    while not _is_command(request.body, came, identifiers, parser):
        if is_next(came):
            connection.put_back(came)
            return None
        data = connection.receive_within(GRACE) if may_be_next(came) else connection.receive()
        if data is None:
            connection.put_back(came)
            return None
        if not data:
            break
        came += data
        if len(request.body) + len(came) > maxlen:
            raise TooLarge(f"body longer than {maxlen} bytes (in.maxlen)")
    if not came.strip(b"\r\n"):
        return replace(request, keep_alive=False) if asks and came else None
    return replace(request, body=request.body + came, keep_alive=False)


def _is_command(begun: bytes, came: bytes, identifiers: Identifiers | None, parser: IdentifierParser) -> bool:
    """Returns whether this is a whole command now. Raises what the parser raises."""
    return b"\n" in came and commands.early_command_behind(identifiers, begun + came, parser) is not None
