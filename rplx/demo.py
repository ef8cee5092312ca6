"""The sandbox page's small back-end on the WAIT line: lets anybody publish, so it is off unless asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import ujson

from rplx.errors import BadRequest, MethodNotAllowed, NotFound, Refusal, TooLarge
from rplx.hub import Hub
from rplx.messages import Identifiers, Send
from rplx.wsgi import Application, Environ

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

COUNT_MAX = 1000  # messages in one burst
BODY_MAX = 65536  # bytes of a request
_ID = re.compile(r"[A-Za-z0-9_]{1,128}", re.ASCII)


class Demo:
    """Middleware before the WAIT line: `/` is the sandbox page, `/demo/send` and `/demo/online` its back-end."""

    def __init__(self, application: Application, hub: Hub) -> None:
        self._application = application
        self._hub = hub

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        try:
            if path == "/demo/send":
                return self._answer(start_response, self._send(environ))
            if path == "/demo/online":
                return self._answer(start_response, self._hub.engine.online())
            if path == "/" and "rplx.text" not in environ and environ["REQUEST_METHOD"] == "GET":
                identifier = self._application.config.pages.identifier
                if f"{identifier}=" not in environ["QUERY_STRING"]:
                    return self._page(start_response)
        except Refusal as error:
            return self._answer(start_response, {"error": error.text}, f"{error.status} {error.reason}")
        return self._application(environ, start_response)

    def _page(self, start_response: StartResponse) -> Iterable[bytes]:
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
        return [page.content]

    def _send(self, environ: Environ) -> dict[str, Any]:
        """Errors: Refusal."""
        if environ["REQUEST_METHOD"] != "POST":
            raise MethodNotAllowed("send by POST")
        # A form of another site cannot send this type without a preflight, so foreign pages cannot publish.
        if not environ.get("CONTENT_TYPE", "").startswith("application/json"):
            raise BadRequest("the body must be application/json")
        length = environ.get("CONTENT_LENGTH", "")
        if not length.isdigit() or int(length) > BODY_MAX:
            raise TooLarge(f"a body has at most {BODY_MAX} bytes")
        try:
            asked = json.loads(environ["wsgi.input"].read(int(length)))
            ids, text, count = asked["ids"], _encode(asked["data"]), int(asked.get("count", 1))
        except (ValueError, KeyError, TypeError, OverflowError) as error:  # a UnicodeError is a ValueError
            raise BadRequest(f'the body must be {{"ids": [...], "data": ..., "count": 1}}: {error!r}') from None
        if not isinstance(ids, list) or not ids:
            raise BadRequest("ids must be a list with at least one channel")
        for id in ids:
            if not isinstance(id, str) or not _ID.fullmatch(id):
                raise BadRequest(f"a channel id has letters, digits and _ only, {id!r} given")
        if not 1 <= count <= COUNT_MAX:
            raise BadRequest(f"count must be from 1 to {COUNT_MAX}")
        receipts = []
        for number in range(1, count + 1):  # {n} in the data is the message's number in its burst
            send = Send(Identifiers(dict.fromkeys(ids)), text.replace(b"{n}", b"%d" % number))
            receipts.append(self._hub.publish(send))
        return {"receipts": receipts}

    def _answer(self, start_response: StartResponse, value: object, status: str = "200 OK") -> Iterable[bytes]:
        body = _encode(value)
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        start_response(status, headers)
        return [body]


def _encode(value: object) -> bytes:
    text: str = ujson.dumps(value, ensure_ascii=False, escape_forward_slashes=False, allow_nan=False)
    return text.encode()
