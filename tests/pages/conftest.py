from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.newcomer import Checkout, Newcomer


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def newcomer(checkout: Checkout, tmp_path: Path) -> Iterator[Newcomer]:
    somebody = Newcomer(checkout, tmp_path)
    try:
        yield somebody
    finally:
        somebody.stop()
