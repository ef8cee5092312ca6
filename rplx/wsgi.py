"""The WAIT line inside other applications and servers: `application` and `RealplexorMiddleware`."""

from __future__ import annotations

from typing import Any

from rplx.hosts import gunicorn_worker, middleware
from rplx.hosts.middleware import RealplexorMiddleware

__all__ = ["RealplexorMiddleware", "application"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name == "application":
        # Not for the middleware: behind it are pages that work without polls.
        gunicorn_worker.check_start()
        return middleware.application
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
