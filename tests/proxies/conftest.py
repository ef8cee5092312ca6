from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import LiveServer
from tests.proxies.fronts import certificate


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server for a whole module, started with the module's OPTIONS."""
    with LiveServer(*request.module.OPTIONS) as started:
        yield started


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of 127.0.0.1 and its key."""
    return certificate(tmp_path_factory.mktemp("certificates"))
