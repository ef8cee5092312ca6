"""The scenario of bench/soak/logins.py in its short form: who is refused how. Its long form judges the time too."""

from __future__ import annotations

from bench.soak import logins


def test_refusals() -> None:
    count = logins.run(samples=25)
    assert count.wrong_answers == 0
    assert {login: len(found) for login, found in count.samples.items()} == dict.fromkeys(logins.LOGINS, 5)


def test_a_difference_would_be_seen() -> None:
    """One login whose refusals take a tenth longer."""
    samples = {login: [1.0 + number / 10_000 for number in range(1000)] for login in logins.LOGINS}
    count = logins.Count(samples)
    assert count.flawless
    samples["sha"] = [seconds * 1.1 for seconds in samples["sha"]]
    assert not count.flawless
    assert count.advantage == 1
