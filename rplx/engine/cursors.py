"""Cursors that the server draws: seconds since the epoch with six decimals, strictly growing (part 1)."""

from __future__ import annotations

from decimal import Decimal, localcontext

STEP = Decimal("0.000001")


class CursorClock:
    """Turns readings of a clock into cursors. A later one is always the greater, whatever the clock does."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def present(self, now: float) -> Decimal:
        """The greatest cursor that can have been drawn until the time `now`."""
        return Decimal(max(int(now * 1_000_000), self._last)).scaleb(-6)

    def draw(self, now: float) -> str:
        """A cursor for the time `now`, in seconds since the epoch."""
        microseconds = int(now * 1_000_000)
        if microseconds <= self._last:
            microseconds = self._last + 1
        self._last = microseconds
        return "%d.%06d" % divmod(microseconds, 1_000_000)  # half the time of an f-string


def behind(value: Decimal) -> str:
    """The next cursor behind one that a back-end gave, for a channel whose newest lies ahead of the clock."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # a cursor is a number, never NaN
    with localcontext(prec=len(digits) + 8):  # exact, however long a cursor the back-end gave
        if exponent < -6:  # finer than our step: drop what is finer, then step
            value = value.quantize(STEP, rounding="ROUND_DOWN")
        return f"{value + STEP:f}"
