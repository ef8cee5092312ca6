"""The contract of engines: history with cursors, presence and events, in memory, on disk or in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from rplx.engine.observing import Listeners, Observer
from rplx.messages import Appended, Due, Event, Message, Send
from rplx.options.table import HistoryOptions, PresenceOptions


class Engine(Protocol):
    """History with cursors, presence and the event log, for one process or for many.

    A listener is certain to be told of a message only once it has joined and then called `due`. Methods may switch
    greenlets where an engine lives elsewhere, and raise Unavailable when it cannot be reached.
    """

    def attach(self, observer: Observer) -> None:
        """Reports to `observer` from now on, and to nobody else. Called before anybody joins or sends."""

    def reconfigure(self, history: HistoryOptions, presence: PresenceOptions) -> None:
        """Takes new limits and times; smaller limits apply to a channel with its next message."""

    def open(self) -> None:
        """Opens what is kept outside of this process, as the user that serves. Called before the lines accept.

        What takes long may go on behind it: until `load` returns, `problem` says so. Raises ConfigError.
        """

    def load(self) -> None:
        """Returns when all that was kept is there; others go on meanwhile. Raises ConfigError."""

    def close(self) -> None:
        """Takes this process's listeners out of what other processes see, and lets what was begun end."""

    def problem(self) -> str:
        """Returns why nobody can be served at present, "" if nothing is known of that. Asks nobody, so never waits."""

    def draw(self) -> str:
        """Returns a new cursor: the current time, greater than any drawn before (protocol page, part 1)."""

    def latest(self) -> Decimal | None:
        """Returns the greatest cursor that was drawn for a message or a position.

        None if messages are not reported in the order of the cursors that are drawn for them, over all channels.
        """

    def append(self, send: Send) -> Appended:
        """Stores a message, calls its `stored`, and reports it. Messages are stored in the order of these calls.

        Where storing takes time, it goes on behind this call, and others may be begun meanwhile: what is returned waits
        for it. Raises InsufficientStorage when history is full, and Unavailable.
        """

    def due(self, names: Sequence[str], cursors: Sequence[str], limit: int | None = None) -> list[Due]:
        """Returns messages newer than `cursors`, one for each of `names`, that a listener of all `names` may see.

        They come in any order; a message that is due in several channels is one Due. If they have more than `limit`
        bytes (of Due.size), those with the lowest greatest cursors are returned, at least one (part 7.11). What is sent
        while others go on is not among them.
        """

    def gaps(self, names: Sequence[str], cursors: Sequence[str]) -> list[str]:
        """Returns the names whose history no longer reaches back to the cursor, or never came so far (part 7.4)."""

    def join(self, names: Sequence[str]) -> None:
        """Counts one more connection that listens to `names`. It never refuses or waits, nor does `leave`."""

    def leave(self, names: Sequence[str], count: int = 1, address: str = "") -> None:
        """Counts `count` connections less on `names`. `address` is that of the last one, "" if it is not known."""

    def online(self, prefixes: Sequence[str] = ()) -> dict[str, int]:
        """Returns online ids that begin with one of `prefixes` (all, if none), with the number of their connections."""

    def events(self, after: int, prefixes: Sequence[str] = ()) -> list[Event]:
        """Returns the latest change of each id after position `after`, oldest first.

        If some of them are forgotten, an event FAKE comes first, at the position of the last one forgotten.
        """

    def position(self) -> int:
        """Returns the position of the newest event, 10 if there was none."""

    def sweep(self) -> tuple[list[str], list[str]]:
        """Does what time has brought, called about once a second; returns ids now offline, and channels emptied."""

    def history(self) -> dict[str, list[Message]]:
        """Returns all messages that are kept, newest first, for STATS."""

    def elsewhere(self) -> list[Listeners]:
        """Returns the listeners of each other process that answers in time, for STATS."""

    def counters(self) -> dict[str, int]:
        """Returns data_to_send, online_timers, cleanup_timers and events, for the log's line of counters."""
