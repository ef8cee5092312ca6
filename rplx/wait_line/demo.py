"""The sandbox page and its back-end on the WAIT line. It lets anybody publish, so it is off unless asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import ujson

from rplx.errors import BadRequest, MethodNotAllowed, NotFound, Refusal, TooLarge
from rplx.messages import Asker, Identifiers, Send
from rplx.protocol.identifiers import ID
from rplx.wait_line.application import Application
from rplx.wait_line.cors import Environ
from rplx.wait_line.direct import KEY, Direct
from rplx.wait_line.wsgi import body_of, is_text

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

COUNT_MAX = 1000  # messages in one burst
IDS_MAX = 20  # channels of one request
BURST_MAX = 2_097_152  # bytes that a burst stores in all: each message once for each channel
BODY_MAX = 65536  # bytes of a request
_LENGTH = re.compile(r"[0-9]{1,10}")
_ID = re.compile(r"(?=.{1,128}\Z)" + ID)


class Commands(Protocol):
    """What carries commands out on the IN line, for those whom nobody asks for credentials."""

    def send(self, asker: Asker, send: Send) -> dict[str, str]:
        """Stores a message, and lets others go on first where it is their turn; returns the receipt. Raises Refusal."""

    def online(self, asker: Asker) -> Mapping[str, int]:
        """Returns how many listen to each id that is online. Raises Refusal."""


class Demo:
    """Middleware before the WAIT line: `/` is the sandbox page, `/demo/send` and `/demo/online` its back-end.

    Served by our own server alone, whose connections ask.
    """

    def __init__(self, application: Application, commands: Commands) -> None:
        self._application = application
        self._commands = commands

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        try:
            if path == "/demo/send":
                return self._answer(environ, start_response, self._send(environ))
            if path == "/demo/online":
                return self._answer(environ, start_response, self._commands.online(_asker(environ)))
            if path == "/" and not is_text(environ) and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
                identifier = self._application.config.pages.identifier
                if f"{identifier}=" not in environ["QUERY_STRING"]:
                    return self._page(environ, start_response)
        except Refusal as error:
            return self._answer(environ, start_response, {"error": error.text}, f"{error.status} {error.reason}")
        return self._application(environ, start_response)

    def _page(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            page = self._application.pages.get("SANDBOX")
        except OSError as error:
            raise NotFound(f"the sandbox page cannot be read: {error.strerror}") from None
        headers = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(page.content))),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response("200 OK", headers)
        return body_of(environ, page.content)

    def _send(self, environ: Environ) -> dict[str, Any]:
        """Carries out `{"ids": [...], "data": ..., "count": 1}`. Raises Refusal."""
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed("send by POST")
        # A form of another site cannot send this type without a preflight, so foreign pages cannot publish.
        if not environ.get("CONTENT_TYPE", "").startswith("application/json"):
            raise BadRequest("the body must be application/json")
        length = environ.get("CONTENT_LENGTH", "")
        if not _LENGTH.fullmatch(length) or int(length) > BODY_MAX:
            raise TooLarge(f"a body has at most {BODY_MAX} bytes")
        try:
            asked = json.loads(environ["wsgi.input"].read(int(length)))
            ids, text, count = asked["ids"], _encode(asked["data"]), int(asked.get("count", 1))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:  # UnicodeError: a ValueError
            raise BadRequest(f'the body must be {{"ids": [...], "data": ..., "count": 1}}: {error!r}') from None
        ids = _checked_ids(ids)
        if not 1 <= count <= COUNT_MAX:
            raise BadRequest(f"count must be from 1 to {COUNT_MAX}")
        if len(text) * count * len(ids) > BURST_MAX:
            raise TooLarge(f"bytes of a message times messages times channels are at most {BURST_MAX}")
        asker = _asker(environ)
        return {"receipts": [self._commands.send(asker, _numbered(ids, text, at)) for at in range(1, count + 1)]}

    def _answer(
        self, environ: Environ, start_response: StartResponse, value: object, status: str = "200 OK"
    ) -> Iterable[bytes]:
        body = _encode(value)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(status, headers)
        return body_of(environ, body)


def _asker(environ: Environ) -> Asker:
    """Returns the connection that a request came on."""
    direct: Direct = environ[KEY]
    asker: Asker = direct.connection
    return asker


def _numbered(ids: list[str], text: bytes, number: int) -> Send:
    """Returns one message of a burst; {n} in `text` stands for its number."""
    return Send(Identifiers(dict.fromkeys(ids)), text.replace(b"{n}", b"%d" % number))


def _checked_ids(ids: object) -> list[str]:
    """Returns `ids` if they are a list of channels. Raises BadRequest, TooLarge."""
    if not isinstance(ids, list) or not ids:
        raise BadRequest("ids must be a list with at least one channel")
    if len(ids) > IDS_MAX:
        raise TooLarge(f"at most {IDS_MAX} channels at once")
    for id in ids:
        if not isinstance(id, str) or not _ID.fullmatch(id):
            raise BadRequest(f"a channel id has letters, digits, _, and behind the first of them . and -, {id!r} given")
    return ids


def _encode(value: object) -> bytes:
    text: str = ujson.dumps(value, ensure_ascii=False, escape_forward_slashes=False, allow_nan=False)
    return text.encode()
