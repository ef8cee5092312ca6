"""Reads the pages and the script that the WAIT line serves, and puts the options' values in (protocol page, part 2).

How long browsers may keep them is said here, too (part 9.3).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from rplx.legacy.keys import legacy_value
from rplx.options.table import Config
from rplx.wait_line.cors import Environ, Headers

SCRIPT_AGE = 3600  # seconds for which browsers keep the script before they ask whether it has changed
TAG_LENGTH = 32  # hexadecimal digits of a page's tag

_OPTION = re.compile(rb"\$([A-Z][A-Z0-9_]*)")
_SERVED = Path(__file__).parents[1] / "served"  # the build of js/ writes them
_SHIPPED = {
    "IFRAME": "iframe.html",
    "SCRIPT": "script.js",
    "SHARED": "shared.js",
    "WEBSOCKET": "websocket.js",
    "SANDBOX": "sandbox.html",
}
_SCRIPTS = ("SCRIPT", "SHARED", "WEBSOCKET")


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is sent. `last_modified` is an HTTP date (RFC 9110, 5.6.7), `etag` an entity tag (8.8.3)."""

    kind: str
    content: bytes
    content_type: str
    last_modified: str
    etag: str

    def freshness(self, environ: Environ) -> Headers:
        """Returns the headers that say for how long the client of a request may keep the page."""
        modified = ("Last-Modified", self.last_modified)
        if self._is_checked(environ):
            return [modified, ("ETag", self.etag), ("Cache-Control", f"public, max-age={SCRIPT_AGE}")]
        return [modified, ("Expires", "Wed, 08 Jul 2037 22:53:52 GMT"), ("Cache-Control", "public")]

    def is_known(self, environ: Environ) -> bool:
        """Returns whether a client has this very page already, and asks for another one alone."""
        if self._is_checked(environ):  # by its tag alone: the file's time does not change with the options in it
            tags = environ.get("HTTP_IF_NONE_MATCH", "").split(",")
            return any(tag.strip().removeprefix("W/") in (self.etag, "*") for tag in tags)
        return bool(environ.get("HTTP_IF_MODIFIED_SINCE") == self.last_modified)

    def _is_checked(self, environ: Environ) -> bool:
        """Returns whether a client asks again for the page now and then, and not only when it has lost it."""
        return self.kind in _SCRIPTS and bool(environ["SERVER_PROTOCOL"] == "HTTP/1.1")


class Pages:
    """Keeps the pages of one configuration, and reads a page again if its file has changed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files = {"IFRAME": config.pages.iframe_file, "SCRIPT": config.pages.script_file}
        self._cache: dict[str, tuple[float, Page]] = {}

    def get(self, kind: str) -> Page:
        """Returns the page of `kind`, which is one of `_SHIPPED`. Raises OSError if its file cannot be read."""
        given = self._files.get(kind)
        path = Path(given) if given else _SERVED / _SHIPPED[kind]
        changed = path.stat().st_mtime
        cached = self._cache.get(kind)
        if cached is not None and cached[0] == changed:
            return cached[1]
        content = path.read_bytes()
        if kind != "SANDBOX":
            content = _OPTION.sub(self._value, content)
        page = Page(
            kind,
            content,
            "text/javascript" if kind in _SCRIPTS else "text/html",
            formatdate(changed, usegmt=True),
            f'"{hashlib.sha256(content).hexdigest()[:TAG_LENGTH]}"',
        )
        self._cache[kind] = (changed, page)
        return page

    def _value(self, match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        value = legacy_value(self._config, name)
        return (f"undefined-{name}" if value is None else value).encode()
