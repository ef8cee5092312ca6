"""An observer that keeps what engines report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rplx.engine.observing import Listeners
from rplx.messages import Message


class Recorder:
    """`sent` and `recalled` have what was reported; `woken` and `rested` are called and may be replaced."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.recalled: list[str] = []
        self.woken: Callable[[], object] = lambda: None
        self.rested: Callable[[], object] = lambda: None

    def wake(self, message: Message) -> None:
        self.sent.append(message)
        self.woken()

    def recall(self, ids: Sequence[str]) -> None:
        self.recalled.extend(ids)

    def listeners(self) -> Listeners:
        return []

    def rest(self) -> None:
        self.rested()
