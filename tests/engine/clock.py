"""A clock that tests set by hand, and an engine that reads it."""

from __future__ import annotations

from rplx.engine.memory import MemoryEngine
from rplx.messages import Identifiers, Send
from rplx.options.table import HistoryOptions, PresenceOptions
from tests.engine.observer import Recorder

START = 1_795_346_940.5


class Clock:
    """`wall` is seconds since the epoch and may be set back, `monotonic` never is."""

    def __init__(self) -> None:
        self.wall = START
        self.monotonic = 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def set_back(self, seconds: float) -> None:
        self.wall -= seconds


class Engine(MemoryEngine):
    """A MemoryEngine on such a clock; `sent` has what it announced."""

    def __init__(
        self, clock: Clock, history: HistoryOptions | None = None, presence: PresenceOptions | None = None
    ) -> None:
        super().__init__(
            history or HistoryOptions(),
            presence or PresenceOptions(),
            wall=lambda: clock.wall,
            monotonic=lambda: clock.monotonic,
        )
        observer = Recorder()
        self.sent = observer.sent
        self.attach(observer)

    def send(self, data: str, limiters: tuple[str, ...] = (), **cursors: str | None) -> dict[str, str]:
        """Sends to the channels named by keyword, at the cursors given there."""
        return self.append(Send(Identifiers(cursors, dict.fromkeys(limiters)), data.encode())).receipt()

    def texts(self, **cursors: str) -> list[str]:
        """What is due to a listener of these channels at these cursors, oldest first."""
        names = tuple(sorted(cursors))
        dues = self.due(names, tuple(cursors[name] for name in names))
        return [due.message.data.decode() for due in sorted(dues, key=lambda due: due.value)]
