"""SIGTERM under load: has every waiting poll its answer, and does the server end in time, with status 0?"""

from __future__ import annotations

import contextlib
import signal
import time
from dataclasses import dataclass

import gevent

from tests.live import LiveServer
from tests.soak.clients import Address, BackEnd
from tests.soak.crowd import HEAD_END, Crowd, Member, http, is_answer, stream, websocket

LATE = 2.0  # seconds beyond server.drain, on a machine that is busy with the clients too
PATIENCE = 60.0
FORMS = {
    "kept": http("1.1", "a"),
    "closed": http("1.0", "a"),
    "text": b"identifier=a\n",
    "stream": stream("a"),
    "websocket": websocket("a"),
}


@dataclass
class Count:
    """`answered`: polls whose answer is whole, and whose connection was then ended properly."""

    waiting: int = 0
    answered: int = 0
    seconds: float = 0.0
    drain: float = 0.0
    status: int = -1
    sent: int = 0  # messages to others while it drained, each on a connection of its own
    cut_off: int = 0  # connections that were made and had no answer
    unspread: float = 0.0  # the largest part of the answers that came within a tenth of the time

    @property
    def sound(self) -> bool:
        return self.status == 0 and self.answered == self.waiting > 0 and self.sent > 0 and self.cut_off == 0

    @property
    def flawless(self) -> bool:
        return self.sound and self.seconds < self.drain + LATE and self.unspread < 0.5


def run(*, listeners: int, drain: float = 10.0) -> Count:
    """A fifth of the listeners in each form; back-ends send to other channels, and one is connected and silent."""
    count = Count(drain=drain)
    with LiveServer("--set", f"server.drain={drain}") as server, Crowd(server.wait) as crowd:
        back_end, silent = BackEnd(server.in_), BackEnd(server.in_)
        silent.online()
        for form, request in FORMS.items():
            (crowd.park if form in ("closed", "text") else crowd.come)(listeners // 5, request)
        count.waiting = len(crowd.members)
        crowd.until(lambda: back_end.online("a").get("a") == count.waiting, PATIENCE, "all wait")
        sending = gevent.spawn(_send, server.in_, count)
        gevent.sleep(0.2)
        count.sent = 0
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        while server.process.poll() is None and time.monotonic() - begin < drain + PATIENCE:
            crowd.look(0.01)
            gevent.sleep(0.001)
        count.seconds = time.monotonic() - begin
        crowd.until(lambda: not any(crowd.lasting()), 1.0)
        sending.kill()
        code = server.process.poll()
        count.status = -1 if code is None else code
        count.answered = sum(map(_is_ended, crowd.members))
        tenths = [int((member.at - begin) / drain * 10) for member in crowd.members]
        count.unspread = max(tenths.count(tenth) for tenth in range(11)) / count.waiting
        silent.close()
    return count


def _is_ended(member: Member) -> bool:
    data = member.data
    if member.request == FORMS["stream"]:
        whole = b"\nevent: bye\n" in data and data.endswith(b"\r\n0\r\n\r\n")
    elif member.request == FORMS["websocket"]:
        whole = b"\x10h{" in data and data.endswith(b"}")  # 4200
    else:
        whole = data.endswith(HEAD_END)
        if member.request == FORMS["kept"]:
            whole = whole and is_answer(member) and b"\r\nConnection: close\r\n" in data
    return whole and member.end == "closed"


def _send(address: Address, count: Count) -> None:
    """Until nobody listens there any more."""
    with contextlib.suppress(ConnectionRefusedError):
        while True:
            back_end = BackEnd(address)
            try:
                back_end.send("others", '"x"')
                count.sent += 1
            except OSError:
                count.cut_off += 1
            back_end.close()
            gevent.sleep(0.005)
