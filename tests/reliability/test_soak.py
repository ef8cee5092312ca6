"""The short forms of the soak's scenarios: real servers under load, and not one fault."""

from __future__ import annotations

import pytest

from bench.soak.scenarios import SCENARIOS


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str) -> None:
    count = SCENARIOS[name].short()
    assert count.flawless, count
