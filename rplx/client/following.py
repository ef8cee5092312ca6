"""Who came and went, asked for again and again (protocol page, part 3, WATCH): where a follower is. Pure."""

from __future__ import annotations

from rplx.client.answers import Event
from rplx.client.errors import RealplexorError
from rplx.client.names import checked_position
from rplx.client.retrying import Retry, is_passing

FIRST_POSITION = "1"  # lower than any event's position, so that WATCH from here returns all that is remembered


class Following:
    """`position` is what the next question asks from, `delay` the seconds until it is asked."""

    def __init__(self, position: str | int | None, interval: float) -> None:
        self.position = checked_position(position)
        self._interval = interval
        self._retry = Retry()

    @property
    def delay(self) -> float:
        return max(self._interval, self._retry.delay)

    def take(self, events: list[Event]) -> list[Event]:
        """Takes an answer. Returns the events to be told."""
        self._retry.succeeded()
        told = events[0] if events and events[0].event == "FAKE" else None
        if told and self.position == "0":
            self.position = told.pos
            return []
        if told and int(told.pos) < int(self.position):
            self.position = FIRST_POSITION
            return [Event("restart", FIRST_POSITION, "")]
        if events:
            self.position = events[-1].pos
        return [Event("missed", event.pos, "") if event is told else event for event in events]

    def failed(self, error: RealplexorError) -> None:
        """Takes a question that failed. Raises the error if it will not pass."""
        if not is_passing(error):
            raise error
        self._retry.failed(error)
