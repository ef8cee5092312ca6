"""Ids in their grace time: when their last listener left, and from which address. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from rplx.addresses import network_of

UNKNOWN = ""  # an address that is not known, which has no share


class Grace:
    """Ids in their grace time. No address (no /64 of IPv6) may have more than `share` of them; 0 is no limit.

    Adding and removing take the same time however many there are, as each cycle of a kept listener does both.
    """

    def __init__(self, share: int = 0) -> None:
        self.share = share
        self._left: OrderedDict[str, tuple[float, str]] = OrderedDict()  # id -> when, from where; oldest first
        self._of: dict[str, dict[str, None]] = {}  # address -> its ids, oldest first
        self._full: dict[str, None] = {}  # addresses that had more than their share

    def __len__(self) -> int:
        return len(self._left)

    def limit(self, share: int) -> None:
        """Takes another share. An address that is beyond a smaller one is noticed with the next id that it leaves."""
        self.share = share

    def add(self, ids: Sequence[str], now: float, address: str) -> None:
        """Adds `ids`, none of which is in here: their last listener has left at `now`, monotonic seconds."""
        address = network_of(address)
        left, mark = self._left, (now, address)
        for id in ids:
            left[id] = mark
        if not address:
            return
        own = self._of.get(address)
        if own is None:
            own = self._of[address] = {}
        for id in ids:
            own[id] = None
        if len(own) > self.share > 0:
            self._full[address] = None

    def remove(self, id: str) -> None:
        """Takes `id` out: somebody came back, or its time is over. Does nothing if `id` is not in here."""
        mark = self._left.pop(id, None)
        if mark is None or not mark[1]:
            return
        own = self._of[mark[1]]
        del own[id]
        if not own:
            del self._of[mark[1]]

    def oldest(self) -> tuple[str, float]:
        """Returns the id that was left longest ago, and when. There has to be one."""
        id, (left, _) = next(iter(self._left.items()))
        return id, left

    def take_excess(self, most: int) -> list[str]:
        """Takes out up to `most` ids beyond their address's share, its oldest first. Returns none if all keep to it."""
        while self._full:
            address = next(iter(self._full))
            own = self._of.get(address, {})
            excess = len(own) - self.share
            if excess > 0 and self.share:
                taken = list(islice(own, min(excess, most)))
                for id in taken:
                    self.remove(id)
                return taken
            del self._full[address]
        return []
