"""One IN request, plain text or HTTP: Refusal is all that it may raise, and what is early stays what it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rplx.errors import Refusal
from rplx.messages import Command, Send
from rplx.protocol.commands import command_of_http, command_of_text, early_command
from rplx.protocol.http_request import HttpRequest
from rplx.protocol.identifiers import IdentifierParser
from tests.fuzz.inputs import plain, repeated
from tests.protocol.test_commands import TEXTS

SIZE = 16384  # EARLY_COMMAND_MAX
PARSER = IdentifierParser()


def seeds() -> Iterator[bytes]:
    for text, _ in TEXTS:
        yield plain(b"\x10" + text)
    yield plain(b"\x10identifier=a\0\nX-Realplexor: identifier=b\r\n\r\n{}")
    yield repeated(b"\xffONLINE \t")
    yield repeated(b"\xff\n")


def check(data: bytes) -> None:
    cut, data = int.from_bytes(data[:1], "little"), data[1:]
    try:
        early = early_command(data[:cut], PARSER)
    except Refusal:
        early = None
    if early is not None:
        assert not isinstance(early, Send)
        assert early_command(data, PARSER) == early
        assert command_of_text(data, PARSER) == early
    with contextlib.suppress(Refusal):
        command_of_text(data, PARSER)
    try:
        command: Command | None = command_of_text(data, PARSER, http=True)
    except Refusal:
        command = None
    target, _, rest = data.partition(b"\0")
    marker, _, body = rest.partition(b"\r\n\r\n")
    headers = [(b"x-realplexor", marker)] if marker else []
    for request in (
        HttpRequest("POST", target, "1.1", headers, body, True),
        HttpRequest("POST", b"/", "1.1", [], data, True),
    ):
        try:
            asked = command_of_http(request, PARSER)
        except Refusal:
            continue
        if isinstance(asked, Send):
            assert asked.identifiers.cursors or asked.data.strip()  # a send to nobody has a body (part 7.9)
            assert request.body.endswith(asked.data)
    if isinstance(command, Send):
        assert asked == command  # without a marker in its head, the body says what plain text may say
