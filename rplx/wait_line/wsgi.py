"""The parts of a WSGI request (PEP 3333) that the WAIT line asks for, and the answer to one that it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rplx.errors import BadRequest, Forbidden, LengthRequired, MethodNotAllowed, Refusal, TooLarge, UpgradeRequired
from rplx.net.retry_after import retry_after
from rplx.protocol.websocket_handshake import VERSION
from rplx.wait_line.cors import Environ, Headers
from rplx.wait_line.direct import KEY, Direct

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

NO_SNIFF = ("X-Content-Type-Options", "nosniff")
AT_ONCE = ("X-Accel-Buffering", "no")  # has nginx and its like hand on what has come
_CLIENT = re.compile(r"client=([A-Za-z0-9_-]{16,64})(?:&|$)")  # nobody else can guess so long a name
UNTOUCHED = (("Cache-Control", "no-store, no-transform"), AT_ONCE)  # what others on the way may do with an answer


def has_body(environ: Environ) -> bool:
    """Returns whether a request has a body."""
    return environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ


def target_of(environ: Environ) -> str:
    """Returns the request target as it came: RAW_URI is what gunicorn calls it, REQUEST_URI others."""
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is not None:
        return str(raw)
    return f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}?{environ.get('QUERY_STRING', '')}"


def values_in_target(pattern: re.Pattern[str], environ: Environ) -> Iterator[str]:
    """Returns what stands in the target behind a name that `pattern` finds, wherever that begins a value."""
    target = target_of(environ)
    return (found[1] for found in pattern.finditer(target) if target[found.start() - 1] in "?&")


def client_name(environ: Environ) -> str:
    """Returns the name that a listener's client gives itself, or "" (part 9.9)."""
    if "client=" not in environ["QUERY_STRING"]:
        return ""
    return next(values_in_target(_CLIENT, environ), "")


def check_reader(environ: Environ) -> None:
    """Raises Forbidden if a page asks that may read nothing: it is not told either when a message comes (part 7.7)."""
    if environ.get("HTTP_SEC_FETCH_MODE") == "no-cors" and environ.get("HTTP_SEC_FETCH_SITE") != "same-origin":
        # A foreign page's script, image or opaque fetch.
        raise Forbidden("a page of another site may poll by CORS alone, and only where wait.allowed_origins has it")


def is_text(environ: Environ) -> bool:
    """Returns whether this is a plain text request, which has no headers and knows none."""
    direct: Direct | None = environ.get(KEY)
    return direct is not None and direct.text is not None


def keeps_alive(environ: Environ) -> bool:
    """Returns whether the client keeps its connection, so gets its answer in one piece (part 7.2)."""
    direct: Direct | None = environ.get(KEY)
    if direct is not None:
        return direct.keep_alive
    return environ.get("SERVER_PROTOCOL") == "HTTP/1.1" and "close" not in environ.get("HTTP_CONNECTION", "").lower()


def read_body(environ: Environ, body_max: int) -> bytes:
    """Returns the whole body of a POST, of `body_max` bytes at most.

    Raises LengthRequired, TooLarge, and BadRequest if the body was cut short.
    """
    given = environ.get("CONTENT_LENGTH")
    if not given:
        return _read_to_end(environ, body_max)
    length = int(given) if given.isascii() and given.isdigit() else -1
    if length < 0:
        raise BadRequest("Content-Length is not a number")
    if length > body_max:
        raise _too_large(body_max)
    body = _read(environ, length)
    if len(body) < length:
        raise BadRequest("the request was cut short")
    return body


def _read_to_end(environ: Environ, body_max: int) -> bytes:
    """Returns a body without a length, if the server in front says that it ends. Raises LengthRequired, TooLarge."""
    body = _read(environ, body_max + 1) if environ.get("wsgi.input_terminated") else b""
    if not body:
        raise LengthRequired("a POST needs a Content-Length")
    if len(body) > body_max:
        raise _too_large(body_max)
    return body


def _too_large(body_max: int) -> TooLarge:
    return TooLarge(f"body longer than {body_max} bytes (wait.body_max)")


def _read(environ: Environ, count: int) -> bytes:
    """Returns `count` bytes of the body, fewer at its end. Raises BadRequest if the server in front cannot read it."""
    try:
        data: bytes = environ["wsgi.input"].read(count)
    except OSError:  # how gevent.pywsgi tells of an end that came too early and of wrong chunks
        raise BadRequest("the request was cut short") from None
    return data


def refuse(
    error: Refusal,
    environ: Environ,
    start_response: StartResponse,
    added: Iterable[tuple[str, str]] = (),
    ends_at: float = 0.0,
) -> Iterable[bytes]:
    """Returns the body of the answer to a request that is not carried out (part 7.3), with `added` headers.

    `ends_at`: as for `retry_after`.
    """
    text = f"{error.text}{error.hint}\n".encode()
    headers: Headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text)))]
    headers += [NO_SNIFF, *UNTOUCHED, *retry_after(error, ends_at), *added]
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", "GET, POST"))
    elif isinstance(error, UpgradeRequired):
        headers += [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
    start_response(f"{error.status} {error.reason}", headers)
    return body_of(environ, text)


def healthy(environ: Environ, start_response: StartResponse, added: Headers) -> Iterable[bytes]:
    """Returns the body of the answer to a probe of a server that serves (part 9.5), with `added` headers."""
    text = b"ok\n"
    headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(text))), NO_SNIFF, *UNTOUCHED, *added]
    start_response("200 OK", headers)
    return body_of(environ, text)


def body_of(environ: Environ, text: bytes) -> list[bytes]:
    """Returns the body of an answer whose head says how long `text` is: nothing for HEAD (RFC 9110, 9.3.2)."""
    return [b""] if environ["REQUEST_METHOD"] == "HEAD" else [text]
