from __future__ import annotations

import pytest

from tests.engine.clock import Clock, Engine


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Engine:
    return Engine(clock)
