"""Answers of the IN line as values. All functions raise BrokenResponse for what is no such answer."""

from __future__ import annotations

import re
from typing import NamedTuple

from rplx.client.errors import BrokenResponse

_RECEIPT_LINE = re.compile(r"([A-Za-z0-9_.-]+) ([0-9]+(?:\.[0-9]+)?)")
_ONLINE_LINE = re.compile(r"([A-Za-z0-9_.-]+) ([0-9]{1,18})")
_WATCH_LINE = re.compile(r"(\w+) ([0-9]+):([A-Za-z0-9_.-]+)")
_SECTION_LINE = re.compile(r"\[(\w+)\]")


class Event(NamedTuple):
    """A line of WATCH: `event` is "online" or "offline"; "FAKE" only says from which `pos` to ask on (part 3)."""

    event: str
    pos: str
    id: str


def _lines(body: bytes, pattern: re.Pattern[str], what: str) -> list[re.Match[str]]:
    """Returns each line's match; empty lines are skipped."""
    matches = []
    for line in body.decode("utf-8", "replace").splitlines():
        if not line:
            continue
        match = pattern.fullmatch(line.rstrip())
        if match is None:
            raise BrokenResponse(f"not a line of {what}: {line[:200]!r}")
        matches.append(match)
    return matches


def receipt(body: bytes) -> dict[str, str]:
    """Returns the `ID CURSOR` lines of a receipt as id -> cursor (part 7.1)."""
    return {match[1]: match[2] for match in _lines(body, _RECEIPT_LINE, "a receipt")}


def online(body: bytes) -> dict[str, int]:
    """Returns the `ID COUNT` lines of ONLINE as id -> number of connections that listen to it (part 3)."""
    return {match[1]: int(match[2]) for match in _lines(body, _ONLINE_LINE, "ONLINE")}


def watch(body: bytes) -> list[Event]:
    """Returns the events of the `EVENT POS:ID` lines of WATCH, oldest first (part 3)."""
    return [Event(match[1], match[2], match[3]) for match in _lines(body, _WATCH_LINE, "WATCH")]


def stats(text: str) -> dict[str, dict[str, str]]:
    """Returns the sections of STATS, in each the `KEY => VALUE` lines as key -> value (part 3)."""
    sections: dict[str, dict[str, str]] = {}
    section: dict[str, str] | None = None
    for line in text.splitlines():
        if match := _SECTION_LINE.fullmatch(line.strip()):
            section = sections.setdefault(match[1], {})
        elif line.strip():
            key, arrow, value = line.partition(" => ")
            if section is None or not arrow:
                raise BrokenResponse(f"not a line of STATS: {line[:200]!r}")
            section[key.strip()] = value.strip()
    return sections
