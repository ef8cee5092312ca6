"""What a row has to be, so that a damaged file is noticed before anything of it is served. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from rplx.engine.archive.records import CURSOR, DRAWN_MAX, ID, WrongRecord, check_cursor, check_drawn, check_id

_channels = re.compile(rf"{ID}(?:={CURSOR})?(?:,{ID}(?:={CURSOR})?)*").fullmatch
_limiters = re.compile(rf"{ID}(?:,{ID})*").fullmatch


def check_message(row: Sequence[Any], before: int) -> None:
    """Checks a row of messages, of which the one before has been drawn at `before`. Raises WrongRecord."""
    seq, drawn, channels, data, limiters = row
    if type(drawn) is not int or not before <= drawn < DRAWN_MAX:
        raise WrongRecord(f"message {seq} was drawn at a wrong time")
    if type(channels) is not str or not _channels(channels):
        raise WrongRecord(f"message {seq} has wrong channels")
    if type(data) is not bytes:
        raise WrongRecord(f"message {seq} has no bytes")
    if limiters is not None and (type(limiters) is not str or not _limiters(limiters)):
        raise WrongRecord(f"message {seq} has wrong limiters")


def check_dropped(seq: object, channel: object) -> None:
    """Checks a row of dropped. Raises WrongRecord."""
    if type(seq) is not int:
        raise WrongRecord("what was dropped is no message")
    check_id(channel)


def check_floor(channel: object, floor: object, emptied: object) -> None:
    """Checks a row of floors. Raises WrongRecord."""
    check_id(channel)
    check_cursor(floor)
    if emptied is not None and type(emptied) is not int:
        raise WrongRecord(f"channel {channel} was emptied at a wrong time")


def clock_of(value: object) -> int:
    """Returns the fact CLOCK, 0 if there is none. Raises WrongRecord."""
    drawn = 0 if value is None else value
    check_drawn(drawn)
    assert isinstance(drawn, int)
    return drawn
