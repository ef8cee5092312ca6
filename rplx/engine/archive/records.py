"""What an engine keeps, as values that no engine owns. Pure.

They come in this order: a Head, Floors, Messages in the order of their sending, events of rplx.messages by position,
OnlineIds.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rplx.messages import Event

ID = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
CURSOR = r"[0-9]+(?:\.[0-9]+)?"
CURSOR_MAX = 128  # characters; those that come in are shorter, and a drawn one may be longer than the one before it
DRAWN_MAX = 1 << 53  # microseconds since the epoch: in the year 2255, and JSON's numbers are exact until then
FIRST_POSITION = 11  # of an event (protocol page, part 3, WATCH)
NO_POSITION = FIRST_POSITION - 1
KINDS = ("online", "offline")

_ID = re.compile(ID)
_CURSOR = re.compile(CURSOR)


class WrongRecord(ValueError):
    """What no engine has written; the text says what is wrong with it."""


@dataclass(slots=True)
class Head:
    """`beginning`: the floor of channels of which nothing is known. `drawn`: the greatest cursor that may be drawn.

    The latter in microseconds since the epoch.
    """

    beginning: str
    drawn: int


@dataclass(slots=True)
class Floor:
    """The floor of a channel; `emptied`: seconds since the epoch, None if it has messages."""

    channel: str
    floor: str
    emptied: int | None


@dataclass(slots=True)
class ArchivedMessage:
    """A message; `drawn`: the greatest cursor that was drawn until it was sent, in microseconds since the epoch.

    `dropped` are those of its channels that no longer have it.
    """

    drawn: int
    cursors: dict[str, str]
    data: bytes
    limiters: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class OnlineId:
    """An id that was online after the last event."""

    id: str


Record = Head | Floor | ArchivedMessage | Event | OnlineId


@dataclass(slots=True)
class Totals:
    """How many records there are of each kind but the head."""

    floors: int = 0
    messages: int = 0
    events: int = 0
    online: int = 0

    def count(self, record: Record) -> None:
        """Counts one more."""
        if isinstance(record, ArchivedMessage):
            self.messages += 1
        elif isinstance(record, Floor):
            self.floors += 1
        elif isinstance(record, Event):
            self.events += 1
        elif isinstance(record, OnlineId):
            self.online += 1


class Checker:
    """Checks records one by one, in their order. Each method raises WrongRecord."""

    def __init__(self) -> None:
        self._rank = -1
        self._drawn = 0
        self._position = NO_POSITION
        self._floors: set[str] = set()  # channels that have had one
        self._online: set[str] = set()
        self._kinds: dict[type, tuple[int, Callable[[Any], None]]] = {
            Head: (0, self._head),
            Floor: (1, self._floor),
            ArchivedMessage: (2, self._message),
            Event: (3, self._event),
            OnlineId: (4, self._online_id),
        }

    def check(self, record: Record) -> None:
        """Checks a record and its place behind those before it."""
        rank, check = self._kinds[type(record)]
        if rank < self._rank or (rank == 0) != (self._rank < 0):
            raise WrongRecord("stands in the wrong place: the head comes first, then floors, messages, events, online")
        self._rank = rank
        check(record)

    def _head(self, head: Head) -> None:
        check_cursor(head.beginning)
        check_drawn(head.drawn)

    def _floor(self, floor: Floor) -> None:
        check_id(floor.channel)
        check_cursor(floor.floor)
        if floor.emptied is not None and not _is_whole(floor.emptied, 0, DRAWN_MAX):
            raise WrongRecord("the time at which the channel was emptied is none")
        _add(self._floors, floor.channel)

    def _message(self, message: ArchivedMessage) -> None:
        check_drawn(message.drawn)
        if message.drawn < self._drawn:
            raise WrongRecord("was sent before the message that stands before it")
        self._drawn = message.drawn
        if not message.cursors:
            raise WrongRecord("has no channel")
        for id, cursor in message.cursors.items():
            check_id(id)
            check_cursor(cursor)
        for id in message.limiters:
            check_id(id)
        if not set(message.dropped) < message.cursors.keys():
            raise WrongRecord("was dropped where it was not, or in all its channels")

    def _event(self, event: Event) -> None:
        check_event(event, self._position)
        self._position = event.position

    def _online_id(self, online: OnlineId) -> None:
        check_id(online.id)
        _add(self._online, online.id)


def _add(known: set[str], id: str) -> None:
    if id in known:
        raise WrongRecord(f"{id} is there twice")
    known.add(id)


def check_id(id: object) -> None:
    """Raises WrongRecord unless `id` can be a channel's."""
    if not (isinstance(id, str) and _ID.fullmatch(id)):
        raise WrongRecord(f"{_shown(id)} is no id")


def check_cursor(cursor: object) -> None:
    """Raises WrongRecord unless `cursor` is one."""
    if not (isinstance(cursor, str) and len(cursor) <= CURSOR_MAX and _CURSOR.fullmatch(cursor)):
        raise WrongRecord(f"{_shown(cursor)} is no cursor")


def check_event(event: Event, before: int) -> None:
    """Checks an event, of which the one before has the position `before`. Raises WrongRecord."""
    if event.kind not in KINDS:
        raise WrongRecord(f"{_shown(event.kind)} is neither online nor offline")
    check_id(event.id)
    if not _is_whole(event.position, before + 1, DRAWN_MAX):
        raise WrongRecord(f"{_shown(event.position)} is no position behind that of the event before it")


def check_drawn(drawn: object) -> None:
    """Raises WrongRecord unless `drawn` can be a time in microseconds since the epoch."""
    if not _is_whole(drawn, 0, DRAWN_MAX):
        raise WrongRecord(f"{_shown(drawn)} is no time in microseconds")


def _is_whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
