"""Cursors that the server draws: seconds since the epoch with six decimals, strictly growing (part 1)."""

from __future__ import annotations

from decimal import Decimal, localcontext

STEP = Decimal("0.000001")


class CursorClock:
    """Turns readings of a clock into cursors. Each is greater than all before, even if the clock is set back."""

    __slots__ = ("_last", "last_text")

    def __init__(self) -> None:
        self._last = 0
        self.last_text = ""  # the greatest cursor that was drawn

    @property
    def last(self) -> int:
        """The greatest cursor that was drawn, in microseconds since the epoch."""
        return self._last

    def restore(self, last: int) -> None:
        """Draws cursors behind `last` from now on, which a clock before this one has drawn."""
        self._last = max(self._last, last)
        self.last_text = drawn_text(self._last)

    def present(self, now: float) -> Decimal:
        """Returns the greatest cursor that can have been drawn until the time `now`, in seconds since the epoch."""
        return Decimal(max(int(now * 1_000_000), self._last)).scaleb(-6)

    def draw(self, now: float) -> str:
        """Returns a cursor for the time `now`, in seconds since the epoch."""
        microseconds = int(now * 1_000_000)
        if microseconds <= self._last:
            microseconds = self._last + 1
        self._last = microseconds
        self.last_text = text = "%d.%06d" % divmod(microseconds, 1_000_000)  # as drawn_text, faster than an f-string
        return text


def drawn_text(microseconds: int) -> str:
    """Returns the cursor that is drawn at a time, in microseconds since the epoch."""
    return "%d.%06d" % divmod(microseconds, 1_000_000)


def behind(value: Decimal) -> str:
    """Returns the next cursor behind one that a back-end gave, for a channel whose newest lies ahead of the clock."""
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # a cursor is a number, never NaN
    with localcontext(prec=len(digits) + 8):  # exact, however long the cursor
        if exponent < -6:  # finer than STEP: cut off first
            value = value.quantize(STEP, rounding="ROUND_DOWN")
        return f"{value + STEP:f}"
