"""HTTP requests as WSGI environs, and what an application answers as bytes (PEP 3333)."""

from __future__ import annotations

import io
import sys
from typing import Any
from urllib.parse import unquote

from rplx.protocol.http_request import HttpRequest
from rplx.wait_line.connection import Connection
from rplx.wait_line.direct import KEY, Direct

NAMES_MAX = 1000  # header names whose CGI names are remembered

_names: dict[bytes, str] = {}
_BASE: dict[str, Any] = {
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": False,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SCRIPT_NAME": "",
}
_PLAIN_TEXT = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/",
    "QUERY_STRING": "",
    "SERVER_PROTOCOL": "HTTP/1.0",
}


def environ_of(connection: Connection, request: HttpRequest | bytes, direct: Direct) -> dict[str, Any]:
    """Returns the environ of a request; `bytes` is a plain text one."""
    environ = _BASE.copy()
    environ["REMOTE_ADDR"] = connection.host
    environ["REMOTE_PORT"] = str(connection.port)
    environ[KEY] = direct
    if isinstance(request, bytes):
        environ.update(_PLAIN_TEXT)
        environ["wsgi.input"] = io.BytesIO()
        return environ
    target = request.target.decode("latin-1")
    path, _, query = target.partition("?")
    if not path.startswith("/"):  # the absolute form, as proxies are sent it (RFC 9112, 3.2.2)
        path = "/" + path.partition("://")[2].partition("/")[2]
    environ["REQUEST_METHOD"] = request.method
    environ["RAW_URI"] = target
    environ["PATH_INFO"] = unquote(path, "latin-1") if "%" in path else path
    environ["QUERY_STRING"] = query
    environ["SERVER_PROTOCOL"] = "HTTP/" + request.version
    environ["wsgi.input"] = io.BytesIO(request.body)
    for name, value in request.headers:
        key = _names.get(name) or _environ_name(name)
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]}, {text}" if key in environ else text
    if "HTTP_TRANSFER_ENCODING" in environ or (request.body and "CONTENT_LENGTH" not in environ):
        environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


def _environ_name(name: bytes) -> str:
    """Returns the CGI name of a header. One with an underscore must not pass for one with a hyphen."""
    key = "HTTP_" + name.decode("latin-1").upper().replace("_", "__").replace("-", "_")
    if key in ("HTTP_CONTENT_LENGTH", "HTTP_CONTENT_TYPE"):
        key = key[5:]
    if len(_names) < NAMES_MAX:
        _names[name] = key
    return key


class Response:
    """What the application says by start_response, which is the method `start`."""

    __slots__ = ("headers", "status")

    def __init__(self) -> None:
        self.status = "500 Internal Server Error"
        self.headers: list[tuple[str, str]] = []

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        self.headers = headers

    def head(self, keep_alive: bool) -> bytes:
        """Returns status line and headers, without the blank line behind them."""
        close = "" if keep_alive else "Connection: close\r\n"
        lines = "".join([f"{name}: {value}\r\n" for name, value in self.headers])
        return f"HTTP/1.1 {self.status}\r\n{close}{lines}".encode("latin-1")

    def is_success(self) -> bool:
        return self.status[0] == "2"
