"""The fixtures for pytest, which finds this module by itself once rplx is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rplx.testing.recording import Sent
    from rplx.testing.running import Server


@pytest.fixture
def rplx_sent() -> Iterator[Sent]:
    """What the test's application has sent so far; see rplx.testing.capture."""
    from rplx.testing.recording import capture  # late: pytest loads this module in all projects

    with capture() as sent:
        yield sent


@pytest.fixture(scope="session")
def rplx_server() -> Iterator[Server]:
    """A real server, one for all tests of a run; see rplx.testing.server."""
    from rplx.testing.running import server

    with server() as running:
        yield running
