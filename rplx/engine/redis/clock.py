"""Draws positions for listeners that enter "now", without asking Redis. Pure.

A listener that enters now must get everything that is sent afterwards, from whichever process, and nothing that was
sent before. Its position therefore has to lie in the one order of cursors, which is Redis': behind all that was stored
before it entered, ahead of all that will be stored. Clocks of machines differ by more than a message takes, so the
local clock cannot be used. What can be known here without asking:

1. *The newest draw seen* (by an announcement, a receipt, a look at Redis): Redis draws each cursor greater than all
   before, so all that comes later is greater than this one. Always right, but old when nothing was sent lately.
2. *A lower bound of Redis' clock*: its reading T arrived here at the monotonic moment r, so at a later moment t Redis'
   clock shows T + (t - r) at least, less what clocks drift (DRIFT). What is stored later gets a greater cursor.

A position is the greater of the two. It lags Redis' clock by the time that the answer with T was under way, and a
receipt is under way just as long: a client that sends, waits for the receipt, and then enters does not get its own
message. Where two moments lie closer together, the message is given rather than lost.

The second is wrong once Redis' clock has been set back (or another Redis with a slower clock has taken over): positions
drawn since may be ahead of what Redis draws next. So a reading counts for TRUST seconds only, each reading is noted in
Redis, and when its scripts find the clock behind a reading noted before, they draw ahead of it by FENCE, which is more
than any position could have run. A setting back that is smaller than the time between two readings is not noticed: for
no longer than that, a listener that enters may miss a message. Clocks that are kept by NTP are slewed, not set.

Two draws are never equal. Where the bound has not moved, digits are added behind the microseconds: a position stays
below the next cursor that Redis can draw, however many are drawn meanwhile.

In a cluster each node has its own clock and draws for its own channels. Senders hand Redis their bound of the fastest
clock, and it draws behind that; positions are drawn CLUSTER_MARGIN below it, so that the senders' bounds may differ by
so much. A listener that enters now may be given what was sent up to CLUSTER_MARGIN before, and misses nothing.
"""

from __future__ import annotations

from decimal import Decimal

TRUST = 2.0  # seconds that a reading of Redis' clock counts; FENCE in lua/common.lua exceeds it and a late answer
DRIFT = 0.0005  # what Redis' clock may lose against ours: as much as the kernel slews a clock at most
CLUSTER_MARGIN = 50_000  # microseconds
AHEAD = 10  # seconds behind all that is known to be drawn after which a cursor is none of Redis': FENCE, and more


class RedisClock:
    """Draws positions from readings of Redis' clocks. Times are monotonic seconds, readings whole microseconds."""

    def __init__(self, *, cluster: bool) -> None:
        self._cluster = cluster
        self._readings: dict[object, tuple[int, float]] = {}  # node -> its clock's bound, and when it was that
        self.seen = 0  # the newest draw of Redis that is known, in microseconds
        self._last = 0
        self._ties = 0
        self._guessed = False

    def __bool__(self) -> bool:
        """Returns whether anything is known of Redis' clock."""
        return bool(self._readings or self._last)

    def saw(self, drawn: int) -> None:
        """Notes a cursor that Redis has drawn, in microseconds."""
        if drawn > self.seen:
            self.seen = drawn

    def read(self, node: object, reading: int, asked: float, answered: float) -> None:
        """Takes a reading of a node's clock, made somewhere between `asked` and `answered`."""
        known = self._readings.get(node)
        if self._guessed:
            self._guessed = False
            self._last = 0
        if known is not None:
            # If the bound was ahead already when the question left, the clock was set back, and the bound is void.
            set_back = _bound(known, asked) > reading
            if not set_back:
                reading = max(reading, _bound(known, answered))
        self._readings[node] = (reading, answered)

    def guess(self, microseconds: int) -> None:
        """Has positions begin at this machine's clock, if Redis has not been reached yet."""
        if not self:
            self._last = microseconds
            self._guessed = True

    def bound(self, now: float) -> int:
        """Returns what the fastest of Redis' clocks shows at least, in microseconds; 0 if nothing is known."""
        if not self._cluster and self._readings:
            return _bound(self._readings[None], now)
        return max([_bound(reading, now) for reading in self._readings.values()], default=0)

    def is_ahead(self, value: Decimal, now: float) -> bool:
        """Returns whether no cursor as great as `value` can have been drawn; False while Redis' clock is not known."""
        if not self._readings:
            return False
        return value > Decimal(max(self.bound(now), self.seen, self._last)).scaleb(-6) + AHEAD

    def floor(self, now: float) -> int:
        """Returns the microseconds that a send's cursor has to exceed."""
        return max(self.seen, self.bound(now)) if self._cluster else self.seen

    def draw(self, now: float) -> str:
        """Returns a position that is greater than all drawn before."""
        bound = self.bound(now)
        position = bound - CLUSTER_MARGIN if self._cluster else max(bound, self.seen)
        if position > self._last:
            self._last = position
            self._ties = 0
            return f"{position // 1_000_000}.{position % 1_000_000:06d}"
        self._ties += 1
        return f"{self._last // 1_000_000}.{self._last % 1_000_000:06d}{self._ties:09d}"


def _bound(known: tuple[int, float], now: float) -> int:
    reading, at = known
    passed = min(max(now - at, 0.0), TRUST)
    return reading + int(passed * (1 - DRIFT) * 1_000_000)
