"""Counts of this process's connections by id, as Redis has to know them. Pure.

Redis is told absolute counts, of those ids whose count has changed since the last report. So it does no harm to report
a count twice, or to report all of them again after Redis has lost them.
"""

from __future__ import annotations

from collections.abc import Iterable

Change = tuple[str, int, bool]  # id, connections now, whether one came since the last report

UNKNOWN = -1  # a count that Redis may or may not have


class Counts:
    """Connections by id. Take `changes`, report them, then call `reported` or `not_reported`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._reported: dict[str, int] = {}
        self._changed: dict[str, bool] = {}  # id -> whether a connection came since the last report

    def has_changes(self) -> bool:
        """Returns whether there is anything to report."""
        return bool(self._changed)

    def join(self, ids: Iterable[str]) -> list[str]:
        """Counts one more connection that listens to `ids`; returns those that had no listener here."""
        counts = self._counts
        changed = self._changed
        first = []
        for id in ids:
            count = counts.get(id, 0)
            if not count:
                first.append(id)
            counts[id] = count + 1
            changed[id] = True
        return first

    def leave(self, ids: Iterable[str], count: int) -> list[str]:
        """Counts `count` connections less on `ids`; returns those that have no listener here any more."""
        counts = self._counts
        changed = self._changed
        last = []
        for id in ids:
            left = counts[id] - count
            if left:
                counts[id] = left
            else:
                del counts[id]
                last.append(id)
            if id not in changed:
                changed[id] = False
        return last

    def changes(self) -> list[Change]:
        """Takes out what has to be reported."""
        changed, self._changed = self._changed, {}
        counts, reported = self._counts, self._reported
        found = []
        for id, came in changed.items():
            count, before = counts.get(id, 0), reported.get(id, 0)
            if count != before or (came and not count):
                found.append((id, count, came))
        return found

    def reported(self, changes: Iterable[Change]) -> None:
        """Notes that Redis has taken `changes`."""
        for id, count, _ in changes:
            if count:
                self._reported[id] = count
            else:
                self._reported.pop(id, None)

    def not_reported(self, changes: Iterable[Change]) -> None:
        """Puts `changes` back, which Redis has not taken."""
        for id, _, came in changes:
            self._changed[id] = came or self._changed.get(id, False)

    def forget_reported(self) -> None:
        """Marks every count as unknown to Redis, so that all are reported again, also 0 for ids without listeners."""
        for id in (*self._reported, *self._counts):
            self._changed.setdefault(id, False)
        self._reported = dict.fromkeys(self._reported, UNKNOWN)
