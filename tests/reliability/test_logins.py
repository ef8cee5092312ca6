"""That a difference of time between known and unknown logins would be seen; the scenario itself is in test_soak.py."""

from __future__ import annotations

from tests.soak import logins


def test_a_difference_would_be_seen() -> None:
    """One login whose refusals take a tenth longer."""
    samples = {login: [1.0 + number / 10_000 for number in range(1000)] for login in logins.LOGINS}
    assert logins.judged(samples).flawless
    samples["sha"] = [seconds * 1.1 for seconds in samples["sha"]]
    count = logins.judged(samples)
    assert not count.flawless
    assert count.told_percent == 100
