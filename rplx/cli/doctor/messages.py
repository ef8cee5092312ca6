"""Whether messages pass at once and hang-ups reach the server: asked with a back-end's connection to IN."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rplx.cli.doctor.asking import NotAsked, Place, Poll, new_id
from rplx.cli.doctor.findings import Finding, note, untested, well, wrong
from rplx.client import Realplexor, RealplexorError

REGISTERED = 5.0  # seconds in which a poll has to be counted by IN
HEAD = 0.5  # seconds that are given to an answer's head before the message is sent
AT_ONCE = 1.0  # seconds that a message may take
PATIENCE = 10.0  # seconds after which a message counts as lost
NOTICED = 5.0  # seconds in which a hang-up has to be noticed
STEP = 0.02  # seconds between two looks at who is online
LONG = 3000  # characters of a message that is worth compressing

CHECKS = ("message", "buffering", "hang-up")


class Unseen(Exception):
    """A poll that IN does not count: it belongs to another server."""


@dataclass(frozen=True)
class Probe:
    """A WAIT address to poll at, and a back-end with this login that sends to these polls and counts them."""

    place: Place
    back_end: Realplexor
    login: str = ""

    def parked(self, headers: dict[str, str]) -> tuple[Poll, str]:
        """Returns a poll that IN counts, and its channel as the back-end names it. Raises Unseen."""
        id = new_id()
        poll = Poll(self.place, self.place.target(f"{self.login}_{id}" if self.login else id), headers)
        if self.within(REGISTERED, id, 1) is None:
            poll.hang_up()
            raise Unseen
        return poll, id

    def within(self, seconds: float, id: str, count: int) -> float | None:
        """Returns the seconds until IN counts so many listeners of the channel, or None if it does not in time."""
        begin = time.monotonic()
        while self.back_end.online_with_counters(id).get(id, 0) != count:
            if time.monotonic() - begin > seconds:
                return None
            time.sleep(STEP)
        return time.monotonic() - begin


def untested_all(reason: str) -> Iterator[Finding]:
    """Yields that none of these checks could be made."""
    for name in CHECKS:
        yield untested(name, reason)


def check(probe: Probe, *, given: bool) -> Iterator[Finding]:
    """Yields all checks that need IN. `given`: the user has named it, so that a wrong address is a fault."""
    try:
        yield from _messages(probe)
        yield _compression(probe)
        yield _hang_up(probe)
    except NotAsked as error:
        yield wrong("message", f"a poll gets no answer: {error}")
    except RealplexorError as error:
        say = wrong if given else untested
        yield say("IN", f"{error} (another address: --in HOST:PORT, a login: --login LOGIN)")
        yield from untested_all("IN could not be asked")
    except Unseen:
        say = wrong if given else untested
        text = "does not count a poll made through the URL: it is another server's, or the poll does not get there"
        yield say("IN", f"{text} (another address: --in HOST:PORT)")
        yield from untested_all("IN could not be asked")


def _messages(probe: Probe) -> Iterator[Finding]:
    poll, id = probe.parked({"Connection": "close"})
    early = poll.wait(lambda: poll.headers is not None, HEAD)
    begin = time.monotonic()
    probe.back_end.send(id, id)
    whole = poll.wait(lambda: id.encode() in poll.body and poll.ended is not None, PATIENCE)
    seconds = (poll.ended or 0.0) - begin
    poll.hang_up()
    if not whole:
        state = "its end does not" if id.encode() in poll.body else f"it does not, in {PATIENCE:g} s"
        yield wrong("message", f"what was sent should come at once, but {state}")
    elif seconds > AT_ONCE:
        yield wrong("message", f"came {seconds:.1f} s after it was sent")
    else:
        yield well("message", f"comes at once: {seconds * 1000:.0f} ms after it was sent")
    yield _buffering(poll, early=early)


def _buffering(poll: Poll, *, early: bool) -> Finding:
    if early:
        return well("buffering", "an answer's head comes before its message: nothing holds it back")
    if poll.has("content-length"):
        return well("buffering", "none seen: rplx answers what is in between in one piece, on a kept connection")
    text = "an answer's head comes with its message only, although rplx has sent it before"
    return wrong("buffering", f"{text}: what is in between holds answers back")


def _compression(probe: Probe) -> Finding:
    poll, id = probe.parked({"Accept-Encoding": "gzip, deflate, br, zstd"})
    probe.back_end.send_json(id, json.dumps(id * (LONG // len(id))).encode())
    poll.wait(lambda: poll.ended is not None, PATIENCE)
    poll.hang_up()
    encodings = [value for name, value in poll.headers or [] if name.lower() == "content-encoding"]
    if encodings:
        return wrong(
            "compression", f"messages are compressed on the way ({encodings[0]}), which holds back what has come"
        )
    return well("compression", "messages are not compressed on the way")


def _hang_up(probe: Probe) -> Finding:
    poll, id = probe.parked({})
    poll.hang_up()
    seconds = probe.within(NOTICED, id, 0)
    if seconds is None:
        text = f"a closed tab is still online {NOTICED:g} s later, so ONLINE and WATCH tell of people who have left"
        return wrong("hang-up", text)
    if seconds > AT_ONCE:
        return note("hang-up", f"a closed tab is noticed after {seconds:.1f} s")
    return well("hang-up", f"a closed tab is noticed after {seconds * 1000:.0f} ms")
