from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rplx.cli.doctor import announcing, answers, asking, cut, messages
from tests.live import LiveServer
from tests.proxies.fronts import certificate


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server for a whole module, started with the module's OPTIONS."""
    with LiveServer(*request.module.OPTIONS) as started:
        yield started


def be_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the doctor take for well what is late on a busy machine."""
    given = {"REGISTERED": 60.0, "HEAD": 1.0, "AT_ONCE": 30.0, "PATIENCE": 60.0, "NOTICED": 30.0}
    for name, seconds in given.items():
        monkeypatch.setattr(messages, name, seconds)
    monkeypatch.setattr(asking, "TIMEOUT", 60.0)
    monkeypatch.setattr(cut, "ENDED", 60.0)
    monkeypatch.setattr(announcing, "PATIENCE", 60.0)
    monkeypatch.setattr(answers, "CLOCK_MAX", 60.0)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificate of 127.0.0.1 and its key."""
    return certificate(tmp_path_factory.mktemp("certificates"))
