"""The server's answers as values. Pure; BrokenResponse for what does not read as the protocol page says."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from rplx.client.blocks import read_one_by_one
from rplx.client.errors import BrokenResponse

_CURSOR = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_RECEIPT_LINE = re.compile(r"([A-Za-z0-9_]+) ([0-9]+(?:\.[0-9]+)?)")
_ONLINE_LINE = re.compile(r"([A-Za-z0-9_]+) ([0-9]{1,18})")
_WATCH_LINE = re.compile(r"(\w+) ([0-9]+):(\w+)")
_SECTION_LINE = re.compile(r"\[(\w+)\]")


class Event(NamedTuple):
    """A line of WATCH. `event` is "online" or "offline"; "FAKE" only tells at which `pos` to start."""

    event: str
    pos: str
    id: str


class Message(NamedTuple):
    """A message that a listener received: `ids` are its cursors in those of the listener's channels that it reached.

    `data` is what `json` makes of it, or an `Unreadable` with its raw text where Python cannot read it.
    """

    data: Any
    ids: dict[str, str]


def _lines(body: bytes, pattern: re.Pattern[str], what: str) -> list[re.Match[str]]:
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
    """`ID CURSOR` lines as id -> cursor (part 7.1)."""
    return {match[1]: match[2] for match in _lines(body, _RECEIPT_LINE, "a receipt")}


def online(body: bytes) -> dict[str, int]:
    """`ID COUNT` lines as id -> number of connections that listen to it now (part 3, ONLINE)."""
    return {match[1]: int(match[2]) for match in _lines(body, _ONLINE_LINE, "ONLINE")}


def watch(body: bytes) -> list[Event]:
    """`EVENT POS:ID` lines, oldest first (part 3, WATCH)."""
    return [Event(match[1], match[2], match[3]) for match in _lines(body, _WATCH_LINE, "WATCH")]


def stats(text: str) -> dict[str, dict[str, str]]:
    """The sections of STATS, each `KEY => VALUE` line as key -> value (part 3, STATS)."""
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


def poll(body: bytes) -> list[Message]:
    """The messages of a WAIT answer; none for the empty one (part 2, steps 3 and 4).

    A message that cannot be read has an Unreadable as its data; only what is no list of messages is a BrokenResponse.
    """
    text = body.strip()
    if not text:
        return []
    try:
        return [Message(data, _cursors(ids)) for ids, data in _blocks(text)]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BrokenResponse(f"not the body of a WAIT answer: {error}") from error


def _blocks(text: bytes) -> list[tuple[Any, Any]]:
    """The ids and the data of each block."""
    try:
        blocks = json.loads(text)
    except (ValueError, RecursionError):
        # One message spoils the whole: each is read by itself, at a cost that only such answers have.
        return list(read_one_by_one(text))
    return [(block["ids"], block["data"]) for block in blocks]


def _cursors(ids: dict[str, Any]) -> dict[str, str]:
    if not all(isinstance(cursor, str) and _CURSOR.fullmatch(cursor) for cursor in ids.values()):
        raise TypeError("a cursor is a decimal number in a string")
    return ids
