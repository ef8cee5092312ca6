"""Where other WSGI servers have a client's socket."""

from __future__ import annotations

from collections.abc import Callable
from io import BufferedReader
from typing import Any

Environ = dict[str, Any]


def client_socket(environ: Environ) -> Any:
    """Returns the client's socket: gunicorn hands it on, gevent.pywsgi has it behind `wsgi.input`; None elsewhere."""
    found = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    if found is None and is_pywsgi(environ):
        given = environ["wsgi.input"]
        raw = getattr(getattr(given, "rfile", given), "raw", None)
        found = getattr(raw, "_sock", None)
    return found


def is_pywsgi(environ: Environ) -> bool:
    """Returns whether gevent.pywsgi made `environ`."""
    kind = type(environ.get("wsgi.input"))
    if kind is BufferedReader:  # what it hands on where a request asks for an upgrade
        return str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/")
    return kind.__module__ == "gevent.pywsgi" and kind.__name__ == "Input"


def closer_of(start_response: Any) -> Callable[[], None] | None:
    """Returns what has gunicorn close the connection behind its answer, also when that has begun; None elsewhere."""
    found: Callable[[], None] | None = getattr(getattr(start_response, "__self__", None), "force_close", None)
    return found
