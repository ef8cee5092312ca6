from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import Checkout
from tests.pages.newcomer import Newcomer


@pytest.fixture
def newcomer(checkout: Checkout, tmp_path: Path) -> Iterator[Newcomer]:
    somebody = Newcomer(checkout, tmp_path)
    try:
        yield somebody
    finally:
        somebody.stop()
