"""Where other WSGI servers have a client's socket, and what they have read of it."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedReader
from typing import Any

Environ = dict[str, Any]


def client_socket(environ: Environ) -> Any:
    """Returns the client's socket: gunicorn hands it on, gevent.pywsgi has it behind `wsgi.input`; None elsewhere."""
    found = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    if found is None and is_pywsgi(environ):
        found = getattr(getattr(_buffered(environ), "raw", None), "_sock", None)
    return found


def is_pywsgi(environ: Environ) -> bool:
    """Returns whether gevent.pywsgi made `environ`."""
    kind = type(environ.get("wsgi.input"))
    if kind is BufferedReader:  # what it hands on where a request asks for an upgrade
        return str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/")
    return kind.__module__ == "gevent.pywsgi" and kind.__name__ == "Input"


def _buffered(environ: Environ) -> Any:
    """Returns from what gevent.pywsgi reads a connection's requests."""
    given = environ["wsgi.input"]
    return getattr(given, "rfile", given)


def has_sent_ahead(environ: Environ) -> bool:
    """Returns whether the client has sent something behind its request, as far as the server has it, or the socket."""
    if not is_pywsgi(environ):
        buffered = getattr(getattr(getattr(environ["wsgi.input"], "reader", None), "unreader", None), "buf", None)
        return buffered is not None and bool(buffered.getvalue())
    sock = client_socket(environ)
    patience = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        return bool(_buffered(environ).peek(1))
    except OSError:  # it is gone
        return False
    finally:
        sock.settimeout(patience)


def read_no_more(environ: Environ, start_response: Any) -> None:
    """Has the server take nothing that still comes for another request: behind a WebSocket nothing is HTTP.

    Raises StopIteration where the server in front knows that as the word for it.
    """
    if is_pywsgi(environ):
        _buffered(environ).close()
        return
    force_close = getattr(getattr(getattr(start_response, "__self__", None), "req", None), "force_close", None)
    if force_close is None:
        raise StopIteration
    force_close()


def closer_of(start_response: Any) -> Callable[[], None] | None:
    """Returns what has gunicorn close the connection behind its answer, also when that has begun; None elsewhere."""
    found: Callable[[], None] | None = getattr(getattr(start_response, "__self__", None), "force_close", None)
    return found
