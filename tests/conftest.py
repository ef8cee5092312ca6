from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from rplx.hub import delivery, turns
from tests.checkout import Checkout

# No deadline for one example: the machine may be busy with the servers of other tests. print_blob: a failure on another
# machine can be repeated here.
settings.register_profile("rplx", deadline=None, print_blob=True)
settings.load_profile("rplx")


# Rooms whose tests make virtual environments or hold real servers under load, for minutes.
LONG = ("tests/pages/", "tests/packaging/", "tests/reliability/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begins with the files that take longest, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.fixture
def in_one_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has work of the hub end in the turn in which it begins, for tests that look at once, on whatever machine."""
    monkeypatch.setattr(delivery, "SLICE", 3600.0)
    monkeypatch.setattr(turns, "TURN", 3600.0)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Made once for all tests of a process, and its wheels once for all processes of a run."""
    mine = tmp_path_factory.getbasetemp()
    common = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    return Checkout(tmp_path_factory.mktemp("checkout"), common)


# A shell has jobs in the background ignore Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
