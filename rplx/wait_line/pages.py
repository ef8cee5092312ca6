"""Reads the pages and the script that the WAIT line serves, and puts the options' values in (protocol page, part 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

from rplx.legacy.keys import legacy_value
from rplx.options.table import Config

_OPTION = re.compile(rb"\$([A-Z][A-Z0-9_]*)")
_SERVED = Path(__file__).parents[1] / "served"  # the build of js/ writes them
_SHIPPED = {"IFRAME": "iframe.html", "SCRIPT": "script.js", "SANDBOX": "sandbox.html"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page as it is sent. `last_modified` is an HTTP date (RFC 9110, 5.6.7)."""

    content: bytes
    content_type: str
    last_modified: str


class Pages:
    """Keeps the pages of one configuration, and reads a page again if its file has changed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._files = {"IFRAME": config.pages.iframe_file, "SCRIPT": config.pages.script_file}
        self._cache: dict[str, tuple[float, Page]] = {}

    def get(self, kind: str) -> Page:
        """Returns the page of `kind`, which is IFRAME, SCRIPT or SANDBOX. Raises OSError if its file cannot be read."""
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
            content,
            "text/javascript" if kind == "SCRIPT" else "text/html",
            formatdate(changed, usegmt=True),
        )
        self._cache[kind] = (changed, page)
        return page

    def _value(self, match: re.Match[bytes]) -> bytes:
        name = match[1].decode()
        value = legacy_value(self._config, name)
        return (f"undefined-{name}" if value is None else value).encode()
