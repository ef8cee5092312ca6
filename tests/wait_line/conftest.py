"""Whatever a test here does, connections go from state to state as the table says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rplx.wait_line.connection import Connection
from rplx.wait_line.states import MOVES, State

Move = tuple[State, State]

NAMED: set[Move] = {
    (state, after)
    for state, row in MOVES.items()
    for targets in row.values()
    for after in targets
    if after is not state
}
"""The moves that the table of states names."""


@pytest.fixture(autouse=True)
def moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[Move]]:
    """The moves that connections have made in this test."""
    slot = Connection.__dict__["state"]
    made: set[Move] = set()

    def move(connection: Connection, state: State) -> None:
        before = slot.__get__(connection) if hasattr(connection, "turn") else state  # else it is being made
        if before is not state:
            made.add((before, state))
        slot.__set__(connection, state)

    monkeypatch.setattr(Connection, "state", property(slot.__get__, move))
    yield made
    assert made <= NAMED
