"""Event streams as they come (protocol page, part 10; HTML standard, 9.2): bytes in, events and cursors out. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from rplx.client.errors import BrokenResponse
from rplx.client.names import is_cursor

EVENT_MAX = 256 * 1024 * 1024  # bytes of one event

# A carriage return at the end of what has come may be the half of a line end.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n|\Z)){2}")
_LINE_END = re.compile(rb"\r\n|\n|\r")


class StreamEvent(NamedTuple):
    """One event. `type` is "" for a message; None stands for a field that it has not. `retry`: seconds."""

    type: str
    id: str | None
    data: bytes | None
    retry: float | None
    comment: str | None


class EventParser:
    """Takes events out of bytes; what is left over at the end is no event."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Returns the events that are whole with `data`. Raises BrokenResponse for one past EVENT_MAX."""
        *blocks, self._rest = _BLANK_LINE.split(self._rest + data)
        if len(self._rest) > EVENT_MAX:
            raise BrokenResponse(f"an event of a stream is longer than {EVENT_MAX} bytes")
        return [_event(block) for block in blocks]


def _event(block: bytes) -> StreamEvent:
    fields: dict[bytes, bytes] = {}
    for line in _LINE_END.split(block):
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        fields[name] = fields[name] + b"\n" + value if name == b"data" and name in fields else value
    retry = fields.get(b"retry", b"")
    return StreamEvent(
        fields.get(b"event", b"").decode("utf-8", "replace"),
        _text(fields.get(b"id")),
        fields.get(b"data"),
        int(retry[:9]) / 1000 if retry.isdigit() else None,
        _text(fields.get(b"")) or None,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def cursors_of_mark(mark: str, ids: Iterable[str]) -> dict[str, str]:
    """Returns id -> cursor for each of `ids`, as a mark has it; nothing if it is none (part 10.2)."""
    cursors = {}
    for item in mark.split(","):
        cursor, _, id = item.partition(":")
        if is_cursor(cursor):
            cursors[id] = cursor
    if "*" not in cursors:
        return {}
    return {id: cursors.get(id, cursors["*"]) for id in ids}
