"""The WAIT line inside other applications and servers: `application` and `RealplexorMiddleware`."""

from __future__ import annotations

from typing import Any

from rplx.hosts.middleware import RealplexorMiddleware, checked_application

__all__ = ["RealplexorMiddleware", "application"]  # noqa: F822


def __getattr__(name: str) -> Any:
    if name == "application":  # checked when it is asked for, and not where the middleware alone is used
        return checked_application()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
