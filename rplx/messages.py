"""The values that the rooms hand each other. A cursor is the very text that came in, and is compared as a decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

_AROUND_BLOCK = 37  # bytes of a block and of its separator, beside its ids and its message
_AROUND_ID = 8

CURSOR_CACHE = 4096  # cursors whose numbers are kept: after a message all its listeners come back with the same one


@lru_cache(maxsize=CURSOR_CACHE)
def cursor_value(cursor: str) -> Decimal:
    """Returns the number that a cursor's text stands for, exact to the last digit (protocol page, "Words")."""
    return Decimal(cursor)


def size_of_id(id: str, cursor: str) -> int:
    """Returns the bytes that an id and its cursor take in a block of a poll's body (part 2.3)."""
    return len(id) + len(cursor) + _AROUND_ID


@dataclass(frozen=True, slots=True)
class Credentials:
    """LOGIN:PASSWORD of a marker (part 1)."""

    login: str
    password: str


@dataclass(slots=True)  # not frozen: frozen ones take longer to make, and each request makes some
class Identifiers:
    """A marker's list (part 1): each id once, with its cursor, or None where the item had none.

    `limiters` are the ids marked with `*`; on the WAIT line they are ids like the others.
    """

    cursors: dict[str, str | None]
    limiters: dict[str, str | None] = field(default_factory=dict)
    credentials: Credentials | None = None
    count: int = field(default=1, compare=False)
    """The number of items that name an id, repeated ones too."""


@dataclass(slots=True)  # not frozen: frozen ones take longer to make, and each request makes some
class Message:
    """A stored message: its bytes as they came, its cursor in each of its channels, and who may see it.

    Everybody may if `limiters` is empty, else only who also listens to one of them (part 2, "Which messages are due").
    """

    data: bytes
    cursors: dict[str, str]
    limiters: frozenset[str] = frozenset()
    weight: int = field(default=0, compare=False, repr=False, kw_only=True)
    """The bytes of memory that it takes in each of its channels, once the history has counted them."""

    def visible_to(self, names: Sequence[str]) -> bool:
        """Returns whether a listener of `names` may see this message (part 2, "Which messages are due")."""
        return not self.limiters or not self.limiters.isdisjoint(names)


@dataclass(slots=True)  # not frozen: frozen ones take longer to make, and each request makes some
class Send:
    """Store `data` in the channels of `identifiers` (part 3, Send).

    `stored` is called when it is stored, before listeners are woken; where an engine cannot tell that moment, earlier.
    """

    identifiers: Identifiers
    data: bytes
    stored: Callable[[], None] | None = field(default=None, compare=False, repr=False)


class Appended(Protocol):
    """A message on its way into an engine's history."""

    @property
    def is_settled(self) -> bool:
        """Whether `receipt` neither waits nor lets others go on."""

    def receipt(self) -> dict[str, str]:
        """Returns id -> the message's cursor there, once it is stored. Others may go on meanwhile.

        Raises InsufficientStorage, Unavailable.
        """


class Stored:
    """Implements Appended for a message that is stored already."""

    __slots__ = ("_cursors",)
    is_settled = True

    def __init__(self, cursors: dict[str, str]) -> None:
        self._cursors = cursors

    def receipt(self) -> dict[str, str]:
        return self._cursors


@dataclass(frozen=True, slots=True)
class Online:
    """Asks which channels are online (part 3, ONLINE). `arguments` is the text of the prefixes as it came."""

    prefixes: tuple[str, ...] = ()
    credentials: Credentials | None = None
    arguments: str = field(default="", compare=False)  # as they came


@dataclass(frozen=True, slots=True)
class Watch:
    """Asks what changed after `position`, an argument's text; None asks where to start (part 3, WATCH)."""

    position: str | None = None
    prefixes: tuple[str, ...] = ()
    credentials: Credentials | None = None
    arguments: str = field(default="", compare=False)  # as they came


@dataclass(frozen=True, slots=True)
class Stats:
    """Asks for the server's state in five sections (part 3, STATS)."""

    credentials: Credentials | None = None


Command = Send | Online | Watch | Stats


class Asker(Protocol):
    """Who asks for a command: the address `host`, and what the log's lines begin with, WAIT or IN and HOST:PORT.

    The credentials are part of the command.
    """

    @property
    def host(self) -> str: ...
    @property
    def line(self) -> str: ...
    @property
    def peer(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Event:
    """A channel that came online or went offline, at a position of the event log."""

    position: int
    kind: str  # "online" | "offline"; "FAKE" where earlier ones are forgotten
    id: str


@dataclass(slots=True)
class Due:
    """One message that is due to a listener, the ids and cursors by which it is due, and the smallest cursor.

    `ids` may be the message's own `cursors`, so it is replaced, never changed.
    """

    message: Message
    ids: dict[str, str]
    value: Decimal

    @classmethod
    def of(cls, message: Message, ids: dict[str, str]) -> Due:
        """Returns a message that is due by `ids`, which is not empty."""
        return cls(message, ids, min(map(cursor_value, ids.values())))

    @property
    def size(self) -> int:
        """The bytes that it takes in a poll's body (part 2.3)."""
        return len(self.message.data) + sum([size_of_id(id, cursor) for id, cursor in self.ids.items()]) + _AROUND_BLOCK

    def add(self, id: str, cursor: str, value: Decimal) -> None:
        """Adds a channel by which it is due. Its `ids` must not be the message's own `cursors`."""
        self.ids[id] = cursor
        self.value = min(self.value, value)
