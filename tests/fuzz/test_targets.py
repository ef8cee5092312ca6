"""Every target's corpus, without the fuzzer: so that the targets stay true, and everything found stays mended."""

from __future__ import annotations

import importlib

import pytest

from tests.fuzz.inputs import meant, timed
from tests.fuzz.targets import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_corpus(name: str) -> None:
    target = importlib.import_module(f"tests.fuzz.targets.{name}")
    for seed in target.seeds():
        timed(target.check, meant(seed, target.SIZE), 1.0)
