"""The channel of a bench client's request: the last id of `identifier=CURSOR:ID,...`."""

from __future__ import annotations

import re

LAST_ID = re.compile(r"identifier=[\w.:,*]*?(\w+)(?![\w.:,*])")


def channel_of(text: str) -> str:
    """Raises ValueError if there is none."""
    match = LAST_ID.search(text)
    if match is None:
        raise ValueError(f"no identifier in {text!r}")
    return match[1]
