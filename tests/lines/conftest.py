from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lines.wire import Wire
from tests.live import LiveServer


@pytest.fixture(scope="module")
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    """A server for a whole module, started with the module's OPTIONS, by its PROGRAM if it has one."""
    options: tuple[str, ...] = getattr(request.module, "OPTIONS", ())
    program: tuple[str, ...] = getattr(request.module, "PROGRAM", ("-m", "rplx"))
    with LiveServer(*options, program=program) as server:
        yield Wire(server)
        assert server.process.poll() is None, "the server died:\n" + "\n".join(server.log)
        assert not [line for line in server.log if "Traceback" in line or "Error:" in line], "\n".join(server.log)


@pytest.fixture
def prefix(wire: Wire) -> str:
    return wire.prefix()
