"""The log's target takes nothing: is everybody served all the same?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import gevent

from tests.soak.clients import Address, BackEnd, Listener
from tests.soak.vitals import listening

TARGETS = ("full", "stuck", "closed")
LATE = 1.0  # seconds that a message may take to its listener
END_MAX = 5.0  # seconds that the server may take to end, of which the log has two
# A line for each step of each connection: some of every poll fill a pipe soon.
OPTIONS = ("--wait", "127.0.0.1:0", "--in", "127.0.0.1:0", "--set", "log.connections=true", "--set", "log.verbosity=3")


@dataclass
class Count:
    """`served`: messages that reached their listener in time."""

    polls: int = 0
    served: int = 0
    slowest: float = 0.0
    end_seconds: float = 0.0
    status: int = -1

    @property
    def sound(self) -> bool:
        return self.served == self.polls > 0 and self.status == 0

    @property
    def flawless(self) -> bool:
        return self.sound and self.slowest < LATE and self.end_seconds < END_MAX


def run(*, target: str, polls: int) -> Count:
    """`target`: a device that is full, a pipe that nobody reads, or one whose reader has gone."""
    count = Count(polls)
    reading, writing = os.pipe()
    if target == "full":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    elif target == "closed":
        os.close(reading)
    server = subprocess.Popen([sys.executable, "-m", "rplx", "serve", *OPTIONS], stdout=writing, stderr=writing)
    os.close(writing)
    try:
        wait, in_ = _lines(server.pid)
        _serve(wait, in_, count)
        server.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        server.wait(60)
        count.end_seconds = time.monotonic() - begin
        count.status = server.returncode
    finally:
        server.kill()
        server.wait()
        if target != "closed":
            os.close(reading)
    return count


def _lines(pid: int) -> tuple[Address, Address]:
    """Where the server listens, though its log says it to nobody."""
    with gevent.Timeout(60, AssertionError("the server does not listen")):
        while True:
            if Path(f"/proc/{pid}/cmdline").read_bytes() and len(found := listening(pid)) == 2:
                return found[0], found[1]
            gevent.sleep(0.02)


def _serve(wait: Address, in_: Address, count: Count) -> None:
    listener = Listener(wait)
    back_end = BackEnd(in_)
    cursors: dict[str, str | None] = {"a": listener.poll({"a": None}, query="&position").position}
    for number in range(count.polls):
        polling = gevent.spawn(listener.poll, cursors)
        gevent.sleep(0)
        begin = time.monotonic()
        receipt = back_end.send("a", f'"{number}"')
        answer = polling.get(timeout=60)
        count.slowest = max(count.slowest, time.monotonic() - begin)
        count.served += answer.blocks == [(receipt, f'"{number}"')]
        cursors = dict(receipt)
    listener.drop(hard=False)
    back_end.close()
