"""The deadlines of all connections: one look over them now and then, no timer for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from gevent import get_hub

from rplx.hub.turns import Turns
from rplx.wait_line.connection import Connection
from rplx.wait_line.connections import GROWTH, Connections
from rplx.wait_line.states import State

SWEEP_EVERY = 1.0  # seconds between two looks


class Deadlines:
    """`by_state` is called with a connection whose time is up; a state that is missing there has no deadline."""

    def __init__(
        self, connections: Connections, turns: Turns, by_state: Mapping[State, Callable[[Connection], None]]
    ) -> None:
        self._connections = connections
        self._turns = turns
        self._by_state = by_state
        self._loop: Any = get_hub().loop
        self._next = self._loop.timer(0.0)
        self._place = 0  # the descriptor at which a look goes on, 0 when none is under way

    def start(self, every: float) -> None:
        """Looks at the deadlines every so many seconds from now on."""
        self._timer = self._loop.timer(every, every)
        self._timer.start(self._sweep)

    def _sweep(self) -> None:
        if not self._place:  # else the last look still goes on
            self._go_on()

    def _go_on(self) -> None:
        """Looks at the next connections until this turn is over."""
        now = time.monotonic()
        by_descriptor = self._connections.by_descriptor
        for fd in range(self._place, len(by_descriptor)):
            connection = by_descriptor[fd]
            if connection is not None and connection.deadline and connection.deadline <= now:
                handler = self._by_state.get(connection.state)
                if handler is not None:
                    handler(connection)
            elif fd % GROWTH:
                continue
            if self._turns.is_over():
                self._place = fd + 1
                self._next.start(self._go_on)
                return
        self._place = 0
