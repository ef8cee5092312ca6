from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from anyio.from_thread import start_blocking_portal

from tests.clients.awaited import Awaited


@pytest.fixture(params=["blocking", "asyncio"])
def each_client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs a test with the client that blocks, and with the asynchronous one in its place."""
    if request.param == "blocking":
        yield
        return
    with start_blocking_portal() as portal:
        monkeypatch.setattr(request.module, "Realplexor", partial(Awaited, portal))
        yield
