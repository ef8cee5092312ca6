"""Which ids begin with one of many prefixes, in a time that does not grow with their number. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

FEW = 8  # prefixes that str.startswith tries faster


class Prefixes:
    """Made of any number of prefixes; of none it matches every id."""

    __slots__ = ("_few", "_sorted")

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._sorted = _shortest(prefixes)
        self._few = tuple(self._sorted)

    def match(self, id: str) -> bool:
        """Whether `id` begins with one of the prefixes."""
        if len(self._few) <= FEW:
            return not self._few or id.startswith(self._few)
        # None of them begins with another, so of all only the last that is not behind the id may begin it.
        at = bisect_right(self._sorted, id)
        return at > 0 and id.startswith(self._sorted[at - 1])


def _shortest(prefixes: Iterable[str]) -> list[str]:
    """Sorted, without those that begin with another."""
    found: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not found or not prefix.startswith(found[-1]):
            found.append(prefix)
    return found
