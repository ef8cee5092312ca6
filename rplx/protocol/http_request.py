"""One whole HTTP request, as the lines hand it on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)  # not frozen: one is made for every request, and a frozen one takes longer to make
class HttpRequest:
    """One whole HTTP request. Header names are in lower case; `target` is what stood in the request line."""

    method: str
    target: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    keep_alive: bool

    def header(self, name: bytes) -> bytes | None:
        """Returns the value of the first header called `name` (lower case), or None if there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return None
