"""Messages as Redis keeps and announces them. Anything else raises ValueError.

A member of a channel's history (a sorted set, all scores 0, so that Redis sorts by bytes):

    SORTKEY NUMBER CURSOR ID LIMITERS DATA

An announcement has one part for each channel of the send. It goes to each of them or, if that were too much, to all
processes at once:

    MICROSECONDS CHANNEL:CURSOR:NUMBER:INCARNATION,... ID LIMITERS DATA

NUMBER counts the messages of a channel. INCARNATION says when the order of cursors began, and when the channel was
first used since its facts were lost: `BEGIN/MICROSECONDS`. Together they show what a process has missed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from rplx.messages import Message, Send

STEPS = 500  # parts read between two rests
LISTS_KEPT = 16  # lists of limiters kept for the next copy of their message


@dataclass(slots=True, eq=False)
class StoredMessage(Message):
    """A message with the id that it has in all its channels."""

    id: bytes = b""


class Part(NamedTuple):
    """One channel of an announced message."""

    channel: str
    cursor: str
    number: int
    incarnation: bytes


class Announced(NamedTuple):
    """An announcement. `drawn`: microseconds of the cursor that Redis drew, 0 if it drew none."""

    drawn: int
    parts: list[Part]
    body: bytes


def pack_body(message_id: bytes, send: Send) -> bytes:
    """Returns what is the same in all channels of a send: ID LIMITERS DATA."""
    limiters = ",".join(sorted(send.identifiers.limiters)).encode()
    return b"%b %b %b" % (message_id, limiters or b"-", send.data)


def unpack_body(body: bytes, cursors: dict[str, str]) -> StoredMessage:
    """Returns the message of ID LIMITERS DATA, at `cursors`."""
    message_id, limiters, data = body.split(b" ", 2)
    return StoredMessage(data, cursors, frozenset() if limiters == b"-" else _limiters(limiters), message_id)


@lru_cache(maxsize=LISTS_KEPT)
def _limiters(text: bytes) -> frozenset[str]:
    """Returns one set for all copies of a message, as thousands of long ones take long to make and to compare."""
    return frozenset(text.decode().split(","))


def unpack_member(channel: str, member: bytes) -> tuple[int, StoredMessage]:
    """Returns the number and the message of a member of `channel`'s history."""
    _, number, cursor, body = member.split(b" ", 3)
    return int(number), unpack_body(body, {channel: _cursor(cursor)})


def unpack_announced(text: bytes, rest: Callable[[], None]) -> Announced:
    """Returns what a text that came by pub/sub announces. `rest` is called now and then."""
    drawn, parts, body = text.split(b" ", 2)
    found: list[Part] = []
    for part in parts.split(b","):
        if len(found) % STEPS == STEPS - 1:
            rest()
        channel, cursor, number, incarnation = part.split(b":", 3)
        found.append(Part(channel.decode(), _cursor(cursor), int(number), incarnation))
    return Announced(int(drawn), found, body)


def _cursor(text: bytes) -> str:
    if not text.replace(b".", b"", 1).isdigit():
        raise ValueError("this is no cursor")
    return text.decode()
