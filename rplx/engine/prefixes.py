"""Finds whether an id begins with one of many prefixes, in a time that hardly grows with their number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

FEW = 8  # prefixes up to which str.startswith is faster
STEPS = 5_000  # prefixes between two rests


class Prefixes:
    """Any number of prefixes; without any, every id matches. `rest` is called now and then while they are sorted."""

    __slots__ = ("_few", "_sorted")

    def __init__(self, prefixes: Iterable[str], rest: Callable[[], None]) -> None:
        self._sorted = _shortest(prefixes, rest)
        self._few = tuple(self._sorted)

    def match(self, id: str) -> bool:
        """Returns whether `id` begins with one of the prefixes."""
        if len(self._few) <= FEW:
            return not self._few or id.startswith(self._few)
        # No prefix begins with another, so only the last one that does not sort behind the id can match.
        at = bisect_right(self._sorted, id)
        return at > 0 and id.startswith(self._sorted[at - 1])


def _shortest(prefixes: Iterable[str], rest: Callable[[], None]) -> list[str]:
    """Returns the prefixes sorted, without those that begin with another."""
    rest()
    given = sorted(set(prefixes))
    found: list[str] = []
    for at in range(0, len(given), STEPS):
        rest()
        for prefix in given[at : at + STEPS]:
            if not found or not prefix.startswith(found[-1]):
                found.append(prefix)
    return found


EVERYTHING = Prefixes((), lambda: None)
"""Matches every id."""
