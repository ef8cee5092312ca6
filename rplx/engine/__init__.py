"""What is known: history, presence, events. The Engine contract is the only seam: memory here, Redis elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rplx.engine.observing import Listeners, Observer
from rplx.messages import Due, Event, Message, Send
from rplx.options.table import HistoryOptions, PresenceOptions


class Engine(Protocol):
    """History with cursors, presence and the event log, for one process or for many.

    Announcements are certain only for a listener that has joined and then called `due`.
    Methods may switch greenlets where an engine lives elsewhere; Unavailable is raised when it cannot be reached.
    """

    def attach(self, observer: Observer) -> None:
        """Reports to `observer` from now on, and to nobody else. Called before anybody joins or sends."""

    def reconfigure(self, history: HistoryOptions, presence: PresenceOptions) -> None:
        """Takes new limits and times; smaller limits apply to a channel with its next message."""

    def close(self) -> None:
        """Takes this process's listeners out of what other processes see."""

    def draw(self) -> str:
        """A new cursor: the current time, greater than any drawn before (protocol page, part 1)."""

    def append(self, send: Send) -> dict[str, str]:
        """Stores a message, calls its `stored` and announces it; gives the receipt, id -> cursor.

        Errors: InsufficientStorage when history is full, Unavailable.
        """

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None = None) -> list[Due]:
        """The messages newer than `cursors`, one for each of `names`, that are visible to a listener of all `names`.

        In any order; one message that is due in several channels is one Due. Of more than `limit` bytes (of Due.size)
        the first by their greatest cursor, one at least (part 7.11). What is sent while others go on is not among them.
        """

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        """The names whose history no longer reaches back to the cursor, or has never come so far (part 7.4)."""

    def join(self, names: Sequence[str]) -> None:
        """One more connection listens to `names`."""

    def leave(self, names: Sequence[str], count: int = 1, address: str = "") -> None:
        """`count` connections that listened to `names` have left, the last of them from `address` ("": not known)."""

    def online(self, prefixes: Sequence[str] = ()) -> dict[str, int]:
        """Online ids that begin with one of `prefixes` (all, if none), with the number of their connections."""

    def events(self, after: int, prefixes: Sequence[str] = ()) -> list[Event]:
        """The latest change of each id after position `after`, oldest first.

        Where some of them are forgotten, an event FAKE stands first, at the position of the last that is.
        """

    def position(self) -> int:
        """The position of the newest event, 10 if there was none."""

    def sweep(self) -> tuple[list[str], list[str]]:
        """What time has brought, called about once a second: ids now offline, ids cleaned."""

    def history(self) -> dict[str, list[Message]]:
        """All that is kept, newest first, for STATS."""

    def elsewhere(self) -> list[Listeners]:
        """The listeners of each other process, for STATS; of those that tell in time."""

    def counters(self) -> dict[str, int]:
        """For the log's third form: data_to_send, online_timers, cleanup_timers, events."""
