"""Which ids begin with one of many prefixes, in a time that does not grow with their number."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

FEW = 8  # prefixes that str.startswith tries faster
STEPS = 5_000  # prefixes between two rests


class Prefixes:
    """Made of any number of prefixes; of none it matches every id. `rest` is called now and then while it is made."""

    __slots__ = ("_few", "_sorted")

    def __init__(self, prefixes: Iterable[str], rest: Callable[[], None]) -> None:
        self._sorted = _shortest(prefixes, rest)
        self._few = tuple(self._sorted)

    def match(self, id: str) -> bool:
        """Whether `id` begins with one of the prefixes."""
        if len(self._few) <= FEW:
            return not self._few or id.startswith(self._few)
        # None of them begins with another, so of all only the last that is not behind the id may begin it.
        at = bisect_right(self._sorted, id)
        return at > 0 and id.startswith(self._sorted[at - 1])


def _shortest(prefixes: Iterable[str], rest: Callable[[], None]) -> list[str]:
    """Sorted, without those that begin with another."""
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
"""Every id begins with it."""
