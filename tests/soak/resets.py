"""Listeners end their connections with resets while a message goes out to them: is anything left behind?"""

from __future__ import annotations

from dataclasses import dataclass

from tests.live import LiveServer
from tests.soak.clients import BackEnd
from tests.soak.crowd import Crowd, http, stream, websocket
from tests.soak.vitals import COUNTED, descriptors, greenlets

CHANNELS = 8
PATIENCE = 60.0
OPTIONS = ("--set", "presence.offline_timeout=1")


@dataclass
class Count:
    """What was left behind, beyond what was there after the first wave. `answered`: before they went."""

    resets: int = 0
    answered: int = 0
    descriptors_left: int = 0
    greenlets_left: int = 0
    online: int = 0  # channels, after their grace time
    handles: int = 0  # connections that STATS still names
    served_afterwards: bool = False

    @property
    def flawless(self) -> bool:
        left = self.descriptors_left > 0 or self.greenlets_left > 0
        return self.resets > 0 and self.served_afterwards and not (left or self.online or self.handles)


def run(*, listeners: int, wave: int) -> Count:
    """`listeners` in all, a `wave` at a time, of each form as many; every other message is large."""
    count = Count()
    with LiveServer(*OPTIONS, program=COUNTED) as server, Crowd(server.wait) as crowd:
        pid = server.process.pid
        back_end = BackEnd(server.in_)
        while count.resets < listeners:
            number = count.resets // wave
            for channel in range(CHANNELS):
                id = f"r{channel}"
                for request in (http("1.1", id), f"identifier={id}\n".encode(), stream(id), websocket(id)):
                    crowd.come(wave // CHANNELS // 4, request)
            crowd.until(
                lambda: sum(back_end.online("r").values()) == len(crowd.members), PATIENCE, "the wave is parked"
            )
            if not number:
                at_work = descriptors(pid) - len(crowd.members)
            text = b'"%b"' % (b"x" * (60_000 if number % 2 else 60))
            started = back_end.start([(f"r{channel}", text) for channel in range(CHANNELS)])
            count.resets += len(crowd.members)
            crowd.look(0.1)  # the first have it
            count.answered += sum(member.data.rstrip().endswith((b"\n]", b'x"}')) for member in crowd.members)
            crowd.leave(hard=True)
            back_end.finish(started)
            _wait_for_descriptors(crowd, pid, at_work)
            if not number:
                resting = greenlets(server)
        crowd.until(lambda: not back_end.online("r"), 10)
        count.online = len(back_end.online("r"))
        count.handles = back_end.ask("STATS")[0].count("(0x")
        count.descriptors_left = descriptors(pid) - at_work
        count.greenlets_left = greenlets(server) - resting
        crowd.park(1, http("1.0", "r0"))
        back_end.send("r0", '"still here"')
        count.served_afterwards = crowd.until(lambda: b"still here" in crowd.members[0].data, PATIENCE)
    return count


def _wait_for_descriptors(crowd: Crowd, pid: int, number: int) -> None:
    crowd.until(lambda: descriptors(pid) <= number, PATIENCE)
