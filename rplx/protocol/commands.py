"""Makes a Send, Online, Watch or Stats of one request of the IN line (protocol page, part 3)."""

from __future__ import annotations

import re

from rplx.errors import BadRequest, Refusal
from rplx.messages import Command, Credentials, Identifiers, Online, Send, Stats, Watch
from rplx.protocol.door import MARKER, OPEN, Door
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser

# ++ and *+ give nothing back: otherwise a line of n blanks would be tried in n * n ways.
_COMMAND = re.compile(rb"(?i)(online|watch|stats)(?:[ \t]++([^\r\n]*+))?(?:\r?\n\r?\n|\r?\n?\Z)")
_WHOLE_COMMAND = re.compile(rb"(?i)(online|watch|stats)(?:[ \t]++([^\r\n]*+))?\r?\n\r?\n")
_BLANK_LINE = re.compile(rb"(?:\A|\n)\r?\n")
EMPTY_BODY = "passed empty HTTP body, ignored"
_NO_CHANNEL = "no channel given, and no command (ONLINE, WATCH or STATS)"


class EmptyBody(BadRequest):
    """A send without a blank line, and so without a body. It is ignored (part 3)."""

    code = "empty_body"


def command_of_http(request: HttpRequest, parser: IdentifierParser, door: Door = OPEN) -> Command:
    """Returns what a whole HTTP request asks for.

    The marker counts in `X-Realplexor`, else in the request target, else in the body's own plain text head
    (part 7.6). Raises Forbidden for a request of a browser, MethodNotAllowed (part 7.7), and BadRequest if there are
    neither channels nor a command.
    """
    identifiers = marker_of_head(request, parser, door)
    if request.method == "POST":
        return _command_of_body(request, identifiers, parser)
    door.check_method(request.method, whole=True)
    command = _command_of_body(request, identifiers, parser)
    if isinstance(command, Send) and request.method == "GET":
        raise door.listener()
    return command


def check_head(request: HttpRequest, parser: IdentifierParser, door: Door, *, has_length: bool) -> Identifiers | None:
    """Judges a request by its head alone, and returns the list that the head names.

    `has_length`: the body has a length; else it goes on to the end of the sending half. Raises what `command_of_http`
    raises. A client that asks by GET without a length never half-closes, so it is refused at once.
    """
    identifiers = marker_of_head(request, parser, door)
    door.check_method(request.method, whole=has_length)
    if request.method == "GET" and (bool(identifiers.cursors) if identifiers else not has_length):
        raise door.listener()
    return identifiers


def list_so_far(head: HttpRequest | None, text: bytes, parser: IdentifierParser) -> Identifiers | None:
    """Returns the list of a request that is coming in, of its HTTP head or of plain text; None until it is whole."""
    try:
        return parser.in_text(text, complete=False) if head is None else marker_of_head(head, parser)
    except Refusal:
        return None  # the refusal is raised when the request is judged


def list_of(request: HttpRequest, parser: IdentifierParser) -> Identifiers | None:
    """Returns the list of a whole HTTP request, wherever it stands, or None if there is none or a wrong one."""
    try:
        return marker_of_head(request, parser) or parser.in_text(request.body, complete=False, http=True)
    except Refusal:
        return None


def _command_of_body(request: HttpRequest, identifiers: Identifiers | None, parser: IdentifierParser) -> Command:
    body = request.body
    if identifiers is not None:
        return _command(body, identifiers, old_form=not identifiers.cursors and request.header(MARKER) is not None)
    try:
        return command_of_text(body, parser, http=True)
    except EmptyBody:
        if parser.in_data(body):
            raise
        raise BadRequest(_NO_CHANNEL) from None


def marker_of_head(request: HttpRequest, parser: IdentifierParser, door: Door = OPEN) -> Identifiers | None:
    """Returns the marker of a request's head, or None if there is none.

    Raises Forbidden if a header tells that a browser sent this (part 7.7), and what the parser raises.
    """
    marker = None
    watched = door.watched
    for name, value in request.headers:
        if name not in watched:
            continue
        if name == MARKER:
            marker = marker or value
        else:
            door.check_header(name, value, request)
    identifiers = None if marker is None else parser.in_data(marker)
    return identifiers or parser.in_target(request.target)


def command_of_text(data: bytes, parser: IdentifierParser, *, http: bool = False) -> Command:
    """Returns what a whole plain text request asks for: a command at its start, or a marker, a blank line and a body.

    `http`: it is the body of an HTTP request, whose ids have more characters (part 9.8).

    Raises EmptyBody if there is no blank line, and BadRequest if there are neither channels nor a command.
    """
    at_start = _COMMAND.match(data)
    if at_start is not None:
        return _make(at_start, None)
    blank = _BLANK_LINE.search(data)
    head, body = (data, None) if blank is None else (data[: blank.start()], data[blank.end() :])
    identifiers = parser.in_text(head, complete=True, http=http)
    if body is None:
        raise EmptyBody(EMPTY_BODY)
    return _command(body, identifiers or Identifiers({}), old_form=identifiers is not None)


def early_command(data: bytes, parser: IdentifierParser, *, http: bool = False) -> Command | None:
    """Returns the command of a plain text request that is still coming in if a blank line has ended it, else None.

    `http` as in `command_of_text`. Raises what the parser raises.
    """
    at_start = _WHOLE_COMMAND.match(data)
    if at_start is not None:
        return _make(at_start, None)
    blank = _BLANK_LINE.search(data)
    behind = blank and _WHOLE_COMMAND.match(data, blank.end())
    if blank is None or behind is None:
        return None
    identifiers = parser.in_text(data[: blank.start()], complete=True, http=http)
    if identifiers is not None and identifiers.cursors:
        return None
    return _make(behind, None if identifiers is None else identifiers.credentials)


def early_command_behind(identifiers: Identifiers | None, body: bytes, parser: IdentifierParser) -> Command | None:
    """Returns the command of a body without a length that is still coming in if a blank line has ended it, else None.

    `identifiers` are those of the request's head. Raises what the parser raises.
    """
    if identifiers is None:
        return early_command(body, parser, http=True)
    command = _WHOLE_COMMAND.match(body)
    return None if identifiers.cursors or command is None else _make(command, identifiers.credentials)


def ends_in_old_form(request: HttpRequest, data: bytes) -> bool:
    """Returns whether a command is that of a client that reads to the end: a blank line came last (part 3)."""
    blank = (b"\n\r\n", b"\n\n")
    if not data.endswith(blank) and not request.body.endswith(blank):
        return False
    return b"keep-alive" not in (request.header(b"connection") or b"").lower()


def _command(body: bytes, identifiers: Identifiers, *, old_form: bool) -> Command:
    """`old_form`: the marker stands where old clients put it, so an empty list is a send to nobody (part 7.9)."""
    # With channels it is a send, whatever the body says: a message is never taken for a command (part 7.9).
    if identifiers.cursors:
        return Send(identifiers, body)
    match = _COMMAND.match(body)
    if match is not None:
        return _make(match, identifiers.credentials)
    if not body.strip():
        raise BadRequest("no channel given")
    if old_form:
        return Send(identifiers, body)
    raise BadRequest(_NO_CHANNEL)


def _make(match: re.Match[bytes], credentials: Credentials | None) -> Command:
    name = match[1].upper()
    text = (match[2] or b"").decode("utf-8", "replace")
    arguments = text.split()
    if name == b"ONLINE":
        return Online(tuple(arguments), credentials, text)
    if name == b"WATCH":
        return Watch(arguments[0] if arguments else None, tuple(arguments[1:]), credentials, text)
    return Stats(credentials)
