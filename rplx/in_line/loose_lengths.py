"""Old back-ends on IN whose Content-Length is too small: what comes behind it is looked for (protocol page, part 7.1).

They write all that they have, in as many packets as it takes, half-close, and read the answer.
"""

from __future__ import annotations

from rplx.errors import TooLarge
from rplx.in_line.connection import Connection
from rplx.messages import Command, Identifiers, Send
from rplx.protocol import commands
from rplx.protocol.first_lines import is_next, may_be_next
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from rplx.protocol.request_reader import State

GRACE = 0.25  # seconds in which more of a body may come that its length says is whole


def may_go_on(connection: Connection, request: HttpRequest) -> bool:
    """Whether more may come of a request that its length has ended: of the first of its connection, if nothing says
    that another is to follow."""
    reader = connection.reader
    if connection.served or reader is None or reader.state not in (State.START, State.FIRST_LINE, State.CLOSED):
        return False
    if request.header(b"content-length") is None:
        return False
    return b"keep-alive" not in (request.header(b"connection") or b"").lower()


def is_open_command(request: HttpRequest, command: Command) -> bool:
    """Whether the line of a command has no end, so that its argument may go on."""
    return not isinstance(command, Send) and b"\n" not in request.body


def read_on(connection: Connection, request: HttpRequest, parser: IdentifierParser, maxlen: int) -> bool:
    """Adds to the body what still comes up to the end of the sending half, or of a command; True if something did.

    What is the beginning of another request is left to be received. Errors: OSError, TimeoutError, TooLarge.
    """
    assert connection.reader is not None
    identifiers = commands.marker_of_head(request, parser)
    came = connection.reader.take_behind()
    while not _is_command(request.body, came, identifiers, parser):
        if is_next(came):
            connection.unread = came
            return False
        data = connection.receive_within(GRACE) if may_be_next(came) else connection.receive()
        if data is None:
            connection.unread = came
            return False
        if not data:
            break
        came += data
        if len(request.body) + len(came) > maxlen:
            raise TooLarge(f"body longer than {maxlen} bytes (in.maxlen)")
    if not came.strip(b"\r\n"):
        return False
    request.body += came
    request.keep_alive = False
    return True


def _is_command(begun: bytes, came: bytes, identifiers: Identifiers | None, parser: IdentifierParser) -> bool:
    """Whether this is a whole command now. Errors: those of the parser."""
    return b"\n" in came and commands.early_command_behind(identifiers, begun + came, parser) is not None
