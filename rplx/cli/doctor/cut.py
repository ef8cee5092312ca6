"""How long a poll may wait: who ends it first, the server or something in between; and whether it may ask for less."""

from __future__ import annotations

import time

from rplx.cli.doctor.asking import EMPTY, NotAsked, Place, Poll, new_id, reason
from rplx.cli.doctor.findings import Finding, note, untested, well, wrong

DEFAULT_TIMEOUT = 55  # seconds of wait.timeout if nobody has set it
ASKED_BY_CLIENTS = 25  # seconds after which the polls of rplx's own clients ask to be ended (part 9.1)
ASKED = 1  # seconds, of the poll that tries that
ENDED = 10.0  # seconds within which it has to be ended: the server looks at the time once a second


class Waiting:
    """A poll to which nothing comes, and which waits while the other checks are made."""

    def __init__(self, place: Place, patience: float) -> None:
        self._patience = patience
        self._poll: Poll | None = None
        self._failure = ""
        try:
            self._poll = Poll(place, place.target(new_id()))
        except NotAsked as error:
            self._failure = str(error)

    @property
    def left(self) -> float:
        """Returns the seconds until the patience is over."""
        return max(0.0, self._poll.begin + self._patience - time.monotonic()) if self._poll else 0.0

    def finding(self) -> Finding:
        """Waits until the poll ends or the patience is over, and returns which it was."""
        if self._poll is None:
            return untested("cut", self._failure)
        poll = self._poll
        ended = poll.wait(lambda: poll.ended is not None, self.left)
        poll.hang_up()
        if not ended:
            return well("cut", f"a poll waits {self._patience:g} s and more{self._further()}")
        return _judged(poll)

    def _further(self) -> str:
        if self._patience > DEFAULT_TIMEOUT:
            return ""
        return f" (to see the {DEFAULT_TIMEOUT} s that wait.timeout is by default: --patience {DEFAULT_TIMEOUT + 10})"


class Asking:
    """A poll that asks to be ended soon (part 9.1), and waits while the other checks are made."""

    def __init__(self, place: Place) -> None:
        self._poll: Poll | None = None
        self._failure = ""
        try:
            self._poll = Poll(place, f"{place.target(new_id())}&timeout={ASKED}")
        except NotAsked as error:
            self._failure = str(error)

    def finding(self) -> Finding:
        """Waits until the poll ends or should have, and returns which it was."""
        if self._poll is None:
            return untested("timeout", self._failure)
        poll = self._poll
        ended = poll.wait(lambda: poll.ended is not None, max(0.0, poll.begin + ENDED - time.monotonic()))
        poll.hang_up()
        if ended and (poll.error is not None or poll.status != 200):
            return untested("timeout", "the poll that asked to be ended was cut")
        if ended:
            return well("timeout", "polls are ended as soon as they ask for it, so that they fit through any path")
        text = f"a poll that asked to be ended after {ASKED} s waits on"
        return note("timeout", f"{text}: the server is older, or what is in between changes the address")


def _clients(seconds: float) -> str:
    """Returns what a cut after so many seconds means for rplx's own clients."""
    if seconds > ASKED_BY_CLIENTS + 1:
        return f"; rplx's own clients ask for {ASKED_BY_CLIENTS} s and are not cut, old pages are"
    return f"; rplx's own clients, which ask for {ASKED_BY_CLIENTS} s, are cut, too, until they learn to ask for less"


def _judged(poll: Poll) -> Finding:
    """Returns what the end of a poll means."""
    seconds = (poll.ended or poll.begin) - poll.begin
    after = f"after {seconds:.0f} s"
    if poll.error is not None or poll.status != 200:
        how = reason(poll.error) if poll.error is not None else f"answered {poll.status}"
        return wrong("cut", f"a poll is cut {after}, before the server ends it: {how}{_clients(seconds)}")
    if poll.body != EMPTY:
        return wrong("cut", f"a poll ends {after} with {poll.body[:80]!r}, which is nothing that rplx sends")
    if poll.has("content-length") or poll.has("transfer-encoding"):
        return well("cut", f"a poll waits until the server itself ends it, {after} (wait.timeout)")
    # An answer without a length ends as the connection does, whoever ended it.
    return note("cut", f"a poll ends {after}: by wait.timeout if that is what it says, else by what is in between")
