"""All scenarios by name. A new one is a line here and a row of docs/reliability.md by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

from bench.soak import delivery, gaps, kills, presence, steady


class Count(Protocol):
    """What came out of a scenario: a dataclass of figures, and whether they are as promised."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def flawless(self) -> bool: ...


class Scenario(NamedTuple):
    """`title` says what is done; the long form is what docs/reliability.md shows, the short one is a test."""

    title: str
    long: Callable[[], Count]
    short: Callable[[], Count]


SCENARIOS = {
    "delivery": Scenario(
        "Listeners in all three forms follow 200 channels and are torn away again and again",
        partial(delivery.run, messages=1_000_000, channels=200, listeners=500, reconnects=100_000),
        partial(delivery.run, messages=8_000, channels=40, listeners=80, reconnects=800),
    ),
    "gaps": Scenario(
        "Listeners resume from before and within history, in busy, quiet and emptied channels",
        partial(gaps.run, resumes=10_000),
        partial(gaps.run, resumes=400),
    ),
    "kills": Scenario(
        "The server is killed (-9) under load and started again",
        partial(kills.run, kills=20, listeners=200),
        partial(kills.run, kills=2, listeners=30),
    ),
    "presence": Scenario(
        "WATCH replayed against ONLINE while listeners come, hang up and are cut off",
        partial(presence.run, actions=200_000),
        partial(presence.run, actions=4_000),
    ),
    "steady": Scenario(
        "An hour of mixed listeners and back-ends at a modest rate",
        partial(steady.run, seconds=3600.0),
        partial(steady.run, seconds=8.0, listeners=100),
    ),
}
