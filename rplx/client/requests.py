"""Requests as values, and their bytes (RFC 9112)."""

from __future__ import annotations

from typing import NamedTuple

Headers = tuple[tuple[str, str], ...]


class Request(NamedTuple):
    """One request; `headers` are all that it has."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def written(self) -> bytes:
        """Returns the request as it goes out."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body
