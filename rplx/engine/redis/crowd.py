"""Who listens in this process, as Redis shall know it. Pure.

Redis is told absolute counts, of the ids whose count has changed since: told twice, or told anew after Redis has lost
them, they come to the same.
"""

from __future__ import annotations

from collections.abc import Iterable

Change = tuple[str, int, bool]  # id, connections now, whether somebody came since Redis was last told


class Crowd:
    """Counts of connections by id. Take `changes`, tell them, then call `told` or `untold`."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._changed: dict[str, bool] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def __bool__(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._changed)

    def join(self, ids: Iterable[str]) -> list[str]:
        """One more connection listens to `ids`; gives those that nobody listened to here."""
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
        """`count` connections that listened to `ids` have left; gives those that nobody listens to any more."""
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
        """What Redis has to be told."""
        changed, self._changed = self._changed, {}
        counts, told = self._counts, self._told
        found = []
        for id, came in changed.items():
            count, before = counts.get(id, 0), told.get(id, 0)
            if count != before or (came and not count):
                found.append((id, count, came))
        return found

    def told(self, changes: Iterable[Change]) -> None:
        """Redis knows."""
        for id, count, _ in changes:
            if count:
                self._told[id] = count
            else:
                self._told.pop(id, None)

    def untold(self, changes: Iterable[Change]) -> None:
        """Redis could not be told: they stay to be told."""
        for id, _, came in changes:
            self._changed[id] = came or self._changed.get(id, False)

    def all_changed(self) -> None:
        """Redis does not know this process any more: it is told everything."""
        for id in (*self._told, *self._counts):
            self._changed.setdefault(id, False)
        # What Redis is told again counts as not told, and what it may still hold of those who left is taken back.
        self._told = dict.fromkeys(self._told, -1)
