"""Where other WSGI servers have a client's socket."""

from __future__ import annotations

from typing import Any

Environ = dict[str, Any]


def client_socket(environ: Environ) -> Any:
    """Returns the client's socket: gunicorn hands it on, gevent.pywsgi has it behind `wsgi.input`; None elsewhere."""
    found = environ.get("gunicorn.socket") or environ.get("gunicorn.sock")
    if found is None and is_pywsgi(environ):
        raw = getattr(environ["wsgi.input"].rfile, "raw", None)
        found = getattr(raw, "_sock", None)
    return found


def is_pywsgi(environ: Environ) -> bool:
    """Returns whether gevent.pywsgi made `environ`."""
    kind = type(environ.get("wsgi.input"))
    return kind.__module__ == "gevent.pywsgi" and kind.__name__ == "Input"
