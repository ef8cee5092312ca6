"""Parked listeners that go on sending: it is thrown away, and too much of it ends them."""

from __future__ import annotations

from dataclasses import dataclass

from rplx.options.table import WaitOptions
from tests.live import LiveServer
from tests.soak.clients import BackEnd
from tests.soak.crowd import Crowd, http

EXTRA_MAX = WaitOptions().extra_max
PIECE = 256  # bytes sent at once
FORMS = (http("1.0", "a"), b"identifier=a\n", http("1.1", "a"))
PATIENCE = 60.0


@dataclass
class Count:
    """`within`: those that sent wait.extra_max bytes, `beyond`: those that sent one more."""

    within: int = 0
    served: int = 0
    beyond: int = 0
    ended: int = 0
    ended_early: int = 0

    @property
    def flawless(self) -> bool:
        return self.served == self.within > 0 and self.ended == self.beyond > 0 and not self.ended_early


def run(*, listeners: int) -> Count:
    """All send as much as they may, in pieces; then half of them one byte more; the others get a message, whole."""
    count = Count()
    with LiveServer() as server, Crowd(server.wait) as crowd:
        back_end = BackEnd(server.in_)
        for form in FORMS:
            crowd.come(listeners // len(FORMS), form)
        crowd.until(lambda: back_end.online().get("a") == len(crowd.members), PATIENCE, "all are parked")
        for _ in range(EXTRA_MAX // PIECE):
            for member in crowd.members:
                member.send(b"x" * PIECE)
            crowd.look()
        crowd.until(lambda: False, 0.5)
        count.ended_early = len(crowd.members) - back_end.online()["a"]
        beyond, within = crowd.members[::2], crowd.members[1::2]
        count.beyond, count.within = len(beyond), len(within)
        for member in beyond:
            member.send(b"x")
        crowd.until(lambda: back_end.online()["a"] <= len(within) and all(member.end for member in beyond), 5)
        count.ended = sum(bool(member.end) for member in beyond)
        back_end.send("a", '"to those within"')
        crowd.until(lambda: all(b'"to those within"\n  }\n]' in member.data for member in within), PATIENCE)
        count.served = sum(b'"to those within"\n  }\n]' in member.data for member in within)
    return count
