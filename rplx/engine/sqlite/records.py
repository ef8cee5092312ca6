"""What the parts of this engine hand each other: messages with their rows, and changes that are written behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rplx.messages import Event, Message


class Failure(NamedTuple):
    """Why a transaction was not written: the error's text, and whether it is for want of room."""

    text: str
    is_full: bool


Row = tuple[int, int, str, bytes, str | None]
"""A row of messages: seq, drawn, channels, data, limiters."""


@dataclass(slots=True)
class Kept(Message):
    """A message with its row: `seq`, the number of channels that still have it, and whether some have dropped it."""

    seq: int = 0
    left: int = 0
    is_partial: bool = False


Floor = tuple[str, str | None, int | None]
"""A channel, its floor, None if that is forgotten, and when it was emptied, in seconds since the epoch."""


@dataclass(slots=True)
class Changes:
    """A piece of what is to be written, in one transaction."""

    floors: dict[str, Floor] = field(default_factory=dict)  # by channel
    deleted: list[int] = field(default_factory=list)  # rows of messages that no channel has
    partial: list[tuple[int, str]] = field(default_factory=list)  # channels that others' messages have left
    healed: list[int] = field(default_factory=list)  # those of `deleted` that some channels had left before
    events: list[Event] = field(default_factory=list)
    oldest_event: int = 0  # events before this position are forgotten
    online: dict[str, bool] = field(default_factory=dict)  # ids that came and went
    facts: dict[str, object] = field(default_factory=dict)
