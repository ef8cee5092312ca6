"""Listeners that vanish without a word, for real: in a network namespace, with the server's timeouts set short."""

from __future__ import annotations

import pytest

from tests.soak import half_open


def test_the_server_finds_out() -> None:
    if not half_open.possible():
        pytest.skip("this machine lets us make no network namespace")
    count = half_open.run(listeners=5, short=True)
    assert count.flawless, count
